//! API Gateway in front of Lambda: its limits, what it adds to each request, and what callers see of a function that is throttled,
//! killed or slow.
//!
//! Sources: re:Post, "API Gateway 429 limit" (documented); re:Post and StackOverflow 36363280 (that a throttled function is a `500`
//! to callers); DataBiosphere/azul issues 6284, 6624, 7502 (time-outs and replies that are too large, measured); AWS blog, 2020
//! ("up to 60 %" less latency of HTTP APIs: that of REST APIs is folklore).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::Context;
use shared::runtime::Environment as _;

use super::bucket::Bucket;
use super::lambda::{Counts, Pool};
use super::ledger::Request;
use super::random::{Lognormal, SeededRng};
use crate::clock::Clock;
use crate::gateway::{Handler, Integration, Reply};
use crate::template::{MethodLimit, ResponseType, Route};

/// A REST API's ways.
#[derive(Clone, Debug)]
pub struct ApiGateway {
    /// Requests a second of an account in a region, and what it may save of them. Documented.
    pub requests: (f64, f64),
    /// The template's `RequestsPerSecond`, where each method has the limit that the template gives it then; else methods have none.
    pub requests_per_second: Option<f64>,
    /// What it adds to a request. Folklore.
    pub overhead: Lognormal,
    /// How long it waits for a function, which runs on. Documented.
    pub patience: Duration,
    /// Bytes of a function's reply at most. Documented.
    pub reply_bytes: usize,
}

impl Default for ApiGateway {
    fn default() -> Self {
        Self {
            requests: (10_000.0, 5_000.0),
            requests_per_second: None,
            overhead: Lognormal::ms(10.0, 35.0),
            patience: Duration::from_secs(29),
            reply_bytes: 6 << 20,
        }
    }
}

/// What an environment of a function with a route holds.
#[derive(Clone)]
pub(crate) struct Answering {
    pub(crate) handler: Handler,
    pub(crate) context: &'static Context,
}

/// The gateway, and the functions behind it.
pub(crate) struct Front {
    settings: ApiGateway,
    requests: Mutex<Bucket>,
    next: AtomicU64,
    rng: SeededRng,
    clock: Clock,
    pools: BTreeMap<String, Arc<Pool<Answering>>>,
    limits: Vec<MethodLimit>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Front {
    pub(crate) fn new(
        settings: ApiGateway,
        (rng, clock): (SeededRng, Clock),
        pools: BTreeMap<String, Arc<Pool<Answering>>>,
        limits: Vec<MethodLimit>,
    ) -> Arc<Self> {
        let (a_second, saved) = settings.requests;
        let requests = Mutex::new(Bucket::new(a_second, saved, clock.now_ms()));
        Arc::new(Self { settings, requests, next: AtomicU64::new(0), rng, clock, pools, limits })
    }

    /// How often each function was throttled and started.
    pub(crate) fn counts(&self) -> BTreeMap<String, Counts> {
        self.pools.iter().map(|(name, pool)| (name.clone(), pool.counts())).collect()
    }

    /// What answers requests for a route; `None` where its function has no environments.
    pub(crate) fn integration(self: &Arc<Self>, route: &Route) -> Option<Integration> {
        let pool = Arc::clone(self.pools.get(&route.function)?);
        let (front, name): (_, Arc<str>) = (Arc::clone(self), route.function.as_str().into());
        let limit = self.limit(route).map(Arc::new);
        Some(Arc::new(move |request| {
            let (front, pool, name) = (Arc::clone(&front), Arc::clone(&pool), Arc::clone(&name));
            let limit = limit.clone();
            Box::pin(async move { front.answer(&pool, name, limit.as_deref(), request).await })
        }))
    }

    /// What a route's method may take, where methods have limits.
    fn limit(&self, route: &Route) -> Option<Mutex<Bucket>> {
        let most = self.settings.requests_per_second?;
        let own = self.limits.iter().find(|limit| limit.method == route.method && limit.path == route.path);
        let (a_second, burst) =
            own.map_or((most, most), |own| (most.min(f64::from(own.a_second)), f64::from(own.burst)));
        Some(Mutex::new(Bucket::new(a_second, burst, self.clock.now_ms())))
    }

    async fn answer(
        &self,
        pool: &Arc<Pool<Answering>>,
        name: Arc<str>,
        limit: Option<&Mutex<Bucket>>,
        request: lambda_http::Request,
    ) -> Result<Reply, ResponseType> {
        let now_ms = self.clock.now_ms();
        let has_room = |bucket: &Mutex<Bucket>| bucket.lock().unwrap_or_else(PoisonError::into_inner).take_one(now_ms);
        let is_admitted = limit.is_none_or(has_room) && has_room(&self.requests);
        if !is_admitted {
            return Err(ResponseType::Throttled);
        }
        let overhead = self.settings.overhead.draw(&self.rng);
        self.clock.sleep(overhead / 2).await;
        let id = self.next.fetch_add(1, Relaxed);
        let invoked = pool.invoke(move |environment: Answering, done| {
            Box::pin(Request::during(id, name, async move {
                // Whoever asked may be gone.
                let _ = done.send((environment.handler)(request).await);
                environment.context.after_reply().await;
            }))
        });
        let reply = match invoked {
            Err(throttled) => {
                tracing::warn!(%throttled, "a function is throttled");
                Err(ResponseType::InternalError)
            }
            Ok(received) => tokio::select! {
                // Nothing comes of one that was killed.
                reply = received => reply.map_err(|_| ResponseType::IntegrationFailure),
                () = self.clock.sleep(self.settings.patience) => Err(ResponseType::IntegrationTimeout),
            },
        };
        self.clock.sleep(overhead / 2).await;
        reply.and_then(|reply| match bytes(&reply) > self.settings.reply_bytes {
            true => Err(ResponseType::IntegrationFailure),
            false => Ok(reply),
        })
    }
}

fn bytes(reply: &Reply) -> usize {
    match reply.body() {
        lambda_http::Body::Text(text) => text.len(),
        lambda_http::Body::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}
