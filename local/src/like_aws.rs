//! The world as AWS makes it: what the embedded engines never do to a function, and AWS does. Each part is a layer of its own
//! with its source and its settings; docs/like-aws.md says how sure each figure is, and what is not modelled.

pub mod api_gateway;
mod bucket;
pub mod cache;
pub mod capacity;
pub mod conflicts;
pub mod errors;
pub mod lambda;
pub mod latency;
pub mod ledger;
pub mod queues;
mod random;
pub mod record;
pub mod stream;
#[cfg(test)]
mod tests_rig;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;

use crate::clock::Clock;
use crate::environment::Contexts;
use crate::event_source::FunctionError;
use crate::functions;
use crate::layers::{Layer, embedded::EmbeddedDatabase, through};
use crate::template::Template;
pub use api_gateway::ApiGateway;
use api_gateway::{Answering, Front};
pub use cache::Cache;
pub use capacity::Capacity;
pub use conflicts::Transactions;
pub use errors::Errors;
pub use lambda::Lambda;
use lambda::Pool;
pub(crate) use lambda::Slots;
pub use latency::Latencies;
pub use ledger::Ledger;
pub use queues::Queues;
pub use random::Lognormal;
use random::SeededRng;
pub use stream::Stream;

/// Chance for the tests of what stands elsewhere.
#[cfg(test)]
pub(crate) fn dice_of_tests() -> SeededRng {
    SeededRng::new(1, 1)
}

/// What of AWS stands around the functions, and with which figures; a part that is `None` is left as the embedded engine has it.
#[derive(Clone, Debug)]
pub struct LikeAws {
    /// What chance goes by. Tasks that race still do.
    pub seed: u64,
    /// How long calls take.
    pub latencies: Option<Latencies>,
    /// Transactions hold their records, and refuse others.
    pub transactions: Option<Transactions>,
    /// Calls to the database fail; not by default.
    pub errors: Option<Errors>,
    /// What the table's partitions take in a second.
    pub capacity: Option<Capacity>,
    /// How functions run.
    pub lambda: Option<Lambda>,
    /// What stands before those with a route, where `lambda` is.
    pub api_gateway: ApiGateway,
    /// How queues deliver.
    pub queues: Option<Queues>,
    /// How the table's stream does.
    pub stream: Option<Stream>,
    /// How far the cache is, where it is a server.
    pub cache: Option<Cache>,
    /// Where it is noted what meets and what is refused; none for a system that runs on and on.
    pub ledger: Option<Arc<Ledger>>,
}

impl Default for LikeAws {
    /// All of it.
    fn default() -> Self {
        Self {
            latencies: Some(Latencies::default()),
            transactions: Some(Transactions::default()),
            capacity: Some(Capacity::default()),
            lambda: Some(Lambda::default()),
            queues: Some(Queues::default()),
            stream: Some(Stream::default()),
            cache: Some(Cache::default()),
            ..Self::nothing()
        }
    }
}

impl LikeAws {
    /// All of it where the variable `CITIZEN_LIKE_AWS` is set: so the suite's own system and the kill test's are in this world too, and, where it
    /// says `rigs`, what tests start by a rig is in a part of it.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        std::env::var_os("CITIZEN_LIKE_AWS").map(|_| Self::default())
    }

    /// None of it: a test takes the parts that it is about.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            seed: 20,
            latencies: None,
            transactions: None,
            errors: None,
            capacity: None,
            lambda: None,
            queues: None,
            stream: None,
            cache: None,
            api_gateway: ApiGateway::default(),
            ledger: None,
        }
    }

    /// The layers between the functions and the embedded database, the first to see a call first. To be called in the runtime
    /// that outlives the functions.
    #[must_use]
    pub fn layers(&self, database: &EmbeddedDatabase, clock: &Clock) -> Vec<Arc<dyn Layer>> {
        let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
        if let Some(latencies) = &self.latencies {
            layers.push(latency::Latency::new(latencies.clone(), self.rng(2), clock.clone()));
        }
        if let Some(errors) = &self.errors {
            layers.push(Arc::new(errors::Failing { errors: errors.clone(), rng: self.rng(8) }));
        }
        if let Some(capacity) = &self.capacity {
            let throttle =
                capacity::Throttle::new(capacity.clone(), database.clone(), clock.clone(), self.ledger.clone());
            layers.push(Arc::new(throttle));
        }
        if let Some(transactions) = &self.transactions {
            let (settings, ledger) = (transactions.clone(), self.ledger.clone());
            layers.push(Arc::new(conflicts::Conflicts::new(settings, self.rng(1), clock.clone(), ledger)));
        }
        layers
    }

    fn rng(&self, stream: u64) -> SeededRng {
        SeededRng::new(self.seed, stream)
    }

    /// The way that calls of other processes take to the embedded database in this world.
    #[must_use]
    pub(crate) fn passage(&self, database: &EmbeddedDatabase, clock: &Clock) -> Passage {
        let mut layers = self.layers(database, clock);
        layers.push(Arc::new(database.clone()));
        Passage(layers.into())
    }

    /// What becomes of a queue's messages; `None` where queues are kind.
    pub(crate) fn deliveries(&self) -> Option<queues::Deliveries> {
        self.queues.clone().map(|settings| queues::Deliveries::new(settings, self.rng(5)))
    }

    /// What becomes of the stream's batches; `None` where each comes once and at once.
    pub(crate) fn batches(&self) -> Option<stream::Batches> {
        self.stream.clone().map(|settings| stream::Batches::new(settings, self.rng(6)))
    }

    /// The way to the cache at `url`, and the URL where it begins; `None` for a cache that is no server, or is reached over TLS.
    pub(crate) async fn cache_proxy(&self, url: &str) -> std::io::Result<Option<(cache::CacheProxy, String)>> {
        let (Some(settings), Some((server, place))) = (&self.cache, cache::server(url)) else { return Ok(None) };
        let cache_proxy = cache::CacheProxy::start(settings, self.rng(7), server).await?;
        let mut url = url.to_owned();
        url.replace_range(place, &format!("127.0.0.1:{}", cache_proxy.port));
        Ok(Some((cache_proxy, url)))
    }

    /// What the account has for all functions without a reservation; `None` where functions are always there.
    pub(crate) fn account(&self, template: &Template, clock: &Clock) -> Option<Arc<Slots>> {
        let lambda = self.lambda.as_ref()?;
        Some(Arc::new(Slots::of_account(lambda, template.settings.values(), clock.now_ms())))
    }

    /// The gateway with the environments of all functions that have a route.
    pub(crate) fn front(
        &self,
        template: &Template,
        contexts: &Contexts,
        clock: &Clock,
        account: &Arc<Slots>,
    ) -> Option<Arc<Front>> {
        let lambda = self.lambda.as_ref()?;
        let mut pools = BTreeMap::new();
        for (stream, (name, settings)) in (100..).zip(&template.settings) {
            let Some(context) = contexts.factory(name) else { continue };
            let function = name.clone();
            if !functions::NAMES.contains(&name.as_str()) {
                continue;
            }
            let make = move || {
                let context = context();
                let handler = functions::handler(&function, context, None);
                Answering { handler: handler.expect("it has one, as all in that list"), context }
            };
            let chance = (self.rng(stream), clock.clone());
            pools.insert(name.clone(), Pool::new(lambda, (name, settings), chance, account, make));
        }
        Some(Front::new(self.api_gateway.clone(), (self.rng(3), clock.clone()), pools, template.method_limits.clone()))
    }

    /// A function that events call, in environments that are made as `make` does. One that is throttled or killed has failed.
    pub(crate) fn called_by_events<E, R>(
        &self,
        template: &Template,
        name: &str,
        (clock, account): (&Clock, Option<&Arc<Slots>>),
        make: impl Fn() -> Called<E, R> + Send + Sync + 'static,
    ) -> Called<E, R>
    where
        E: Send + 'static,
        R: Send + 'static,
    {
        let (Some(lambda), Some(settings), Some(account)) = (&self.lambda, template.settings.get(name), account) else {
            return make();
        };
        let pool = Pool::new(lambda, (name, settings), (self.rng(4), clock.clone()), account, make);
        Arc::new(move |event| {
            let invoked = pool.invoke(|function: Called<E, R>, done| {
                Box::pin(async move {
                    // Whoever asked may have gone.
                    let _ = done.send(function(event).await);
                })
            });
            Box::pin(async move { invoked?.await.map_err(|_| "the environment was killed")? })
        })
    }
}

/// A way through layers: for calls that came over HTTP.
#[derive(Clone, Debug)]
pub struct Passage(Arc<[Arc<dyn Layer>]>);

impl Passage {
    /// Passes a signed call on, and gives its answer's status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn call(&self, request: HttpRequest) -> Result<(u16, Vec<u8>), ConnectorError> {
        let nobody = SharedHttpConnector::new(Nobody);
        let way = self.0.iter().rev().fold(nobody, |next, layer| through(layer, next));
        let reply = way.call(request).await?;
        Ok((reply.status().as_u16(), reply.body().bytes().unwrap_or_default().to_vec()))
    }
}

/// Behind the last layer.
#[derive(Debug)]
struct Nobody;

impl HttpConnector for Nobody {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::user("no layer answers".into())))
    }
}

/// A function that events call.
pub(crate) type Called<E, R> =
    Arc<dyn Fn(E) -> std::pin::Pin<Box<dyn Future<Output = Result<R, FunctionError>> + Send>> + Send + Sync>;
