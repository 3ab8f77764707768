//! DynamoDB's words for a table in on-demand mode that has given what it gives (API Reference, `ThrottlingException`,
//! `RequestLimitExceeded`, `CancellationReason`).

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value as Json, json};

use super::{Kind, Reply, ThrottledBy};
use crate::layers::answer;
use crate::like_aws::conflicts::{ERRORS, canceled_for};
use crate::names::REGION;

const MESSAGE: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table or \
    index so please try again shortly. If exceptions persist, check if you have a hot key";

/// The reason's name, and the error's that it comes in.
fn names(kind: Kind, short: ThrottledBy) -> (&'static str, &'static str) {
    match (short, kind) {
        (ThrottledBy::Partition, Kind::Read) => ("TableReadKeyRangeThroughputExceeded", "ThrottlingException"),
        (ThrottledBy::Partition, Kind::Write) => ("TableWriteKeyRangeThroughputExceeded", "ThrottlingException"),
        (ThrottledBy::Account, Kind::Read) => ("TableReadAccountLimitExceeded", "RequestLimitExceeded"),
        (ThrottledBy::Account, Kind::Write) => ("TableWriteAccountLimitExceeded", "RequestLimitExceeded"),
    }
}

/// To a call that is throttled as a whole.
pub(super) fn throttled(kind: Kind, short: ThrottledBy, table: &str) -> Reply {
    let (reason, error) = names(kind, short);
    let resource = format!("arn:aws:dynamodb:{REGION}:000000000000:table/{table}");
    let body = json!({
        "__type": format!("{ERRORS}{error}"),
        "message": MESSAGE,
        "throttlingReasons": [{ "reason": reason, "resource": resource }],
    });
    answer(400, body.to_string())
}

/// To a transaction of which some positions are throttled.
pub(super) fn canceled(positions: usize, short: &[(String, usize, ThrottledBy)]) -> Reply {
    let mut reasons = vec![json!({ "Code": "None" }); positions];
    for (_, position, _) in short {
        reasons[*position] = json!({ "Code": "ThrottlingError", "Message": MESSAGE });
    }
    canceled_for(reasons)
}

/// An answer to what was left of a `BatchGetItem`.
pub(super) fn with_unprocessed(reply: &HttpResponse, unprocessed: &Json) -> Reply {
    let mut body: Json = serde_json::from_slice(reply.body().bytes().unwrap_or_default()).unwrap_or_default();
    if reply.status().is_success() {
        body["UnprocessedKeys"] = unprocessed.clone();
    }
    answer(reply.status().as_u16(), body.to_string())
}
