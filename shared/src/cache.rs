//! Typed cache: a hit is one `GET`; a miss is fetched once, by whoever holds the lease; what a write has
//! replaced is never served once the write is acknowledged; a cache that fails is a miss and a warning.
//! `docs/caching.md` has the design and its proofs.

mod breaker;
mod class;
mod entry;
mod flight;
mod link;
mod memory;
mod meter;
mod near;
mod refresh;
mod server;
mod url;

pub use class::{ABSENCES_PER_SCOPE, ABSENT_MAX, Cacheable, Class, JITTER_PERCENT, Key, Name, Rule};
pub use meter::Event;
pub use url::{CacheUrl, CacheUrlError, Server};

use crate::telemetry::{Part, timed};
use class::Place;
use entry::{Entry, Kind, Token, now_ms};
use flight::{Flights, Landing, Lead, Role};
use link::{Link, LinkError};
use memory::Memory;
use meter::Meter;
use near::Near;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What the cache's own operations may add to one lookup or one write, all together.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// How long a claimant may fetch before another may: what a dead one delays the others by, at most.
pub const LEASE: Duration = Duration::from_secs(1);

/// Fetches at a time within this process.
pub const FETCHES: usize = 64;

/// How long a caller waits for its turn to fetch before it is turned away.
const FETCH_TURN: Duration = Duration::from_millis(500);

/// Too many callers fetch at once, or the one fetch that this caller shared has failed. Try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many fetches at once")]
pub struct Busy {
    pub retry_after: Duration,
}

/// Whether a renewal or an invalidation reached the cache. If not, readers may get what it was to replace
/// until the class's [bound](Class::bound) has passed; the write itself stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Delivered,
    Lost,
}

/// A cache. Cloning it shares it.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    backend: Backend,
    flights: Flights,
    near: Near,
    meter: Meter,
    report: Option<fn(&str)>,
    fetches: Semaphore,
    refreshes: Mutex<JoinSet<()>>,
}

enum Backend {
    Server(Box<Link>),
    Memory(Memory),
    Off,
}

/// What asking for a lease came to.
enum Claim {
    Granted,
    /// Somebody else has it, for so long at most.
    Held(Duration),
    /// Somebody was faster: the entry, fresh.
    Present(Vec<u8>),
}

/// An entry's bytes and how long to keep them.
#[derive(Clone, Copy)]
struct Kept<'a> {
    entry: &'a [u8],
    keep: Duration,
}

/// What a lookup came to.
enum Lookup<V> {
    Fresh { value: Option<V>, fresh_until_ms: u64, bytes: usize },
    Stale { value: Option<V>, leased: bool },
    Miss,
}

/// What is left of [`PATIENCE`]. Nothing is, once an operation failed: one failure per caller is enough.
struct Budget(Duration);

impl Cache {
    /// A cache at an address. Nothing is opened before the first lookup.
    #[must_use]
    pub fn open(url: &CacheUrl) -> Self {
        Self::reporting(url, None)
    }

    /// A cache that hands its counts to `report` once a minute, as CloudWatch EMF documents, one per call.
    #[must_use]
    pub fn reporting(url: &CacheUrl, report: Option<fn(&str)>) -> Self {
        let backend = match url {
            CacheUrl::Server(server) => Backend::Server(Box::new(Link::new(server.clone()))),
            CacheUrl::Memory => Backend::Memory(Memory::default()),
            CacheUrl::Off => Backend::Off,
        };
        Self(Arc::new(Inner {
            backend,
            flights: Flights::default(),
            near: Near::default(),
            meter: Meter::default(),
            report,
            fetches: Semaphore::new(FETCHES),
            refreshes: Mutex::default(),
        }))
    }

    /// A fresh value, if there is one. A failure is a miss.
    pub async fn get<K: Key>(&self, key: &K) -> Option<K::Value> {
        match self.lookup::<K>(&Place::of(key), &mut Budget(PATIENCE)).await {
            Lookup::Fresh { value, .. } => value,
            _ => None,
        }
    }

    /// A value, from the cache or else from `fetch`, which runs at most once for all who miss at the same
    /// time; `None` when there is no such record. What it gives is never older than a write that was
    /// acknowledged before the call. `fetch` must read consistently.
    ///
    /// # Errors
    /// What `fetch` fails with, or [`Busy`].
    pub async fn get_or_fill<K, F, Fut, E>(&self, key: &K, fetch: F) -> Result<Option<K::Value>, E>
    where
        K: Key,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<K::Value>, E>>,
        E: From<Busy>,
    {
        const { assert!(K::CLASS.is_renewed(), "a class that may be served stale goes through get_or_refresh") };
        let asked = Instant::now();
        let place = Place::of(key);
        let mut budget = Budget(PATIENCE);
        if let Lookup::Fresh { value, .. } = self.lookup::<K>(&place, &mut budget).await {
            return Ok(value);
        }
        // Boxed, so that a hit does not carry the fetch's state around.
        Box::pin(self.fill(key, &place, asked, budget, fetch)).await
    }

    /// After a committed write and before it is acknowledged: puts the new value in the place of an older one.
    pub async fn renew<K: Key>(&self, key: &K, value: &K::Value) -> Delivery {
        let place = Place::of(key);
        let fresh = entry::jittered(K::CLASS.fresh, random());
        let Ok(bytes) = entry::of_value(value, now_ms() + entry::millis(fresh)) else {
            return self.invalidate_place(K::CLASS.name, &place).await;
        };
        let new = Kept { entry: &bytes, keep: keep(&K::CLASS, fresh) };
        let result = match &self.0.backend {
            Backend::Server(link) => timed(Part::Cache, server::renew(link, &place, new, PATIENCE)).await,
            Backend::Memory(memory) => {
                memory.renew(&place, new);
                Ok(())
            }
            Backend::Off => Ok(()),
        };
        self.delivery(K::CLASS.name, result)
    }

    /// After a committed write and before it is acknowledged: forgets a value, or all pages of a group.
    pub async fn invalidate<N: Name>(&self, name: &N) -> Delivery {
        self.invalidate_place(N::CLASS.name, &Place::of_name(name)).await
    }

    /// Whether the server answers; `None` where there is none.
    pub async fn ping(&self) -> Option<bool> {
        match &self.0.backend {
            Backend::Server(link) => Some(server::ping(link, PATIENCE).await.is_ok()),
            Backend::Memory(_) => Some(true),
            Backend::Off => None,
        }
    }

    /// How often `event` happened in `class` since the last report.
    #[must_use]
    pub fn count(&self, class: &Class, event: Event) -> u64 {
        self.0.meter.read(class.name, event)
    }

    /// Whether operations are skipped because they failed.
    #[must_use]
    pub fn breaker_is_open(&self) -> bool {
        matches!(&self.0.backend, Backend::Server(link) if link.breaker.is_open())
    }

    async fn invalidate_place(&self, class: &'static str, place: &Place) -> Delivery {
        let result = match &self.0.backend {
            Backend::Server(link) => timed(Part::Cache, server::invalidate(link, place, PATIENCE)).await,
            Backend::Memory(memory) => {
                memory.invalidate(place);
                Ok(())
            }
            Backend::Off => Ok(()),
        };
        self.delivery(class, result)
    }

    fn delivery(&self, class: &'static str, result: Result<(), LinkError>) -> Delivery {
        match result {
            Ok(()) => {
                self.0.meter.count(class, Event::Renewal);
                Delivery::Delivered
            }
            Err(error) => {
                self.failed(class, &error);
                self.0.meter.count(class, Event::RenewalLost);
                Delivery::Lost
            }
        }
    }

    fn failed(&self, class: &'static str, error: &LinkError) {
        if !matches!(error, LinkError::Open) {
            self.0.meter.count(class, Event::Failure);
            tracing::warn!(class, %error, "cache operation failed");
        }
    }

    async fn lookup<K: Key>(&self, place: &Place, budget: &mut Budget) -> Lookup<K::Value> {
        let class = K::CLASS.name;
        let now = now_ms();
        self.report_if_due(now);
        let found = match &self.0.backend {
            Backend::Server(link) => {
                let result = budget.spend(|patience| server::read(link, place, patience)).await;
                result.unwrap_or_else(|error| {
                    self.failed(class, &error);
                    None
                })
            }
            Backend::Memory(memory) => memory.read(place),
            Backend::Off => None,
        };
        let lookup = found.map_or(Lookup::Miss, |bytes| decode::<K>(&bytes, now));
        let event = match &lookup {
            Lookup::Fresh { .. } => Event::Hit,
            Lookup::Stale { .. } if !K::CLASS.is_renewed() => Event::StaleHit,
            Lookup::Stale { .. } | Lookup::Miss => Event::Miss,
        };
        self.0.meter.count(class, event);
        lookup
    }

    async fn fill<K, F, Fut, E>(
        &self,
        key: &K,
        place: &Place,
        asked: Instant,
        mut budget: Budget,
        fetch: F,
    ) -> Result<Option<K::Value>, E>
    where
        K: Key,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<K::Value>, E>>,
        E: From<Busy>,
    {
        loop {
            let wait = match self.0.flights.join(place) {
                Role::Lead(lead) => return self.lead(key, lead, budget, fetch).await,
                Role::Wait(wait) => wait,
            };
            self.0.meter.count(K::CLASS.name, Event::Wait);
            match wait.landing().await {
                // An answer found out before this caller asked could miss a write acknowledged in between.
                Some(Landing::Value { value, as_of }) if asked <= as_of => {
                    match value.map(|value| value.downcast_ref::<K::Value>().cloned()) {
                        None => return Ok(None),
                        Some(Some(value)) => return Ok(Some(value)),
                        Some(None) => {} // another type under the same key
                    }
                }
                Some(Landing::Failed) => return Err(self.busy(K::CLASS.name).into()),
                _ => {}
            }
            if let Lookup::Fresh { value, .. } = self.lookup::<K>(place, &mut budget).await {
                return Ok(value);
            }
        }
    }

    /// Fetches for all who wait in this process, with the lease that keeps other processes from it.
    async fn lead<K, F, Fut, E>(
        &self,
        key: &K,
        lead: Lead<'_>,
        mut budget: Budget,
        fetch: F,
    ) -> Result<Option<K::Value>, E>
    where
        K: Key,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<K::Value>, E>>,
        E: From<Busy>,
    {
        let place = lead.place();
        let token = match self.lease::<K>(place, &mut budget).await {
            Leased::Found { value, as_of } => {
                lead.land(|| value.clone().map(|value| Arc::new(value) as _), as_of);
                return Ok(value);
            }
            Leased::Token(token) => Some(token),
            Leased::Without => None,
        };
        let Ok(Ok(turn)) = tokio::time::timeout(FETCH_TURN, self.0.fetches.acquire()).await else {
            self.store(key, place, token, None, &mut budget).await;
            lead.fail();
            return Err(self.busy(K::CLASS.name).into());
        };
        let fetching = Instant::now();
        self.0.meter.count(K::CLASS.name, Event::Fetch);
        let fetched = fetch().await;
        drop(turn);
        match fetched {
            Ok(value) => {
                let filling = Instant::now();
                // A lease that stood until the fill proves that no write was acknowledged since the fetch began.
                let stood = self.store(key, place, token, Some(value.as_ref()), &mut budget).await;
                let as_of = if stood { filling } else { fetching };
                lead.land(|| value.clone().map(|value| Arc::new(value) as _), as_of);
                Ok(value)
            }
            Err(error) => {
                self.store(key, place, token, None, &mut budget).await;
                lead.fail();
                Err(error)
            }
        }
    }

    /// Gets the lease of a place, waiting while somebody else has it.
    async fn lease<K: Key>(&self, place: &Place, budget: &mut Budget) -> Leased<K::Value> {
        let token = new_token();
        let mut pause = Duration::from_millis(2);
        let give_up = Instant::now() + LEASE * 3;
        loop {
            let as_of = Instant::now();
            match self.claim::<K>(place, token, budget).await {
                Ok(Claim::Granted) => return Leased::Token(token),
                Ok(Claim::Present(bytes)) => match decode::<K>(&bytes, now_ms()) {
                    Lookup::Fresh { value, .. } => return Leased::Found { value, as_of },
                    _ => return Leased::Without,
                },
                Ok(Claim::Held(left)) if as_of < give_up => {
                    tokio::time::sleep(pause.min(left)).await;
                    pause = (pause * 3 / 2).min(Duration::from_millis(25));
                    *budget = Budget(PATIENCE); // somebody answers
                }
                Ok(Claim::Held(_)) => return Leased::Without,
                Err(error) => {
                    self.failed(K::CLASS.name, &error);
                    return Leased::Without;
                }
            }
        }
    }

    async fn claim<K: Key>(&self, place: &Place, token: Token, budget: &mut Budget) -> Result<Claim, LinkError> {
        let lease = entry::of_lease(K::Value::SCHEMA, token);
        match &self.0.backend {
            Backend::Server(link) => {
                let claim = |patience| server::claim(link, place, &lease, LEASE, now_ms(), patience);
                budget.spend(claim).await
            }
            Backend::Memory(memory) => Ok(memory.claim(place, &lease, LEASE, now_ms())),
            Backend::Off => Err(LinkError::Open),
        }
    }

    /// Stores what was fetched (`Some(None)` is "no such record"), or gives the lease back. Gives whether the
    /// lease stood.
    async fn store<K: Key>(
        &self,
        key: &K,
        place: &Place,
        token: Option<Token>,
        fetched: Option<Option<&K::Value>>,
        budget: &mut Budget,
    ) -> bool {
        let Some(token) = token else { return false };
        let class = K::CLASS;
        let fresh = entry::jittered(class.fresh, random());
        let bytes = match fetched {
            Some(Some(value)) => entry::of_value(value, now_ms() + entry::millis(fresh))
                .inspect_err(|error| tracing::warn!(class = class.name, %error, "a value cannot be encoded"))
                .ok()
                .map(|bytes| (bytes, keep(&class, fresh))),
            Some(None) if self.may_remember_absence(key, budget).await => {
                let until_ms = now_ms() + entry::millis(class.absent);
                Some((entry::of_absence(K::Value::SCHEMA, until_ms), class.absent))
            }
            _ => None,
        };
        let kept = bytes.as_ref().map(|(entry, keep)| Kept { entry, keep: *keep });
        let result = match &self.0.backend {
            Backend::Server(link) => budget.spend(|patience| server::fill(link, place, token, kept, patience)).await,
            Backend::Memory(memory) => Ok(memory.fill(place, token, kept)),
            Backend::Off => Ok(false),
        };
        let stood = result.unwrap_or_else(|error| {
            self.failed(class.name, &error);
            false
        });
        if kept.is_some() {
            self.0.meter.count(class.name, if stood { Event::Fill } else { Event::FillRejected });
        }
        stood
    }

    async fn may_remember_absence<K: Key>(&self, key: &K, budget: &mut Budget) -> bool {
        let class = K::CLASS;
        if class.absent.is_zero() {
            return false;
        }
        let mut scope = String::with_capacity(64);
        key.write_scope(&mut scope);
        scope.push_str(if scope.is_empty() { "absent:" } else { ":absent:" });
        scope.push_str(class.name);
        // Absences of two windows can overlap.
        let most = ABSENCES_PER_SCOPE / 2;
        match &self.0.backend {
            Backend::Server(link) => {
                let count = |patience| server::absence(link, &scope, class.absent, most, patience);
                budget.spend(count).await.unwrap_or(false)
            }
            Backend::Memory(memory) => memory.absence(&scope, class.absent, most),
            Backend::Off => false,
        }
    }

    fn busy(&self, class: &'static str) -> Busy {
        self.0.meter.count(class, Event::Busy);
        Busy { retry_after: Duration::from_secs(1) }
    }

    fn report_if_due(&self, now_ms: u64) {
        if let Some(report) = self.0.report
            && self.0.meter.is_due(now_ms)
        {
            self.0.meter.take(now_ms, self.breaker_is_open()).iter().for_each(|line| report(line));
        }
    }
}

/// What waiting for a lease came to.
enum Leased<V> {
    Token(Token),
    /// Somebody else has filled the place meanwhile; read no earlier than `as_of`.
    Found {
        value: Option<V>,
        as_of: Instant,
    },
    /// The cache does not answer, or others hold the lease for too long.
    Without,
}

impl Budget {
    async fn spend<T, F>(&mut self, operation: impl FnOnce(Duration) -> F) -> Result<T, LinkError>
    where
        F: Future<Output = Result<T, LinkError>>,
    {
        if self.0.is_zero() {
            return Err(LinkError::Open);
        }
        let start = Instant::now();
        let result = timed(Part::Cache, operation(self.0)).await;
        self.0 = if result.is_ok() { self.0.saturating_sub(start.elapsed()) } else { Duration::ZERO };
        result
    }
}

fn decode<K: Key>(bytes: &[u8], now_ms: u64) -> Lookup<K::Value> {
    let Some(entry) = Entry::read(bytes).filter(|entry| entry.is_answer(K::Value::SCHEMA)) else {
        return Lookup::Miss;
    };
    let value = match entry.kind {
        Kind::Absent => None,
        _ => match postcard::from_bytes(entry.payload) {
            Ok(value) => Some(value),
            Err(_another_shape) => return Lookup::Miss,
        },
    };
    if now_ms < entry.fresh_until_ms {
        Lookup::Fresh { value, fresh_until_ms: entry.fresh_until_ms, bytes: bytes.len() }
    } else {
        Lookup::Stale { value, leased: entry.token != Token::NONE && now_ms < entry.lease_until_ms }
    }
}

/// How long the server keeps an entry that is fresh for `fresh`.
fn keep(class: &Class, fresh: Duration) -> Duration {
    match class.rule {
        Rule::RenewedOnUpdate => fresh,
        Rule::StaleAcceptable { stale } => stale,
    }
}

fn new_token() -> Token {
    let mut token = Token::NONE;
    while token == Token::NONE {
        getrandom::fill(&mut token.0).expect("the operating system gives random bytes");
    }
    token
}

fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}
