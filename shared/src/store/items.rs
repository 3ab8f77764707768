//! Items. An organization's counter of them changes in the same transaction, so a plan's limit is exact.

use super::idempotency::{Begun, Keyed};
use super::keys::{self, Key};
use super::{Store, Transaction, attributes, classify, number, record, string, versioned};
use crate::conditional::Expected;
use crate::error::ApiError;
use crate::ids::{ItemId, OrgId};
use crate::model::cached::ItemPagesKey;
use crate::model::item::{ItemChanges, ItemRecord};
use crate::model::org::OrgRecord;
use crate::model::text::Description;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use platform::cache::{Invalidation, WriteOutcome};
use platform::idempotency::{Begin, KeyClaim};
use platform::response::Reply;
use platform::telemetry::{Part, timed};
use std::collections::HashMap;

mod batch;

pub use batch::{BATCH, Unwritten};

/// How often a creation is tried whose plan changed meanwhile.
const PLAN_ATTEMPTS: u32 = 4;

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

    /// Takes room for `count` items, and stores what goes with it, together or not at all. As a transaction
    /// even if it is one write: its token makes a retry after a lost reply count once.
    async fn with_room<'k>(
        &self,
        org: &OrgRecord,
        count: usize,
        claim: Option<&KeyClaim<'k>>,
        puts: Vec<TransactWriteItem>,
    ) -> Result<Begun<'k>, ApiError> {
        let mut plan = org.plan;
        for _ in 0..PLAN_ATTEMPTS {
            let mut writes = vec![self.update(take_room(org.org_id, plan, count))?];
            writes.extend(puts.iter().cloned());
            match self.transact_with_key(org.org_id, claim, writes).await? {
                Keyed::Begun(begun) => return Ok(begun),
                Keyed::Freed => {}
                Keyed::Refused(_) => plan = self.plan_with_room(org.org_id, count).await?,
            }
        }
        Err(ApiError::Contended)
    }

    /// The organization's plan, if it has room: then the condition failed for a plan that changed meanwhile.
    async fn plan_with_room(&self, org: OrgId, count: usize) -> Result<crate::model::org::Plan, ApiError> {
        let org: OrgRecord = self.get(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
        let limit = org.plan.limits().items;
        if org.item_count + count as u64 > limit {
            return Err(ApiError::PlanLimitReached { what: "items", limit });
        }
        Ok(org.plan)
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
        let count = Update::builder()
            .set_key(Some(Key::org(org).attributes()))
            .update_expression("ADD item_count :minus")
            .expression_attribute_values(":minus", number(-1));
        let writes = vec![TransactWriteItem::builder().delete(delete).build(), self.update(count)?];
        match timed(Part::Db, self.transact(writes)).await? {
            Transaction::Done => Ok(()),
            Transaction::Refused(reasons) => {
                let exists =
                    reasons.first().is_some_and(|reason| reason.item.as_ref().is_some_and(|item| !item.is_empty()));
                Err(if exists { ApiError::PreconditionFailed } else { ApiError::NotFound })
            }
        }
    }

    /// Up to `limit` items, newest first, those before `after` in the order of creation, and the id to go on after.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn list_items(
        &self,
        org: OrgId,
        limit: u8,
        after: Option<ItemId>,
    ) -> Result<(Vec<ItemRecord>, Option<ItemId>), ApiError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::from(limit))
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", string(keys::items_pk(org)))
            .set_exclusive_start_key(after.map(|item| Key::item(org, item).attributes()))
            .send();
        let page = timed(Part::Db, query).await.map_err(classify)?;
        let more = page.last_evaluated_key.is_some();
        let items: Vec<ItemRecord> =
            page.items.unwrap_or_default().into_iter().map(record).collect::<Result<_, _>>()?;
        let next = items.last().filter(|_| more).map(|last| last.item_id);
        Ok((items, next))
    }
}

/// Counts `count` more items, if the organization is on `plan` and that has room.
fn take_room(
    org: OrgId,
    plan: crate::model::org::Plan,
    count: usize,
) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
    // Never negative where it decides: a count above the limit means no room at all.
    let highest = i128::from(plan.limits().items) - count as i128;
    Update::builder()
        .set_key(Some(Key::org(org).attributes()))
        .update_expression("ADD item_count :count")
        .condition_expression("#plan = :plan AND item_count <= :highest")
        .expression_attribute_names("#plan", "plan")
        .expression_attribute_values(":plan", string(plan.as_str()))
        .expression_attribute_values(":count", number(count))
        .expression_attribute_values(":highest", number(highest))
}
