//! How fast a provider is called by all environments together (a token bucket), and whether it is called at all (a circuit breaker).

use super::model_id::ModelId;
use crate::model::job::WaitingFor;
use crate::model::time::Moment;
use serde::Deserialize;
use std::time::Duration;

/// The burst after a pause: the calls of a second, one at least.
const BURST: Duration = Duration::from_secs(1);
/// How long the breaker stays open at first: after what passes by itself, and after what an operator has to see to.
const FIRST_OPEN: Duration = Duration::from_secs(5);
const FIRST_OPEN_FOR_THE_OPERATOR: Duration = Duration::from_secs(30);
/// The longest that it is open before the next probe.
const OPEN_MAX: Duration = Duration::from_secs(300);

/// One part in so many of the mail service's rate is kept for mail about accounts.
const KEPT_FOR_ACCOUNTS: u64 = 5;

/// Whom jobs call, all of them under one rate and one breaker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The mail service, for e-mails of organizations.
    Mail,
    /// The same mail service, for mail about accounts: it has a bucket of its own, so no newsletter is before it. All else they share.
    AccountMail,
    /// One of the model provider's models ([`Provider::of_model`]). Each has a rate of its own there, and may be overloaded alone.
    Model(ModelFamily),
}

/// What all ids of a model begin with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelFamily(String);

impl Provider {
    /// The one that a model's id means. With another date behind it, or as an alias, it is the same: callers choose among those ids, and
    /// have no other rate or breaker by any of them.
    #[must_use]
    pub fn of_model(id: &str) -> Self {
        Self::Model(ModelFamily(ModelId::of(id).family.to_owned()))
    }

    /// In keys.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Mail | Self::AccountMail => "mail".to_owned(),
            Self::Model(ModelFamily(family)) => format!("model:{family}"),
        }
    }

    /// The attribute of its record that holds its bucket.
    pub(crate) fn bucket(&self) -> &'static str {
        match self {
            Self::Mail | Self::Model(_) => "next_at",
            Self::AccountMail => "account_next_at",
        }
    }

    /// All whose buckets are in its record.
    pub(crate) fn of_its_record(&self) -> &[Self] {
        match self {
            Self::Mail | Self::AccountMail => &[Self::Mail, Self::AccountMail],
            Self::Model(_) => std::slice::from_ref(self),
        }
    }

    /// Its part of the whole rate. The parts are never more than the whole.
    #[must_use]
    pub fn share(&self, whole: Rate) -> Rate {
        match self {
            Self::Model(_) => whole,
            Self::Mail => Rate(whole.0.saturating_mul(KEPT_FOR_ACCOUNTS).div_ceil(KEPT_FOR_ACCOUNTS - 1)),
            Self::AccountMail => Rate(whole.0.saturating_mul(KEPT_FOR_ACCOUNTS)),
        }
    }

    /// Whose calls it may have where that one leaves them over now.
    #[must_use]
    pub fn lender(&self) -> Option<Self> {
        match self {
            Self::AccountMail => Some(Self::Mail),
            Self::Mail | Self::Model(_) => None,
        }
    }
}

/// The time from one call to the next, in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u64);

impl Rate {
    /// So many calls in a time; 0 counts as 1.
    #[must_use]
    pub fn of(calls: u64, time: Duration) -> Self {
        Self::every(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).div_ceil(calls.max(1)))
    }

    fn every(millis: u64) -> Self {
        Self(millis.max(1))
    }

    /// The time from one call to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// As stored.
    pub(crate) fn as_millis(self) -> u64 {
        self.0
    }

    /// The time that so many calls take.
    #[must_use]
    pub fn time_of(self, calls: u64) -> Duration {
        Duration::from_millis(self.0.saturating_mul(calls))
    }

    /// How much earlier than evenly spaced a call may come.
    #[must_use]
    pub fn tolerance(self) -> Duration {
        BURST.saturating_sub(self.interval())
    }
}

/// A provider's bucket and breaker as stored. What is missing was never set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LimiterRecord {
    /// The time of the next call, if all came evenly spaced (the "theoretical arrival time" of GCRA, ITU-T I.371).
    pub next_at: Option<Moment>,
    /// The same of what is kept for mail about accounts.
    pub account_next_at: Option<Moment>,
    /// Until when the provider takes no calls at all, as a refusal of its own said.
    pub empty_until: Option<Moment>,
    /// As the provider itself says; configuration says it otherwise.
    pub interval_ms: Option<u64>,
    /// How often in a row the breaker opened; 0 while it is closed.
    pub failures: u32,
    /// Until when it is open. After that one call at a time probes.
    pub open_until: Option<Moment>,
    /// Why it is open, as jobs say it that wait.
    pub code: Option<String>,
    pub detail: Option<String>,
}

/// What the bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// All that it takes.
    Full,
    /// At least one for now.
    Left,
    /// None before a moment.
    From(Moment),
}

impl LimiterRecord {
    /// The rate that is in force.
    #[must_use]
    pub fn rate(&self, configured: Rate) -> Rate {
        self.interval_ms.map_or(configured, Rate::every)
    }

    /// What a bucket with this rate has.
    pub(crate) fn tokens(&self, provider: &Provider, rate: Rate, now: Moment) -> Tokens {
        let next_at = match provider {
            Provider::Mail | Provider::Model(_) => self.next_at,
            Provider::AccountMail => self.account_next_at,
        };
        match next_at.filter(|at| *at >= now) {
            None => Tokens::Full,
            Some(at) if at <= now.plus(rate.tolerance()) => Tokens::Left,
            Some(at) => Tokens::From(at.minus(rate.tolerance())),
        }
    }

    /// Whether calls of before are not to be made: the breaker has opened, or the provider said that it takes none.
    #[must_use]
    pub fn is_stopped(&self, now: Moment) -> bool {
        self.failures > 0 || self.empty_until.is_some_and(|until| until > now)
    }

    /// Why the breaker is open.
    #[must_use]
    pub fn why(&self) -> WaitingFor {
        let code = self.code.as_deref().unwrap_or("provider_unreachable");
        WaitingFor::new(code, self.detail.as_deref().unwrap_or("The provider does not answer."))
    }
}

/// What asking for a call gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// It may be made now.
    Now,
    /// It may be made at this time, which is kept for whoever asked.
    At(Moment),
    /// None in the time that was asked for; the next one is at this time.
    Nothing(Moment),
    /// One call now, alone: the breaker opened so often in a row.
    Probe(u32),
    /// The breaker is open until then.
    Open(Moment, WaitingFor),
}

/// A refusal that concerns everybody who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It passes by itself, and may be chance: several in a row open the breaker.
    Passing,
    /// An operator has to see to it: the first one opens the breaker.
    ForTheOperator,
}

impl Fault {
    /// What the code of a refusal says; none if it concerns its job alone, or is not the provider's.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        match code {
            "provider_rate_limited"
            | "provider_limited"
            | "provider_overloaded"
            | "provider_unreachable"
            | "mail_rate_limited"
            | "mail_overloaded"
            | "mail_unreachable" => Some(Self::Passing),
            "provider_billing"
            | "provider_limit_reached"
            | "provider_credentials"
            | "provider_account_disabled"
            | "mail_quota"
            | "mail_credentials"
            | "mail_suspended"
            | "mail_paused"
            | "mail_sender_unverified"
            | "mail_configuration" => Some(Self::ForTheOperator),
            _ => None,
        }
    }

    /// Refusals in a row that open the breaker.
    #[must_use]
    pub fn opens_after(self) -> u32 {
        match self {
            Self::Passing => 3,
            Self::ForTheOperator => 1,
        }
    }

    /// How long the breaker is open for the n-th time in a row.
    #[must_use]
    pub fn opens_for(self, failures: u32) -> Duration {
        let first = match self {
            Self::Passing => FIRST_OPEN,
            Self::ForTheOperator => FIRST_OPEN_FOR_THE_OPERATOR,
        };
        first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(OPEN_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Moment {
        Moment::from_millis(ms)
    }

    #[test]
    fn rates_never_let_more_through() {
        for (calls, seconds, millis) in [(50, 60, 1_200), (14, 1, 72), (0, 1, 1_000), (10_000, 1, 1), (7, 60, 8_572)] {
            assert_eq!(Rate::of(calls, Duration::from_secs(seconds)).as_millis(), millis);
        }
    }

    #[test]
    fn a_bucket_has_a_second_of_calls_and_fills_evenly() {
        let rate = Rate::of(14, Duration::from_secs(1));
        let tokens = |rate, next_at, now| {
            LimiterRecord { next_at, ..LimiterRecord::default() }.tokens(&Provider::Mail, rate, at(now))
        };
        assert_eq!(tokens(rate, None, 5_000), Tokens::Full);
        assert_eq!(tokens(rate, Some(at(4_000)), 5_000), Tokens::Full, "what is not used is lost");
        let after = |calls: i64| tokens(rate, Some(at(5_000 + 72 * calls)), 5_000);
        assert_eq!((1..100).take_while(|calls| after(*calls) == Tokens::Left).count(), 12, "thirteen at once");
        assert_eq!(tokens(rate, Some(at(5_928)), 5_000), Tokens::Left);
        assert_eq!(tokens(rate, Some(at(6_000)), 5_000), Tokens::From(at(5_072)));
        let slow = Rate::of(50, Duration::from_secs(60));
        assert_eq!(tokens(slow, None, 0), Tokens::Full);
        assert_eq!(tokens(slow, Some(at(1_200)), 0), Tokens::From(at(1_200)), "one at a time");
    }

    /// Also where a rate is too low for both of them to have a call in one second.
    #[test]
    fn a_fifth_of_the_mail_services_rate_is_kept_for_accounts_and_the_parts_are_not_more_than_the_whole() {
        for a_second in 1..=200 {
            let whole = Rate::of(a_second, Duration::from_secs(1));
            let (mail, account) = (Provider::Mail.share(whole), Provider::AccountMail.share(whole));
            assert_eq!(account.as_millis(), whole.as_millis() * 5, "{a_second}: exactly a fifth");
            let (mail, account, whole) = (mail.as_millis(), account.as_millis(), whole.as_millis());
            assert!((mail + account) * whole <= mail * account, "{a_second}: 1/{mail} + 1/{account} <= 1/{whole}");
            assert!((mail - 1) * 4 < whole * 5, "{a_second}: no more is lost than the rest of a millisecond");
        }
        let model = Provider::of_model("m");
        assert_eq!(model.share(Rate::every(72)), Rate::every(72));
        let record = LimiterRecord { next_at: Some(at(99_000)), ..LimiterRecord::default() };
        assert_eq!(record.tokens(&Provider::AccountMail, Rate::every(360), at(0)), Tokens::Full);
    }

    #[test]
    fn all_ids_of_a_model_are_one_model() {
        for id in
            ["claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5-20991231", "claude-haiku-4-5-latest"]
        {
            assert_eq!(Provider::of_model(id).name(), "model:claude-haiku-4-5", "{id}");
        }
        assert_ne!(Provider::of_model("claude-haiku-4-5"), Provider::of_model("claude-haiku-4-6"));
    }

    #[test]
    fn the_providers_own_word_counts() {
        let configured = Rate::of(50, Duration::from_secs(60));
        assert_eq!(LimiterRecord::default().rate(configured), configured);
        let said = LimiterRecord { interval_ms: Some(60), ..LimiterRecord::default() };
        assert_eq!(said.rate(configured), Rate::of(1_000, Duration::from_secs(60)));
    }

    #[test]
    fn a_breaker_stays_open_longer_each_time_up_to_a_bound() {
        for fault in [Fault::Passing, Fault::ForTheOperator] {
            let lasts: Vec<_> = (1..40).map(|failures| fault.opens_for(failures)).collect();
            assert!(lasts.is_sorted() && lasts[38] == OPEN_MAX && lasts[0] <= Duration::from_secs(30));
        }
        assert_eq!((Fault::of("provider_billing"), Fault::of("database")), (Some(Fault::ForTheOperator), None));
        assert_eq!(Fault::of("provider_input_limited"), None, "others' texts fit");
        assert_eq!(
            (Fault::of("provider_credentials"), Fault::of("provider_key_unread")),
            (Some(Fault::ForTheOperator), None)
        );
    }
}
