//! What a handler works with: configuration, and clients that are made once per execution environment, on
//! first use. A function that never asks for a client neither opens it nor links it.

use crate::aws::AwsConfig;
use crate::cache::{self, Cache, ControlPlane, Iam};
use crate::config::{Config, ConfigError};
use crate::error::ApiError;
use crate::queue::Queue;
use crate::runtime::Environment;
use crate::store::Store;
use lambda_http::http::HeaderValue;
use std::sync::OnceLock;

/// One per execution environment.
pub struct Context {
    config: Config,
    store: OnceLock<Store>,
    cache: OnceLock<Cache>,
    queue: OnceLock<Queue>,
}

impl Context {
    /// A context for a configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, store: OnceLock::new(), cache: OnceLock::new(), queue: OnceLock::new() }
    }

    /// Another environment's context: clients of its own, and the same cache.
    #[cfg(feature = "measuring")]
    #[must_use]
    pub fn with_new_clients(&self) -> Self {
        self.with_config(self.config.clone())
    }

    /// A context for another configuration, with clients of its own and the same cache.
    #[cfg(feature = "measuring")]
    #[must_use]
    pub fn with_config(&self, config: Config) -> Self {
        Self { cache: OnceLock::from(self.cache().clone()), ..Self::new(config) }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The database.
    pub fn store(&self) -> &Store {
        self.store.get_or_init(|| Store::open(&self.config.aws, self.config.table_name.clone()))
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        self.cache.get_or_init(|| {
            let aws = &self.config.aws;
            let options = cache::Options {
                extra_roots: aws.extra_roots.clone(),
                iam: Some(Iam { region: aws.region.clone(), credentials: aws.credentials.clone() }),
                control_plane: ControlPlane::new(AwsConfig {
                    endpoint_url: self.config.elasticache_endpoint_url.clone(),
                    ..aws.clone()
                }),
                ..cache::Options::default()
            };
            Cache::with(&self.config.cache_url, options)
        })
    }

    /// The queue of jobs.
    ///
    /// # Errors
    /// [`ApiError::Internal`] in a function that did not ask for `JOBS_QUEUE_URL` at its start.
    pub fn queue(&self) -> Result<&Queue, ApiError> {
        if let Some(queue) = self.queue.get() {
            return Ok(queue);
        }
        let url = self.config.required("JOBS_QUEUE_URL").map_err(ApiError::internal)?;
        Ok(self.queue.get_or_init(|| self.queue_at(url.to_owned())))
    }

    /// Any queue, by its URL.
    #[must_use]
    pub fn queue_at(&self, url: String) -> Queue {
        let mut aws = self.config.aws.clone();
        aws.endpoint_url = self.config.sqs_endpoint_url.clone();
        Queue::open(&aws, url)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Environment for Context {
    type Error = ConfigError;

    fn from_env() -> Result<Self, ConfigError> {
        Config::from_env().map(Self::new)
    }

    async fn after_reply(&self) {
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
