//! Batches that were begun and are not ended. Each has an entry in the index of what is due, made with its room and removed with its
//! end. What a writer that died leaves is settled from there: the room of what was never written comes back.

use super::super::idempotency::while_held;
use super::super::keys::{self, Key, PK, SK, TTL};
use super::super::single::SingleWrite as _;
use super::super::{Attributes, Store, changes, classify, number, string};
use super::room;
use crate::error::ApiError;
use crate::ids::{ItemId, OrgId};
use crate::model::org::OrgRecord;
use crate::model::time::Moment;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use platform::idempotency::{KeyClaim, KeyRecord};
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;

/// When a batch is looked at that was not ended. Its function has ended long before, and a write that it sent has landed or never will.
pub const SETTLED_AFTER: Duration = Duration::from_secs(120);
/// How long a deleted item of a batch is known to have been one. An hour longer than a key is: whoever goes on with a batch can tell.
const DELETED_KNOWN_FOR: Duration = Duration::from_secs(25 * 60 * 60);

/// A batch as begun. Its idempotency key notes it before anything is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchWork {
    /// One for each item, in the request's order.
    pub item_ids: Vec<ItemId>,
    pub created_at: Moment,
    /// While the batch has room: when its entry in the index is due. `None` for a batch whose room was given back, and for one that a
    /// version began that made no entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Moment>,
}

impl BatchWork {
    /// One that has its room, as it is begun.
    #[must_use]
    pub fn begun(item_ids: Vec<ItemId>, now: Moment) -> Self {
        Self { item_ids, created_at: now, due_at: Some(now.plus(SETTLED_AFTER)) }
    }

    /// Its entry in the index, while it has one.
    #[must_use]
    pub fn pending(&self, org_id: OrgId, claim: Option<&KeyClaim<'_>>) -> Option<PendingBatch> {
        let (batch, at) = (*self.item_ids.first()?, self.due_at?);
        let shard = keys::due_shard(batch);
        let key = claim.map(|claim| Key::idempotency(org_id, claim.key));
        Some(PendingBatch {
            shard,
            at,
            batch,
            org_id,
            item_ids: self.item_ids.clone(),
            created_at: self.created_at,
            key,
        })
    }

    fn read(text: Option<&str>) -> Result<Self, ApiError> {
        serde_json::from_str(text.unwrap_or_default()).map_err(ApiError::unreadable)
    }

    /// What a key notes of a batch that is gone on with.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub fn of(claim: &KeyClaim<'_>) -> Result<Self, ApiError> {
        Self::read(claim.record.work.as_deref())
    }

    /// As a key notes it.
    ///
    /// # Errors
    /// None in practice.
    pub fn note(&self) -> Result<String, ApiError> {
        serde_json::to_string(self).map_err(ApiError::internal)
    }
}

/// An entry of the index: a batch that has room for items that may not have been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingBatch {
    /// The partition that it lies in.
    pub shard: u8,
    pub at: Moment,
    /// The batch's name: its first item.
    pub batch: ItemId,
    pub org_id: OrgId,
    /// Those that have room and may not be written.
    pub item_ids: Vec<ItemId>,
    pub created_at: Moment,
    /// The record of the idempotency key under which it may be gone on with.
    pub key: Option<Key>,
}

impl PendingBatch {
    /// An entry as stored; `None` for one of something else.
    pub(crate) fn of(shard: u8, entry: &Attributes) -> Option<Self> {
        let text = |name: &str| entry.get(name)?.as_s().ok();
        let millis = |text: &String| text.parse().ok().map(Moment::from_millis);
        let (at, batch) = text(SK)?.split_once(keys::BATCH)?;
        let key = match (text("key_pk"), text("key_sk")) {
            (Some(pk), Some(sk)) => Some(Key { pk: pk.clone(), sk: sk.clone() }),
            _ => None,
        };
        let ids = entry.get("item_ids")?.as_b().ok()?.as_ref();
        Some(Self {
            shard,
            at: millis(&at.to_owned())?,
            batch: batch.parse().ok()?,
            org_id: text("org_id")?.parse().ok()?,
            item_ids: ids.chunks(16).map(|id| Uuid::from_slice(id).map(ItemId::from)).collect::<Result<_, _>>().ok()?,
            created_at: entry.get("created_at")?.as_n().ok().and_then(millis)?,
            key,
        })
    }

    /// An entry of what may still be written, at another place: it is due when that has landed or never will. What the caller was told
    /// stands, so nobody goes on with it.
    fn left(&self, unknown: &HashSet<ItemId>, now: Moment) -> Self {
        let at = now.plus(SETTLED_AFTER).max(self.at.plus(Duration::from_millis(1)));
        Self { at, item_ids: unknown.iter().copied().collect(), key: None, ..self.clone() }
    }

    fn place(&self) -> Key {
        Key::pending_batch(self.shard, self.batch, self.at)
    }

    /// As stored. The ids take 16 bytes each: in words, a hundred of them would cost twice as much.
    fn attributes(&self) -> Attributes {
        let mut entry = self.place().attributes();
        let ids: Vec<u8> = self.item_ids.iter().flat_map(|id| *Uuid::from(*id).as_bytes()).collect();
        entry.insert("org_id".to_owned(), string(self.org_id));
        entry.insert("item_ids".to_owned(), AttributeValue::B(Blob::new(ids)));
        entry.insert("created_at".to_owned(), number(self.created_at.as_millis()));
        if let Some(key) = &self.key {
            entry.insert("key_pk".to_owned(), string(&key.pk));
            entry.insert("key_sk".to_owned(), string(&key.sk));
        }
        entry
    }
}

impl Store {
    /// Notes a batch in the index of what is due.
    pub(super) fn put_pending(&self, pending: &PendingBatch) -> Result<TransactWriteItem, ApiError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(pending.attributes()));
        Ok(TransactWriteItem::builder().put(put.build().map_err(ApiError::internal)?).build())
    }

    /// Ends a batch's entry, once: it goes, and what may still be written gets another one. Whoever finds none any more has nothing to give
    /// back.
    pub(super) fn end_pending(
        &self,
        pending: &PendingBatch,
        unknown: &HashSet<ItemId>,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(pending.place().attributes()))
            .condition_expression("attribute_exists(pk)");
        let mut writes = vec![TransactWriteItem::builder().delete(delete.build().map_err(ApiError::internal)?).build()];
        if !unknown.is_empty() {
            writes.push(self.put_pending(&pending.left(unknown, self.now()))?);
        }
        Ok(writes)
    }

    /// Removes the entry of a batch that is written whole.
    ///
    /// # Errors
    /// When the database is away.
    pub(super) async fn forget_pending(&self, pending: &PendingBatch) -> Result<(), ApiError> {
        let key = Some(pending.place().attributes());
        let deleted = self.client.delete_item().table_name(&self.table).set_key(key).send_unless_held();
        timed(Part::Db, deleted).await.map(|_| ()).map_err(classify)
    }

    /// Notes that an item was deleted, if it may be of a batch that is not ended: else nobody asks.
    pub(super) fn note_deleted(&self, org: OrgId, item: ItemId) -> Result<Option<TransactWriteItem>, ApiError> {
        if !item.may_be_of_a_batch() || item.made_at().plus(DELETED_KNOWN_FOR) <= self.now() {
            return Ok(None);
        }
        // Ids go by the clock of whoever made them.
        let until = self.now().plus(DELETED_KNOWN_FOR + Duration::from_secs(60 * 60));
        let mut deleted = Key::deleted_item(org, item).attributes();
        deleted.insert(TTL.to_owned(), number(until.as_ttl_seconds()));
        let put = Put::builder().table_name(&self.table).set_item(Some(deleted)).build().map_err(ApiError::internal)?;
        Ok(Some(TransactWriteItem::builder().put(put).build()))
    }

    /// Which of a batch's items were not written: they are not there, and nobody deleted them.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn unwritten_items(&self, org: OrgId, ids: &[ItemId]) -> Result<HashSet<ItemId>, ApiError> {
        timed(Part::Db, async {
            let there = self.find_items(org, ids).await?;
            // Asked afterwards: what was deleted between the two is found here.
            let missing: Vec<ItemId> = ids.iter().filter(|id| !there.contains(id)).copied().collect();
            if missing.is_empty() {
                return Ok(HashSet::new());
            }
            let deleted = missing.iter().map(|id| Key::deleted_item(org, *id).attributes()).collect();
            let deleted = self.get_all(deleted).await?;
            let deleted: HashSet<&str> =
                deleted.iter().filter_map(|item| item.get(PK)?.as_s().ok().map(String::as_str)).collect();
            let unwritten = missing.into_iter().filter(|id| !deleted.contains(Key::deleted_item(org, *id).pk.as_str()));
            Ok(unwritten.collect())
        })
        .await
    }

    /// Takes an abandoned key over for `lease`, to go on with its batch. A batch without room takes it for its `unwritten` items, and gets an
    /// entry of them.
    ///
    /// # Errors
    /// [`ApiError::PlanLimitReached`] without room for all; [`ApiError::IdempotencyInFlight`] when somebody else was faster.
    pub async fn resume_batch<'k>(
        &self,
        org: &OrgRecord,
        abandoned: &KeyClaim<'k>,
        work: &mut BatchWork,
        unwritten: &HashSet<ItemId>,
        lease: Duration,
    ) -> Result<KeyClaim<'k>, ApiError> {
        if work.due_at.is_some() || unwritten.is_empty() {
            return self.resume_key(org.org_id, abandoned, lease).await;
        }
        let now = self.now();
        work.due_at = Some(now.plus(SETTLED_AFTER));
        let mut mine = abandoned.taken_over(lease, now.as_millis());
        mine.record.work = Some(work.note()?);
        let mut writes = self.replace_key(org.org_id, abandoned, &mine.record)?;
        if let Some(pending) = work.pending(org.org_id, Some(&mine)) {
            writes.push(self.put_pending(&PendingBatch { item_ids: unwritten.iter().copied().collect(), ..pending })?);
        }
        timed(Part::Db, self.with_room(org, unwritten.len(), None, writes)).await?;
        Ok(mine)
    }

    /// Gives back the room of what was never written of a batch, once nobody writes it any more. Its key stays as it is, but for the
    /// note that there is no room: whoever goes on with the batch takes it again. Returns `false` while somebody works on it.
    ///
    /// # Errors
    /// When the database is away, or another version wrote the key.
    pub async fn settle_batch(&self, pending: &PendingBatch) -> Result<bool, ApiError> {
        timed(Part::Db, self.try_settle(pending)).await
    }

    async fn try_settle(&self, pending: &PendingBatch) -> Result<bool, ApiError> {
        let now = self.now();
        let mut writes = self.end_pending(pending, &HashSet::new())?;
        let key: Option<KeyRecord> = match &pending.key {
            Some(key) => self.get(key.clone()).await?,
            None => None,
        };
        let mut unwritten = HashSet::new();
        if key.as_ref().is_some_and(|key| key.reply.is_some()) {
            // Another version ended it, and gave back what it had to.
        } else if key.as_ref().is_some_and(|key| key.lease_until > now.as_millis()) {
            return Ok(false);
        } else if pending.created_at.plus(DELETED_KNOWN_FOR) <= now {
            tracing::error!(
                "a batch was not settled in time: the room of what was not written of it is not given back"
            );
        } else {
            unwritten = self.unwritten_items(pending.org_id, &pending.item_ids).await?;
        }
        if let (Some(place), Some(before)) = (&pending.key, key.filter(|key| key.reply.is_none())) {
            let work = BatchWork { due_at: None, ..BatchWork::read(before.work.as_deref())? };
            // The lease tells holders apart: whoever has read the key as it was does not go on with it.
            let next = KeyRecord { work: Some(work.note()?), lease_until: before.lease_until + 1, ..before.clone() };
            writes.push(self.update(while_held(changes(place.clone(), &before, &next)?, &before))?);
        }
        if !unwritten.is_empty() {
            // An account that was never proven may have ended, and its organization with it.
            let org: Option<OrgRecord> = self.get(Key::org(pending.org_id)).await?;
            let back = org.map(|org| self.update(room::give_back(&org, unwritten.len(), now)));
            writes.extend(back.transpose()?);
        }
        let is_settled = self.transact(writes).await?.is_done();
        if is_settled {
            tracing::info!(
                items = unwritten.len(),
                "a batch was not ended: the room of what is not written is given back"
            );
        }
        Ok(is_settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let ids: Vec<ItemId> = (0..100).map(|_| ItemId::new()).collect();
        let work = BatchWork::begun(ids, Moment::from_millis(1_000));
        let pending = work.pending(OrgId::new(), None).expect("it is pending");
        let with_key = PendingBatch { key: Some(Key { pk: "p".into(), sk: "s".into() }), ..pending.clone() };
        for pending in [pending, with_key] {
            assert_eq!(PendingBatch::of(pending.shard, &pending.attributes()).as_ref(), Some(&pending));
        }
    }

    #[test]
    fn a_note_of_before_has_no_room() {
        let work = BatchWork::read(Some(r#"{"item_ids":[],"created_at":5}"#)).expect("it is read");
        assert_eq!((work.created_at, work.due_at), (Moment::from_millis(5), None));
    }
}
