//! Idempotency keys of an organization: taken in the same transaction as what they stand for.

use super::keys::{Key, TTL};
use super::{Attributes, Store, attributes, number, record};
use crate::error::ApiError;
use crate::idempotency::{KeyRecord, Once, Standing, StoredReply};
use crate::ids::OrgId;
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::{CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

/// What a request with an idempotency key did.
#[derive(Debug)]
pub enum Creation {
    /// It was the first: it took effect.
    Created,
    /// It was a repetition: this was the first one's reply.
    Repeated(StoredReply),
}

impl Store {
    /// Takes a key with its reply, unless somebody has it.
    pub(super) fn take_key(&self, org: OrgId, once: &Once, reply: StoredReply) -> Result<TransactWriteItem, ApiError> {
        let now = Moment::now();
        let record = KeyRecord::complete(once, reply, now.as_millis());
        let ttl = Moment::from_millis(record.expires_at).as_ttl_seconds();
        let mut item = attributes(Key::idempotency(org, once), &record)?;
        item.insert(TTL.to_owned(), number(ttl));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            // An expired record counts as gone: DynamoDB's own removal takes days.
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_millis()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// What the one who has the key says to this request; `None` if the key is free by now.
    pub(super) async fn key_taken(
        &self,
        org: OrgId,
        once: &Once,
        reason: &CancellationReason,
    ) -> Result<Option<StoredReply>, ApiError> {
        let found: Option<Attributes> = reason.item.clone().filter(|item| !item.is_empty());
        let known: Option<KeyRecord> = match found {
            Some(item) => Some(record(item)?),
            None => self.get(Key::idempotency(org, once)).await?,
        };
        let Some(known) = known else { return Ok(None) };
        match known.standing(once, Moment::now().as_millis()) {
            Standing::Replay(reply) => Ok(Some(reply)),
            Standing::Mismatch => Err(ApiError::IdempotencyMismatch),
            Standing::InFlight { retry_after_seconds } => Err(ApiError::IdempotencyInFlight { retry_after_seconds }),
            Standing::Free => Ok(None),
        }
    }
}
