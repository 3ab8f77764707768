//! Idempotency keys of an organization: taken in the same transaction as what they stand for.

use super::keys::{Key, PK, TTL};
use super::pieces::{PIECE_BYTES, pieces};
use super::{
    Attempt, Attributes, Store, Transaction, attributes, certainly_nothing, changes, condition_failed, is_conflict,
    not_written, number, out_of_tries, record, string, wait_before,
};
use crate::error::{ApiError, ApiResult};
use crate::ids::OrgId;
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use platform::cache::{Invalidation, Uncached};
use platform::idempotency::{Begin, IdempotencyKey, KeyClaim, KeyRecord, KeyState, StoredReply};
use platform::response::Reply;
use platform::telemetry::{Part, timed};
use std::collections::HashMap;
use std::time::Duration;

/// The record is as its holder wrote it: the key was neither completed nor taken over.
const STILL_HELD: &str = "lease_until = :held AND attribute_not_exists(#reply)";

/// How often a key is taken that meets others.
const KEPT_ATTEMPTS: u32 = 8;

/// An update of a key's record that is made only if that still is as it was read.
pub(super) fn while_held(update: UpdateBuilder, record: &KeyRecord) -> UpdateBuilder {
    update
        .condition_expression(STILL_HELD)
        .expression_attribute_names("#reply", "reply")
        .expression_attribute_values(":held", number(record.lease_until))
}

/// Somebody else took the key over in this moment.
pub(super) const TAKEN_OVER: ApiError = ApiError::IdempotencyInFlight { retry_after_seconds: 1 };

/// How a write stands to its key. What an abandoned key was claimed for is to be gone on with.
pub type Begun<'k, F = ()> = Begin<F, KeyClaim<'k>>;

/// Whether nothing new came of a request: what was taken for it may be given back.
#[must_use]
pub fn is_nothing_new(begun: &Result<Begun<'_>, ApiError>) -> bool {
    begun.as_ref().map_or_else(certainly_nothing, |begun| !matches!(begun, Begin::First(())))
}

/// How a transaction ended that takes a request's key.
pub(super) enum Keyed<'k> {
    /// It is done, or the key says what to do in its place.
    Begun(Begun<'k>),
    /// The key was somebody's and is free by now: worth another try.
    Freed,
    /// Nothing was written, and the key was not why: one reason for each of the other writes, in order.
    Refused(Vec<CancellationReason>),
    /// It met another one, and nothing was written. The same reasons.
    Conflict(Vec<CancellationReason>),
    /// It was throttled, and nothing was written.
    Throttled,
}

impl Keyed<'_> {
    /// Whether another transaction had the record of this write, counted without that of the key.
    pub(super) fn met_at(&self, write: usize) -> bool {
        matches!(self, Self::Conflict(reasons) if reasons.get(write).is_some_and(is_conflict))
    }

    /// Whether it met another one anywhere, or was throttled.
    pub(super) fn met_others(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Throttled)
    }
}

/// The attribute of a piece's text.
const TEXT: &str = "text";

/// When the database may remove a key's record.
fn ttl(record: &KeyRecord) -> AttributeValue {
    number(Moment::from_millis(record.expires_at).as_ttl_seconds())
}

impl Store {
    /// Runs a transaction once that takes the request's key, if it has one, together with `writes`.
    pub(super) async fn transact_once_with_key<'k>(
        &self,
        org: OrgId,
        claim: Option<&KeyClaim<'k>>,
        mut writes: Vec<TransactWriteItem>,
    ) -> Result<Keyed<'k>, ApiError> {
        if let Some(claim) = claim {
            let mut taking = self.take_key(org, claim)?;
            writes.insert(0, taking.remove(0));
            writes.extend(taking);
        }
        let mut reasons = match self.attempt(writes).await? {
            Attempt::Ended(Transaction::Done) => return Ok(Keyed::Begun(Begin::First(()))),
            Attempt::Ended(Transaction::Refused(reasons)) => reasons,
            Attempt::Conflict(reasons) => {
                return Ok(Keyed::Conflict(reasons.into_iter().skip(usize::from(claim.is_some())).collect()));
            }
            Attempt::Throttled => return Ok(Keyed::Throttled),
        };
        if let Some(claim) = claim {
            let reason = reasons.remove(0);
            if condition_failed(&reason) {
                return Ok(match self.key_taken(org, claim.key, &reason).await.map_err(not_written)? {
                    Begin::First(()) => Keyed::Freed,
                    earlier => Keyed::Begun(earlier),
                });
            }
        }
        Ok(Keyed::Refused(reasons))
    }

    /// Takes the request's key, if it has one, for a reply to what needed no write.
    ///
    /// # Errors
    /// Those of the key; [`ApiError::Contended`] if others take and free it all the time.
    pub async fn keep_reply<'k>(&self, org: OrgId, claim: Option<&KeyClaim<'k>>) -> Result<Begun<'k>, ApiError> {
        if claim.is_none() {
            return Ok(Begun::First(()));
        }
        timed(Part::Db, async {
            let mut met_others = false;
            for attempt in 0..KEPT_ATTEMPTS {
                wait_before(attempt).await;
                let keyed = self.transact_once_with_key(org, claim, Vec::new()).await?;
                met_others |= keyed.met_others();
                if let Keyed::Begun(begun) = keyed {
                    return Ok(begun);
                }
            }
            Err(out_of_tries(met_others))
        })
        .await
    }

    /// Takes a key, unless somebody has it. The first write is the one with the condition.
    fn take_key(&self, org: OrgId, claim: &KeyClaim) -> Result<Vec<TransactWriteItem>, ApiError> {
        let (record, pieces) = self.in_pieces(org, claim.key, &claim.record)?;
        let mut item = attributes(Key::idempotency(org, claim.key), &record)?;
        item.insert(TTL.to_owned(), ttl(&record));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            // An expired record counts as gone: DynamoDB's own removal takes days.
            .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
            .expression_attribute_values(":now", number(self.now().as_millis()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = TransactWriteItem::builder().put(put.build().map_err(ApiError::internal)?).build();
        Ok(std::iter::once(put).chain(pieces).collect())
    }

    /// Makes `next` of the claim's record, if that still stands.
    pub(super) fn replace_key(
        &self,
        org: OrgId,
        held: &KeyClaim,
        next: &KeyRecord,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let (next, pieces) = self.in_pieces(org, held.key, next)?;
        let update = while_held(changes(Key::idempotency(org, held.key), &held.record, &next)?, &held.record);
        Ok(std::iter::once(self.update(update)?).chain(pieces).collect())
    }

    /// Gives a key back that nothing came of, if it is still held.
    pub(super) fn release_key(&self, org: OrgId, held: &KeyClaim) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::idempotency(org, held.key).attributes()))
            .condition_expression(STILL_HELD)
            .expression_attribute_names("#reply", "reply")
            .expression_attribute_values(":held", number(held.record.lease_until))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// A key's record as stored, and the writes of its reply where the record cannot hold that.
    fn in_pieces(
        &self,
        org: OrgId,
        key: &IdempotencyKey,
        record: &KeyRecord,
    ) -> Result<(KeyRecord, Vec<TransactWriteItem>), ApiError> {
        let Some(reply) = record.reply.as_ref().filter(|reply| reply.body.len() > PIECE_BYTES) else {
            return Ok((record.clone(), Vec::new()));
        };
        let mut writes = Vec::new();
        for (number, piece) in (0..).zip(pieces(&reply.body)) {
            let mut item = Key::kept_reply(org, key, number).attributes();
            item.insert(TEXT.to_owned(), string(piece));
            item.insert(TTL.to_owned(), ttl(record));
            let put =
                Put::builder().table_name(&self.table).set_item(Some(item)).build().map_err(ApiError::internal)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        let reply_pieces = u32::try_from(writes.len()).map_err(ApiError::internal)?;
        let reply = Some(StoredReply { body: String::new(), ..reply.clone() });
        Ok((KeyRecord { reply_pieces, reply, ..record.clone() }, writes))
    }

    /// The record with its whole reply, if that is asked for before it expires.
    async fn whole(&self, org: OrgId, key: &IdempotencyKey, mut record: KeyRecord) -> Result<KeyRecord, ApiError> {
        if record.reply_pieces == 0 || record.expires_at <= self.now().as_millis() {
            return Ok(record);
        }
        let place = |number| Key::kept_reply(org, key, number).attributes();
        let mut texts: HashMap<String, String> = HashMap::new();
        for mut piece in self.get_all((0..record.reply_pieces).map(place).collect()).await? {
            if let (Some(AttributeValue::S(pk)), Some(AttributeValue::S(text))) = (piece.remove(PK), piece.remove(TEXT))
            {
                texts.insert(pk, text);
            }
        }
        let mut body = String::new();
        for number in 0..record.reply_pieces {
            let text = texts.remove(&Key::kept_reply(org, key, number).pk);
            body.push_str(&text.ok_or_else(|| ApiError::internal("a kept reply lacks a piece"))?);
        }
        if let Some(reply) = &mut record.reply {
            reply.body = body;
        }
        record.reply_pieces = 0;
        Ok(record)
    }

    /// What a request is that could not take its key; [`Begin::First`] if the key is free by now.
    async fn key_taken<'k>(
        &self,
        org: OrgId,
        key: &'k IdempotencyKey,
        reason: &CancellationReason,
    ) -> Result<Begun<'k>, ApiError> {
        let found: Option<Attributes> = reason.item.clone().filter(|item| !item.is_empty());
        let known: Option<KeyRecord> = match found {
            Some(item) => Some(record(item)?),
            None => self.get(Key::idempotency(org, key)).await?,
        };
        let known = match known {
            Some(known) => Some(self.whole(org, key, known).await?),
            None => None,
        };
        self.begun(key, known)
    }

    fn begun<'k>(&self, key: &'k IdempotencyKey, known: Option<KeyRecord>) -> Result<Begun<'k>, ApiError> {
        match known.map_or(KeyState::Free, |known| known.state(key, self.now().as_millis())) {
            KeyState::Free => Ok(Begin::First(())),
            KeyState::Replay(reply) => Ok(Begin::Replay(reply)),
            KeyState::Abandoned(record) => Ok(Begin::Resume(KeyClaim { key, record })),
            KeyState::Mismatch => Err(ApiError::IdempotencyMismatch),
            KeyState::InFlight { retry_after_seconds } => Err(ApiError::IdempotencyInFlight { retry_after_seconds }),
        }
    }

    /// What is kept under a key.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn key(&self, org: OrgId, key: &IdempotencyKey) -> Result<Option<KeyRecord>, ApiError> {
        timed(Part::Db, async {
            match self.get(Key::idempotency(org, key)).await? {
                Some(record) => self.whole(org, key, record).await.map(Some),
                None => Ok(None),
            }
        })
        .await
    }

    /// Writes `next` in place of the claim's record, if that still stands and has no reply. Returns whether it did.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn advance_key(&self, org: OrgId, held: &KeyClaim<'_>, next: &KeyRecord) -> Result<bool, ApiError> {
        let writes = self.replace_key(org, held, next)?;
        Ok(timed(Part::Db, self.transact(writes)).await?.is_done())
    }

    /// The first reply under a key, if there is one.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyMismatch`], [`ApiError::IdempotencyInFlight`].
    pub async fn first_reply(&self, org: OrgId, key: &IdempotencyKey) -> Result<Option<StoredReply>, ApiError> {
        match self.begun(key, self.key(org, key).await?)? {
            Begin::Replay(reply) => Ok(Some(reply)),
            Begin::First(()) | Begin::Resume(_) => Ok(None),
        }
    }

    /// Takes an abandoned key over for `lease`.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyInFlight`] when somebody else was faster.
    pub async fn resume_key<'k>(
        &self,
        org: OrgId,
        abandoned: &KeyClaim<'k>,
        lease: Duration,
    ) -> Result<KeyClaim<'k>, ApiError> {
        let mine = abandoned.taken_over(lease, self.now().as_millis());
        let taken = self.advance_key(org, abandoned, &mine.record).await?;
        if taken { Ok(mine) } else { Err(TAKEN_OVER) }
    }

    /// Keeps the reply to work that was begun under a key and wrote nothing that is cached, before anybody is told it. Returns the reply that
    /// stands: another one's, if the key was taken over meanwhile.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyInFlight`] when somebody else works on it now.
    pub async fn complete_key(&self, org: OrgId, held: &KeyClaim<'_>, reply: Reply) -> ApiResult {
        let ours = StoredReply::of(&reply);
        if self.advance_key(org, held, &held.completed(ours.clone())).await? {
            return Ok(reply);
        }
        let stands = self.first_reply(org, held.key).await?.ok_or(TAKEN_OVER)?;
        if stands == ours { Ok(reply) } else { stands.replayed(Uncached).into_result() }
    }

    /// The reply of the request that took the key over, which wrote what is cached as `written`.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyInFlight`] while it has not replied.
    pub async fn successor_reply<N>(
        &self,
        org: OrgId,
        key: &IdempotencyKey,
        written: N,
    ) -> Invalidation<N, Reply, ApiError> {
        match self.first_reply(org, key).await {
            Ok(Some(first)) => first.replayed(written),
            Ok(None) => Invalidation::published(written, Err(TAKEN_OVER)),
            Err(error) => Invalidation::published(written, Err(error)),
        }
    }

    /// What a request that was refused is to its key; [`Begin::First`] where the refusal stands. A repetition that would be refused by
    /// now (the limit is reached, the text has become too long for the plan) still gets the first reply or goes on with what was begun, and
    /// a key that came with another body is told so before anything else.
    ///
    /// The key is looked up here, and not before the request is begun, because a request that succeeds has
    /// looked at it in its own transaction: it pays no read for this.
    ///
    /// # Errors
    /// [`ApiError::IdempotencyMismatch`], [`ApiError::IdempotencyInFlight`].
    pub async fn begun_before<'k>(
        &self,
        org: OrgId,
        key: Option<&'k IdempotencyKey>,
        refusal: &ApiError,
    ) -> Result<Begun<'k>, ApiError> {
        let settled = matches!(
            refusal,
            ApiError::IdempotencyMismatch
                | ApiError::IdempotencyInFlight { .. }
                | ApiError::Unavailable(_)
                | ApiError::Internal(_)
        );
        match key.filter(|_| !settled) {
            Some(key) => self.begun(key, self.key(org, key).await?),
            None => Ok(Begin::First(())),
        }
    }

    /// The outcome of a request that writes what is cached as `written`, or where that is a refusal, the first reply under its key. The
    /// cache knows of the outcome already.
    ///
    /// # Errors
    /// The outcome's own, or those of [`Self::begun_before`].
    pub async fn replay_or<N>(
        &self,
        org: OrgId,
        key: Option<&IdempotencyKey>,
        written: N,
        outcome: ApiResult,
    ) -> Invalidation<N, Reply, ApiError> {
        let Err(refusal) = &outcome else { return Invalidation::published(written, outcome) };
        let begun = self.begun_before(org, key, refusal).await;
        match begun {
            Ok(Begin::Replay(first)) => first.replayed(written),
            Ok(Begin::First(()) | Begin::Resume(_)) => Invalidation::published(written, outcome),
            Err(error) => Invalidation::published(written, Err(error)),
        }
    }
}
