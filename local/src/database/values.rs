//! The SDK's types as the engine's, and back. What no function sends (the parameters that expressions replaced, and reports of
//! capacity) is refused rather than ignored.

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue as Value, KeysAndAttributes, PutRequest, TransactWriteItem, WriteRequest},
};
use dynoxide::{
    DynoxideError,
    actions::{batch_get_item, batch_write_item, transact_write_items as transact},
    types::AttributeValue as EngineValue,
};
use std::collections::HashMap;

/// A record or a key, as the engine has it.
pub(super) type EngineItem = HashMap<String, EngineValue>;
/// A record or a key, as the SDK has it.
pub(super) type Item = HashMap<String, Value>;

type Result<T> = std::result::Result<T, DynoxideError>;

/// Refuses an input in which any of these fields is set.
macro_rules! without {
    ($input:expr, $($field:ident),+) => {
        $(if $input.$field.is_some() {
            let field = stringify!($field);
            return Err(DynoxideError::ValidationException(format!("{field} is not answered in the process")));
        })+
    };
}
pub(super) use without;

fn to_value(value: Value) -> Result<EngineValue> {
    Ok(match value {
        Value::S(text) => EngineValue::S(text),
        Value::N(number) => EngineValue::N(number),
        Value::B(bytes) => EngineValue::B(bytes.into_inner()),
        Value::Bool(is) => EngineValue::BOOL(is),
        Value::Null(is) => EngineValue::NULL(is),
        Value::Ss(texts) => EngineValue::SS(texts),
        Value::Ns(numbers) => EngineValue::NS(numbers),
        Value::Bs(all) => EngineValue::BS(all.into_iter().map(Blob::into_inner).collect()),
        Value::L(values) => EngineValue::L(values.into_iter().map(to_value).collect::<Result<_>>()?),
        Value::M(values) => EngineValue::M(to_item(values)?),
        _ => return Err(DynoxideError::ValidationException("a value of an unknown type".to_owned())),
    })
}

fn from_value(value: EngineValue) -> Value {
    match value {
        EngineValue::S(text) => Value::S(text),
        EngineValue::N(number) => Value::N(number),
        EngineValue::B(bytes) => Value::B(Blob::new(bytes)),
        EngineValue::BOOL(is) => Value::Bool(is),
        EngineValue::NULL(is) => Value::Null(is),
        EngineValue::SS(texts) => Value::Ss(texts),
        EngineValue::NS(numbers) => Value::Ns(numbers),
        EngineValue::BS(all) => Value::Bs(all.into_iter().map(Blob::new).collect()),
        EngineValue::L(values) => Value::L(values.into_iter().map(from_value).collect()),
        EngineValue::M(values) => Value::M(from_item(values)),
    }
}

pub(super) fn to_item(item: Item) -> Result<EngineItem> {
    item.into_iter().map(|(name, value)| Ok((name, to_value(value)?))).collect()
}

pub(super) fn to_items(items: Option<Item>) -> Result<Option<EngineItem>> {
    items.map(to_item).transpose()
}

pub(super) fn from_item(item: EngineItem) -> Item {
    item.into_iter().map(|(name, value)| (name, from_value(value))).collect()
}

/// What a required member is to the engine when it is absent: the engine says what is wrong with it.
pub(super) fn required<T: Default>(member: Option<T>) -> T {
    member.unwrap_or_default()
}

/// An enumeration's value, as the protocol has it.
pub(super) fn text(value: Option<impl AsRef<str>>) -> Option<String> {
    value.map(|value| value.as_ref().to_owned())
}

pub(super) fn to_keys(keys: KeysAndAttributes) -> Result<batch_get_item::KeysAndAttributes> {
    without!(keys, attributes_to_get);
    Ok(batch_get_item::KeysAndAttributes {
        keys: keys.keys.into_iter().map(to_item).collect::<Result<_>>()?,
        projection_expression: keys.projection_expression,
        expression_attribute_names: keys.expression_attribute_names,
        consistent_read: keys.consistent_read,
        ..Default::default()
    })
}

/// Keys that were left unread, which the engine has as JSON.
pub(super) fn from_keys(left: serde_json::Value) -> Result<KeysAndAttributes> {
    let left: batch_get_item::KeysAndAttributes = serde_json::from_value(left).map_err(internal)?;
    KeysAndAttributes::builder()
        .set_keys(Some(left.keys.into_iter().map(from_item).collect()))
        .set_projection_expression(left.projection_expression)
        .set_expression_attribute_names(left.expression_attribute_names)
        .set_consistent_read(left.consistent_read)
        .build()
        .map_err(internal)
}

pub(super) fn to_write(write: WriteRequest) -> Result<batch_write_item::WriteRequest> {
    let put = write.put_request.map(|put| to_item(put.item).map(|item| batch_write_item::PutRequest { item }));
    let delete =
        write.delete_request.map(|delete| to_item(delete.key).map(|key| batch_write_item::DeleteRequest { key }));
    Ok(batch_write_item::WriteRequest { put_request: put.transpose()?, delete_request: delete.transpose()? })
}

/// Writes that were left undone, which the engine has as JSON.
pub(super) fn from_writes(left: serde_json::Value) -> Result<Vec<WriteRequest>> {
    let left: Vec<batch_write_item::WriteRequest> = serde_json::from_value(left).map_err(internal)?;
    let write = |write: batch_write_item::WriteRequest| {
        let put = write.put_request.map(|put| PutRequest::builder().set_item(Some(from_item(put.item))).build());
        let delete = write.delete_request.map(|delete| {
            aws_sdk_dynamodb::types::DeleteRequest::builder().set_key(Some(from_item(delete.key))).build()
        });
        Ok(WriteRequest::builder()
            .set_put_request(put.transpose().map_err(internal)?)
            .set_delete_request(delete.transpose().map_err(internal)?)
            .build())
    };
    left.into_iter().map(write).collect()
}

pub(super) fn to_part(part: TransactWriteItem) -> Result<transact::TransactWriteItem> {
    let put = |put: aws_sdk_dynamodb::types::Put| {
        Ok::<_, DynoxideError>(transact::TransactPut {
            table_name: put.table_name,
            item: to_item(put.item)?,
            condition_expression: put.condition_expression,
            expression_attribute_names: put.expression_attribute_names,
            expression_attribute_values: to_items(put.expression_attribute_values)?,
            return_values_on_condition_check_failure: text(put.return_values_on_condition_check_failure),
        })
    };
    let update = |update: aws_sdk_dynamodb::types::Update| {
        Ok::<_, DynoxideError>(transact::TransactUpdate {
            table_name: update.table_name,
            key: to_item(update.key)?,
            update_expression: update.update_expression,
            condition_expression: update.condition_expression,
            expression_attribute_names: update.expression_attribute_names,
            expression_attribute_values: to_items(update.expression_attribute_values)?,
            return_values_on_condition_check_failure: text(update.return_values_on_condition_check_failure),
        })
    };
    let delete = |delete: aws_sdk_dynamodb::types::Delete| {
        Ok::<_, DynoxideError>(transact::TransactDelete {
            table_name: delete.table_name,
            key: to_item(delete.key)?,
            condition_expression: delete.condition_expression,
            expression_attribute_names: delete.expression_attribute_names,
            expression_attribute_values: to_items(delete.expression_attribute_values)?,
            return_values_on_condition_check_failure: text(delete.return_values_on_condition_check_failure),
        })
    };
    let check = |check: aws_sdk_dynamodb::types::ConditionCheck| {
        Ok::<_, DynoxideError>(transact::TransactConditionCheck {
            table_name: check.table_name,
            key: to_item(check.key)?,
            condition_expression: check.condition_expression,
            expression_attribute_names: check.expression_attribute_names,
            expression_attribute_values: to_items(check.expression_attribute_values)?,
            return_values_on_condition_check_failure: text(check.return_values_on_condition_check_failure),
        })
    };
    Ok(transact::TransactWriteItem {
        put: part.put.map(put).transpose()?,
        update: part.update.map(update).transpose()?,
        delete: part.delete.map(delete).transpose()?,
        condition_check: part.condition_check.map(check).transpose()?,
    })
}

/// What should not happen: an answer of the engine that the SDK has no type for.
fn internal(error: impl std::fmt::Display) -> DynoxideError {
    DynoxideError::InternalServerError(error.to_string())
}
