//! `POST /items`, member: `201` with one item, or with all of a batch of 1–100 and what was not written.

use lambda_http::http::HeaderValue;
use lambda_http::http::header::LOCATION;
use serde::{Deserialize, Serialize};
use shared::caller::Caller;
use shared::idempotency::{Begin, IdempotencyKey, StoredReply};
use shared::model::item::{Item, ItemRecord, NewItem};
use shared::model::org::OrgRecord;
use shared::model::text::{Description, Name};
use shared::request::Rejection;
use shared::store::items::Unwritten;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, items, request, response};
use utoipa::ToSchema;

const ENDPOINT: &str = "create-item";

/// The most items in one batch.
const MAX_BATCH: usize = 100;

/// One item, or a batch of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum NewItems {
    One(NewItem),
    Batch(NewItemBatch),
}

/// A batch of items.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItemBatch {
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<NewItem>,
}

/// The body before it is known which of the two it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: Option<Name>,
    description: Option<Description>,
    items: Option<Vec<NewItem>>,
}

/// A batch as created.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedItems {
    created: Vec<Item>,
    /// What was not written; nothing else was left out.
    failed: Vec<FailedItem>,
}

/// An item of a batch that was not written.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedItem {
    /// Its place in the request, from 0.
    index: usize,
    code: &'static str,
    detail: &'static str,
}

/// What was created.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Created {
    One(Item),
    Batch(CreatedItems),
}

/// Create one item or a batch
///
/// # Errors
/// `401` without a valid session, `429 quota_exceeded` when the plan has no room for all of them.
#[utoipa::path(post, path = "/items", operation_id = "create_item", tag = "items", request_body = NewItems,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body take effect once")),
    responses((status = 201, description = "Created", body = Created),
        (status = 409, description = "A request with this Idempotency-Key is under way",
            body = shared::response::ProblemBody, content_type = "application/problem+json")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (_, org) = Caller::verify_with_org(context, &request).await?;
    let key = IdempotencyKey::of(ENDPOINT, request.headers(), request::body_bytes(&request)?)?;
    let outcome = create(context, &request, &org, key.as_ref()).await;
    context.store().replay_or(org.org_id, key.as_ref(), outcome).await
}

async fn create(context: &Context, request: &Request, org: &OrgRecord, key: Option<&IdempotencyKey>) -> ApiResult {
    match NewItems::try_from(request::json::<Body>(request)?)? {
        NewItems::One(item) => create_one(context, org, item, key).await,
        NewItems::Batch(batch) => {
            let reply = |records, unwritten: &_| {
                response::json(StatusCode::CREATED, &Created::Batch(CreatedItems::of(records, unwritten)))
            };
            items::create_batch(context, org, batch.items, key, reply).await
        }
    }
}

async fn create_one(context: &Context, org: &OrgRecord, item: NewItem, key: Option<&IdempotencyKey>) -> ApiResult {
    let item = item.into_record(org.org_id, context.now());
    let location = HeaderValue::try_from(format!("items/{}", item.item_id)).map_err(ApiError::internal)?;
    let view = Created::One(item.clone().into());
    let mut reply = response::written(StatusCode::CREATED, &view);
    reply.headers_mut().insert(LOCATION, location);

    let claim = key.map(|key| key.complete(StoredReply::of(&reply), item.created_at.as_millis()));
    match context.store().create_item(org, &item, claim.as_ref()).await? {
        Begin::First(written) => {
            written.publish(context.cache()).await;
            Ok(reply)
        }
        Begin::Replay(first) => Ok(first.replayed()),
        Begin::Resume(_) => Err(ApiError::internal("an item's key was kept without its reply")),
    }
}

impl CreatedItems {
    fn of(records: Vec<ItemRecord>, unwritten: &Unwritten) -> Self {
        let mut reply = Self { created: Vec::with_capacity(records.len()), failed: Vec::new() };
        for (index, record) in records.into_iter().enumerate() {
            if unwritten.absent.contains(&record.item_id) {
                reply.failed.push(FailedItem { index, code: "unavailable", detail: "Not written. Send it again." });
            } else if unwritten.unknown.contains(&record.item_id) {
                let detail = "It may have been written. Look for it before sending it again.";
                reply.failed.push(FailedItem { index, code: "unknown", detail });
            } else {
                reply.created.push(record.into());
            }
        }
        reply
    }
}

impl TryFrom<Body> for NewItems {
    type Error = Rejection;

    fn try_from(body: Body) -> Result<Self, Rejection> {
        match body {
            Body { name: Some(name), description, items: None } => Ok(Self::One(NewItem { name, description })),
            Body { name: None, description: None, items: Some(items) } => match items.len() {
                1..=MAX_BATCH => Ok(Self::Batch(NewItemBatch { items })),
                _ => Err(Rejection::field("/items", format!("must have 1 to {MAX_BATCH} entries"))),
            },
            Body { items: Some(_), .. } => Err(Rejection::field("/items", "stands alone: give one item or a batch")),
            Body { name: None, .. } => Err(Rejection::field("/name", "is missing")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<NewItems, Rejection> {
        request::parse::<Body>(body.as_bytes())?.try_into()
    }

    #[test]
    fn one_item_or_a_batch() {
        assert!(matches!(parsed(r#"{"name":"a","description":null}"#), Ok(NewItems::One(_))));
        assert!(matches!(parsed(r#"{"items":[{"name":"a"}]}"#), Ok(NewItems::Batch(_))));
    }

    #[test]
    fn errors_point_at_the_entry() {
        let many = format!(r#"{{"items":[{}]}}"#, vec![r#"{"name":"a"}"#; 101].join(","));
        for (body, pointer) in [
            ("{}", "/name"),
            (r#"{"name":"a","items":[]}"#, "/items"),
            (r#"{"items":[]}"#, "/items"),
            (many.as_str(), "/items"),
            (r#"{"items":[{"name":"a"},{"name":" "}]}"#, "/items/1/name"),
            (r#"{"items":[{"name":"a","x":1}]}"#, "/items/0/x"),
        ] {
            let Err(Rejection::Invalid(errors)) = parsed(body) else { panic!("{body}") };
            assert_eq!(errors[0].pointer, pointer, "{body:.40}");
        }
    }
}
