//! The bucket and the breaker of each provider: one small record, changed by plain conditional updates and by no transaction. An
//! organization with jobs that wait for a provider has a record beside it ([`backlog`]).

mod backlog;

use super::keys::Key;
use super::single::SingleWrite as _;
use super::{Attributes, Store, classify, contended, number, record, string};
use crate::error::ApiError;
use crate::model::job::WaitingFor;
use crate::model::limiter::{Lease, LimiterRecord, Provider, Rate, Tokens};
use crate::model::time::Moment;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use platform::telemetry::{Part, timed};
use std::time::Duration;

/// How often it is tried while others change the same record.
const ATTEMPTS: u32 = 16;
/// How long a probe that has not ended keeps others away.
const PROBE_LEASE: Duration = Duration::from_secs(60);
/// How long the record of a backlog outlives it.
const BACKLOG_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The breaker is closed, and the rate is the one that a caller goes by.
const CLOSED: &str =
    "attribute_not_exists(failures) AND (attribute_not_exists(interval_ms) OR interval_ms = :interval)";

/// What became of an update: the record after it, or the one that its condition refused.
type Updated = Result<Attributes, Attributes>;

impl Store {
    /// Leases a call of a provider: now, if one is there, or one that comes within `ahead` (at any time if `None`). The provider counts it for
    /// `units`, as the mail service does with recipients (<https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html>); it is
    /// there when one unit is, and whoever comes next waits for the others.
    /// `known` is the record as it was seen last, and is renewed; `configured` holds where the provider has said nothing of its rate.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn lease_call(
        &self,
        provider: &Provider,
        configured: Rate,
        known: &mut LimiterRecord,
        units: u64,
        ahead: Option<Duration>,
    ) -> Result<Lease, ApiError> {
        let lease = async {
            // What others remember may be old: it is good for a first try, and for no refusal.
            let mut is_fresh = false;
            for _ in 0..ATTEMPTS {
                let (now, rate) = (self.now(), known.rate(configured));
                let (update, lease) = match known.open_until.filter(|_| known.failures > 0) {
                    Some(until) if until > now => (None, Lease::Open(until, known.why())),
                    Some(until) => (Some(self.probing(provider, until, now)), Lease::Probe(known.failures)),
                    None => self.lease_of(provider, rate, known, units, ahead, now),
                };
                let Some(update) = update else {
                    if is_fresh {
                        return Ok(lease);
                    }
                    *known = self.get(Key::limiter(provider)).await?.unwrap_or_default();
                    is_fresh = true;
                    continue;
                };
                match updated(update).await? {
                    Ok(after) => {
                        *known = record(after)?;
                        return Ok(lease);
                    }
                    Err(found) => *known = record(found)?,
                }
                is_fresh = true;
            }
            Err(contended())
        };
        timed(Part::Db, lease).await
    }

    /// The update that takes a call out of a closed breaker's bucket, and what it gives; none if there is nothing to take.
    fn lease_of(
        &self,
        provider: &Provider,
        rate: Rate,
        known: &LimiterRecord,
        units: u64,
        ahead: Option<Duration>,
        now: Moment,
    ) -> (Option<UpdateItemFluentBuilder>, Lease) {
        let update = self
            .limiter(provider)
            .expression_attribute_names("#next", provider.bucket())
            .expression_attribute_values(":interval", number(rate.as_millis()));
        let rate = provider.share(rate);
        let takes = rate.time_of(units);
        match known.tokens(provider, rate, now) {
            Tokens::Full => {
                let update = update
                    .update_expression("SET #next = :next")
                    .condition_expression(format!("{CLOSED} AND (attribute_not_exists(#next) OR #next < :now)"))
                    .expression_attribute_values(":next", number(now.plus(takes).as_millis()))
                    .expression_attribute_values(":now", number(now.as_millis()));
                (Some(update), Lease::Now)
            }
            Tokens::Left => {
                let update = update
                    .update_expression("ADD #next :taken")
                    .condition_expression(format!("{CLOSED} AND #next BETWEEN :now AND :latest"))
                    .expression_attribute_values(":taken", number(takes.as_millis()))
                    .expression_attribute_values(":now", number(now.as_millis()))
                    .expression_attribute_values(":latest", number(now.plus(rate.tolerance()).as_millis()));
                (Some(update), Lease::Now)
            }
            Tokens::From(at) if ahead.is_none_or(|ahead| at <= now.plus(ahead)) => {
                let update = update
                    .update_expression("ADD #next :taken")
                    .condition_expression(format!("{CLOSED} AND #next = :read"))
                    .expression_attribute_values(":taken", number(takes.as_millis()))
                    .expression_attribute_values(":read", number(at.plus(rate.tolerance()).as_millis()));
                (Some(update), Lease::At(at))
            }
            Tokens::From(at) => (None, Lease::Nothing(at)),
        }
    }

    fn probing(&self, provider: &Provider, open_until: Moment, now: Moment) -> UpdateItemFluentBuilder {
        self.limiter(provider)
            .update_expression("SET open_until = :lease")
            .condition_expression("open_until = :read")
            .expression_attribute_values(":lease", number(now.plus(PROBE_LEASE).as_millis()))
            .expression_attribute_values(":read", number(open_until.as_millis()))
    }

    /// Opens a breaker for the n-th time in a row, unless somebody else did.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn open_breaker(
        &self,
        provider: &Provider,
        failures: u32,
        until: Moment,
        why: &WaitingFor,
    ) -> Result<bool, ApiError> {
        let update = self
            .limiter(provider)
            .update_expression("SET failures = :failures, open_until = :until, code = :code, detail = :detail")
            .expression_attribute_values(":failures", number(failures))
            .expression_attribute_values(":until", number(until.as_millis()))
            .expression_attribute_values(":code", string(&why.code))
            .expression_attribute_values(":detail", string(&why.detail));
        let update = if failures <= 1 {
            update.condition_expression("attribute_not_exists(failures)")
        } else {
            update
                .condition_expression("failures = :before")
                .expression_attribute_values(":before", number(failures - 1))
        };
        Ok(timed(Part::Db, updated(update)).await?.is_ok())
    }

    /// Lets the next job probe at once: the last one asked nobody.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn give_probe_back(&self, provider: &Provider) -> Result<(), ApiError> {
        let update = self
            .limiter(provider)
            .update_expression("SET open_until = :now")
            .condition_expression("attribute_exists(failures)")
            .expression_attribute_values(":now", number(self.now().as_millis()));
        timed(Part::Db, updated(update)).await.map(drop)
    }

    /// Closes a breaker.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn close_breaker(&self, provider: &Provider) -> Result<(), ApiError> {
        let update = self.limiter(provider).update_expression("REMOVE failures, open_until, code, detail");
        timed(Part::Db, updated(update)).await.map(drop)
    }

    /// Has the buckets of a provider that takes `rate` calls be empty until a moment. Calls that were leased for a time before it are not made
    /// either.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn empty_bucket(&self, provider: &Provider, rate: Rate, until: Moment) -> Result<(), ApiError> {
        let emptied = async {
            for provider in provider.of_its_record() {
                self.empty_one(provider, provider.share(rate), until).await?;
            }
            Ok(())
        };
        timed(Part::Db, emptied).await
    }

    async fn empty_one(&self, provider: &Provider, rate: Rate, until: Moment) -> Result<(), ApiError> {
        let next = number(until.plus(rate.tolerance()).as_millis());
        let emptied = self
            .limiter(provider)
            .update_expression("SET #next = :next, empty_until = :until")
            .condition_expression("attribute_not_exists(#next) OR #next < :next")
            .expression_attribute_names("#next", provider.bucket())
            .expression_attribute_values(":next", next)
            .expression_attribute_values(":until", number(until.as_millis()));
        if updated(emptied).await?.is_ok() {
            return Ok(());
        }
        // Calls are leased beyond that already: these stay.
        let stopped = self
            .limiter(provider)
            .update_expression("SET empty_until = :until")
            .condition_expression("attribute_not_exists(empty_until) OR empty_until < :until")
            .expression_attribute_values(":until", number(until.as_millis()));
        updated(stopped).await.map(drop)
    }

    /// The bucket and the breaker of a provider as they are.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn limiter_record(&self, provider: &Provider) -> Result<LimiterRecord, ApiError> {
        Ok(timed(Part::Db, self.get(Key::limiter(provider))).await?.unwrap_or_default())
    }

    /// Notes the rate that the provider says it takes.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn note_rate(&self, provider: &Provider, rate: Rate) -> Result<(), ApiError> {
        let update = self
            .limiter(provider)
            .update_expression("SET interval_ms = :interval")
            .condition_expression("attribute_not_exists(interval_ms) OR interval_ms <> :interval")
            .expression_attribute_values(":interval", number(rate.as_millis()));
        timed(Part::Db, updated(update)).await.map(drop)
    }

    fn limiter(&self, provider: &Provider) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(Key::limiter(provider).attributes()))
    }
}

/// Sends an update, and says how the record is after it.
async fn updated(update: UpdateItemFluentBuilder) -> Result<Updated, ApiError> {
    told(with_record(update).send_unless_held().await)
}

/// The same update, whose reply has the record.
fn with_record(update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
    update
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
}

fn told(sent: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>) -> Result<Updated, ApiError> {
    match sent {
        Ok(done) => Ok(Ok(done.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                Ok(Err(refused.item.clone().unwrap_or_default()))
            }
            _ => Err(classify(error)),
        },
    }
}
