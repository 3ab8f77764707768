//! The functions' calls: the engine is asked with what they have, where they are. Nothing is signed, written as JSON or sent,
//! and no thread is changed: a call takes tens of microseconds, in memory or in the operating system's cache of files, and
//! handing it to another thread and back takes as long.

use super::failure::{FromEngine, failed, refused};
use super::values::{
    from_item, from_keys, from_writes, required, text, to_item, to_items, to_keys, to_part, to_write, without,
};
use crate::privileges::Privileges;
use aws_sdk_dynamodb::{
    operation::{
        batch_get_item::{BatchGetItemError, BatchGetItemInput, BatchGetItemOutput},
        batch_write_item::{BatchWriteItemError, BatchWriteItemInput, BatchWriteItemOutput},
        delete_item::{DeleteItemError, DeleteItemInput, DeleteItemOutput},
        get_item::{GetItemError, GetItemInput, GetItemOutput},
        put_item::{PutItemError, PutItemInput, PutItemOutput},
        query::{QueryError, QueryInput, QueryOutput},
        transact_write_items::{TransactWriteItemsError, TransactWriteItemsInput, TransactWriteItemsOutput},
        update_item::{UpdateItemError, UpdateItemInput, UpdateItemOutput},
    },
    types::TransactWriteItem,
};
use dynoxide::actions::{
    batch_get_item::BatchGetItemRequest, batch_write_item::BatchWriteItemRequest, delete_item::DeleteItemRequest,
    get_item::GetItemRequest, put_item::PutItemRequest, query::QueryRequest,
    transact_write_items::TransactWriteItemsRequest, update_item::UpdateItemRequest,
};
use dynoxide::{Database as Dynoxide, DynoxideError};
use shared::aws::{Engine, Failure, Refusal};
use shared::measuring::count_database_call;
use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};
use tokio::sync::Mutex;

/// The engine, until it is closed: contexts live as long as the process, and the files must not be open that long.
#[derive(Clone)]
pub(super) struct Shared(Arc<One>);

struct One {
    engine: RwLock<Option<Dynoxide>>,
    turns: Mutex<()>,
}

impl Shared {
    pub(super) fn new(engine: Dynoxide) -> Self {
        Self(Arc::new(One { engine: RwLock::new(Some(engine)), turns: Mutex::new(()) }))
    }

    pub(super) fn close(&self) {
        self.0.engine.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The engine, which is not closed meanwhile.
    fn get(&self) -> RwLockReadGuard<'_, Option<Dynoxide>> {
        self.0.engine.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The engine for callers who are judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) engine: Shared,
    pub(super) privileges: Arc<Privileges>,
}

impl Judged {
    fn may(&self, caller: &str, action: &str, table: Option<&str>) -> Result<(), Refusal> {
        self.privileges.use_table(caller, action, table.unwrap_or_default())
    }

    /// Runs a call that was judged.
    fn run<O, E: FromEngine>(
        &self,
        judgement: Result<(), Refusal>,
        call: impl FnOnce(&Dynoxide) -> Result<O, DynoxideError>,
    ) -> Result<O, Failure<E>> {
        judgement.map_err(refused)?;
        let engine = self.engine.get();
        let engine = engine.as_ref().ok_or(Failure::Closed)?;
        count_database_call();
        call(engine).map_err(failed)
    }
}

impl Engine for Judged {
    fn turns(&self) -> &Mutex<()> {
        &self.engine.0.turns
    }

    fn get_item(&self, caller: &str, input: GetItemInput) -> Result<GetItemOutput, Failure<GetItemError>> {
        let judgement = self.may(caller, "dynamodb:GetItem", input.table_name.as_deref());
        self.run(judgement, |engine| {
            without!(input, attributes_to_get, return_consumed_capacity);
            let reply = engine.get_item(GetItemRequest {
                table_name: required(input.table_name),
                key: to_item(required(input.key))?,
                consistent_read: input.consistent_read,
                projection_expression: input.projection_expression,
                expression_attribute_names: input.expression_attribute_names,
                ..Default::default()
            })?;
            Ok(GetItemOutput::builder().set_item(reply.item.map(from_item)).build())
        })
    }

    fn put_item(&self, caller: &str, input: PutItemInput) -> Result<PutItemOutput, Failure<PutItemError>> {
        let judgement = self.may(caller, "dynamodb:PutItem", input.table_name.as_deref());
        self.run(judgement, |engine| {
            without!(input, expected, conditional_operator, return_consumed_capacity, return_item_collection_metrics);
            let reply = engine.put_item(PutItemRequest {
                table_name: required(input.table_name),
                item: to_item(required(input.item))?,
                return_values: text(input.return_values),
                condition_expression: input.condition_expression,
                expression_attribute_names: input.expression_attribute_names,
                expression_attribute_values: to_items(input.expression_attribute_values)?,
                return_values_on_condition_check_failure: text(input.return_values_on_condition_check_failure),
                ..Default::default()
            })?;
            Ok(PutItemOutput::builder().set_attributes(reply.attributes.map(from_item)).build())
        })
    }

    fn update_item(&self, caller: &str, input: UpdateItemInput) -> Result<UpdateItemOutput, Failure<UpdateItemError>> {
        let judgement = self.may(caller, "dynamodb:UpdateItem", input.table_name.as_deref());
        self.run(judgement, |engine| {
            without!(input, attribute_updates, expected, conditional_operator);
            without!(input, return_consumed_capacity, return_item_collection_metrics);
            let reply = engine.update_item(UpdateItemRequest {
                table_name: required(input.table_name),
                key: to_item(required(input.key))?,
                update_expression: input.update_expression,
                condition_expression: input.condition_expression,
                expression_attribute_names: input.expression_attribute_names,
                expression_attribute_values: to_items(input.expression_attribute_values)?,
                return_values: text(input.return_values),
                return_values_on_condition_check_failure: text(input.return_values_on_condition_check_failure),
                ..Default::default()
            })?;
            Ok(UpdateItemOutput::builder().set_attributes(reply.attributes.map(from_item)).build())
        })
    }

    fn delete_item(&self, caller: &str, input: DeleteItemInput) -> Result<DeleteItemOutput, Failure<DeleteItemError>> {
        let judgement = self.may(caller, "dynamodb:DeleteItem", input.table_name.as_deref());
        self.run(judgement, |engine| {
            without!(input, expected, conditional_operator, return_consumed_capacity, return_item_collection_metrics);
            let reply = engine.delete_item(DeleteItemRequest {
                table_name: required(input.table_name),
                key: to_item(required(input.key))?,
                return_values: text(input.return_values),
                condition_expression: input.condition_expression,
                expression_attribute_names: input.expression_attribute_names,
                expression_attribute_values: to_items(input.expression_attribute_values)?,
                return_values_on_condition_check_failure: text(input.return_values_on_condition_check_failure),
                ..Default::default()
            })?;
            Ok(DeleteItemOutput::builder().set_attributes(reply.attributes.map(from_item)).build())
        })
    }

    fn query(&self, caller: &str, input: QueryInput) -> Result<QueryOutput, Failure<QueryError>> {
        let judgement = self.may(caller, "dynamodb:Query", input.table_name.as_deref());
        self.run(judgement, |engine| {
            without!(input, key_conditions, query_filter, attributes_to_get, conditional_operator);
            without!(input, return_consumed_capacity);
            let limit = input.limit.map(|limit| {
                let wrong = || DynoxideError::ValidationException(format!("a limit of {limit} is less than 1"));
                usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or_else(wrong)
            });
            let reply = engine.query(QueryRequest {
                table_name: required(input.table_name),
                key_condition_expression: input.key_condition_expression,
                filter_expression: input.filter_expression,
                projection_expression: input.projection_expression,
                expression_attribute_names: input.expression_attribute_names,
                expression_attribute_values: to_items(input.expression_attribute_values)?,
                scan_index_forward: input.scan_index_forward.unwrap_or(true),
                limit: limit.transpose()?,
                exclusive_start_key: to_items(input.exclusive_start_key)?,
                select: text(input.select),
                consistent_read: input.consistent_read,
                index_name: input.index_name,
                ..Default::default()
            })?;
            let count = |count| i32::try_from(count).unwrap_or(i32::MAX);
            Ok(QueryOutput::builder()
                .set_items(reply.items.map(|items| items.into_iter().map(from_item).collect()))
                .count(count(reply.count))
                .scanned_count(count(reply.scanned_count))
                .set_last_evaluated_key(reply.last_evaluated_key.map(from_item))
                .build())
        })
    }

    fn batch_get_item(
        &self,
        caller: &str,
        input: BatchGetItemInput,
    ) -> Result<BatchGetItemOutput, Failure<BatchGetItemError>> {
        let tables = required(input.request_items);
        let judgement = tables.keys().try_for_each(|table| self.may(caller, "dynamodb:BatchGetItem", Some(table)));
        self.run(judgement, |engine| {
            without!(input, return_consumed_capacity);
            let wanted = tables.into_iter().map(|(table, keys)| Ok((table, to_keys(keys)?)));
            let wanted = wanted.collect::<Result<_, DynoxideError>>()?;
            let reply = engine.batch_get_item(BatchGetItemRequest { request_items: wanted, ..Default::default() })?;
            let found =
                reply.responses.into_iter().map(|(table, items)| (table, items.into_iter().map(from_item).collect()));
            let left = reply.unprocessed_keys.into_iter().map(|(table, keys)| Ok((table, from_keys(keys)?)));
            Ok(BatchGetItemOutput::builder()
                .set_responses(Some(found.collect()))
                .set_unprocessed_keys(Some(left.collect::<Result<_, DynoxideError>>()?))
                .build())
        })
    }

    fn batch_write_item(
        &self,
        caller: &str,
        input: BatchWriteItemInput,
    ) -> Result<BatchWriteItemOutput, Failure<BatchWriteItemError>> {
        let tables = required(input.request_items);
        let judgement = tables.keys().try_for_each(|table| self.may(caller, "dynamodb:BatchWriteItem", Some(table)));
        self.run(judgement, |engine| {
            without!(input, return_consumed_capacity, return_item_collection_metrics);
            let writes = tables.into_iter().map(|(table, writes)| {
                Ok((table, writes.into_iter().map(to_write).collect::<Result<_, DynoxideError>>()?))
            });
            let writes = writes.collect::<Result<_, DynoxideError>>()?;
            let reply =
                engine.batch_write_item(BatchWriteItemRequest { request_items: writes, ..Default::default() })?;
            let left = reply.unprocessed_items.into_iter().map(|(table, writes)| Ok((table, from_writes(writes)?)));
            Ok(BatchWriteItemOutput::builder()
                .set_unprocessed_items(Some(left.collect::<Result<_, DynoxideError>>()?))
                .build())
        })
    }

    /// The token is of no use here: whoever calls without a network has the answer, and does not ask again.
    fn transact_write_items(
        &self,
        caller: &str,
        input: TransactWriteItemsInput,
    ) -> Result<TransactWriteItemsOutput, Failure<TransactWriteItemsError>> {
        let parts = required(input.transact_items);
        let judgement =
            parts.iter().flat_map(needs).try_for_each(|(action, table)| self.may(caller, action, Some(table)));
        self.run(judgement, |engine| {
            without!(input, return_consumed_capacity, return_item_collection_metrics);
            let parts = parts.into_iter().map(to_part).collect::<Result<_, _>>()?;
            engine.transact_write_items(TransactWriteItemsRequest { transact_items: parts, ..Default::default() })?;
            Ok(TransactWriteItemsOutput::builder().build())
        })
    }
}

/// A transaction needs no permission of its own but that of each part.
fn needs(part: &TransactWriteItem) -> impl Iterator<Item = (&'static str, &str)> {
    let put = part.put.as_ref().map(|put| ("dynamodb:PutItem", put.table_name.as_str()));
    let update = part.update.as_ref().map(|update| ("dynamodb:UpdateItem", update.table_name.as_str()));
    let delete = part.delete.as_ref().map(|delete| ("dynamodb:DeleteItem", delete.table_name.as_str()));
    let check = part.condition_check.as_ref().map(|check| ("dynamodb:ConditionCheckItem", check.table_name.as_str()));
    [put, update, delete, check].into_iter().flatten()
}
