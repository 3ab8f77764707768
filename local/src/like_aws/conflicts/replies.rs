//! DynamoDB's words for what conflicts, and for what is left of a call.

use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value as Json, json};
use shared::store::keys::PK;

use crate::layers::answer;

type Reply = Result<HttpResponse, ConnectorError>;

/// In front of the name of an error.
pub(crate) const ERRORS: &str = "com.amazonaws.dynamodb.v20120810#";
const ONGOING: &str = "Transaction is ongoing for the item";
/// Actions of a transaction at most.
const ACTIONS_MAX: usize = 100;

/// To a write of a record that a transaction holds.
pub(super) fn conflict() -> Reply {
    answer(400, json!({ "__type": format!("{ERRORS}TransactionConflictException"), "message": ONGOING }).to_string())
}

/// To a transaction whose token another one has that still runs.
pub(super) fn in_progress() -> Reply {
    let message = "Transaction with the same token is in progress";
    answer(400, json!({ "__type": format!("{ERRORS}TransactionInProgressException"), "message": message }).to_string())
}

/// To a transaction with conflicts at some of its positions.
pub(super) fn canceled(met: &[bool]) -> Reply {
    canceled_for(met.iter().map(|met| reason(*met)).collect())
}

fn reason(met: bool) -> Json {
    if met { json!({ "Code": "TransactionConflict", "Message": ONGOING }) } else { json!({ "Code": "None" }) }
}

/// To a transaction with these `CancellationReasons`, one for each of its positions.
pub(crate) fn canceled_for(reasons: Vec<Json>) -> Reply {
    let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let body = json!({
        "__type": format!("{ERRORS}TransactionCanceledException"),
        "Message": message,
        "CancellationReasons": reasons,
    });
    answer(400, body.to_string())
}

/// The same call with another body. Nobody here checks what its signature says of the body.
pub(crate) fn with_body(request: &HttpRequest, body: &Json) -> Option<HttpRequest> {
    let mut request = request.try_clone()?;
    *request.body_mut() = SdkBody::from(body.to_string());
    Some(request)
}

/// The transaction with one more condition that cannot hold, so that nothing is written and all conditions are looked at.
pub(super) fn with_impossible_condition(request: &HttpRequest, mut body: Json) -> Option<HttpRequest> {
    body.as_object_mut()?.remove("ClientRequestToken");
    let actions = body["TransactItems"].as_array_mut()?;
    let table = actions.first()?.as_object()?.values().find_map(|parts| parts["TableName"].as_str())?.to_owned();
    // Where there is no room for it, the last one's condition is not looked at.
    actions.truncate(ACTIONS_MAX - 1);
    let nowhere = json!({ "pk": { "S": "LIKE_AWS" }, "sk": { "S": "NOWHERE" } });
    actions.push(json!({ "ConditionCheck": {
        "TableName": table, "Key": nowhere, "ConditionExpression": format!("attribute_exists({PK})"),
    }}));
    with_body(request, &body)
}

/// The engine's reasons, with conflicts where a condition holds and the record is held.
pub(super) fn with_conflicts(reply: HttpResponse, met: &[usize]) -> Reply {
    let body: Json = serde_json::from_slice(reply.body().bytes().unwrap_or_default()).unwrap_or_default();
    let Some(reasons) = body["CancellationReasons"].as_array() else {
        // It was not a transaction at all.
        return Ok(reply);
    };
    let mut reasons = reasons.clone();
    reasons.pop();
    reasons.resize_with(reasons.len().max(met.iter().max().map_or(0, |last| last + 1)), || reason(false));
    for position in met {
        if reasons[*position]["Code"] == "None" {
            reasons[*position] = reason(true);
        }
    }
    canceled_for(reasons)
}

/// Passes on what is left of a `BatchWriteItem` without these positions, which come back unprocessed.
pub(crate) async fn without(
    request: HttpRequest,
    mut body: Json,
    held: Vec<(String, usize)>,
    next: SharedHttpConnector,
) -> Reply {
    let mut unprocessed = json!({});
    for (table, position) in held.iter().rev() {
        let Some(list) = body["RequestItems"][table].as_array_mut() else { continue };
        let write = list.remove(*position);
        let back = &mut unprocessed[table];
        if back.is_null() {
            *back = json!([]);
        }
        back.as_array_mut().into_iter().for_each(|back| back.insert(0, write.clone()));
    }
    let tables = body["RequestItems"].as_object_mut();
    tables.into_iter().for_each(|tables| tables.retain(|_, list| list.as_array().is_some_and(|list| !list.is_empty())));
    if body["RequestItems"].as_object().is_none_or(serde_json::Map::is_empty) {
        return answer(200, json!({ "UnprocessedItems": unprocessed }).to_string());
    }
    let Some(left) = with_body(&request, &body) else {
        return Err(ConnectorError::user("a batch that cannot be read".into()));
    };
    let reply = next.call(left).await?;
    if !reply.status().is_success() {
        return Ok(reply);
    }
    let mut answered: Json = serde_json::from_slice(reply.body().bytes().unwrap_or_default()).unwrap_or_default();
    answered["UnprocessedItems"] = together(unprocessed, &answered["UnprocessedItems"]);
    answer(200, answered.to_string())
}

/// What this layer left of a batch, and what one behind it did.
fn together(mut ours: Json, theirs: &Json) -> Json {
    for (table, writes) in theirs.as_object().into_iter().flatten() {
        let back = &mut ours[table];
        if back.is_null() {
            *back = json!([]);
        }
        back.as_array_mut().into_iter().for_each(|back| back.extend(writes.as_array().cloned().unwrap_or_default()));
    }
    ours
}
