//! Reading through: one flight in this process, one lease among processes, and a fence around both.

use super::backend::{Backend, Budget};
use super::cache_metrics::Event;
use super::class::{ABSENCES_PER_SCOPE, Cacheable, Class, EntryAddress, Key};
use super::connection::ConnectionError;
use super::entry::{self, Fence, now_ms};
use super::operation::{Acquisition, Kept};
use super::single_flight::{FetchOutcome, Leader, Role};
use super::{Busy, Cache, LEASE_TIME, Lookup, decode, encode};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a caller waits for its turn to fetch before it is turned away.
const FETCH_TURN: Duration = Duration::from_millis(500);

/// How long a caller waits for a lease before it fetches without one: three holders in a row may have died.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3);

/// How many holders in a row lose their lease to writes until a caller fetches without one.
const REPLACED: u32 = 2;

/// What waiting for a lease came to.
enum Acquired<V> {
    Lease(Fence),
    /// Somebody else has stored a value meanwhile; read no earlier than `as_of`.
    Found {
        value: Option<V>,
        as_of: Instant,
    },
    /// The cache does not answer, or others hold the lease for too long.
    Nothing,
}

impl Cache {
    /// Fetches what is missing, or waits for whoever does. `lease` is the one that the lookup brought, if any.
    pub(super) async fn fetch_once<K, F, Fut, E>(
        &self,
        key: &K,
        address: &EntryAddress,
        asked: Instant,
        mut lease: Option<Fence>,
        mut budget: Budget,
        fetch: F,
    ) -> Result<Option<K::Value>, E>
    where
        K: Key + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<K::Value>, E>>,
        E: From<Busy>,
    {
        loop {
            let wait = match self.0.flights.join(address) {
                Role::Leader(lead) => return self.lead(key, lead, lease, budget, fetch).await,
                Role::Wait(wait) => wait,
            };
            self.0.metrics.count(K::CLASS.name, Event::Wait);
            // The leader may be waiting for this very lease.
            self.release::<K>(address, lease.take(), &mut budget).await;
            match wait.outcome().await {
                // An answer found out before this caller asked could miss a write acknowledged in between.
                Some(FetchOutcome::Value { value, as_of }) if asked <= as_of => {
                    match value.map(|value| value.downcast_ref::<K::Value>().cloned()) {
                        None => return Ok(None),
                        Some(Some(value)) => return Ok(Some(value)),
                        Some(None) => {} // another type under the same key
                    }
                }
                Some(FetchOutcome::Failed) => return Err(self.busy(K::CLASS.name).into()),
                _ => {}
            }
            match self.lookup_or_acquire::<K>(address, &mut budget).await {
                Lookup::Fresh { value, .. } => return Ok(value),
                Lookup::Leased(fence) => lease = Some(fence),
                Lookup::Stale { .. } | Lookup::Miss => {}
            }
        }
    }

    /// Fetches for all who wait in this process, with the lease that keeps other processes from it.
    async fn lead<K, F, Fut, E>(
        &self,
        key: &K,
        lead: Leader,
        lease: Option<Fence>,
        mut budget: Budget,
        fetch: F,
    ) -> Result<Option<K::Value>, E>
    where
        K: Key + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<K::Value>, E>>,
        E: From<Busy>,
    {
        let leased = match lease {
            Some(fence) => Acquired::Lease(fence),
            None if self.0.oversized.has(lead.address()) => Acquired::Nothing,
            None => self.acquire_or_wait::<K>(lead.address(), &mut budget).await,
        };
        let fence = match leased {
            Acquired::Found { value, as_of } => {
                lead.land(|| value.clone().map(|value| Arc::new(value) as _), as_of);
                return Ok(value);
            }
            Acquired::Lease(fence) => Some(fence),
            Acquired::Nothing => None,
        };
        let Ok(Ok(turn)) = tokio::time::timeout(FETCH_TURN, self.0.fetches.acquire()).await else {
            self.release::<K>(lead.address(), fence, &mut budget).await;
            lead.fail();
            return Err(self.busy(K::CLASS.name).into());
        };
        let fetching = Instant::now();
        self.0.metrics.count(K::CLASS.name, Event::Fetch);
        let fetched = fetch().await;
        drop(turn);
        match fetched {
            Ok(value) => {
                let absence = value.is_none().then(|| absence_scope(self.key_prefix(), key)).flatten();
                let ending = self.clone().land::<K>(lead, fence, value.clone(), absence, fetching);
                match &self.0.backend {
                    // The caller's answer does not wait for the server's. Without a lease the server is not asked.
                    Backend::Server(_) if fence.is_some() => self.later(ending),
                    _ => ending.await,
                }
                Ok(value)
            }
            Err(error) => {
                self.release::<K>(lead.address(), fence, &mut budget).await;
                lead.fail();
                Err(error)
            }
        }
    }

    /// Stores what was fetched, then tells those who wait for it.
    async fn land<K: Key>(
        self,
        lead: Leader,
        fence: Option<Fence>,
        value: Option<K::Value>,
        absence: Option<String>,
        fetching: Instant,
    ) {
        let storing = Instant::now();
        // A lease that stood until the store proves that no write was acknowledged since the fetch began.
        let stood = self.store::<K>(lead.address(), fence, value.as_ref(), absence, &mut self.budget()).await;
        let as_of = if stood { storing } else { fetching };
        lead.land(|| value.map(|value| Arc::new(value) as _), as_of);
    }

    /// Gets the lease of a place, waiting while somebody else has it; for one holder and the next, if writes take it from both. What
    /// changes faster than it is fetched is not worth waiting for.
    async fn acquire_or_wait<K: Key>(&self, address: &EntryAddress, budget: &mut Budget) -> Acquired<K::Value> {
        let mut pause = Duration::from_millis(2);
        let give_up = Instant::now() + GIVE_UP_AFTER;
        let mut trusted = true;
        // When the lease ends that is waited for, at the latest; and how often another had taken its place.
        let (mut ends, mut replaced) = (None, 0);
        loop {
            let as_of = Instant::now();
            // What is there and cannot be read is stale by any clock.
            let now = if trusted { now_ms() } else { u64::MAX };
            match self.acquire::<K>(address, now, budget).await {
                Ok(Acquisition::Granted(fence)) => return Acquired::Lease(fence),
                Ok(Acquisition::Present(bytes)) => match decode::<K>(&bytes, now_ms()) {
                    Lookup::Fresh { value, .. } => return Acquired::Found { value, as_of },
                    _ if trusted => trusted = false,
                    _ => return Acquired::Nothing,
                },
                Ok(Acquisition::Held(left)) if as_of < give_up && replaced < REPLACED => {
                    // A lease is not extended: one that ends later is another.
                    if ends.is_none_or(|ends| as_of + left > ends) {
                        replaced += u32::from(ends.is_some());
                        ends = Some(Instant::now() + left + Duration::from_millis(1));
                    }
                    tokio::time::sleep(pause.min(left)).await;
                    pause = (pause * 3 / 2).min(Duration::from_millis(25));
                }
                Ok(Acquisition::Held(_)) => return Acquired::Nothing,
                Err(error) => {
                    self.failed(K::CLASS.name, &error);
                    return Acquired::Nothing;
                }
            }
        }
    }

    /// Asks for the lease; what is fresh by the clock `now_ms` is given instead.
    pub(super) async fn acquire<K: Key>(
        &self,
        address: &EntryAddress,
        now_ms: u64,
        budget: &mut Budget,
    ) -> Result<Acquisition, ConnectionError> {
        self.0.backend.acquire(address, K::Value::SCHEMA, LEASE_TIME, now_ms, budget).await
    }

    /// Stores what was fetched, unless it is larger than its class keeps; that there is nothing, if its `absence` may be remembered. Gives
    /// whether the lease stood.
    pub(super) async fn store<K: Key>(
        &self,
        address: &EntryAddress,
        fence: Option<Fence>,
        value: Option<&K::Value>,
        absence: Option<String>,
        budget: &mut Budget,
    ) -> bool {
        let Some(fence) = fence else { return false };
        let class = K::CLASS;
        let kept = match (value, absence) {
            (Some(value), _) => encode::<K>(value),
            (None, Some(scope)) if self.may_remember_absence(&scope, &class, budget).await => {
                let until_ms = now_ms() + entry::millis(class.absent);
                Some((entry::of_absence(K::Value::SCHEMA, until_ms), class.absent))
            }
            _ => None,
        };
        let kept = kept.as_ref().map(|(entry, keep)| Kept { entry, keep: *keep });
        if kept.is_none() && value.is_some() {
            self.0.oversized.note(address, class.fresh);
        }
        let stood = if kept.is_none() && value.is_some() && !class.is_renewed() {
            self.drop_stale(&class, address, budget).await;
            false
        } else {
            self.put(&class, address, fence, kept, budget).await
        };
        if kept.is_some() || value.is_some() {
            let is_stored = kept.is_some() && stood;
            self.0.metrics.count(class.name, if is_stored { Event::Store } else { Event::StoreRejected });
        }
        stood
    }

    /// Removes a stale value that a newer one is known of which is not kept: else it would be served to its end, and read anew for each
    /// reader.
    async fn drop_stale(&self, class: &Class, address: &EntryAddress, budget: &mut Budget) {
        if let Err(error) = self.0.backend.invalidate(address, budget).await {
            self.failed(class.name, &error);
        }
    }

    /// Gives a lease back that nothing was fetched with.
    pub(super) async fn release<K: Key>(&self, address: &EntryAddress, fence: Option<Fence>, budget: &mut Budget) {
        if let Some(fence) = fence {
            self.put(&K::CLASS, address, fence, None, budget).await;
        }
    }

    /// Puts an entry, or nothing, in the lease's place. Gives whether it stood.
    async fn put(
        &self,
        class: &Class,
        address: &EntryAddress,
        fence: Fence,
        kept: Option<Kept<'_>>,
        budget: &mut Budget,
    ) -> bool {
        let result = self.0.backend.store(address, fence, kept, budget).await;
        result.unwrap_or_else(|error| {
            self.failed(class.name, &error);
            false
        })
    }

    async fn may_remember_absence(&self, scope: &str, class: &Class, budget: &mut Budget) -> bool {
        // Absences of two windows can overlap.
        let most = u64::from(ABSENCES_PER_SCOPE / 2);
        matches!(self.0.backend.count(scope, class.absent, budget).await, Ok(Some(count)) if count <= most)
    }

    fn busy(&self, class: &'static str) -> Busy {
        self.0.metrics.count(class, Event::Busy);
        Busy { retry_after: Duration::from_secs(1) }
    }
}

/// The scope that counts a key's absences, if its class remembers them.
pub(super) fn absence_scope<K: Key>(prefix: &str, key: &K) -> Option<String> {
    if K::CLASS.absent.is_zero() {
        return None;
    }
    let mut scope = String::with_capacity(prefix.len() + 64);
    scope.push_str(prefix);
    key.write_scope(&mut scope);
    scope.push_str(if scope.len() == prefix.len() { "absent:" } else { ":absent:" });
    scope.push_str(K::CLASS.name);
    Some(scope)
}

#[cfg(test)]
mod tests;
