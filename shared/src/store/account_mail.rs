//! Mail about accounts: its jobs, how much of it an address and a day get, and what came back.

use super::keys::{self, Key};
use super::single::{SingleWrite as _, send_at_most_once};
use super::{Attributes, Store, certainly_nothing, classify, not_written, number, record, string};
use crate::account_mail::PendingMail;
use crate::error::{ApiError, chain};
use crate::ids::{JobId, UserId};
use crate::model::account_mail::MailDay;
use crate::model::time::Moment;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use platform::telemetry::{Part, timed};
use std::time::Duration;

/// How long a day's numbers are kept: the next day's pause looks at them too.
const DAY_KEPT: Duration = Duration::from_secs(4 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How much of one kind of mail an address gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailLimit {
    /// Names the kind in the key.
    pub purpose: &'static str,
    /// In a window, which begins with the first.
    pub most: u32,
    pub window: Duration,
    /// Between one and the next.
    pub apart: Duration,
}

impl MailLimit {
    /// Invitations, of whatever organization: beyond five a day the inviters are not told so, and no mail goes out.
    pub const INVITATION: Self = Self { purpose: "INVITATION", most: 5, window: DAY, apart: Duration::ZERO };

    /// A code and a link that prove it: six a day to one, however many accounts were registered for it. That of a registration, and those that
    /// its account may ask for.
    pub const VERIFICATION: Self = Self { purpose: "PROOF", most: 6, window: DAY, apart: Duration::ZERO };
    /// Another code or link that its account asks for: once a minute, five times a day.
    pub const RESENT_VERIFICATION: Self =
        Self { purpose: "VERIFICATION", most: 5, window: DAY, apart: Duration::from_secs(60) };
    /// A link to choose another password: three an hour, whoever asked.
    pub const PASSWORD_RESET: Self =
        Self { purpose: "PASSWORD_RESET", most: 3, window: Duration::from_secs(60 * 60), apart: Duration::ZERO };
    /// A code and a link that confirm another address: three a day to one, whoever asked.
    pub const EMAIL_CHANGE: Self = Self { purpose: "EMAIL_CHANGE", most: 3, window: DAY, apart: Duration::ZERO };
    /// The same, of one account: ten in 7 days. So there are never many changes that may be undone.
    pub const EMAIL_CHANGES: Self = Self {
        purpose: "EMAIL_CHANGES",
        most: 10,
        window: Duration::from_secs(7 * 24 * 60 * 60),
        apart: Duration::ZERO,
    };
    /// How often those are given back with the account: whoever undoes its own changes would have as many sent as it likes.
    pub const CHANGES_GIVEN_BACK: Self = Self {
        purpose: "CHANGES_GIVEN_BACK",
        most: 1,
        window: Duration::from_secs(7 * 24 * 60 * 60),
        apart: Duration::ZERO,
    };
    /// What an account is told of its changes. Its user can make many: the first of a day are those that count.
    pub const NOTICE: Self = Self { purpose: "NOTICE", most: 5, window: DAY, apart: Duration::ZERO };
}

/// One mail that was taken of a day's number.
#[derive(Debug)]
pub struct TakenMail {
    day: Key,
}

impl Store {
    /// Stores mail that is caused by nothing else that is stored.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn accept_account_mail(&self, mail: &PendingMail) -> Result<(), ApiError> {
        let outcome = timed(Part::Db, self.transact(self.mail_writes(mail)?)).await?;
        outcome.is_done().then_some(()).ok_or_else(|| ApiError::internal("a job's id was not new"))
    }

    /// The same, if the address that asks for it has one left of this kind. Returns whether it had.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn accept_mail_within(
        &self,
        email: &str,
        limit: MailLimit,
        mail: &PendingMail,
    ) -> Result<bool, ApiError> {
        let key = Key::mails_to(email, limit.purpose);
        self.within(&key, limit, mail.job_id(), self.accept_account_mail(mail)).await
    }

    /// Takes one mail for a job and stores that, if there is one left; what certainly did not store it gives it back. Returns whether there
    /// was one.
    pub(super) async fn within(
        &self,
        key: &Key,
        limit: MailLimit,
        job: JobId,
        stored: impl Future<Output = Result<(), ApiError>>,
    ) -> Result<bool, ApiError> {
        let outcome = match self.take_mail_of(key, limit, &job.to_string()).await {
            Ok(true) => stored.await.map(|()| true),
            Ok(false) => Ok(false),
            // It may have been taken.
            Err(error) => Err(not_written(error)),
        };
        if outcome.as_ref().is_err_and(certainly_nothing) {
            self.give_back_mail_of(key, limit, job).await;
        }
        outcome
    }

    /// What stores mail, for the transaction of what causes it.
    pub(super) fn mail_writes(&self, mail: &PendingMail) -> Result<Vec<TransactWriteItem>, ApiError> {
        self.first_writes(&mail.job, &mail.input)
    }

    /// Takes one mail of an address's for a job, if there is one left. Whether an account has the address makes no difference. However
    /// often a job asks while the window runs, it takes one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take_mail(&self, email: &str, limit: MailLimit, job: JobId) -> Result<bool, ApiError> {
        self.take_mail_of(&Key::mails_to(email, limit.purpose), limit, &job.to_string()).await
    }

    /// Gives one back that a job took and that will not go out, if the job has one. A failure is logged.
    pub async fn give_mail_back(&self, email: &str, limit: MailLimit, job: JobId) {
        self.give_back_mail_of(&Key::mails_to(email, limit.purpose), limit, job).await;
    }

    async fn give_back_mail_of(&self, key: &Key, limit: MailLimit, job: JobId) {
        let back = self
            .mails_counted(key)
            // No other is taken in the time that two are to be apart, so the one before it is as long ago at least.
            .update_expression("SET last_at = :before ADD #count :less DELETE taken :job")
            .condition_expression("contains(taken, :id)")
            .expression_attribute_values(":before", number(before(self.now(), limit.apart)))
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":job", set_of(job))
            .expression_attribute_values(":id", string(job));
        if let Err(error) = timed(Part::Db, done(back)).await {
            tracing::warn!(cause = chain(&error), "a mail of an address's or a user's was not given back");
        }
    }

    /// Takes one of a user's for what a link does, if there is one left: the same one, however often the link is tried.
    pub(super) async fn take_of_user_for(&self, user: UserId, limit: MailLimit, link: &Key) -> Result<bool, ApiError> {
        self.take_mail_of(&Key::mails_of(user, limit.purpose), limit, &link.sk).await
    }

    /// Lets a user have as many sent as if none had been, for the transaction of what allows that.
    pub(super) fn forget_mail_of_user(&self, user: UserId, limit: MailLimit) -> Result<TransactWriteItem, ApiError> {
        let key = Key::mails_of(user, limit.purpose).attributes();
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(ApiError::internal)?).build())
    }

    /// `taken` has the jobs that `count` counts, or the links. In a record from before they were noted, it has fewer.
    async fn take_mail_of(&self, key: &Key, limit: MailLimit, job: &str) -> Result<bool, ApiError> {
        timed(Part::Db, async {
            // Opened by another in between, the window is looked at once more.
            for _ in 0..2 {
                let now = self.now();
                // Also of the next window: the last one may have been taken when the one before was about to end.
                let (mut counted, mut is_apart) = (self.mails_counted(key), "");
                if !limit.apart.is_zero() {
                    is_apart = " AND last_at <= :before";
                    counted = counted.expression_attribute_values(":before", number(before(now, limit.apart)));
                }
                let next = counted
                    .clone()
                    .update_expression("SET last_at = :now ADD #count :one, taken :job")
                    .condition_expression(format!(
                        "window_ends > :now AND #count < :most AND NOT contains(taken, :id){is_apart}"
                    ))
                    .expression_attribute_values(":job", set_of(job))
                    .expression_attribute_values(":id", string(job))
                    .expression_attribute_values(":most", number(limit.most))
                    .expression_attribute_values(":now", number(now.as_millis()))
                    .expression_attribute_values(":one", number(1));
                if takes_or_has(next, job, now).await? {
                    return Ok(true);
                }
                let ends = now.plus(limit.window);
                let first = counted
                    .update_expression(
                        "SET last_at = :now, #count = :one, taken = :job, window_ends = :ends, #ttl = :ttl",
                    )
                    .condition_expression(format!("attribute_not_exists(pk) OR (window_ends <= :now{is_apart})"))
                    .expression_attribute_names("#ttl", keys::TTL)
                    .expression_attribute_values(":job", set_of(job))
                    .expression_attribute_values(":now", number(now.as_millis()))
                    .expression_attribute_values(":one", number(1))
                    .expression_attribute_values(":ends", number(ends.as_millis()))
                    .expression_attribute_values(":ttl", number(ends.plus(limit.apart).as_ttl_seconds()));
                if done(first).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    fn mails_counted(&self, key: &Key) -> UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(&self.table).set_key(Some(key.clone().attributes()));
        update.expression_attribute_names("#count", "count")
    }

    /// Account mail of today and of yesterday.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn mail_days(&self) -> Result<(MailDay, MailDay), ApiError> {
        let now = self.now();
        let days = [now, Moment::from_millis(before(now, DAY))].map(|at| Key::account_mail_day(&at.day()));
        let found = timed(Part::Db, self.get_all(days.clone().map(Key::attributes).into())).await?;
        let of = |key: &Key| {
            let found: Option<&Attributes> = found.iter().find(|item| super::authority::sort_key(item) == key.sk);
            found.cloned().map_or(Ok(MailDay::default()), record)
        };
        Ok((of(&days[0])?, of(&days[1])?))
    }

    /// Takes one mail of the day's, if there is one left: before it is handed over, so that no number of workers sends more.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take_mail_of_day(&self, most: u64) -> Result<Option<TakenMail>, ApiError> {
        if most == 0 {
            return Ok(None);
        }
        let now = self.now();
        let take = self
            .add_to_day("handed_over", now)
            .condition_expression("attribute_not_exists(#what) OR #what < :most")
            .expression_attribute_values(":most", number(most));
        Ok(timed(Part::Db, done(take)).await?.then(|| TakenMail { day: Key::account_mail_day(&now.day()) }))
    }

    /// Gives one back that certainly did not go out, to its day. It is sent once: what is lost on the way counts that day. A failure is
    /// logged.
    pub async fn give_mail_of_day_back(&self, taken: TakenMail) {
        let back = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(taken.day.attributes()))
            .update_expression("ADD handed_over :less")
            .condition_expression("handed_over > :none")
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":none", number(0));
        if let Err(error) = timed(Part::Db, send_at_most_once(back)).await {
            tracing::warn!(cause = chain(&error), "a mail of the day's was not given back");
        }
    }

    /// Notes that an account mail's address was none.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn note_bounced_account_mail(&self) -> Result<(), ApiError> {
        timed(Part::Db, done(self.add_to_day("bounced", self.now()))).await.map(|_| ())
    }

    fn add_to_day(&self, what: &str, now: Moment) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::account_mail_day(&now.day()).attributes()))
            .update_expression("ADD #what :one SET #ttl = :ttl")
            .expression_attribute_names("#what", what)
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":ttl", number(now.plus(DAY_KEPT).as_ttl_seconds()))
    }
}

/// Takes one of a window for a job; also `true` where the job has taken one of it before.
async fn takes_or_has(take: UpdateItemFluentBuilder, job: &str, now: Moment) -> Result<bool, ApiError> {
    let take = take.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let Err(error) = take.send_unless_held().await else { return Ok(true) };
    let Some(UpdateItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
        return Err(classify(error));
    };
    let Some(window) = &refused.item else { return Ok(false) };
    let ends: Option<i64> = window.get("window_ends").and_then(|ends| ends.as_n().ok()?.parse().ok());
    let has = window.get("taken").and_then(|taken| taken.as_ss().ok());
    Ok(ends.is_some_and(|ends| ends > now.as_millis()) && has.is_some_and(|has| has.iter().any(|one| one == job)))
}

/// A set with a job's id.
fn set_of(job: impl ToString) -> AttributeValue {
    AttributeValue::Ss(vec![job.to_string()])
}

/// Sends an update; `false` if its condition failed.
async fn done(update: UpdateItemFluentBuilder) -> Result<bool, ApiError> {
    match update.send_unless_held().await {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(classify(error)),
        },
    }
}

fn before(now: Moment, by: Duration) -> i64 {
    now.as_millis().saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
