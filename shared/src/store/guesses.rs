//! Guesses at an account's password: so many wrong ones in a window, whether an account has the address or not.
//!
//! A guess is taken before a password is compared, so that no number of simultaneous ones gets more compared than may be, and is
//! given back unless the password was wrong. The guesses of a window are a set of ids: to take or to give back one twice, as
//! the SDK does when a reply is lost, is to do it once, and what was taken in one window is not given back to the next.

use super::keys::{self, Key};
use super::single::SingleWrite as _;
use super::{Attributes, Store, classify, number};
use crate::device::DeviceHash;
use crate::error::{ApiError, chain};
use crate::model::text::Email;
use crate::model::time::Moment;
use crate::network::Network;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use futures_util::future::join_all;
use platform::telemetry::{Part, timed};
use std::time::Duration;

/// Wrong passwords for an account from one network, or from one device that it knows.
const FROM_ONE: u64 = 10;
const FROM_ONE_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Wrong passwords for an account from all devices together that it does not know.
const FROM_ALL: u64 = 100;
const FROM_ALL_WINDOW: Duration = Duration::from_secs(60 * 60);

/// How many wrong passwords may be tried in a window, which begins with the first.
struct GuessLimit {
    key: Key,
    most: u64,
    window: Duration,
}

/// Who guesses.
#[derive(Clone, Copy)]
pub enum Guesser<'a> {
    /// A device that the account knows: guesses from elsewhere are not held against it.
    Known(&'a DeviceHash),
    /// Any other, from a network.
    Network(Option<Network>),
}

/// Guesses that were taken, or may have been.
pub struct Guesses {
    /// A set with the id.
    id: AttributeValue,
    limits: Vec<GuessLimit>,
}

/// The window that version 0.1 counted in. While it runs beside this one, each counts what it takes itself.
pub(crate) struct OldAttempts {
    ends: i64,
    is_full: bool,
}

impl OldAttempts {
    pub(crate) fn of(record: &Attributes) -> Self {
        let number =
            |name: &str| record.get(name).and_then(|value| value.as_n().ok()?.parse::<i64>().ok()).unwrap_or(0);
        let taken = record.get("taken").and_then(|taken| taken.as_ss().ok()).map_or(0, Vec::len);
        let most = usize::try_from(FROM_ONE).unwrap_or(usize::MAX);
        let counted = usize::try_from(number("attempts")).unwrap_or(0);
        Self { ends: number("window_ends"), is_full: taken >= most || counted >= most }
    }

    /// A window that was filled stays closed to whoever is not known.
    pub(crate) fn refusal(&self, now: Moment) -> Option<ApiError> {
        (self.is_full && self.ends > now.as_millis()).then(|| too_many(FROM_ONE, self.ends - now.as_millis()))
    }
}

impl Guesser<'_> {
    fn limits(self, email: &Email) -> Vec<GuessLimit> {
        let one = |from: &str| GuessLimit {
            key: Key::guesses_from(email.as_str(), from),
            most: FROM_ONE,
            window: FROM_ONE_WINDOW,
        };
        match self {
            Self::Known(device) => vec![one(device.as_str())],
            Self::Network(network) => {
                let all = GuessLimit { key: Key::guesses(email.as_str()), most: FROM_ALL, window: FROM_ALL_WINDOW };
                vec![one(&network.map_or_else(|| "none".to_owned(), |network| network.to_string())), all]
            }
        }
    }
}

impl Store {
    /// Takes a guess at the account of an address, of all limits that there are on it, or of none.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] until the last window that is full has ended.
    pub async fn take_guess(&self, email: &Email, from: Guesser<'_>) -> Result<Guesses, ApiError> {
        let id = getrandom::u64().map_err(ApiError::internal)?;
        let mut guesses = Guesses { id: AttributeValue::Ss(vec![format!("{id:016x}")]), limits: from.limits(email) };
        // Boxed: the SDK's futures are large, and unoptimised builds copy them about on the stack.
        let taking = guesses.limits.iter().map(|limit| Box::pin(self.take(limit, &guesses.id)));
        let outcomes = timed(Part::Db, join_all(taking)).await;
        let mut refused = None;
        let mut taken = Vec::new();
        for (limit, outcome) in guesses.limits.drain(..).zip(outcomes) {
            match outcome {
                Err(error @ ApiError::TooManyAttempts { .. }) => refused = Some(ApiError::longer(refused, error)),
                // What may have been taken is given back too.
                Err(error) => {
                    taken.push(limit);
                    refused = Some(ApiError::longer(refused, error));
                }
                Ok(()) => taken.push(limit),
            }
        }
        guesses.limits = taken;
        match refused {
            None => Ok(guesses),
            Some(error) => {
                self.give_back(&guesses).await;
                Err(error)
            }
        }
    }

    /// Takes a guess of the running window, or opens a new window; if another guess has opened one meanwhile, takes it of that.
    async fn take(&self, limit: &GuessLimit, id: &AttributeValue) -> Result<(), ApiError> {
        loop {
            let now = self.now();
            let Some(window_ends) = self.take_of_window(limit, id, now).await? else { return Ok(()) };
            if window_ends > now.as_millis() {
                return Err(too_many(limit.most, window_ends - now.as_millis()));
            }
            if self.open_window(limit, id, now).await? {
                return Ok(());
            }
        }
    }

    /// Takes a guess of the running window. If there is none, or it is full, returns when the last one ends: the epoch if there
    /// never was one.
    async fn take_of_window(
        &self,
        limit: &GuessLimit,
        id: &AttributeValue,
        now: Moment,
    ) -> Result<Option<i64>, ApiError> {
        let taken = self
            .update_guesses(limit)
            .update_expression("ADD taken :guess")
            .condition_expression(
                "window_ends > :now AND (attribute_not_exists(taken) OR size(taken) < :max OR contains(taken, :id))",
            )
            .expression_attribute_values(":guess", id.clone())
            .expression_attribute_values(":id", own(id))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":max", number(limit.most))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send_unless_held()
            .await;
        let Err(error) = taken else { return Ok(None) };
        let Some(window) = refused(&error) else { return Err(classify(error)) };
        let ends = window.as_ref().and_then(|item| item.get("window_ends")?.as_n().ok()?.parse().ok());
        Ok(Some(ends.unwrap_or(0)))
    }

    /// Opens a window with one guess in it, unless one is open.
    async fn open_window(&self, limit: &GuessLimit, id: &AttributeValue, now: Moment) -> Result<bool, ApiError> {
        let ends = now.plus(limit.window);
        let opened = self
            .update_guesses(limit)
            .update_expression("SET taken = :guess, window_ends = :ends, #ttl = :ttl")
            .condition_expression("attribute_not_exists(pk) OR window_ends <= :now")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":guess", id.clone())
            .expression_attribute_values(":now", number(now.as_millis()))
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

    /// Gives guesses back, if they were taken. A failure is logged: they count until the window ends.
    pub(crate) async fn give_back(&self, guesses: &Guesses) {
        let giving = guesses.limits.iter().map(|limit| {
            let given_back = self
                .update_guesses(limit)
                .update_expression("DELETE taken :guess")
                .condition_expression("contains(taken, :id)")
                .expression_attribute_values(":guess", guesses.id.clone())
                .expression_attribute_values(":id", own(&guesses.id))
                .send_unless_held();
            Box::pin(timed(Part::Db, given_back))
        });
        for outcome in join_all(giving).await {
            match outcome {
                Err(error) if refused(&error).is_none() => {
                    tracing::warn!(cause = chain(&error), "a log-in attempt was not given back");
                }
                _ => {}
            }
        }
    }

    fn update_guesses(&self, limit: &GuessLimit) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(limit.key.clone().attributes()))
    }
}

/// The id in a set of one.
fn own(id: &AttributeValue) -> AttributeValue {
    let id = id.as_ss().ok().and_then(|ids| ids.first());
    AttributeValue::S(id.cloned().unwrap_or_default())
}

fn too_many(limit: u64, remaining_ms: i64) -> ApiError {
    ApiError::TooManyAttempts { limit, retry_after_seconds: u64::try_from(remaining_ms).unwrap_or(0).div_ceil(1000) }
}

/// The record that made the condition of an update fail, if that is what happened.
fn refused(error: &SdkError<UpdateItemError, HttpResponse>) -> Option<&Option<Attributes>> {
    match error.as_service_error()? {
        UpdateItemError::ConditionalCheckFailedException(failed) => Some(&failed.item),
        _ => None,
    }
}
