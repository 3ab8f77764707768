//! What one network may do without a session: limits by windows of the clock, and a request's claim on them. Whoever is logged in
//! is not limited by its network.

use crate::context::Context;
use crate::error::ApiError;
use crate::model::time::Moment;
use crate::network::Network;
use crate::store::Store;
use crate::store::rates::{Counted, Counter, PATIENCE_MS};
use futures_util::future::join_all;
use std::time::Duration;

/// How much more a /48 may do than each /64 in it.
const WIDER: u64 = 10;

/// A limit on what one network does: an IPv4 address or an IPv6 /64, and a /48 ten times as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkLimit {
    /// Log-ins with a wrong password or an unknown address.
    FailedLogInsPerMinute,
    /// Registrations, whether the address was taken or not.
    RegistrationsPerMinute,
    RegistrationsPerDay,
    /// Links to choose another password that were asked for, whether an account has the address or not.
    ResetLinksPerDay,
}

impl NetworkLimit {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::FailedLogInsPerMinute, Self::RegistrationsPerMinute, Self::RegistrationsPerDay, Self::ResetLinksPerDay];

    /// The variable that says how much it is; 0 closes.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::FailedLogInsPerMinute => "FAILED_LOG_INS_PER_MINUTE",
            Self::RegistrationsPerMinute => "REGISTRATIONS_PER_MINUTE",
            Self::RegistrationsPerDay => "REGISTRATIONS_PER_DAY",
            Self::ResetLinksPerDay => "RESET_LINKS_PER_DAY",
        }
    }

    /// Its name in replies and in the keys of its counters.
    fn name(self) -> &'static str {
        match self {
            Self::FailedLogInsPerMinute => "failed-log-ins",
            Self::RegistrationsPerMinute => "registrations",
            Self::RegistrationsPerDay => "registrations-a-day",
            Self::ResetLinksPerDay => "reset-links-a-day",
        }
    }

    /// Its windows are the clock's, in UTC.
    fn window(self) -> Duration {
        Duration::from_secs(match self {
            Self::FailedLogInsPerMinute | Self::RegistrationsPerMinute => 60,
            Self::RegistrationsPerDay | Self::ResetLinksPerDay => 24 * 60 * 60,
        })
    }

    /// Whether what went well is given back.
    fn counts_failures_only(self) -> bool {
        self == Self::FailedLogInsPerMinute
    }

    /// The counters of a network at a moment.
    fn counters(self, most: u64, network: Option<Network>, now: Moment) -> Vec<Claimed> {
        let window_ms = i64::try_from(self.window().as_millis()).unwrap_or(i64::MAX);
        let begins = Moment::from_millis(now.as_millis().div_euclid(window_ms) * window_ms);
        let ends = begins.plus(self.window());
        let of = |network: String, most: u64| {
            let counter = Counter::new(self.name(), &network, begins, ends, most);
            Claimed { limit: self, most, ends, counter }
        };
        // What the gateway has no address of is one network.
        let Some(network) = network else { return vec![of("none".to_owned(), most)] };
        let wider = network.wider().map(|wider| of(wider, most.saturating_mul(WIDER)));
        std::iter::once(of(network.to_string(), most)).chain(wider).collect()
    }
}

struct Claimed {
    limit: NetworkLimit,
    most: u64,
    ends: Moment,
    counter: Counter,
}

impl Claimed {
    fn refusal(&self, now: Moment) -> ApiError {
        let left_ms = u64::try_from(self.ends.as_millis() - now.as_millis()).unwrap_or(0);
        let retry_after_seconds = left_ms.div_ceil(1000);
        ApiError::RateLimited { what: self.limit.name(), limit: self.most, retry_after_seconds }
    }

    /// Takes one. Where only failures count and those under way fill the limit, waits for them a little.
    async fn take(&self, store: &Store) -> Result<(), ApiError> {
        for patience_ms in PATIENCE_MS.into_iter().map(Some).chain([None]) {
            let failed = match store.count(&self.counter).await? {
                Counted::Within => return Ok(()),
                Counted::Over { failed } => failed,
            };
            match patience_ms {
                Some(wait_ms) if self.limit.counts_failures_only() && failed < self.most => {
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                _ => break,
            }
        }
        Err(self.refusal(store.now()))
    }
}

/// What a request has taken of its network's limits.
pub struct Claim<'a> {
    store: &'a Store,
    taken: Vec<Claimed>,
}

impl<'a> Claim<'a> {
    /// Takes one of each of these limits, or none of any.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`] until the last of the windows that are full has ended.
    pub async fn take(
        context: &'a Context,
        network: Option<Network>,
        limits: &[NetworkLimit],
    ) -> Result<Self, ApiError> {
        let (store, now) = (context.store(), context.now());
        let mut wanted = Vec::new();
        for limit in limits {
            let most = context.config().network_limit(*limit).map_err(ApiError::internal)?;
            wanted.extend(limit.counters(most, network, now));
        }
        let outcomes = join_all(wanted.iter().map(|claimed| Box::pin(claimed.take(store)))).await;
        let (mut taken, mut refused) = (Vec::new(), None);
        for (claimed, outcome) in wanted.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => taken.push(claimed),
                Err(error) => refused = Some(ApiError::longer(refused, error)),
            }
        }
        let claim = Self { store, taken };
        match refused {
            None => Ok(claim),
            Some(error) => {
                claim.give_back().await;
                Err(error)
            }
        }
    }

    /// Of no limits.
    pub(crate) fn none(context: &'a Context) -> Self {
        Self { store: context.store(), taken: Vec::new() }
    }

    /// Gives all of it back.
    pub async fn give_back(self) {
        join_all(self.taken.iter().map(|claimed| Box::pin(self.store.count_back(&claimed.counter)))).await;
    }

    /// Says that what it was taken for has failed: nobody needs to wait for it any more.
    pub(crate) async fn failed(self) {
        join_all(self.taken.iter().map(|claimed| Box::pin(self.store.count_failure(&claimed.counter)))).await;
    }
}
