//! Changes of versioned records under conditions, each applied once. A change carries an id of its own into the record, and keeps that of the
//! change before: a repetition by the SDK, whose first reply was lost, is refused, and finds by the id that it was itself that changed it,
//! also where somebody has made another change since. (Two others within the second of a repetition are not told apart.)

use super::keys::Key;
use super::single::SingleWrite as _;
use super::{Store, classify, number, record, string};
use crate::conditional::Expected;
use crate::error::ApiError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use platform::cache::WriteOutcome;
use platform::telemetry::{Part, timed};
use serde::de::DeserializeOwned;

/// The attributes that count a record's changes and name the last two. A record that is changed in two independent ways has
/// its own for each.
pub(crate) struct Versioned {
    version: &'static str,
    write_id: &'static str,
    write_id_before: &'static str,
    /// Of a record with this attribute there are copies: it is not changed alone.
    copied: Option<&'static str>,
}

pub(crate) const RECORD: Versioned =
    Versioned { version: "version", write_id: "write_id", write_id_before: "write_id_before", copied: None };
pub(crate) const PLAN: Versioned = Versioned {
    version: "plan_version",
    write_id: "plan_write_id",
    write_id_before: "plan_write_id_before",
    copied: Some("copied"),
};

impl Store {
    /// Sets attributes of a record, if it is as `expected`.
    ///
    /// # Errors
    /// [`ApiError::NotFound`]; [`ApiError::PreconditionFailed`] if it has another version.
    pub(crate) async fn change_versioned<T: DeserializeOwned>(
        &self,
        key: Key,
        versioned: &Versioned,
        set: Vec<(&'static str, AttributeValue)>,
        expected: Expected,
    ) -> WriteOutcome<T, ApiError> {
        let (condition, version) = match condition(expected) {
            Ok(condition) => condition,
            Err(refusal) => return WriteOutcome::Unknown(refusal),
        };
        let write_id = string(uuid::Uuid::now_v7().simple());
        let mut assignments = "SET #version = #version + :one, #write_id = :write_id, \
            #write_id_before = if_not_exists(#write_id, :nobody)"
            .to_owned();
        let alone = versioned.copied.map_or_else(String::new, |copied| format!(" AND attribute_not_exists({copied})"));
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .condition_expression(format!(
                "{condition} AND (attribute_not_exists(#write_id) OR #write_id <> :write_id) \
                AND (attribute_not_exists(#write_id_before) OR #write_id_before <> :write_id){alone}"
            ))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_values(ReturnValue::AllNew)
            .expression_attribute_names("#version", versioned.version)
            .expression_attribute_names("#write_id", versioned.write_id)
            .expression_attribute_names("#write_id_before", versioned.write_id_before)
            .expression_attribute_values(":nobody", string(""))
            .expression_attribute_values(":write_id", write_id.clone())
            .expression_attribute_values(":one", number(1));
        if let Some(version) = version {
            update = update.expression_attribute_values(":expected", version);
        }
        for (at, (name, value)) in set.into_iter().enumerate() {
            assignments.push_str(&format!(", #set{at} = :set{at}"));
            update = update
                .expression_attribute_names(format!("#set{at}"), name)
                .expression_attribute_values(format!(":set{at}"), value);
        }
        let error = match timed(Part::Db, update.update_expression(assignments).send_unless_held()).await {
            Ok(reply) => return record(reply.attributes.unwrap_or_default()).into(),
            Err(error) => error,
        };
        let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return WriteOutcome::Unknown(classify(error));
        };
        let Some(found) = failed.item.clone() else { return WriteOutcome::Unknown(ApiError::NotFound) };
        let ours =
            [versioned.write_id, versioned.write_id_before].iter().any(|name| found.get(*name) == Some(&write_id));
        match record(found) {
            Ok(record) if ours => WriteOutcome::Written(record),
            Ok(record) => WriteOutcome::Refused(record, ApiError::PreconditionFailed),
            Err(error) => WriteOutcome::Unknown(error),
        }
    }
}

/// What a write expects, as a condition on a versioned record that must exist, and the value of `:expected` where it is on
/// `#version`.
///
/// # Errors
/// The refusal, if there is one already.
pub(crate) fn condition(expected: Expected) -> Result<(&'static str, Option<AttributeValue>), ApiError> {
    match expected {
        Expected::Exists => Ok(("attribute_exists(pk)", None)),
        Expected::Version(version) => Ok(("#version = :expected", Some(number(version)))),
        Expected::Refused(error) => Err(error),
    }
}
