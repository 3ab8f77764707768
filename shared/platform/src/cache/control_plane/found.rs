//! What the control plane says.

use crate::cache::url::Endpoint;

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
