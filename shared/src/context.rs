//! What a handler works with: configuration, and clients that are made once per execution environment, on
//! first use. A function that never asks for a client neither opens it nor links it.

use crate::aws::AwsConfig;
use crate::cache::{self, Cache, ControlPlane, Iam};
use crate::config::{Config, ConfigError};
use crate::runtime::Environment;
use crate::store::Store;
use lambda_http::http::HeaderValue;
use std::sync::OnceLock;

/// One per execution environment.
pub struct Context {
    config: Config,
    store: OnceLock<Store>,
    cache: OnceLock<Cache>,
}

impl Context {
    /// A context for a configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, store: OnceLock::new(), cache: OnceLock::new() }
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
}

impl Environment for Context {
    type Error = ConfigError;

    fn from_env() -> Result<Self, ConfigError> {
        Config::from_env().map(Self::new)
    }

    async fn after_reply(&self) {
        if let Some(cache) = self.cache.get() {
            cache.settle().await;
            cache.due_report().iter().for_each(|line| println!("{line}"));
        }
    }

    fn log_level(&self) -> tracing::Level {
        self.config.log_level
    }

    fn allowed_origins(&self) -> &[HeaderValue] {
        &self.config.allowed_origins
    }
}
