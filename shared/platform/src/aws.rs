//! What every AWS client here shares: credentials from Lambda's environment, an HTTP client with an
//! explicit trust store, short timeouts. Built once per execution environment.

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::SdkConfig;
use aws_types::region::Region;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

mod signer;
mod user_agent;

pub use aws_credential_types::Credentials;
pub use signer::Signer;
pub use user_agent::user_agent;

/// Amazon Trust Services' roots, as PEM.
pub(crate) const AMAZON_ROOTS: &str = include_str!(concat!(env!("OUT_DIR"), "/amazon-roots.pem"));

/// A layer around an AWS client's HTTP client. It sees every signed request, and may answer in its place.
pub type HttpLayer = Arc<dyn Fn(SharedHttpClient) -> SharedHttpClient + Send + Sync>;

/// Where AWS is and who calls it.
#[derive(Clone)]
pub struct AwsConfig {
    pub region: String,
    /// One endpoint for every service (`AWS_ENDPOINT_URL`), or one for this service; none is AWS itself.
    pub endpoint_url: Option<String>,
    pub credentials: Credentials,
    /// PEM of additional authorities to trust (`AWS_CA_BUNDLE`).
    pub extra_roots: Option<Vec<u8>>,
    /// Around the HTTP client of each AWS client; none unless it is set.
    pub http_layer: Option<HttpLayer>,
}

impl std::fmt::Debug for AwsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsConfig").field("region", &self.region).field("endpoint_url", &self.endpoint_url).finish()
    }
}

impl AwsConfig {
    /// The same caller at another endpoint; none is AWS itself.
    #[must_use]
    pub fn at(&self, endpoint_url: Option<String>) -> Self {
        Self { endpoint_url, ..self.clone() }
    }

    /// What each service's client is made from: three attempts within [`timeouts`].
    ///
    /// The HTTP client has no TLS if the endpoint is a plain `http://` one; else it trusts Amazon's roots and the
    /// configured extra ones only.
    ///
    /// # Errors
    /// A text naming the cause when the extra roots are not PEM certificates.
    pub fn sdk_config(&self) -> Result<SdkConfig, String> {
        self.sdk_config_over(Builder::new().pool_idle_timeout(IDLE))
    }

    /// Like [`Self::sdk_config`], but each request has a connection of its own and is sent once: for calls that may
    /// not be repeated blindly. A kept connection that died while the environment slept fails only after the request
    /// was written to it, and then nobody can tell whether it arrived.
    ///
    /// # Errors
    /// As [`Self::sdk_config`].
    pub fn sdk_config_without_repetition(&self) -> Result<SdkConfig, String> {
        let config = self.sdk_config_over(Builder::new().pool_max_idle_per_host(0))?;
        Ok(config.into_builder().retry_config(RetryConfig::disabled()).build())
    }

    fn sdk_config_over(&self, builder: Builder) -> Result<SdkConfig, String> {
        let mut http = self.http_client(builder)?;
        if let Some(layer) = &self.http_layer {
            http = layer(http);
        }
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(http)
            .retry_config(retries())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.endpoint_url.clone());
        Ok(config.build())
    }

    fn http_client(&self, builder: Builder) -> Result<SharedHttpClient, String> {
        if self.endpoint_url.as_deref().is_some_and(|url| url.starts_with("http://")) {
            return Ok(builder.build_http());
        }
        let mut roots = tls::TrustStore::empty().with_pem_certificate(AMAZON_ROOTS.as_bytes());
        if let Some(pem) = &self.extra_roots {
            roots.add_pem_certificate(pem.clone());
        }
        let context = tls::TlsContext::builder().with_trust_store(roots).build().map_err(|error| error.to_string())?;
        let builder = builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        Ok(builder.tls_context(context).build_https())
    }
}

/// Counts the certificates of a PEM text.
///
/// # Errors
/// What is wrong with it.
pub fn certificates(pem: &[u8]) -> Result<usize, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.map(|found| found.len()).map_err(|error| error.to_string())
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

#[cfg(test)]
mod roots_tests;
