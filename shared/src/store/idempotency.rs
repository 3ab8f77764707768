//! Idempotency keys of an organization: taken in the same transaction as what they stand for.

use super::keys::{Key, TTL};
use super::{Attributes, Store, attributes, number, record};
use crate::error::ApiError;
use crate::idempotency::{KeyRecord, Once, Standing, StoredReply};
use crate::ids::OrgId;
use crate::model::time::Moment;
use crate::telemetry::{Part, timed};
use aws_sdk_dynamodb::types::{
    CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use std::time::Duration;

/// Who holds a key still writes it: the record as it was taken.
const STILL_HELD: &str = "lease_until = :held AND attribute_not_exists(#reply)";

/// What a request with an idempotency key did.
#[derive(Debug)]
pub enum Creation {
    /// It was the first: it took effect.
    Created,
    /// It was a repetition: this was the first one's reply.
    Repeated(StoredReply),
    /// An earlier one began and died: this is what to go on with.
    Abandoned(KeyRecord),
}

impl Store {
    /// Takes a key, unless somebody has it.
    pub(super) fn take_key(&self, org: OrgId, once: &Once, record: &KeyRecord) -> Result<TransactWriteItem, ApiError> {
        let put = self
            .put_key(org, once, record)?
            // An expired record counts as gone: DynamoDB's own removal takes days.
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", number(self.now().as_millis()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(TransactWriteItem::builder().put(put.build().map_err(ApiError::internal)?).build())
    }

    /// Writes `next` in place of `held`, if that still stands.
    pub(super) fn replace_key(
        &self,
        org: OrgId,
        once: &Once,
        (held, next): (&KeyRecord, &KeyRecord),
    ) -> Result<TransactWriteItem, ApiError> {
        let put = self
            .put_key(org, once, next)?
            .condition_expression(STILL_HELD)
            .expression_attribute_names("#reply", "reply")
            .expression_attribute_values(":held", number(held.lease_until));
        Ok(TransactWriteItem::builder().put(put.build().map_err(ApiError::internal)?).build())
    }

    /// Gives a key back that nothing came of, if it is still held.
    pub(super) fn release_key(&self, org: OrgId, once: &Once, held: &KeyRecord) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::idempotency(org, once).attributes()))
            .condition_expression(STILL_HELD)
            .expression_attribute_names("#reply", "reply")
            .expression_attribute_values(":held", number(held.lease_until))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn put_key(
        &self,
        org: OrgId,
        once: &Once,
        record: &KeyRecord,
    ) -> Result<aws_sdk_dynamodb::types::builders::PutBuilder, ApiError> {
        let mut item = attributes(Key::idempotency(org, once), record)?;
        item.insert(TTL.to_owned(), number(Moment::from_millis(record.expires_at).as_ttl_seconds()));
        Ok(Put::builder().table_name(&self.table).set_item(Some(item)))
    }

    /// What the one who has the key says to this request; `None` if the key is free by now.
    pub(super) async fn key_taken(
        &self,
        org: OrgId,
        once: &Once,
        reason: &CancellationReason,
    ) -> Result<Option<Creation>, ApiError> {
        let found: Option<Attributes> = reason.item.clone().filter(|item| !item.is_empty());
        let known: Option<KeyRecord> = match found {
            Some(item) => Some(record(item)?),
            None => self.get(Key::idempotency(org, once)).await?,
        };
        let Some(known) = known else { return Ok(None) };
        match known.standing(once, self.now().as_millis()) {
            Standing::Replay(reply) => Ok(Some(Creation::Repeated(reply))),
            Standing::Mismatch => Err(ApiError::IdempotencyMismatch),
            Standing::InFlight { retry_after_seconds } => Err(ApiError::IdempotencyInFlight { retry_after_seconds }),
            Standing::Abandoned(record) => Ok(Some(Creation::Abandoned(record))),
            Standing::Free => Ok(None),
        }
    }

    /// What is kept under a key.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn key(&self, org: OrgId, once: &Once) -> Result<Option<KeyRecord>, ApiError> {
        timed(Part::Db, self.get(Key::idempotency(org, once))).await
    }

    /// Writes `next` in place of `held`, if that still stands and has no reply. Whether it did.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn advance_key(
        &self,
        org: OrgId,
        once: &Once,
        (held, next): (&KeyRecord, &KeyRecord),
    ) -> Result<bool, ApiError> {
        let write = self.replace_key(org, once, (held, next))?;
        Ok(timed(Part::Db, self.transact(vec![write])).await?.is_done())
    }

    /// The first reply under a key, if there is one.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyMismatch`], [`ApiError::IdempotencyInFlight`].
    pub async fn first_reply(&self, org: OrgId, once: &Once) -> Result<Option<StoredReply>, ApiError> {
        match self.key(org, once).await?.map(|known| known.standing(once, self.now().as_millis())) {
            Some(Standing::Replay(reply)) => Ok(Some(reply)),
            Some(Standing::Mismatch) => Err(ApiError::IdempotencyMismatch),
            Some(Standing::InFlight { retry_after_seconds }) => {
                Err(ApiError::IdempotencyInFlight { retry_after_seconds })
            }
            Some(Standing::Abandoned(_) | Standing::Free) | None => Ok(None),
        }
    }

    /// Takes an abandoned key over for `lease`.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyInFlight`] when somebody else was faster.
    pub async fn resume_key(
        &self,
        org: OrgId,
        once: &Once,
        abandoned: &KeyRecord,
        lease: Duration,
    ) -> Result<KeyRecord, ApiError> {
        let mine = abandoned.taken_over(lease, self.now().as_millis());
        let taken = self.advance_key(org, once, (abandoned, &mine)).await?;
        if taken { Ok(mine) } else { Err(ApiError::IdempotencyInFlight { retry_after_seconds: 1 }) }
    }

    /// Keeps the reply to work that was begun under a key. Returns the reply that stands: another one's, if the
    /// key was taken over meanwhile.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyInFlight`] when somebody else works on it now.
    pub async fn complete_key(
        &self,
        org: OrgId,
        once: &Once,
        held: &KeyRecord,
        reply: StoredReply,
    ) -> Result<StoredReply, ApiError> {
        let next = KeyRecord { reply: Some(reply.clone()), work: None, ..held.clone() };
        if self.advance_key(org, once, (held, &next)).await? {
            return Ok(reply);
        }
        self.first_reply(org, once).await?.ok_or(ApiError::IdempotencyInFlight { retry_after_seconds: 1 })
    }
}
