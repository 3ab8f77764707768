//! Typed cache: a hit is one command; a miss is fetched once, by whoever holds the lease; what a write has
//! replaced is never served once the write is acknowledged; a cache that fails is a miss and a warning.
//! `docs/caching.md` has the design and its proofs.

mod backend;
mod background;
mod breaker;
mod cache_metrics;
mod class;
mod connection;
mod control_plane;
mod deliver;
mod endpoint_resolver;
mod entry;
mod iam;
mod local_tier;
mod memory;
mod operation;
mod oversized;
mod read_through;
mod refresh;
mod server;
mod single_flight;
mod url;
mod written;

pub use class::{ABSENCES_PER_SCOPE, ABSENT_MAX, Cacheable, Class, JITTER_PERCENT, Key, MAX_BYTES, Name, Rule};
pub use control_plane::{ControlPlane, FindError, Found, Kind};
pub use deliver::{Delivery, WRITE_PATIENCE};
pub use iam::Iam;
pub use url::{CacheUrl, CacheUrlError, Endpoint, Server};
pub use written::{Invalidation, Renewal, Uncached, WriteOutcome};

use crate::telemetry::metrics::{Metric, metrics};
use crate::telemetry::{Part, chain, timed};
use backend::{Backend, Budget};
use cache_metrics::{CacheMetrics, Event};
use class::EntryAddress;
use connection::{Connection, ConnectionError};
use entry::{Entry, Fence, now_ms};
use local_tier::LocalTier;
use operation::Read;
use oversized::Oversized;
use serde_json::Number;
use single_flight::SingleFlight;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a reader waits for one operation on the cache server, unless [`Options`] say otherwise.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// How long a connection is used, unless [`Options`] say otherwise: ElastiCache ends those that logged in with IAM
/// after 12 h. <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>
pub const CONNECTION_AGE: Duration = Duration::from_secs(11 * 3600);

/// How long a lease lasts: what a dead holder delays the others by, at most.
pub const LEASE_TIME: Duration = Duration::from_secs(1);

/// Fetches at a time within this process.
pub const FETCHES: usize = 64;

/// Too many callers fetch at once, or the one fetch that this caller shared has failed. Try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many fetches at once")]
pub struct Busy {
    pub retry_after: Duration,
}

/// A cache. Cloning it shares it.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    backend: Backend,
    flights: Arc<SingleFlight>,
    local_tier: LocalTier,
    oversized: Oversized,
    metrics: CacheMetrics,
    options: Options,
    fetches: Semaphore,
    /// Stores, refreshes and late renewals.
    running: Mutex<JoinSet<()>>,
}

/// What a lookup came to.
enum Lookup<V> {
    Fresh {
        value: Option<V>,
        fresh_until_ms: u64,
        bytes: usize,
    },
    Stale {
        value: Option<V>,
        leased: bool,
    },
    /// There was nothing, and now there is this caller's lease.
    Leased(Fence),
    Miss,
}

/// How a cache is to behave.
#[derive(Clone)]
pub struct Options {
    /// Begins every key, so that caches of different prefixes share nothing, also on one server.
    pub key_prefix: String,
    /// How long a reader waits for an operation on the server.
    pub patience: Duration,
    /// How long a writer does, and who asks whether the server answers.
    pub write_patience: Duration,
    /// How long a connection is used before another takes its place.
    pub connection_age: Duration,
    /// PEM of authorities to trust besides Amazon's, for `rediss://`.
    pub extra_roots: Option<Vec<u8>>,
    /// What addresses with `iam` log in with.
    pub iam: Option<Iam>,
    /// Who knows where addresses with `name` are.
    pub control_plane: Option<ControlPlane>,
    /// CloudWatch's namespace of its metrics.
    pub namespace: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key_prefix: String::new(),
            patience: PATIENCE,
            write_patience: WRITE_PATIENCE,
            connection_age: CONNECTION_AGE,
            extra_roots: None,
            iam: None,
            control_plane: None,
            namespace: "Cache",
        }
    }
}

impl Cache {
    /// A cache at an address. Nothing is opened before the first lookup.
    #[must_use]
    pub fn with(url: &CacheUrl, options: Options) -> Self {
        let backend = match url {
            CacheUrl::Server(server) => Backend::Server(Box::new(Connection::new(server.clone(), options.clone()))),
            CacheUrl::Memory(memory) => Backend::Memory(memory.clone()),
            CacheUrl::Off => Backend::Off,
        };
        Self(Arc::new(Inner {
            backend,
            flights: Arc::default(),
            local_tier: LocalTier::default(),
            oversized: Oversized::default(),
            metrics: CacheMetrics::default(),
            options,
            fetches: Semaphore::new(FETCHES),
            running: Mutex::default(),
        }))
    }

    /// A value, from the cache or else from `fetch`, which runs at most once for all who miss at the same
    /// time; `None` when there is no such record. What it gives is never older than a write that was
    /// acknowledged before the call. `fetch` must read consistently.
    ///
    /// Storing what was fetched is not waited for. On Lambda nothing runs after the next event is asked for: call
    /// [`Cache::settle`] before that.
    ///
    /// # Errors
    /// What `fetch` fails with, or [`Busy`].
    pub async fn get_or_fill<K, F, Fut, E>(&self, key: &K, fetch: F) -> Result<Option<K::Value>, E>
    where
        K: Key + 'static,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<K::Value>, E>>,
        E: From<Busy>,
    {
        const { assert!(K::CLASS.is_renewed(), "a class that may be served stale goes through get_or_refresh") };
        let asked = Instant::now();
        let address = EntryAddress::of(self.key_prefix(), key);
        let mut budget = self.budget();
        let lease = match self.lookup_or_acquire::<K>(&address, &mut budget).await {
            Lookup::Fresh { value, .. } => return Ok(value),
            Lookup::Leased(fence) => Some(fence),
            Lookup::Stale { .. } | Lookup::Miss => None,
        };
        // Boxed, so that a hit does not carry the fetch's state around.
        Box::pin(self.fetch_once(key, &address, asked, lease, budget, fetch)).await
    }

    /// Whether the server answers within what a writer waits: whoever asks may have to connect first, as that does. `None` where there is none.
    pub async fn ping(&self) -> Option<bool> {
        match &self.0.backend {
            Backend::Server(connection) => {
                Some(timed(Part::Cache, server::ping(connection, self.0.options.write_patience)).await.is_ok())
            }
            Backend::Memory(_) => Some(true),
            Backend::Off => None,
        }
    }

    /// What ElastiCache's control plane says of this cache, or said less than 10 s ago; `None` where the address
    /// has no name.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn control_plane(&self) -> Option<Result<Found, FindError>> {
        match &self.0.backend {
            Backend::Server(connection) => connection.endpoint_resolver.said().await,
            _ => None,
        }
    }

    /// What happened in each class since the last time, by the class's and the event's name.
    #[must_use]
    pub fn take_counts(&self) -> Vec<(&'static str, Vec<(Metric, Number)>)> {
        self.0.metrics.take()
    }

    /// Writes what happened in each class since the last report as metrics, once a minute, and at once
    /// when a renewal was lost; nothing in between. A process that does without the cache counts one as `BreakerOpen`.
    pub fn report(&self) {
        if self.0.metrics.is_due(now_ms()) {
            for (class, counts) in self.take_counts() {
                metrics(self.0.options.namespace, Some(("Class", class)), &counts);
            }
            if self.breaker_is_open() {
                metrics(self.0.options.namespace, None, &[(Metric("BreakerOpen"), 1.into())]);
            }
        }
    }

    /// Whether operations are skipped because they failed.
    #[must_use]
    pub fn breaker_is_open(&self) -> bool {
        matches!(&self.0.backend, Backend::Server(connection) if connection.breaker.is_open())
    }

    fn key_prefix(&self) -> &str {
        &self.0.options.key_prefix
    }

    fn failed(&self, class: &'static str, error: &ConnectionError) {
        if !matches!(error, ConnectionError::Open) {
            self.0.metrics.count(class, Event::Failure);
            tracing::warn!(class, cause = chain(error), "cache operation failed");
        }
    }

    async fn lookup<K: Key>(&self, address: &EntryAddress, budget: &mut Budget) -> Lookup<K::Value> {
        let now = now_ms();
        let found = self.0.backend.read(address, budget).await;
        self.looked_up::<K>(found.map(|found| found.map_or(Lookup::Miss, |bytes| decode::<K>(&bytes, now))))
    }

    /// The same, and the lease too where there is nothing, as far as one command can do both.
    async fn lookup_or_acquire<K: Key>(&self, address: &EntryAddress, budget: &mut Budget) -> Lookup<K::Value> {
        let now = now_ms();
        let found = self.0.backend.read_or_acquire(address, K::Value::SCHEMA, LEASE_TIME, budget).await;
        self.looked_up::<K>(found.map(|found| match found {
            Read::Found(bytes) => decode::<K>(&bytes, now),
            Read::Leased(fence) => Lookup::Leased(fence),
            Read::Nothing => Lookup::Miss,
        }))
    }

    /// Counts a lookup; one that failed is a miss.
    fn looked_up<K: Key>(&self, lookup: Result<Lookup<K::Value>, ConnectionError>) -> Lookup<K::Value> {
        let class = K::CLASS.name;
        let lookup = lookup.unwrap_or_else(|error| {
            self.failed(class, &error);
            Lookup::Miss
        });
        let event = match &lookup {
            Lookup::Fresh { .. } => Event::Hit,
            Lookup::Stale { .. } if !K::CLASS.is_renewed() => Event::StaleHit,
            Lookup::Stale { .. } | Lookup::Leased(_) | Lookup::Miss => Event::Miss,
        };
        self.0.metrics.count(class, event);
        lookup
    }

    /// How much was counted under a name in its window, this included: of all processes together, as far as they share the cache. A window
    /// begins with the first. `None` where the cache is away. Beside a look-up it is no round trip more: both are under way at once.
    pub async fn count(&self, name: &str, window: Duration) -> Option<u64> {
        let key = format!("{}{name}", self.key_prefix());
        // Whatever is wrong, the look-up beside says.
        self.0.backend.count(&key, window, &mut self.budget()).await.ok().flatten()
    }

    fn budget(&self) -> Budget {
        Budget(self.0.options.patience)
    }
}

fn decode<K: Key>(bytes: &[u8], now_ms: u64) -> Lookup<K::Value> {
    let Some(entry) = Entry::read(bytes).filter(|entry| entry.is_answer(K::Value::SCHEMA)) else {
        return Lookup::Miss;
    };
    let value = match entry.kind {
        entry::Kind::Absent => None,
        _ => match postcard::from_bytes(entry.payload) {
            Ok(value) => Some(value),
            Err(_another_shape) => return Lookup::Miss,
        },
    };
    if now_ms < entry.fresh_until_ms {
        Lookup::Fresh { value, fresh_until_ms: entry.fresh_until_ms, bytes: bytes.len() }
    } else {
        Lookup::Stale { value, leased: entry.fence != Fence::NONE && now_ms < entry.lease_until_ms }
    }
}

/// A value's entry, and how long the server keeps it; `None` for one that cannot be encoded, or is larger than its class keeps.
fn encode<K: Key>(value: &K::Value) -> Option<(Vec<u8>, Duration)> {
    let class = K::CLASS;
    let fresh = entry::jittered(class.fresh, random());
    let bytes = entry::of_value(value, now_ms() + entry::millis(fresh))
        .inspect_err(|error| tracing::warn!(class = class.name, cause = chain(error), "a value cannot be encoded"))
        .ok()?;
    (bytes.len() <= class.max_bytes).then(|| (bytes, keep(&class, fresh)))
}

/// How long the server keeps an entry that is fresh for `fresh`.
fn keep(class: &Class, fresh: Duration) -> Duration {
    match class.rule {
        Rule::RenewedOnUpdate => fresh,
        Rule::StaleAcceptable { stale } => stale,
    }
}

/// For spreading lifetimes only. Each state hashes with keys of its own, and only a thread's first asks the system for some.
fn random() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    (RandomState::new().hash_one(()) >> 32) as u32
}
