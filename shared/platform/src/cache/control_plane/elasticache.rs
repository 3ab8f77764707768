//! ElastiCache's API, through its SDK.

use super::found::{FindError, Found, Kind};
use crate::aws::AwsConfig;
use crate::cache::url::Endpoint;
use aws_sdk_elasticache::Client;
use aws_sdk_elasticache::config::retry::RetryConfig;
use aws_sdk_elasticache::config::timeout::TimeoutConfig;
use aws_sdk_elasticache::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticache::types;
use std::sync::OnceLock;
use std::time::Duration;

/// The client, made on first use.
pub(super) struct ElastiCache {
    aws: AwsConfig,
    client: OnceLock<Client>,
}

impl ElastiCache {
    pub(super) fn new(aws: AwsConfig) -> Self {
        Self { aws, client: OnceLock::new() }
    }

    pub(super) async fn find(&self, name: &str) -> Result<Found, FindError> {
        if let Some(found) = self.serverless_cache(name).await? {
            return Ok(found);
        }
        if let Some(found) = self.replication_group(name).await? {
            return Ok(found);
        }
        self.cache_cluster(name).await?.ok_or(FindError::Unknown)
    }

    async fn serverless_cache(&self, name: &str) -> Result<Option<Found>, FindError> {
        let reply = self.client()?.describe_serverless_caches().serverless_cache_name(name).send().await;
        let reply = unless_missing(reply, "ServerlessCacheNotFoundFault")?;
        Ok(reply.and_then(|reply| reply.serverless_caches?.into_iter().next()).map(|cache| Found {
            kind: Kind::ServerlessCache,
            status: cache.status.unwrap_or_default(),
            endpoint: cache.endpoint.and_then(endpoint),
        }))
    }

    async fn replication_group(&self, name: &str) -> Result<Option<Found>, FindError> {
        let reply = self.client()?.describe_replication_groups().replication_group_id(name).send().await;
        let reply = unless_missing(reply, "ReplicationGroupNotFoundFault")?;
        let Some(group) = reply.and_then(|reply| reply.replication_groups?.into_iter().next()) else { return Ok(None) };
        if group.node_groups().len() > 1 {
            return Err(FindError::Sharded);
        }
        // Without cluster mode there is no configuration endpoint; the primary's name follows a failover.
        let primary = || group.node_groups?.into_iter().next()?.primary_endpoint;
        Ok(Some(Found {
            kind: Kind::ReplicationGroup,
            status: group.status.unwrap_or_default(),
            endpoint: group.configuration_endpoint.or_else(primary).and_then(endpoint),
        }))
    }

    async fn cache_cluster(&self, name: &str) -> Result<Option<Found>, FindError> {
        let request = self.client()?.describe_cache_clusters().cache_cluster_id(name).show_cache_node_info(true);
        let reply = unless_missing(request.send().await, "CacheClusterNotFound")?;
        Ok(reply.and_then(|reply| reply.cache_clusters?.into_iter().next()).map(|cluster| {
            let node = || cluster.cache_nodes?.into_iter().next()?.endpoint;
            Found {
                kind: Kind::CacheCluster,
                status: cluster.cache_cluster_status.unwrap_or_default(),
                endpoint: cluster.configuration_endpoint.or_else(node).and_then(endpoint),
            }
        }))
    }

    fn client(&self) -> Result<&Client, FindError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_millis(1500))
            .build();
        let config = aws_sdk_elasticache::config::Builder::from(&self.aws.sdk_config().map_err(FindError::Refused)?)
            .retry_config(RetryConfig::standard().with_max_attempts(2))
            .timeout_config(timeouts);
        Ok(self.client.get_or_init(|| Client::from_conf(config.build())))
    }
}

/// The reply, or nothing where ElastiCache says that it knows no such thing.
fn unless_missing<T, E, R>(reply: Result<T, SdkError<E, R>>, missing: &str) -> Result<Option<T>, FindError>
where
    E: ProvideErrorMetadata,
{
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if error.code().is_some_and(|code| code.starts_with(missing)) => Ok(None),
        Err(SdkError::TimeoutError(_)) => Err(FindError::Late),
        Err(error) => Err(FindError::Refused(error.code().unwrap_or("it cannot be reached").to_owned())),
    }
}

fn endpoint(endpoint: types::Endpoint) -> Option<Endpoint> {
    let port = u16::try_from(endpoint.port?).ok().filter(|port| *port != 0)?;
    Some(Endpoint { host: endpoint.address.filter(|host| !host.is_empty())?, port })
}
