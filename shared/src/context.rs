//! What a handler works with: configuration, and clients that are made once per execution environment, on
//! first use. A function that never asks for a client neither opens it nor links it.

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::error::{ApiError, chain};
use crate::model::job::JobKind;
use crate::model::time::Moment;
use crate::request_rates::RequestCounts;
use crate::security_log::{self, LogKey};
use crate::store::Store;
use lambda_http::http::HeaderValue;
use platform::cache::{self, Cache, ControlPlane, Iam};
use platform::queue::Queue;
use platform::runtime::Environment;
use platform::runtime::event::SourceIp;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

/// What runs beside the requests and is not done by then is given up.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// One per execution environment.
pub struct Context {
    config: Config,
    clock: Clock,
    store: OnceLock<Store>,
    cache: OnceLock<Cache>,
    queues: [OnceLock<Queue>; JobKind::ALL.len()],
    log_key: OnceCell<LogKey>,
    request_counts: RequestCounts,
    running: Mutex<JoinSet<()>>,
}

impl Context {
    /// A context for a configuration, which goes by `clock`.
    #[must_use]
    pub fn new(config: Config, clock: Clock) -> Self {
        Self {
            config,
            clock,
            store: OnceLock::new(),
            cache: OnceLock::new(),
            queues: Default::default(),
            log_key: OnceCell::new(),
            request_counts: RequestCounts::default(),
            running: Mutex::default(),
        }
    }

    /// The context of this process, by the machine's clock; it lives as long as the process.
    #[must_use]
    pub fn of_process(config: Config) -> &'static Self {
        Box::leak(Box::new(Self::new(config, Clock::system())))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Now, by its clock.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The database.
    pub fn store(&self) -> &Store {
        self.store.get_or_init(|| {
            let Config { aws, table_name, caps, .. } = &self.config;
            Store::open(aws, table_name.clone(), *caps, self.clock.clone())
        })
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        self.cache.get_or_init(|| {
            let aws = &self.config.aws;
            let options = cache::Options {
                key_prefix: format!("{}:", self.config.table_name),
                extra_roots: aws.extra_roots.clone(),
                iam: Some(Iam { region: aws.region.clone(), credentials: aws.credentials.clone() }),
                control_plane: ControlPlane::new(aws.at(self.config.elasticache_endpoint_url.clone())),
                namespace: "CitizenApp/Cache",
                ..cache::Options::default()
            };
            Cache::with(&self.config.cache_url, options)
        })
    }

    /// Who asked how often in the present second.
    pub(crate) fn request_counts(&self) -> &RequestCounts {
        &self.request_counts
    }

    /// Runs a task beside the requests; its environment waits for it once the reply is on its way, for 10 s at most.
    pub(crate) fn later(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(task);
    }

    /// Waits for what runs beside the requests.
    async fn settle(&self) {
        let mut running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while running.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(SETTLE_WITHIN, all).await;
    }

    /// The key of the security log's hashes, read once, if there is one.
    pub(crate) async fn log_key(&self) -> Option<&LogKey> {
        self.log_key_from(self.store().log_key()).await
    }

    /// The same; if there is none, it is made.
    pub(crate) async fn log_key_or_new(&self) -> Option<&LogKey> {
        self.log_key_from(self.store().log_key_or_new()).await
    }

    async fn log_key_from(&self, source: impl Future<Output = Result<LogKey, ApiError>>) -> Option<&LogKey> {
        match self.log_key.get_or_try_init(|| source).await {
            Ok(key) => Some(key),
            Err(ApiError::NotFound) => None,
            Err(error) => {
                tracing::warn!(cause = chain(&error), "the key of the security log cannot be read");
                None
            }
        }
    }

    /// The queue of a kind of jobs.
    ///
    /// # Errors
    /// [`ApiError::Internal`] in a function that did not look for [`Config::queue_url`] at its start.
    pub fn queue(&self, kind: JobKind) -> Result<&Queue, ApiError> {
        let url = self.config.queue_url(kind).map_err(ApiError::internal)?;
        Ok(self.queues[kind as usize].get_or_init(|| self.queue_at(url.to_owned())))
    }

    /// Any queue, by its URL.
    #[must_use]
    pub fn queue_at(&self, url: String) -> Queue {
        Queue::open(&self.config.aws.at(self.config.sqs_endpoint_url.clone()), url)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Environment for Context {
    const CRATES: &'static [&'static str] = &[env!("CARGO_CRATE_NAME")];

    type Error = ConfigError;

    fn from_env() -> Result<Self, ConfigError> {
        Ok(Self::new(Config::from_env()?, Clock::system()))
    }

    async fn denied(&self, what: &'static str, source: Option<SourceIp>) {
        security_log::denied(self, what, source).await;
    }

    async fn after_reply(&self) {
        self.settle().await;
        if let Some(cache) = self.cache.get() {
            cache.settle().await;
            cache.report();
        }
    }

    fn log_level(&self) -> tracing::Level {
        self.config.log_level
    }

    fn deployment(&self) -> &str {
        &self.config.table_name
    }

    fn allowed_origins(&self) -> &[HeaderValue] {
        &self.config.allowed_origins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OrgId;
    use crate::model::cached::OrgPlanKey;
    use crate::model::org::{OrgPlan, Plan};

    #[tokio::test]
    async fn deployments_share_nothing_in_a_cache_that_they_share() {
        let config = Config::from_lookup(|name| match name {
            "CACHE_URL" => Some("memory:".to_owned()),
            "TABLE_NAME" => Some("one".to_owned()),
            "ALLOWED_ORIGINS" => Some("https://app.example.com".to_owned()),
            "SESSION_REQUESTS_PER_SECOND" => Some("50".to_owned()),
            "ORG_REQUESTS_PER_SECOND" => Some("50,500,10000".to_owned()),
            "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
            _ => None,
        });
        let one = Context::new(config.expect("complete"), Clock::system());
        let other = Context::new(Config { table_name: "other".to_owned(), ..one.config().clone() }, Clock::system());
        let key = OrgPlanKey(OrgId::new());
        for (context, plan) in [(&one, Plan::Pro), (&other, Plan::Free)] {
            let of_its_own = OrgPlan { plan, version: 1 };
            let read = context.cache().get_or_fill(&key, || async { Ok::<_, ApiError>(Some(of_its_own)) }).await;
            assert_eq!(read.expect("the cache is there"), Some(of_its_own));
        }
    }
}
