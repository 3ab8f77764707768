//! Log-in attempts: at most ten failed ones for an address in a window, whether an account has it or not.
//!
//! An attempt is taken before a password is compared, so that no number of simultaneous guesses gets more than
//! `MAX_ATTEMPTS` of them compared, and is given back unless the password was wrong. The attempts of a window are a set
//! of ids: to take or to give back one twice, as the SDK does when a reply is lost, is to do it once, and what was taken
//! in one window is not given back to the next.
//!
//! Version 0.1 counts them in `attempts`. While both versions run, each finds the window that the other has opened and counts
//! what it takes itself; a window that 0.1 has filled stays closed. The release after the next need not know of it.

use super::keys::{self, Key};
use super::single::SingleWrite as _;
use super::{Attributes, Store, classify, number};
use crate::error::{ApiError, chain};
use crate::ids::UserId;
use crate::model::org::MembershipRecord;
use crate::model::text::Email;
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use platform::telemetry::{Part, timed};
use std::time::Duration;
use uuid::Uuid;

/// How many failed log-ins an account may have in a window.
pub(crate) const MAX_ATTEMPTS: u64 = 10;
/// How long a window of failed log-ins lasts, from the first of them.
const ATTEMPTS_WINDOW: Duration = Duration::from_secs(15 * 60);

/// An attempt that was taken, or may have been.
struct Attempt<'a> {
    email: &'a Email,
    /// A set with its id.
    id: AttributeValue,
}

/// How a comparison of a password ended.
pub enum Guess {
    Right(Account),
    /// Whose password it is not; nobody has the address otherwise.
    Wrong(Option<UserId>),
}

/// What a right password opens.
pub struct Account {
    pub login: LoginRecord,
    pub user: UserRecord,
    pub memberships: Vec<MembershipRecord>,
}

impl Store {
    /// The log-in record of an address, if an account has it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn login(&self, email: &Email) -> Result<Option<LoginRecord>, ApiError> {
        timed(Part::Db, self.get(Key::login(email.as_str()))).await
    }

    /// The account that a password belongs to, if it is that of the log-in record. The password is compared under one of the
    /// account's attempts; `is_right` is given the password's hash, if there is an account. Only its no uses the attempt up: whatever else happens, here or afterwards, the attempt is given back. If that fails (the
    /// database is away, the process ends), it counts until the window ends, and the log-in goes on.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] until the window ends; those of `is_right`.
    pub async fn authenticate<F>(
        &self,
        email: &Email,
        login: Option<LoginRecord>,
        is_right: impl FnOnce(Option<String>) -> F,
    ) -> Result<Guess, ApiError>
    where
        F: Future<Output = Result<bool, ApiError>>,
    {
        let attempt = Attempt { email, id: AttributeValue::Ss(vec![Uuid::now_v7().simple().to_string()]) };
        // Boxed: the SDK's futures are large, and unoptimised builds copy them about on the stack.
        let taken = Box::pin(timed(Part::Db, self.take(&attempt))).await;
        let compared = async {
            taken?;
            let hash = login.as_ref().map(|login| login.password_hash.clone());
            Ok((is_right(hash).await?, login))
        };
        match compared.await {
            Ok((true, Some(login))) => {
                let found = Box::pin(self.user_with_memberships(login.user_id));
                let (found, ()) = tokio::join!(found, Box::pin(self.give_back(&attempt)));
                let without_user = || ApiError::internal("a log-in record without its user");
                let (user, memberships) = found?.ok_or_else(without_user)?;
                Ok(Guess::Right(Account { login, user, memberships }))
            }
            Ok((_, login)) => Ok(Guess::Wrong(login.map(|login| login.user_id))),
            // Nothing was taken.
            Err(error @ ApiError::TooManyAttempts { .. }) => Err(error),
            Err(error) => {
                self.give_back(&attempt).await;
                Err(error)
            }
        }
    }

    /// Takes an attempt of the running window, or opens a new window; if another attempt has opened one meanwhile, takes it
    /// of that.
    async fn take(&self, attempt: &Attempt<'_>) -> Result<(), ApiError> {
        loop {
            let now = self.now();
            let Some(window_ends) = self.take_of_window(attempt, now).await? else { return Ok(()) };
            if window_ends > now.as_millis() {
                return Err(too_many(window_ends - now.as_millis()));
            }
            if self.open_window(attempt, now).await? {
                return Ok(());
            }
        }
    }

    /// Takes an attempt of the running window. If there is none, or it is full, returns when the last one ends: the epoch if
    /// there never was one.
    async fn take_of_window(&self, attempt: &Attempt<'_>, now: Moment) -> Result<Option<i64>, ApiError> {
        let taken = self
            .update_attempts(attempt)
            .update_expression("ADD taken :attempt")
            .condition_expression(
                "window_ends > :now AND (attribute_not_exists(taken) OR size(taken) < :max OR contains(taken, :id)) \
                 AND (attribute_not_exists(attempts) OR attempts < :max)",
            )
            .expression_attribute_values(":attempt", attempt.id.clone())
            .expression_attribute_values(":id", attempt.own_id())
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":max", number(MAX_ATTEMPTS))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send_unless_held()
            .await;
        let Err(error) = taken else { return Ok(None) };
        let Some(window) = refused(&error) else { return Err(classify(error)) };
        let ends = window.as_ref().and_then(|item| item.get("window_ends")?.as_n().ok()?.parse().ok());
        Ok(Some(ends.unwrap_or(0)))
    }

    /// Opens a window with one attempt in it, unless one is open.
    async fn open_window(&self, attempt: &Attempt<'_>, now: Moment) -> Result<bool, ApiError> {
        let ends = now.plus(ATTEMPTS_WINDOW);
        let opened = self
            .update_attempts(attempt)
            .update_expression("SET taken = :attempt, attempts = :none, window_ends = :ends, #ttl = :ttl")
            .condition_expression("attribute_not_exists(pk) OR window_ends <= :now")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":attempt", attempt.id.clone())
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":ends", number(ends.as_millis()))
            .expression_attribute_values(":ttl", number(ends.as_ttl_seconds()))
            .send_unless_held()
            .await;
        match opened {
            Ok(_) => Ok(true),
            Err(error) if refused(&error).is_some() => Ok(false),
            Err(error) => Err(classify(error)),
        }
    }

    /// Gives an attempt back, if it was taken. A failure is logged.
    async fn give_back(&self, attempt: &Attempt<'_>) {
        let given_back = self
            .update_attempts(attempt)
            .update_expression("DELETE taken :attempt")
            .condition_expression("contains(taken, :id)")
            .expression_attribute_values(":attempt", attempt.id.clone())
            .expression_attribute_values(":id", attempt.own_id())
            .send_unless_held();
        match Box::pin(timed(Part::Db, given_back)).await {
            Err(error) if refused(&error).is_none() => {
                tracing::warn!(cause = chain(&error), "a log-in attempt was not given back");
            }
            _ => {}
        }
    }

    fn update_attempts(&self, attempt: &Attempt<'_>) -> UpdateItemFluentBuilder {
        let key = Key::attempts(attempt.email.as_str()).attributes();
        self.client.update_item().table_name(&self.table).set_key(Some(key))
    }
}

impl Attempt<'_> {
    fn own_id(&self) -> AttributeValue {
        let id = self.id.as_ss().ok().and_then(|ids| ids.first());
        AttributeValue::S(id.cloned().unwrap_or_default())
    }
}

fn too_many(remaining_ms: i64) -> ApiError {
    ApiError::TooManyAttempts { retry_after_seconds: u64::try_from(remaining_ms).unwrap_or(0).div_ceil(1000) }
}

/// The record that made the condition of an update fail, if that is what happened.
fn refused(error: &SdkError<UpdateItemError, HttpResponse>) -> Option<&Option<Attributes>> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(failed) => Some(&failed.item),
        _ => None,
    }
}
