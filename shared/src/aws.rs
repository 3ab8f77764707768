//! What every AWS client here shares: credentials from Lambda's environment, one HTTP client with an
//! explicit trust store, short timeouts. Built once per execution environment.

mod dynamodb;
mod gate;
mod signer;
mod user_agent;

use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use std::time::Duration;

pub(crate) use dynamodb::{DynamoDb, Operation};
#[cfg(feature = "gate")]
pub use dynamodb::{Engine, Failure};
pub use gate::*;
pub(crate) use signer::Signer;
pub(crate) use user_agent::user_agent;

/// Amazon Trust Services' roots, as PEM.
pub(crate) const AMAZON_ROOTS: &str = include_str!(concat!(env!("OUT_DIR"), "/amazon-roots.pem"));

/// Where AWS is and who calls it.
#[derive(Clone)]
pub struct AwsConfig {
    pub region: String,
    /// One endpoint for every service (`AWS_ENDPOINT_URL`), or one for this service; none is AWS itself.
    pub endpoint_url: Option<String>,
    pub credentials: Credentials,
    /// PEM of additional authorities to trust (`AWS_CA_BUNDLE`).
    pub extra_roots: Option<Vec<u8>>,
    /// Judges calls in IAM's place; open in a deployed function.
    pub gate: Gate,
}

impl std::fmt::Debug for AwsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsConfig").field("region", &self.region).field("endpoint_url", &self.endpoint_url).finish()
    }
}

impl AwsConfig {
    /// The region as the SDK wants it.
    #[must_use]
    pub fn region(&self) -> Region {
        Region::new(self.region.clone())
    }

    /// An HTTP client: without TLS if the endpoint is a plain `http://` one, else trusting Amazon's roots
    /// and the configured extra ones only.
    ///
    /// # Errors
    /// A text naming the cause when the extra roots are not PEM certificates.
    pub fn http_client(&self) -> Result<SharedHttpClient, String> {
        let make = || self.client(Builder::new().pool_idle_timeout(IDLE));
        if self.is_plain() { self.gate.one(make) } else { make() }
    }

    /// Like [`Self::http_client`], but with a connection of its own for each request: for calls that may not be
    /// repeated blindly. A kept connection that died while the environment slept fails only after the request was
    /// written to it, and then nobody can tell whether it arrived.
    ///
    /// # Errors
    /// As [`Self::http_client`].
    pub fn unpooled_http_client(&self) -> Result<SharedHttpClient, String> {
        self.client(Builder::new().pool_max_idle_per_host(0))
    }

    fn is_plain(&self) -> bool {
        self.endpoint_url.as_deref().is_some_and(|url| url.starts_with("http://"))
    }

    fn client(&self, builder: Builder) -> Result<SharedHttpClient, String> {
        if self.is_plain() {
            return Ok(self.gate.before(builder.build_http()));
        }
        let mut roots = tls::TrustStore::empty().with_pem_certificate(AMAZON_ROOTS.as_bytes());
        if let Some(pem) = &self.extra_roots {
            roots.add_pem_certificate(pem.clone());
        }
        let context = tls::TlsContext::builder().with_trust_store(roots).build().map_err(|error| error.to_string())?;
        let builder = builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        Ok(self.gate.before(builder.tls_context(context).build_https()))
    }
}

/// How long an idle connection is kept. A frozen environment wakes to dead ones all the same; the SDK's
/// retry then opens another.
const IDLE: Duration = Duration::from_secs(50);

/// Attempts and their bounds: several operations in a row stay within a function's time limit (15 s).
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(1000))
        .operation_attempt_timeout(Duration::from_millis(1500))
        .operation_timeout(Duration::from_secs(4))
        .build()
}

/// Three attempts in all, the first retry within 50 ms.
#[must_use]
pub fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50))
}
