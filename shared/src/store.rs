//! The database: one DynamoDB table, one client, every access pattern as a function. What belongs to an
//! organization takes its id first, or a [`RoleCheck`](role_check::RoleCheck), which holds it; there is no other way to it.

pub mod account_mail;
pub mod accounts;
pub mod authority;
pub mod caps;
pub mod devices;
pub mod email_changes;
mod email_requests;
pub mod guesses;
pub mod idempotency;
pub mod invitations;
pub mod items;
pub mod jobs;
pub mod joining;
mod kept_lanes;
pub mod keys;
mod limiters;
mod links;
mod marks;
pub mod members;
mod newest;
mod org_copies;
pub mod orgs;
pub mod outside;
mod pieces;
pub mod prices;
pub(crate) mod rates;
pub mod resets;
pub mod role_check;
mod rollout;
mod security_log;
pub mod session_ends;
pub mod sessions;
mod single;
mod slices;
pub mod suppression;
pub mod usage;
pub mod verification;
mod versioned;
pub mod waiting;

use crate::caps::Caps;
use crate::clock::Clock;
use crate::error::{ApiError, Cause};
use crate::model::time::Moment;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, TransactWriteItem, Update};
use kept_lanes::KeptLanes;
use keys::Key;
use org_copies::Copied;
use platform::aws::{AwsConfig, Signer, user_agent};
use platform::telemetry::{Part, timed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;

/// The table. A clone shares the client.
#[derive(Clone)]
pub struct Store {
    client: Client,
    table: String,
    clock: Clock,
    caps: Caps,
    copied: Copied,
    kept: KeptLanes,
}

/// A record's attributes.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// How often a transaction that met another one is tried before the caller is asked to come back.
const CONFLICT_ATTEMPTS: u32 = 8;

impl Store {
    /// A client for a table. Nothing is sent before its first use.
    ///
    /// # Panics
    /// If the configured extra roots are not PEM certificates.
    #[must_use]
    pub fn open(aws: &AwsConfig, table: String, caps: Caps, clock: Clock) -> Self {
        let config = aws.sdk_config().expect("AWS_CA_BUNDLE holds PEM certificates");
        let config = aws_sdk_dynamodb::config::Builder::from(&config)
            .push_auth_scheme(Signer::new(aws.region.clone(), "dynamodb"))
            .interceptor(user_agent());
        Self {
            client: Client::from_conf(config.build()),
            table,
            clock,
            caps,
            copied: Copied::default(),
            kept: KeptLanes::default(),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Reads one record, consistently.
    pub(crate) async fn get<T: DeserializeOwned>(&self, key: Key) -> Result<Option<T>, ApiError> {
        self.get_attributes(key).await?.map(record).transpose()
    }

    /// The same, whatever it is.
    pub(crate) async fn get_attributes(&self, key: Key) -> Result<Option<Attributes>, ApiError> {
        let reply = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .consistent_read(true)
            .send()
            .await
            .map_err(classify)?;
        Ok(reply.item)
    }

    /// All records that a query of the table finds, page after page, consistently.
    pub(crate) async fn all(&self, query: QueryFluentBuilder) -> Result<Vec<Attributes>, ApiError> {
        let query = query.table_name(&self.table).consistent_read(true);
        query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.map_err(classify)
    }

    /// Whether the table answers.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] or [`ApiError::Internal`].
    pub async fn ping(&self) -> Result<(), ApiError> {
        timed(Part::Db, self.get::<serde::de::IgnoredAny>(Key::health())).await.map(|_| ())
    }

    /// Runs a transaction; one that met another on the same record is tried again with jittered backoff.
    /// A failed condition is the caller's to understand: the outcome is per write.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Transaction, ApiError> {
        for attempt in 0..CONFLICT_ATTEMPTS {
            wait_before(attempt).await;
            if let Some(ended) = self.transact_once(writes.clone()).await? {
                return Ok(ended);
            }
        }
        Err(contended())
    }

    /// Runs a transaction once: `None` if it met another one on a record, or was throttled.
    pub(crate) async fn transact_once(&self, writes: Vec<TransactWriteItem>) -> Result<Option<Transaction>, ApiError> {
        Ok(match self.attempt(writes).await? {
            Attempt::Ended(ended) => Some(ended),
            Attempt::Conflict(_) | Attempt::Throttled => None,
        })
    }

    /// The same, with which of the two it was.
    pub(crate) async fn attempt(&self, writes: Vec<TransactWriteItem>) -> Result<Attempt, ApiError> {
        self.attempt_under(&request_token(), writes).await
    }

    /// The same under a token: DynamoDB runs it once, and says for ten minutes how it ended to whoever sends it again.
    pub(crate) async fn attempt_under(&self, token: &str, writes: Vec<TransactWriteItem>) -> Result<Attempt, ApiError> {
        let outcome = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .client_request_token(token)
            .send()
            .await;
        let Err(error) = outcome else { return Ok(Attempt::Ended(Transaction::Done)) };
        let Some(reasons) = cancellation(&error) else { return Err(classify(error)) };
        if reasons.iter().any(condition_failed) {
            return Ok(Attempt::Ended(Transaction::Refused(reasons.to_vec())));
        }
        let passing = |reason: &CancellationReason| {
            matches!(
                reason.code(),
                Some("None" | "TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError") | None
            )
        };
        if !reasons.iter().all(passing) {
            return Err(classify(error));
        }
        Ok(if reasons.iter().any(is_conflict) { Attempt::Conflict(reasons.to_vec()) } else { Attempt::Throttled })
    }
}

/// A new name for a transaction.
pub(crate) fn request_token() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Each attempt at a transaction met others: nothing was written.
#[derive(Debug, thiserror::Error)]
#[error("a record is too contended")]
struct MetOthers;

/// The error of a write whose every attempt met another one on a record.
fn contended() -> ApiError {
    ApiError::Unavailable(MetOthers.into())
}

/// Whether an error is that one.
pub(crate) fn is_contended(error: &ApiError) -> bool {
    matches!(error, ApiError::Unavailable(cause) if cause.is::<MetOthers>())
}

/// The error after the last attempt: unavailable if an attempt met others, else what it went by had changed each time.
fn out_of_tries(met_others: bool) -> ApiError {
    if met_others { contended() } else { ApiError::Contended }
}

/// A failure before the write or after a refusal: certainly nothing was written.
#[derive(Debug, thiserror::Error)]
#[error("nothing was written")]
struct NotWritten(#[source] Cause);

/// Says so of a failure.
pub(crate) fn not_written(error: ApiError) -> ApiError {
    match error {
        ApiError::Unavailable(cause) => ApiError::Unavailable(NotWritten(cause).into()),
        ApiError::Internal(cause) => ApiError::Internal(NotWritten(cause).into()),
        refusal => refusal,
    }
}

/// Whether a write that ended so has certainly written nothing: what was taken for it may be given back. Of what the database did not
/// answer, nobody knows.
#[must_use]
pub fn certainly_nothing(error: &ApiError) -> bool {
    match error {
        ApiError::Unavailable(cause) | ApiError::Internal(cause) => cause.is::<MetOthers>() || cause.is::<NotWritten>(),
        _ => true,
    }
}

/// How a transaction ended.
#[derive(Debug)]
pub(crate) enum Transaction {
    Done,
    /// Nothing was written: one reason per write, in order.
    Refused(Vec<CancellationReason>),
}

/// How one attempt at a transaction ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    Ended(Transaction),
    /// It met another transaction or a write, and nothing was written: one reason per write, in order.
    Conflict(Vec<CancellationReason>),
    /// There were no units left for it, which says nothing of who else writes these records. Nothing was written.
    Throttled,
}

impl Transaction {
    /// Whether the condition of this write failed.
    pub(crate) fn refused(&self, write: usize) -> bool {
        match self {
            Self::Done => false,
            Self::Refused(reasons) => condition_failed(&reasons[write]),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// Whether the condition of the write that this reason is about failed.
fn condition_failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Whether the record of the write that this reason is about was somebody else's at that moment.
pub(crate) fn is_conflict(reason: &CancellationReason) -> bool {
    reason.code() == Some("TransactionConflict")
}

fn cancellation(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Option<&[CancellationReason]> {
    match error.as_service_error()? {
        TransactWriteItemsError::TransactionCanceledException(canceled) => Some(canceled.cancellation_reasons()),
        _ => None,
    }
}

/// Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"): up to 10 ms, doubling, at most 320 ms.
pub(crate) fn backoff(attempt: u32) -> Duration {
    let ceiling_us = 10_000u64 << attempt.min(5);
    let random = getrandom::u64().unwrap_or(ceiling_us / 2);
    Duration::from_micros(random % ceiling_us)
}

/// Waits before an attempt, but for the first. Loops call it at their head, so that nobody waits after the last one.
pub(crate) async fn wait_before(attempt: u32) {
    if attempt > 0 {
        tokio::time::sleep(backoff(attempt - 1)).await;
    }
}

/// What an SDK error is to a caller: throttling, time-outs, lost connections and whatever failed on the other side are passing, the rest
/// is ours. A server's error is one by its status, whatever it is called: a part in between has no code that the SDK can read
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>).
pub(crate) fn classify<E>(error: SdkError<E, HttpResponse>) -> ApiError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    const PASSING: [&str; 5] = [
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ];
    let passing = match &error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(service) => {
            let status = service.raw().status();
            status.is_server_error()
                || status.as_u16() == 429
                || service.err().code().is_some_and(|code| PASSING.contains(&code))
        }
        _ => false,
    };
    if passing { ApiError::Unavailable(Box::new(error)) } else { ApiError::internal(error) }
}

/// A record from its attributes.
pub(crate) fn record<T: DeserializeOwned>(attributes: Attributes) -> Result<T, ApiError> {
    serde_dynamo::from_item(attributes).map_err(ApiError::unreadable)
}

/// A record's attributes under its key.
pub(crate) fn attributes<T: Serialize>(key: Key, record: &T) -> Result<Attributes, ApiError> {
    let mut attributes: Attributes = serde_dynamo::to_item(record).map_err(ApiError::internal)?;
    attributes.extend(key.attributes());
    Ok(attributes)
}

/// An update that makes `after` of the record that is `before`: it names what differs, and leaves the rest alone. Where versions
/// of the system run side by side, attributes that this one does not know are among the rest.
pub(crate) fn changes<T: Serialize>(key: Key, before: &T, after: &T) -> Result<UpdateBuilder, ApiError> {
    let before: Attributes = serde_dynamo::to_item(before).map_err(ApiError::internal)?;
    let after: Attributes = serde_dynamo::to_item(after).map_err(ApiError::internal)?;
    let removed: Vec<String> = before.keys().filter(|name| !after.contains_key(*name)).cloned().collect();
    let mut update = Update::builder().set_key(Some(key.attributes()));
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    for (number, (name, value)) in after.into_iter().filter(|(name, value)| before.get(name) != Some(value)).enumerate()
    {
        set.push(format!("#set{number} = :set{number}"));
        update = update
            .expression_attribute_names(format!("#set{number}"), name)
            .expression_attribute_values(format!(":set{number}"), value);
    }
    for (number, name) in removed.into_iter().enumerate() {
        remove.push(format!("#remove{number}"));
        update = update.expression_attribute_names(format!("#remove{number}"), name);
    }
    let clause = |verb: &str, parts: &[String]| {
        if parts.is_empty() { String::new() } else { format!("{verb} {} ", parts.join(", ")) }
    };
    Ok(update.update_expression(clause("SET", &set) + &clause("REMOVE", &remove)))
}

/// A number as DynamoDB takes it.
pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A text as DynamoDB takes it.
pub(crate) fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_sdk_dynamodb::operation::get_item::GetItemError;

    #[test]
    fn what_failed_on_the_other_side_is_passing_whatever_it_is_called() {
        let classified = |status: u16, code: Option<&str>| {
            let mut error = ErrorMetadata::builder();
            if let Some(code) = code {
                error = error.code(code);
            }
            let reply = HttpResponse::new(status.try_into().expect("a status"), "".into());
            classify(SdkError::service_error(GetItemError::generic(error.build()), reply))
        };
        for (status, code) in [
            (500, Some("InternalServerError")),
            (503, Some("ServiceUnavailable")),
            (500, Some("InternalFailure")),
            (502, None),
            (504, None),
            (429, None),
            (400, Some("ThrottlingException")),
            (400, Some("ProvisionedThroughputExceededException")),
        ] {
            assert!(matches!(classified(status, code), ApiError::Unavailable(_)), "{status} {code:?}");
        }
        for (status, code) in [(400, Some("ValidationException")), (400, Some("AccessDeniedException")), (400, None)] {
            assert!(!matches!(classified(status, code), ApiError::Unavailable(_)), "{status} {code:?}");
        }
    }

    #[test]
    fn backoff_grows_to_a_bound() {
        for attempt in 0..100 {
            assert!(backoff(attempt) < Duration::from_millis(320));
        }
        assert!((0..100).all(|_| backoff(0) < Duration::from_millis(10)));
    }
}
