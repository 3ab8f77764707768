//! ElastiCache's control plane: where the cache of a name is, and how it is. Its client is in builds with the
//! feature `discovery` only, and made when it is first asked: a cache whose address names an endpoint never
//! asks unless that endpoint fails.

#[cfg(feature = "discovery")]
mod elasticache;

use super::url::Endpoint;
use crate::aws::AwsConfig;
use std::time::Duration;

/// How long finding a name may take in all.
const FIND_WITHIN: Duration = Duration::from_secs(4);

/// The control plane, and who asks it. A clone shares the client.
#[derive(Clone)]
pub struct ControlPlane {
    #[cfg(feature = "discovery")]
    elasticache: std::sync::Arc<elasticache::ElastiCache>,
}

/// What has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ServerlessCache,
    ReplicationGroup,
    CacheCluster,
}

/// A cache as the control plane knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub kind: Kind,
    /// ElastiCache's own word, such as `available` or `modifying`.
    pub status: String,
    /// None while it is being created.
    pub endpoint: Option<Endpoint>,
}

/// Why a name was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error("no serverless cache, replication group or cache cluster has this name")]
    Unknown,
    #[error("it has several shards, and what goes to one connection cannot be routed among them")]
    Sharded,
    #[error("the control plane did not answer in time")]
    Late,
    #[error("the control plane refused: {0}")]
    Refused(String),
}

impl ControlPlane {
    /// The control plane at `aws.endpoint_url`, or AWS's own. Nothing is opened before it is asked. `None` in a
    /// build without the feature `discovery`.
    #[must_use]
    #[cfg_attr(not(feature = "discovery"), expect(unused_variables, reason = "this build has no client"))]
    pub fn new(aws: AwsConfig) -> Option<Self> {
        #[cfg(feature = "discovery")]
        return Some(Self { elasticache: std::sync::Arc::new(elasticache::ElastiCache::new(aws)) });
        #[cfg(not(feature = "discovery"))]
        None
    }

    /// Finds a serverless cache, a replication group or a cache cluster, in this order, within 4 s.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, name: &str) -> Result<Found, FindError> {
        #[cfg(feature = "discovery")]
        let find = self.elasticache.find(name);
        #[cfg(not(feature = "discovery"))]
        let find = async { Err(FindError::Refused(format!("this build cannot look up {name}"))) };
        tokio::time::timeout(FIND_WITHIN, find).await.unwrap_or(Err(FindError::Late))
    }
}
