//! `POST /items`, member: `201` with one item, or with all of a batch of 1–100 and what was not written.

use lambda_http::http::HeaderValue;
use lambda_http::http::header::LOCATION;
use serde::{Deserialize, Serialize};
use shared::caller::Caller;
use shared::idempotency::{Begin, IdempotencyKey, KeyClaim, StoredReply};
use shared::ids::ItemId;
use shared::model::cached::ItemPagesKey;
use shared::model::item::{Item, ItemRecord, NewItem};
use shared::model::org::OrgRecord;
use shared::model::text::{Description, Name};
use shared::model::time::Moment;
use shared::request::Rejection;
use shared::store::items::Unwritten;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use std::collections::HashSet;
use std::time::Duration;
use utoipa::ToSchema;

const ENDPOINT: &str = "create-item";
/// Longer than the function may run: a live request keeps its key.
const BATCH_LEASE: Duration = Duration::from_secs(20);

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

/// What a batch's idempotency key notes before anything is written.
#[derive(Serialize, Deserialize)]
struct BatchWork {
    item_ids: Vec<ItemId>,
    created_at: Moment,
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
        NewItems::Batch(batch) => create_batch(context, org, batch.items, key).await,
    }
}

async fn create_one(context: &Context, org: &OrgRecord, item: NewItem, key: Option<&IdempotencyKey>) -> ApiResult {
    let item = item.into_record(org.org_id, context.now());
    let location = HeaderValue::try_from(format!("/items/{}", item.item_id)).map_err(ApiError::internal)?;
    let view = Created::One(item.clone().into());
    let mut reply = response::with_etag(response::json(StatusCode::CREATED, &view), item.version);
    reply.headers_mut().insert(LOCATION, location);

    let claim = key.map(|key| key.complete(StoredReply::of(&reply), item.created_at.as_millis()));
    match context.store().create_item(org, &item, claim.as_ref()).await? {
        Begin::First(()) => {}
        Begin::Replay(first) => return Ok(first.replayed()),
        Begin::Resume(_) => return Err(ApiError::internal("an item's key was kept without its reply")),
    }
    context.cache().invalidate(&ItemPagesKey(org.org_id)).await;
    Ok(reply)
}

async fn create_batch(
    context: &Context,
    org: &OrgRecord,
    items: Vec<NewItem>,
    key: Option<&IdempotencyKey>,
) -> ApiResult {
    let (store, now) = (context.store(), context.now());
    let mut work = BatchWork { item_ids: items.iter().map(|_| ItemId::new()).collect(), created_at: now };
    let note = key.map(|_| serde_json::to_string(&work)).transpose().map_err(ApiError::internal)?;
    let mut held = key.map(|key| key.begin(note, BATCH_LEASE, now.as_millis()));
    let mut existing = HashSet::new();
    match store.begin_items(org, items.len(), held.as_ref()).await? {
        Begin::First(()) => {}
        Begin::Replay(first) => return Ok(first.replayed()),
        Begin::Resume(left) => {
            held = Some(store.resume_key(org.org_id, &left, BATCH_LEASE).await?);
            work = serde_json::from_str(left.record.work.as_deref().unwrap_or_default()).map_err(ApiError::internal)?;
            existing = store.existing_items(org.org_id, &work.item_ids).await?;
        }
    }

    let numbered = items.into_iter().zip(&work.item_ids);
    let records: Vec<ItemRecord> =
        numbered.map(|(item, id)| item.into_record_of(org.org_id, *id, work.created_at)).collect();
    let unwritten = if existing.is_empty() {
        store.write_items(&records).await
    } else {
        let missing = records.iter().filter(|record| !existing.contains(&record.item_id));
        store.write_items(&missing.cloned().collect::<Vec<_>>()).await
    };
    // Whatever came of it: some of the items may be stored.
    context.cache().invalidate(&ItemPagesKey(org.org_id)).await;
    end_batch(context, org, held.as_ref(), records, &unwritten).await
}

/// Tells what came of a batch, after that is settled.
async fn end_batch(
    context: &Context,
    org: &OrgRecord,
    held: Option<&KeyClaim<'_>>,
    records: Vec<ItemRecord>,
    unwritten: &Unwritten,
) -> ApiResult {
    let nothing_stands = unwritten.absent.len() == records.len();
    let reply = response::json(StatusCode::CREATED, &Created::Batch(CreatedItems::of(records, unwritten)));
    let kept = (!nothing_stands).then(|| StoredReply::of(&reply));
    let ended = context.store().end_items(org.org_id, unwritten.absent.len(), held, kept).await;
    match (ended, held) {
        (Ok(true), _) => {}
        (Ok(false), Some(held)) => return context.store().standing_reply(org.org_id, held.key).await,
        (Err(error), Some(_)) => return Err(error),
        // What became of the items is what the caller asked. The count stays too high, never too low.
        (Ok(false), None) => tracing::warn!("room of unwritten items was not given back"),
        (Err(error), None) => {
            tracing::warn!(%error, "room of unwritten items was not given back");
        }
    }
    if nothing_stands { Err(ApiError::Unavailable("no item of a batch was written".into())) } else { Ok(reply) }
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
