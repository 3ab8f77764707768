//! `POST /items`, member: `201` with one item, or with all of a batch of 1–100 and what was not written.

use deserr::{Deserr, IntoValue, Map as _, Sequence as _, Value, ValuePointerRef};
use lambda_http::http::HeaderValue;
use lambda_http::http::header::LOCATION;
use serde::Serialize;
use shared::caller::Caller;
use shared::idempotency::{IdempotencyKey, StoredReply};
use shared::model::cached::ItemPagesKey;
use shared::model::item::{Item, ItemRecord, NewItem};
use shared::model::org::OrgRecord;
use shared::request::FieldErrors;
use shared::store::items::Unwritten;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, items, request, response};
use utoipa::ToSchema;

const ENDPOINT: &str = "create-item";

/// The most items in one batch.
const MAX_BATCH: usize = 100;

/// One item, or a batch of them.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum NewItems {
    One(NewItem),
    Batch(NewItemBatch),
}

/// A batch of items.
#[derive(Debug, ToSchema)]
#[schema(examples(json!({"items": [{"name": "Difference engine"}, {"name": "Analytical engine", "description": "Of 1837"}]})))]
#[serde(deny_unknown_fields)]
pub struct NewItemBatch {
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<NewItem>,
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
    /// `unavailable`: not written. `unknown`: it may have been written.
    #[schema(pattern = "^(unavailable|unknown)$")]
    code: &'static str,
    detail: &'static str,
}

/// What was created.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CreatedItemOrItems)]
pub enum Created {
    One(Item),
    Batch(CreatedItems),
}

/// Create one item or a batch
///
/// # Errors
/// `401` without a valid session, `403 plan_limit_reached` when the plan has no room for all of them.
#[utoipa::path(post, path = "/items", operation_id = "create_item", tag = "items", request_body = NewItems,
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", min_length = 1, max_length = 255,
            description = "1 to 255 visible ASCII characters. The same key and body take effect once; JSON bodies are the \
                same if their canonical forms (RFC 8785) are")),
    responses((status = 201, description = "Created; one item with its `Location` and `ETag`", body = Created,
            headers(("Location"), ("ETag"))),
        (status = 409, description = "A request with this Idempotency-Key is under way, or the organization kept changing meanwhile",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    context.cache().connect();
    let (_, org) = Caller::verify_with_org(context, &request).await?;
    let key = IdempotencyKey::of(ENDPOINT, &request);
    let key = key.map_err(|wrong| wrong.beside(request::json::<NewItems>(&request)))?;
    let outcome = create(context, &request, &org, key.as_ref()).await;
    let pages = ItemPagesKey(org.org_id);
    context.store().replay_or(org.org_id, key.as_ref(), pages, outcome).await.publish(context.cache()).await
}

async fn create(context: &Context, request: &Request, org: &OrgRecord, key: Option<&IdempotencyKey>) -> ApiResult {
    match request::json::<NewItems>(request)? {
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
    let item = item.into_record(org, context.now());
    let location = HeaderValue::try_from(format!("items/{}", item.item_id)).map_err(ApiError::internal)?;
    let view = Created::One(item.clone().into());
    let mut reply = response::written(StatusCode::CREATED, &view);
    reply.headers_mut().insert(LOCATION, location);

    let claim = key.map(|key| key.complete(StoredReply::of(&reply), item.created_at.as_millis()));
    context.store().create_item(org, &item, claim.as_ref(), reply).await.publish(context.cache()).await
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

impl Deserr<FieldErrors> for NewItems {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef<'_>) -> Result<Self, FieldErrors> {
        let mut members = request::members(value, at)?;
        let Some(items) = members.remove("items") else {
            return NewItem::deserialize_from_value(Value::<V>::Map(members), at).map(Self::One);
        };
        let (mut errors, place) = (FieldErrors::default(), at.push_key("items"));
        let items = items.into_value();
        if let Value::Sequence(entries) = &items
            && !(1..=MAX_BATCH).contains(&entries.len())
        {
            errors.note::<()>(Err(FieldErrors::at(place, format!("must have 1 to {MAX_BATCH} entries"))));
        }
        let items = errors.note(Vec::<NewItem>::deserialize_from_value(items, place));
        errors.note_rest(members, at, &["items"]);
        errors.unless_noted(items).map(|items| Self::Batch(NewItemBatch { items }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::request::Rejection;

    fn parsed(body: &str) -> Result<NewItems, Rejection> {
        request::parse(body.as_bytes())
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
            (r#"{"description":5}"#, "/description /name"),
            (r#"{"name":"a","items":[]}"#, "/items /name"),
            (
                r#"{"items":[{"name":1,"description":[]},null,["a"],{}],"x":1}"#,
                "/items/0/description /items/0/name /items/1 /items/2 /items/3/name /x",
            ),
            (r#"{"items":[]}"#, "/items"),
            (many.as_str(), "/items"),
            (many.replacen(r#""a""#, "5", 1).as_str(), "/items /items/0/name"),
            (r#"{"items":[{"name":"a"},{"name":" "}]}"#, "/items/1/name"),
            (r#"{"items":[{"name":"a","x":1}]}"#, "/items/0/x"),
        ] {
            let Err(Rejection::Invalid(errors)) = parsed(body) else { panic!("{body}") };
            let pointers: Vec<_> = errors.into_iter().map(|error| error.pointer).collect();
            assert_eq!(pointers.join(" "), pointer, "{body:.40}");
        }
    }
}
