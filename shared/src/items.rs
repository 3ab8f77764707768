//! Creating a batch of items: take room for all, write them, give back the room of what was not written. Under an
//! idempotency key, the request that repeats one that died writes the rest of the same items.

use crate::context::Context;
use crate::error::{ApiError, ApiResult};
use crate::ids::ItemId;
use crate::model::cached::ItemPagesKey;
use crate::model::item::{ItemRecord, NewItem};
use crate::model::org::OrgRecord;
use crate::model::time::Moment;
use crate::store::items::Unwritten;
use platform::cache::Invalidation;
use platform::idempotency::{Begin, IdempotencyKey, KeyClaim, StoredReply};
use platform::response::Reply;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;

/// How long a request holds its key: longer than a function that creates a batch may run, so no other takes it while it lives.
const BATCH_LEASE: Duration = Duration::from_secs(20);

/// What a batch's idempotency key notes before anything is written.
#[derive(Serialize, Deserialize)]
struct BatchWork {
    item_ids: Vec<ItemId>,
    created_at: Moment,
    /// How many items the organization had deleted when the batch began.
    #[serde(default)]
    deletions: Option<u64>,
}

/// Creates a batch of items. `reply` makes the answer of all items and of what was not written, and an idempotency
/// key keeps it.
///
/// # Errors
/// [`ApiError::PlanLimitReached`] without room for all, [`ApiError::Unavailable`] if no item was written, and those of
/// the key.
pub async fn create_batch(
    context: &Context,
    org: &OrgRecord,
    items: Vec<NewItem>,
    key: Option<&IdempotencyKey>,
    reply: impl FnOnce(Vec<ItemRecord>, &Unwritten) -> Reply,
) -> ApiResult {
    let (store, now, pages) = (context.store(), context.now(), ItemPagesKey(org.org_id));
    let mut work = BatchWork {
        item_ids: items.iter().map(|_| org.new_item_id(now)).collect(),
        created_at: now,
        deletions: Some(org.deletions),
    };
    let note = key.map(|_| serde_json::to_string(&work)).transpose().map_err(ApiError::internal)?;
    let mut held = key.map(|key| key.begin(note, BATCH_LEASE, now.as_millis()));
    // A batch that an earlier request began.
    let mut existing: Option<HashSet<ItemId>> = None;
    match store.begin_items(org, items.len(), held.as_ref()).await? {
        Begin::First(()) => {}
        Begin::Replay(first) => return first.replayed(pages).publish(context.cache()).await,
        Begin::Resume(left) => {
            held = Some(store.resume_key(org.org_id, &left, BATCH_LEASE).await?);
            work = serde_json::from_str(left.record.work.as_deref().unwrap_or_default()).map_err(ApiError::internal)?;
            let found = store.existing_items(org.org_id, &work.item_ids).await;
            // The request that died did not invalidate the cached pages of the items that it wrote.
            existing = Some(Invalidation::new(pages, found.into()).publish(context.cache()).await?);
        }
    }

    let numbered = items.into_iter().zip(&work.item_ids);
    let records: Vec<ItemRecord> =
        numbered.map(|(item, id)| item.into_record_of(org.org_id, *id, work.created_at)).collect();
    let written = match existing {
        None => store.write_items(org.org_id, &records).await,
        Some(existing) => {
            let missing = records.iter().filter(|record| !existing.contains(&record.item_id));
            let missing: Vec<ItemRecord> = missing.cloned().collect();
            store.take_room_of_deleted(org, missing.len(), work.deletions).await?;
            store.write_items(org.org_id, &missing).await
        }
    };
    let unwritten = written.publish(context.cache()).await?;

    let (absent, all_are_absent) = (unwritten.absent.len(), unwritten.absent.len() == records.len());
    let reply = reply(records, &unwritten);
    end_batch(context, org, held.as_ref(), absent, (!all_are_absent).then_some(reply)).await
}

/// Replies once the outcome of a batch is settled. If nothing was written, that is an error.
async fn end_batch(
    context: &Context,
    org: &OrgRecord,
    held: Option<&KeyClaim<'_>>,
    absent: usize,
    reply: Option<Reply>,
) -> ApiResult {
    let ended = context.store().end_items(org, absent, held, reply.as_ref().map(StoredReply::of)).await;
    match (ended, held) {
        (Ok(true), _) => {}
        (Ok(false), Some(held)) => {
            let replay = context.store().standing_reply(org.org_id, held.key, ItemPagesKey(org.org_id)).await;
            return replay.publish(context.cache()).await;
        }
        (Err(error), Some(_)) => return Err(error),
        // The caller asked for the items and gets their outcome. The count may stay too high, but never too low.
        (Ok(false), None) => tracing::warn!("room of unwritten items was not given back"),
        (Err(error), None) => {
            tracing::warn!(%error, "room of unwritten items was not given back");
        }
    }
    reply.ok_or_else(|| ApiError::Unavailable("no item of a batch was written".into()))
}
