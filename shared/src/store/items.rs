//! Items. The room that one takes of its plan's limit is taken in the same transaction, so the limit is exact.

use super::keys::{self, Key};
use super::{
    Attempt, CONFLICT_ATTEMPTS, Store, Transaction, attributes, contended, is_conflict, number, string, versioned,
    wait_before,
};
use crate::conditional::Expected;
use crate::error::ApiError;
use crate::ids::{ITEM_PARTITIONS, ItemId, OrgId};
use crate::model::cached::ItemPagesKey;
use crate::model::item::{ItemChanges, ItemRecord};
use crate::model::org::OrgRecord;
use crate::model::text::Description;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use platform::cache::{Invalidation, WriteOutcome};
use platform::idempotency::{Begin, KeyClaim};
use platform::response::Reply;
use platform::telemetry::{Part, timed};
use std::collections::HashMap;

mod batch;
mod pending;
mod room;
mod spreading;

pub use batch::{BATCH, Unwritten};
pub use pending::{BatchWork, PendingBatch, SETTLED_AFTER};
pub use spreading::SPREAD_BY_OPERATOR_AFTER;

/// A write of an organization's items: the pages that are cached hold no longer.
pub type ItemsWritten<T> = Invalidation<ItemPagesKey, T, ApiError>;

impl Store {
    /// Stores an item, if the organization's plan has room for it, and with it the idempotency key. Returns `reply`, or the
    /// first one under the key.
    ///
    /// # Errors
    /// [`ApiError::PlanLimitReached`] without room, and those of the key.
    pub async fn create_item(
        &self,
        org: &OrgRecord,
        item: &ItemRecord,
        claim: Option<&KeyClaim<'_>>,
        reply: Reply,
    ) -> ItemsWritten<Reply> {
        let stored = async {
            let put = self.put_new(attributes(Key::item(item.org_id, item.item_id), item)?)?;
            timed(Part::Db, self.with_room(org, 1, claim, vec![put])).await
        };
        let pages = ItemPagesKey(org.org_id);
        match stored.await {
            Ok(Begin::First(())) => Invalidation::new(pages, WriteOutcome::Written(reply)),
            Ok(Begin::Replay(first)) => first.replayed(pages),
            Ok(Begin::Resume(_)) => {
                let error = ApiError::internal("an item's key was kept without its reply");
                Invalidation::new(pages, WriteOutcome::Unknown(error))
            }
            Err(error) => Invalidation::new(pages, WriteOutcome::Unknown(error)),
        }
    }

    /// An item.
    ///
    /// # Errors
    /// [`ApiError::NotFound`].
    pub async fn item(&self, org: OrgId, item: ItemId) -> Result<ItemRecord, ApiError> {
        timed(Part::Db, self.get(Key::item(org, item))).await?.ok_or(ApiError::NotFound)
    }

    /// Changes an item. Returns it as it is then.
    ///
    /// # Errors
    /// [`ApiError::NotFound`]; [`ApiError::PreconditionFailed`] if it has another version.
    pub async fn update_item(
        &self,
        org: OrgId,
        item: ItemId,
        changes: ItemChanges,
        expected: Expected,
    ) -> ItemsWritten<ItemRecord> {
        let ItemChanges { name, description } = changes;
        let mut set = vec![("updated_at", number(self.now().as_millis()))];
        if let Some(name) = name {
            set.push(("name", string(name.into_string())));
        }
        if let Some(description) = description {
            let text = description.map(Description::into_string);
            set.push(("description", text.map_or(AttributeValue::Null(true), AttributeValue::S)));
        }
        let outcome = self.change_versioned(Key::item(org, item), &versioned::RECORD, set, expected).await;
        Invalidation::new(ItemPagesKey(org), outcome)
    }

    /// Deletes an item and its place in the organization's count.
    ///
    /// # Errors
    /// [`ApiError::NotFound`]; [`ApiError::PreconditionFailed`] if it has another version.
    pub async fn delete_item(&self, org: OrgId, item: ItemId, expected: Expected) -> ItemsWritten<()> {
        Invalidation::new(ItemPagesKey(org), self.delete_and_count(org, item, expected).await.into())
    }

    /// As a transaction, whose token proves to a repetition by the SDK that it was itself that deleted the item.
    async fn delete_and_count(&self, org: OrgId, item: ItemId, expected: Expected) -> Result<(), ApiError> {
        let (condition, version) = versioned::condition(expected)?;
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::item(org, item).attributes()))
            .set_expression_attribute_names(
                version.is_some().then(|| HashMap::from([("#version".to_owned(), "version".to_owned())])),
            )
            .set_expression_attribute_values(version.map(|version| HashMap::from([(":expected".to_owned(), version)])))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(ApiError::internal)?;
        let delete = TransactWriteItem::builder().delete(delete).build();
        let (mut in_lanes, mut heat) = (item.partition().is_some(), 0);
        for attempt in 0..CONFLICT_ATTEMPTS {
            wait_before(attempt).await;
            let back = if in_lanes { room::give_to_a_lane(org, 1) } else { room::count_fewer(org, 1) };
            let mut writes = vec![delete.clone(), self.update(back)?];
            writes.extend(self.note_deleted(org, item)?);
            let met = match timed(Part::Db, self.attempt(writes)).await? {
                Attempt::Ended(Transaction::Done) => return Ok(()),
                Attempt::Ended(Transaction::Refused(reasons)) => {
                    let found = reasons.first().and_then(|reason| reason.item.as_ref());
                    let exists = found.is_some_and(|item| !item.is_empty());
                    return Err(if exists { ApiError::PreconditionFailed } else { ApiError::NotFound });
                }
                Attempt::Conflict(reasons) => reasons,
                Attempt::Throttled => Vec::new(),
            };
            if !in_lanes {
                let is_heat = met.get(1).is_some_and(is_conflict);
                heat += u32::from(is_heat);
                let now = if is_heat && heat % room::HOT == 0 {
                    Box::pin(timed(Part::Db, self.spread_by_heat(org))).await
                } else {
                    self.org(org).await?
                };
                // Others may have found it hot: then it has lanes, and the room goes there.
                in_lanes = now.is_some_and(|org| org.spread_from.is_some());
            }
        }
        Err(contended())
    }

    /// Up to `limit` items, newest first, those before `after` in the order of creation, and the id to go on after.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn list_items(
        &self,
        org: &OrgRecord,
        limit: u8,
        after: Option<ItemId>,
    ) -> Result<(Vec<ItemRecord>, Option<ItemId>), ApiError> {
        let before = after.map_or(self.now(), ItemId::made_at);
        let partitions = keys::partitions(org, keys::items_pk(org.org_id), ITEM_PARTITIONS, limit, before);
        timed(Part::Db, self.newest(partitions, limit, after, |item: &ItemRecord| item.item_id)).await
    }
}
