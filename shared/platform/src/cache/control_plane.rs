//! ElastiCache's control plane: where the cache of a name is, and how it is. Its client is in builds with the
//! feature `discovery` only, and made when it is first asked: a cache whose address names an endpoint never
//! asks unless that endpoint fails.

#[cfg(feature = "discovery")]
mod elasticache;
mod found;

use crate::aws::AwsConfig;
use std::time::Duration;

pub use found::{FindError, Found, Kind};

/// How long finding a name may take in all.
const FIND_WITHIN: Duration = Duration::from_secs(4);

/// The control plane, and who asks it. A clone shares the client.
#[derive(Clone)]
pub struct ControlPlane {
    #[cfg(feature = "discovery")]
    elasticache: std::sync::Arc<elasticache::ElastiCache>,
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
