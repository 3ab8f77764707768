//! Items. An organization's counter of them changes in the same transaction, so a plan's limit is exact.

use super::keys::{self, Key, PK, SK};
use super::{Precondition, Store, attributes, backoff, classify, number, record, string, update_failed};
use crate::error::ApiError;
use crate::ids::{ItemId, OrgId};
use crate::model::item::{ItemChanges, ItemRecord};
use crate::model::org::OrgRecord;
use crate::model::text::Description;
use crate::model::time::Moment;
use crate::request::IfMatch;
use crate::store::authority::sort_key;
use crate::telemetry::{Part, timed};
use aws_sdk_dynamodb::types::{
    Delete, PutRequest, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
};
use futures_util::future::join_all;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The most that one `BatchWriteItem` takes (DynamoDB's limit).
pub const BATCH: usize = 25;
/// How often writes that DynamoDB left unprocessed are sent again.
const BATCH_ATTEMPTS: u32 = 6;
/// After this a batch is not sent again: the caller is to get an answer within the function's time limit.
const BATCH_PATIENCE: Duration = Duration::from_secs(4);
/// How often a creation is tried whose plan changed meanwhile.
const PLAN_ATTEMPTS: u32 = 4;

/// What of a batch was not written.
#[derive(Debug, Default)]
pub struct Unwritten {
    /// Certainly not stored.
    pub absent: HashSet<ItemId>,
    /// The database went away before it could be told.
    pub unknown: HashSet<ItemId>,
}

impl Store {
    /// Stores an item, if the organization's plan has room for it.
    ///
    /// # Errors
    /// [`ApiError::QuotaExceeded`] without room.
    pub async fn create_item(&self, org: &OrgRecord, item: &ItemRecord) -> Result<(), ApiError> {
        let put = self.put_new(attributes(Key::item(item.org_id, item.item_id), item)?)?;
        timed(Part::Db, async {
            let mut plan = org.plan;
            for _ in 0..PLAN_ATTEMPTS {
                let writes = vec![put.clone(), self.update(take_room(org.org_id, plan, 1))?];
                if self.transact(writes).await?.is_done() {
                    return Ok(());
                }
                plan = self.plan_with_room(org.org_id, 1).await?;
            }
            Err(ApiError::Contended)
        })
        .await
    }

    /// Stores many items in batches of [`BATCH`], in parallel, after taking room for all of them at once.
    /// Returns what was not written; its room is given back.
    ///
    /// # Errors
    /// [`ApiError::QuotaExceeded`] without room for all.
    pub async fn create_items(&self, org: &OrgRecord, items: &[ItemRecord]) -> Result<Unwritten, ApiError> {
        timed(Part::Db, async {
            self.reserve_room(org, items.len()).await?;
            let mut all = Unwritten::default();
            for unwritten in join_all(items.chunks(BATCH).map(|batch| self.write_batch(batch))).await {
                all.absent.extend(unwritten.absent);
                all.unknown.extend(unwritten.unknown);
            }
            if !all.absent.is_empty()
                && let Err(error) = self.give_room_back(org.org_id, all.absent.len()).await
            {
                // The items' fate is what the caller asked about. The count stays too high, never too low.
                tracing::warn!(org_id = %org.org_id, %error, "room of unwritten items was not given back");
            }
            Ok(all)
        })
        .await
    }

    /// Writes up to [`BATCH`] items. Every write is a put of a fresh id, so sending one again is harmless.
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
        for attempt in 0..BATCH_ATTEMPTS {
            let sent = self
                .client
                .batch_write_item()
                .set_request_items(Some(HashMap::from([(self.table.clone(), pending.clone())])))
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
                    let error = classify(error);
                    tracing::warn!(%error, attempt, "a batch of items was not written");
                    if matches!(error, ApiError::Internal(_)) {
                        break;
                    }
                }
            }
            if started.elapsed() > BATCH_PATIENCE {
                break;
            }
            tokio::time::sleep(backoff(attempt)).await;
        }
        self.look_for(pending.iter().filter_map(written_id), items[0].org_id, &mut unwritten).await;
        unwritten
    }

    /// Finds out what became of writes whose replies were lost: one that was stored must not be called failed.
    async fn look_for(&self, ids: impl Iterator<Item = ItemId>, org: OrgId, unwritten: &mut Unwritten) {
        let ids: HashSet<ItemId> = ids.collect();
        let keys = ids.iter().map(|id| Key::item(org, *id).attributes()).collect();
        match self.get_all(keys).await {
            Ok(found) => {
                let found: HashSet<ItemId> = found.iter().filter_map(|item| sort_key(item).parse().ok()).collect();
                unwritten.absent.extend(ids.difference(&found));
            }
            Err(_) => unwritten.unknown.extend(ids),
        }
    }

    /// As a transaction, though it is one write: its token makes a retry after a lost reply count once.
    async fn reserve_room(&self, org: &OrgRecord, count: usize) -> Result<(), ApiError> {
        let mut plan = org.plan;
        for _ in 0..PLAN_ATTEMPTS {
            if self.transact(vec![self.update(take_room(org.org_id, plan, count))?]).await?.is_done() {
                return Ok(());
            }
            plan = self.plan_with_room(org.org_id, count).await?;
        }
        Err(ApiError::Contended)
    }

    async fn give_room_back(&self, org: OrgId, count: usize) -> Result<(), ApiError> {
        let back = Update::builder()
            .set_key(Some(Key::org(org).attributes()))
            .update_expression("ADD item_count :back")
            .expression_attribute_values(":back", number(format!("-{count}")));
        self.transact(vec![self.update(back)?]).await.map(|_| ())
    }

    /// The organization's plan, if it has room: then the condition failed for a plan that changed meanwhile.
    async fn plan_with_room(&self, org: OrgId, count: usize) -> Result<crate::model::org::Plan, ApiError> {
        let org: OrgRecord = self.get(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
        let limit = org.plan.limits().items;
        if org.item_count + count as u64 > limit {
            return Err(ApiError::QuotaExceeded {
                what: "items",
                limit,
                retry_after_seconds: super::ROOM_RETRY_SECONDS,
            });
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
    /// [`ApiError::NotFound`]; [`ApiError::PreconditionFailed`] if none of the versions is the current one.
    pub async fn update_item(
        &self,
        org: OrgId,
        item: ItemId,
        changes: ItemChanges,
        if_match: &IfMatch,
    ) -> Result<ItemRecord, ApiError> {
        let mut set = "SET updated_at = :now, #version = #version + :one".to_owned();
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::item(org, item).attributes()))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":now", number(Moment::now().as_millis()))
            .expression_attribute_values(":one", number(1));
        if let Some(name) = changes.name {
            set.push_str(", #name = :name");
            update = update
                .expression_attribute_names("#name", "name")
                .expression_attribute_values(":name", string(name.into_string()));
        }
        if let Some(description) = changes.description {
            set.push_str(", description = :description");
            let value = serde_dynamo::to_attribute_value(description.map(Description::into_string))
                .map_err(ApiError::internal)?;
            update = update.expression_attribute_values(":description", value);
        }
        let update =
            Precondition::new(if_match)?.apply(update.update_expression(set)).return_values(ReturnValue::AllNew).send();
        let reply = timed(Part::Db, update).await.map_err(update_failed)?;
        record(reply.attributes.unwrap_or_default())
    }

    /// Deletes an item and its place in the organization's count.
    ///
    /// # Errors
    /// [`ApiError::NotFound`]; [`ApiError::PreconditionFailed`] if none of the versions is the current one.
    pub async fn delete_item(&self, org: OrgId, item: ItemId, if_match: &IfMatch) -> Result<(), ApiError> {
        let (condition, values) = Precondition::new(if_match)?.into_parts();
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::item(org, item).attributes()))
            .set_expression_attribute_names(
                (!values.is_empty()).then(|| HashMap::from([("#version".to_owned(), "version".to_owned())])),
            )
            .set_expression_attribute_values((!values.is_empty()).then(|| values.into_iter().collect()))
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
            super::Transaction::Done => Ok(()),
            super::Transaction::Refused(reasons) => {
                let exists =
                    reasons.first().is_some_and(|reason| reason.item.as_ref().is_some_and(|item| !item.is_empty()));
                Err(if exists { ApiError::PreconditionFailed } else { ApiError::NotFound })
            }
        }
    }

    /// Up to `limit` items, newest first, those before `after` in the order of creation; and whether there
    /// are more.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn list_items(
        &self,
        org: OrgId,
        limit: u8,
        after: Option<ItemId>,
    ) -> Result<(Vec<ItemRecord>, bool), ApiError> {
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
        let items = page.items.unwrap_or_default().into_iter().map(record).collect::<Result<_, _>>()?;
        Ok((items, more))
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

/// The id of the item that a write would have put.
fn written_id(write: &WriteRequest) -> Option<ItemId> {
    let item = &write.put_request.as_ref()?.item;
    debug_assert!(item.contains_key(PK));
    item.get(SK)?.as_s().ok()?.parse().ok()
}
