//! Counters of what networks, organizations and the accounts of an address do. Each belongs to a purpose, to one of those and to a window, and
//! goes with its window: nothing is reset. It is one plain update beside the first read. Where its reply is lost, one may count twice until the
//! window ends. What goes back is sent at most once, so no limit is passed.

use super::keys::{self, Key};
use super::single::{SingleWrite as _, send_at_most_once};
use super::{Store, classify, number};
use crate::error::{ApiError, chain};
use crate::model::time::Moment;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use platform::telemetry::{Part, timed};
use std::time::Duration;

/// The pauses of a request while a limit on failures is full only because of attempts that have not ended yet: they may succeed.
pub(crate) const PATIENCE_MS: [u64; 6] = [50, 100, 200, 400, 800, 1600];
/// How often a day (UTC) the passwords change of the accounts of an address that is not proven. Whoever registered a stranger's address knows
/// the password, and each change voids the stranger's link to another one, of which there are three an hour. It has no more for another account:
/// it moves the one of before to an address of its own, and registers the stranger's again.
const UNPROVEN_PASSWORDS: u64 = 3;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A counter, and how far it goes.
pub(crate) struct Counter {
    key: Key,
    most: u64,
    ttl: i64,
}

impl Counter {
    pub(crate) fn new(purpose: &str, whose: &str, begins: Moment, ends: Moment, most: u64) -> Self {
        Self { key: Key::rate(purpose, whose, begins), most, ttl: ends.as_ttl_seconds() }
    }
}

/// What came of counting one more.
pub(crate) enum Counted {
    Within,
    /// It was full; so many of those in it are known to have failed.
    Over {
        failed: u64,
    },
}

impl Store {
    /// Takes one of the day's changes of the passwords of the accounts of an address that is not proven.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`] until midnight.
    pub(super) async fn take_unproven_password(&self, email: &str) -> Result<Counter, ApiError> {
        let (what, now) = ("password-changes", self.now());
        let day_ms = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
        let begins = Moment::from_millis(now.as_millis().div_euclid(day_ms) * day_ms);
        let ends = begins.plus(DAY);
        let counter = Counter::new(what, email, begins, ends, UNPROVEN_PASSWORDS);
        match self.count(&counter).await? {
            Counted::Within => Ok(counter),
            Counted::Over { .. } => {
                let left_ms = u64::try_from(ends.as_millis() - now.as_millis()).unwrap_or(0);
                let retry_after_seconds = left_ms.div_ceil(1000);
                Err(ApiError::RateLimited { what, limit: UNPROVEN_PASSWORDS, retry_after_seconds })
            }
        }
    }

    /// Counts one more, unless the counter is full.
    pub(crate) async fn count(&self, counter: &Counter) -> Result<Counted, ApiError> {
        if counter.most == 0 {
            return Ok(Counted::Over { failed: 0 });
        }
        let counted = self
            .update_counter(counter)
            .update_expression("ADD taken :one SET #ttl = :ttl")
            .condition_expression("attribute_not_exists(taken) OR taken < :most")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":ttl", number(counter.ttl))
            .expression_attribute_values(":most", number(counter.most))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send_unless_held();
        let Err(error) = timed(Part::Db, counted).await else { return Ok(Counted::Within) };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(full)) => {
                let failed = full.item.as_ref().and_then(|item| item.get("failed")?.as_n().ok()?.parse().ok());
                Ok(Counted::Over { failed: failed.unwrap_or(0) })
            }
            _ => Err(classify(error)),
        }
    }

    /// Counts one less. It is sent once: what is lost on the way stays counted. A failure is logged.
    pub(crate) async fn count_back(&self, counter: &Counter) {
        let back = self.settling(counter, "ADD taken :by", -1);
        log_failure(timed(Part::Db, Box::pin(send_at_most_once(back))).await);
    }

    /// Notes that one of those counted has failed. A failure to note it is logged.
    pub(crate) async fn count_failure(&self, counter: &Counter) {
        let failed = self.settling(counter, "ADD failed :by", 1);
        log_failure(timed(Part::Db, failed.send_unless_held()).await);
    }

    fn settling(&self, counter: &Counter, expression: &str, by: i64) -> UpdateItemFluentBuilder {
        self.update_counter(counter)
            .update_expression(expression)
            .condition_expression("attribute_exists(taken)")
            .expression_attribute_values(":by", number(by))
    }

    fn update_counter(&self, counter: &Counter) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(counter.key.clone().attributes()))
    }
}

/// Logs that a counter was not settled, unless it has gone with its window.
fn log_failure(settled: Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>>) {
    let Err(error) = settled else { return };
    if !matches!(error.as_service_error(), Some(UpdateItemError::ConditionalCheckFailedException(_))) {
        tracing::warn!(cause = chain(&error), "a counter was not settled");
    }
}
