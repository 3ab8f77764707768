//! Guesses at an account's password, whether an account has the address or not, and at the codes that are sent for it: so many wrong ones in a
//! window.
//!
//! A guess is taken before a password or a code is compared, so that no number of simultaneous ones gets more compared than may be. It is
//! given back if that was right, and noted if it was wrong; while a window is full of those that may yet turn out to be right, others wait for
//! them a little. The guesses of a window are sets of ids: to take, to note or to give back one twice, as the SDK does when a reply is lost, is
//! to do it once (unless the first comes after it was given back: then it counts until the window ends), and what was taken in one window is not given back to the next.

use super::keys::{self, Key};
use super::rates::PATIENCE_MS;
use super::single::SingleWrite as _;
use super::{Attributes, Store, classify, number};
use crate::device::DeviceHash;
use crate::error::{ApiError, chain};
use crate::ids::UserId;
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

/// Wrong passwords or codes for an account from one network, or from one device that it knows.
const FROM_ONE: u64 = 10;
const FROM_ONE_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Wrong passwords or codes for an account from all devices together that it does not know.
const FROM_ALL: u64 = 100;
const FROM_ALL_WINDOW: Duration = Duration::from_secs(60 * 60);

/// How many wrong guesses may be made in a window. It begins with the first of those that count, and is none while none does: when it ends
/// would tell when the account's owner logged in.
struct GuessLimit {
    key: Key,
    most: u64,
    window: Duration,
}

/// A window that gives no guess: it is full, or over.
struct Closed {
    /// The epoch if there never was one, or no guess counts in it.
    ends: i64,
    /// How many of its guesses are known to have been wrong.
    wrong: u64,
}

/// Why a guess was not taken.
struct Refusal {
    error: ApiError,
    /// What fills the windows that refuse it may yet turn out to be right.
    may_clear: bool,
}

impl Refusal {
    /// That of two limits, of which the first may have given a guess.
    fn of_both(one: Option<Self>, other: Self) -> Self {
        let may_clear = other.may_clear && one.as_ref().is_none_or(|one| one.may_clear);
        Self { error: ApiError::longer(one.map(|one| one.error), other.error), may_clear }
    }
}

/// What is guessed.
#[derive(Clone, Copy)]
pub enum Guessed<'a> {
    /// The password of whoever has an address.
    Password(&'a Email),
    /// A code that was sent for an account, by a session of it.
    Code(UserId),
}

impl Guessed<'_> {
    fn key(self) -> Key {
        match self {
            Self::Password(email) => Key::guesses(email.as_str()),
            Self::Code(user) => Key::code_guesses(user),
        }
    }

    fn key_from(self, from: &str) -> Key {
        match self {
            Self::Password(email) => Key::guesses_from(email.as_str(), from),
            Self::Code(user) => Key::code_guesses_from(user, from),
        }
    }
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
    fn limits(self, of: Guessed<'_>) -> Vec<GuessLimit> {
        let one = |from: &str| GuessLimit { key: of.key_from(from), most: FROM_ONE, window: FROM_ONE_WINDOW };
        match self {
            Self::Known(device) => vec![one(device.as_str())],
            Self::Network(network) => {
                let all = GuessLimit { key: of.key(), most: FROM_ALL, window: FROM_ALL_WINDOW };
                vec![one(&network.map_or_else(|| "none".to_owned(), |network| network.to_string())), all]
            }
        }
    }
}

impl Store {
    /// Takes a guess at a password or a code, of all limits that there are on it, or of none. While only guesses that are under way stand
    /// against it, waits for them a little, and holds nothing meanwhile.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] until the last window that is full has ended.
    pub async fn take_guess(&self, of: Guessed<'_>, from: Guesser<'_>) -> Result<Guesses, ApiError> {
        let mut patience = PATIENCE_MS.into_iter();
        loop {
            let (taken, refusal) = self.take_of_each(from.limits(of)).await?;
            let Some(Refusal { error, may_clear }) = refusal else { return Ok(taken) };
            self.give_back(&taken).await;
            match patience.next() {
                Some(wait_ms) if may_clear => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
                _ => return Err(error),
            }
        }
    }

    /// Takes one guess of each limit that has one. Returns what was taken, or may have been, and why it was not all.
    async fn take_of_each(&self, limits: Vec<GuessLimit>) -> Result<(Guesses, Option<Refusal>), ApiError> {
        // Another one each time: what is given back late is none that was taken since.
        let id = getrandom::u64().map_err(ApiError::internal)?;
        let id = AttributeValue::Ss(vec![format!("{id:016x}")]);
        // Boxed: the SDK's futures are large, and unoptimised builds copy them about on the stack.
        let taking = limits.iter().map(|limit| Box::pin(self.take(limit, &id)));
        let outcomes = timed(Part::Db, join_all(taking)).await;
        let (mut taken, mut refusal) = (Vec::new(), None);
        for (limit, outcome) in limits.into_iter().zip(outcomes) {
            match outcome {
                Ok(None) => taken.push(limit),
                Ok(Some(full)) => refusal = Some(Refusal::of_both(refusal, full)),
                // What may have been taken is given back too.
                Err(error) => {
                    taken.push(limit);
                    refusal = Some(Refusal::of_both(refusal, Refusal { error, may_clear: false }));
                }
            }
        }
        Ok((Guesses { id, limits: taken }, refusal))
    }

    /// Takes a guess of the running window, or opens a new window; if another guess has opened one meanwhile, takes it of that. Returns why
    /// there is none.
    async fn take(&self, limit: &GuessLimit, id: &AttributeValue) -> Result<Option<Refusal>, ApiError> {
        loop {
            let now = self.now();
            let Some(closed) = self.take_of_window(limit, id, now).await? else { return Ok(None) };
            let left_ms = closed.ends - now.as_millis();
            if left_ms > 0 {
                let error = too_many(limit.most, left_ms);
                return Ok(Some(Refusal { error, may_clear: closed.wrong < limit.most }));
            }
            if self.open_window(limit, id, now).await? {
                return Ok(None);
            }
        }
    }

    /// Takes a guess of the running window. If there is none, or it is full, returns the last one.
    async fn take_of_window(
        &self,
        limit: &GuessLimit,
        id: &AttributeValue,
        now: Moment,
    ) -> Result<Option<Closed>, ApiError> {
        let taken = self
            .update_guesses(limit)
            .update_expression("ADD taken :guess")
            .condition_expression(
                "window_ends > :now AND attribute_exists(taken) AND (size(taken) < :max OR contains(taken, :id))",
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
        let counting = window.as_ref().filter(|item| item.contains_key("taken"));
        let ends = counting.and_then(|item| item.get("window_ends")?.as_n().ok()?.parse().ok());
        let wrong = window.as_ref().and_then(|item| item.get("failed")?.as_ss().ok()).map_or(0, |ids| ids.len() as u64);
        Ok(Some(Closed { ends: ends.unwrap_or(0), wrong }))
    }

    /// Opens a window with one guess in it, unless one is open in which a guess counts.
    async fn open_window(&self, limit: &GuessLimit, id: &AttributeValue, now: Moment) -> Result<bool, ApiError> {
        let ends = now.plus(limit.window);
        let opened = self
            .update_guesses(limit)
            .update_expression("SET taken = :guess, window_ends = :ends, #ttl = :ttl REMOVE failed")
            .condition_expression("attribute_not_exists(taken) OR window_ends <= :now")
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
        if let Some(error) = self.settle(guesses, "DELETE taken :guess").await {
            tracing::warn!(cause = chain(&error), "a log-in attempt was not given back");
        }
    }

    /// Notes that guesses were wrong: nobody waits for them. A failure is logged: whoever meets them waits in vain.
    pub async fn note_wrong(&self, guesses: &Guesses) {
        if let Some(error) = self.settle(guesses, "ADD failed :guess").await {
            tracing::warn!(cause = chain(&error), "a wrong guess was not noted");
        }
    }

    /// Writes this of guesses where they were taken. Returns a failure, if there was one.
    async fn settle(&self, guesses: &Guesses, expression: &str) -> Option<SdkError<UpdateItemError, HttpResponse>> {
        let settling = guesses.limits.iter().map(|limit| {
            let settled = self
                .update_guesses(limit)
                .update_expression(expression)
                .condition_expression("contains(taken, :id)")
                .expression_attribute_values(":guess", guesses.id.clone())
                .expression_attribute_values(":id", own(&guesses.id))
                .send_unless_held();
            Box::pin(timed(Part::Db, settled))
        });
        join_all(settling).await.into_iter().filter_map(Result::err).find(|error| refused(error).is_none())
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
