//! Batches of items: room for all of them is taken first, then they are written, and what could not be is
//! named. Under an idempotency key the ids are noted before anything is written: when a writer dies, the request
//! that goes on with its batch writes the same items, not others. What nobody goes on with, the sweeper settles ([`pending`](super::pending)).

use super::super::idempotency::Begun;
use super::super::keys::{Key, PK, SK};
use super::super::{Store, Transaction, attributes, classify, wait_before};
use super::pending::BatchWork;
use super::{ItemsWritten, room};
use crate::error::{ApiError, chain};
use crate::ids::{ItemId, OrgId};
use crate::model::cached::ItemPagesKey;
use crate::model::item::ItemRecord;
use crate::model::org::OrgRecord;
use crate::store::authority::sort_key;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{PutRequest, TransactWriteItem, WriteRequest};
use futures_util::future::join_all;
use platform::cache::{Invalidation, WriteOutcome};
use platform::idempotency::{KeyClaim, StoredReply};
use platform::telemetry::{Part, timed};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The most that one `BatchWriteItem` takes (DynamoDB's limit).
pub const BATCH: usize = 25;
/// For so long what DynamoDB refused or left unprocessed is sent again: the caller is to get an answer within the function's time limit. A
/// hundred of the largest items take 1,700 units of a partition that gives 1,000 a second.
const BATCH_PATIENCE: Duration = Duration::from_secs(4);
/// How long it is looked for what a batch has written.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// How often a batch is sent whose replies are lost: each time it may be written.
const LOST_REPLIES: u32 = 6;

/// What of a batch was not written.
#[derive(Debug, Default)]
pub struct Unwritten {
    /// Certainly not stored, now or later.
    pub absent: HashSet<ItemId>,
    /// Not there when it was looked for, but a write of it may still be under way; or the database went away before it could be told.
    pub unknown: HashSet<ItemId>,
}

impl Store {
    /// Takes room for a batch, if the plan has it for all, and with it the idempotency key and an entry in the index of what is due: until
    /// [`Self::end_items`], the sweeper may have to give the room back.
    ///
    /// # Errors
    /// [`ApiError::PlanLimitReached`] without room for all.
    pub async fn begin_items<'k>(
        &self,
        org: &OrgRecord,
        work: &BatchWork,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Begun<'k>, ApiError> {
        let pending = work.pending(org.org_id, claim).map(|pending| self.put_pending(&pending)).transpose()?;
        let puts = pending.into_iter().collect();
        timed(Part::Db, self.with_room(org, work.item_ids.len(), claim, puts)).await
    }

    /// Writes items of an organization that have their room, in batches of [`BATCH`], in parallel. Returns what was
    /// not written. Whatever came of it, some of the items may be stored.
    pub async fn write_items(&self, org: OrgId, items: &[ItemRecord]) -> ItemsWritten<Unwritten> {
        let unwritten = timed(Part::Db, async {
            let mut all = Unwritten::default();
            for unwritten in join_all(items.chunks(BATCH).map(|batch| self.write_batch(batch))).await {
                all.absent.extend(unwritten.absent);
                all.unknown.extend(unwritten.unknown);
            }
            all
        });
        Invalidation::new(ItemPagesKey(org), WriteOutcome::Written(unwritten.await))
    }

    /// Which of these items are there.
    pub(super) async fn find_items(&self, org: OrgId, ids: &[ItemId]) -> Result<HashSet<ItemId>, ApiError> {
        let keys = ids.iter().map(|id| Key::item(org, *id).attributes()).collect();
        let found = self.get_all(keys).await?;
        Ok(found.iter().filter_map(|item| sort_key(item).parse().ok()).collect())
    }

    /// Ends a batch: gives back the room of the absent items, keeps the reply under the key, and takes the entry out of the index, all
    /// or nothing. What may still be written keeps an entry, and its room. Without a reply it gives the key back too. Returns `false`
    /// if somebody else goes on with the batch by now.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_items(
        &self,
        org: &OrgRecord,
        work: &BatchWork,
        unwritten: &Unwritten,
        held: Option<&KeyClaim<'_>>,
        reply: Option<StoredReply>,
    ) -> Result<bool, ApiError> {
        let mut writes: Vec<TransactWriteItem> = Vec::new();
        if let Some(held) = held {
            match reply {
                Some(reply) => writes.extend(self.replace_key(org.org_id, held, &held.completed(reply))?),
                None => writes.push(self.release_key(org.org_id, held)?),
            }
        }
        if !unwritten.absent.is_empty() {
            writes.push(self.update(room::give_back(org, unwritten.absent.len(), self.now()))?);
        }
        if let Some(pending) = work.pending(org.org_id, held) {
            if writes.is_empty() && unwritten.unknown.is_empty() {
                return self.forget_pending(&pending).await.map(|()| true);
            }
            writes.extend(self.end_pending(&pending, &unwritten.unknown)?);
        }
        if writes.is_empty() {
            return Ok(true);
        }
        Ok(matches!(timed(Part::Db, self.transact(writes)).await?, Transaction::Done))
    }

    /// Writes up to [`BATCH`] items. A put whose reply was lost is not sent again before it was looked for: others may have changed or deleted
    /// what it wrote.
    async fn write_batch(&self, items: &[ItemRecord]) -> Unwritten {
        let started = Instant::now();
        let mut pending = Vec::with_capacity(items.len());
        let mut unwritten = Unwritten::default();
        for item in items {
            let request = attributes(Key::item(item.org_id, item.item_id), item)
                .ok()
                .and_then(|item| PutRequest::builder().set_item(Some(item)).build().ok());
            match request {
                Some(put) => pending.push(WriteRequest::builder().put_request(put).build()),
                None => drop(unwritten.absent.insert(item.item_id)),
            }
        }
        let org = items[0].org_id;
        // How many writes of what is pending may still be under way. So that each attempt's answer is seen, the SDK repeats none.
        let mut lost = 0;
        for attempt in 0_u32.. {
            if attempt > 0 {
                if lost == LOST_REPLIES || started.elapsed() > BATCH_PATIENCE {
                    break;
                }
                wait_before(attempt).await;
            }
            if lost > 0 {
                let looked = timeout(LOOK_PATIENCE, self.unwritten_items(org, &ids_of(&pending))).await;
                let Ok(Ok(absent)) = looked else { continue };
                pending.retain(|write| written_id(write).is_some_and(|id| absent.contains(&id)));
                if pending.is_empty() {
                    return unwritten;
                }
            }
            let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
            let sent = self
                .client
                .batch_write_item()
                .set_request_items(Some(HashMap::from([(self.table.clone(), pending.clone())])))
                .customize()
                .config_override(once)
                .send()
                .await;
            match sent {
                Ok(reply) => {
                    pending = reply.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
                    if pending.is_empty() {
                        return unwritten;
                    }
                }
                Err(error) => {
                    lost += u32::from(!is_refusal(&error));
                    let error = classify(error);
                    tracing::warn!(cause = chain(&error), attempt, "a batch of items was not written");
                    if matches!(error, ApiError::Internal(_)) {
                        break;
                    }
                }
            }
        }
        // One that was stored must not be called failed.
        let ids = ids_of(&pending);
        match timeout(LOOK_PATIENCE, self.unwritten_items(org, &ids)).await {
            Ok(Ok(absent)) if lost == 0 => unwritten.absent.extend(absent),
            Ok(Ok(absent)) => unwritten.unknown.extend(absent),
            Ok(Err(_)) | Err(_) => unwritten.unknown.extend(ids),
        }
        unwritten
    }
}

/// The items that writes would have put.
fn ids_of(writes: &[WriteRequest]) -> Vec<ItemId> {
    writes.iter().filter_map(written_id).collect()
}

/// Whether DynamoDB said that it did nothing. After a time-out, a lost connection or an error of its own a write may land later.
fn is_refusal<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => true,
        SdkError::ServiceError(refusal) => refusal.raw().status().is_client_error(),
        _ => false,
    }
}

/// The id of the item that a write would have put.
fn written_id(write: &WriteRequest) -> Option<ItemId> {
    let item = &write.put_request.as_ref()?.item;
    debug_assert!(item.contains_key(PK));
    item.get(SK)?.as_s().ok()?.parse().ok()
}
