//! Creating a batch of items: take room for all, write them, give back the room of what was not written. Under an
//! idempotency key, the request that repeats one that died writes the rest of the same items.

use crate::context::Context;
use crate::error::{ApiError, ApiResult, chain};
use crate::ids::ItemId;
use crate::model::cached::ItemPagesKey;
use crate::model::item::{ItemRecord, NewItem};
use crate::model::org::OrgRecord;
use crate::store::items::{BatchWork, Unwritten};
use platform::cache::Invalidation;
use platform::idempotency::{Begin, IdempotencyKey, KeyClaim, StoredReply};
use platform::response::Reply;
use std::collections::HashSet;
use std::time::Duration;

/// How long a request holds its key: longer than a function that creates a batch may run, so no other takes it while it lives.
const BATCH_LEASE: Duration = Duration::from_secs(20);

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
    let mut work = BatchWork::begun(items.iter().map(|_| org.new_item_id(true, now)).collect(), now);
    let note = key.map(|_| work.note()).transpose()?;
    let mut held = key.map(|key| key.begin(note, BATCH_LEASE, now.as_millis()));
    // What is left to be written of a batch that an earlier request began.
    let mut left: Option<HashSet<ItemId>> = None;
    match store.begin_items(org, &work, held.as_ref()).await? {
        Begin::First(()) => {}
        Begin::Replay(first) => return first.replayed(pages).publish(context.cache()).await,
        Begin::Resume(abandoned) => {
            work = BatchWork::of(&abandoned)?;
            let unwritten = store.unwritten_items(org.org_id, &work.item_ids).await;
            // The request that died did not invalidate the cached pages of the items that it wrote.
            let unwritten = Invalidation::new(pages, unwritten.into()).publish(context.cache()).await?;
            held = Some(store.resume_batch(org, &abandoned, &mut work, &unwritten, BATCH_LEASE).await?);
            left = Some(unwritten);
        }
    }

    let numbered = items.into_iter().zip(&work.item_ids);
    let records: Vec<ItemRecord> =
        numbered.map(|(item, id)| item.into_record_of(org.org_id, *id, work.created_at)).collect();
    let written = match left {
        None => store.write_items(org.org_id, &records).await,
        Some(left) => {
            let missing = records.iter().filter(|record| left.contains(&record.item_id));
            let missing: Vec<ItemRecord> = missing.cloned().collect();
            store.write_items(org.org_id, &missing).await
        }
    };
    let unwritten = written.publish(context.cache()).await?;

    let all_are_absent = unwritten.absent.len() == records.len();
    let reply = reply(records, &unwritten);
    end_batch(context, org, &work, &unwritten, held.as_ref(), (!all_are_absent).then_some(reply)).await
}

/// Replies once the outcome of a batch is settled. If nothing was written, that is an error.
async fn end_batch(
    context: &Context,
    org: &OrgRecord,
    work: &BatchWork,
    unwritten: &Unwritten,
    held: Option<&KeyClaim<'_>>,
    reply: Option<Reply>,
) -> ApiResult {
    let ended = context.store().end_items(org, work, unwritten, held, reply.as_ref().map(StoredReply::of)).await;
    match (ended, held) {
        (Ok(true), _) => {}
        (Ok(false), Some(held)) => {
            let replay = context.store().successor_reply(org.org_id, held.key, ItemPagesKey(org.org_id)).await;
            return replay.publish(context.cache()).await;
        }
        (Err(error), Some(_)) => return Err(error),
        // The caller asked for the items and gets their outcome. The sweeper gives the room back, or has done so.
        (Ok(false), None) => tracing::warn!("a batch was settled before it ended"),
        (Err(error), None) => tracing::warn!(cause = chain(&error), "a batch that is written was not ended"),
    }
    reply.ok_or_else(|| ApiError::Unavailable("no item of a batch was written".into()))
}
