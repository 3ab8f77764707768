//! What the outside calls share: a connector that trusts the public authorities, telling a request that never
//! left from one that may have arrived, and reading `retry-after`.

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

/// Longer than this, and the other side is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(50);

/// A connector for calls to `base_url`: without TLS if that is a plain `http://` one, else trusting Mozilla's
/// list of authorities and the PEM ones in `extra_roots`. It is the SDK's own, so nothing more is linked.
///
/// # Errors
/// A text naming the cause when the roots do not make a trust store.
///
/// # Panics
/// An entry of `extra_roots` is PEM but no certificate (the SDK's connector does not give that as an error).
pub fn connector(base_url: &str, extra_roots: Option<&[u8]>) -> Result<SharedHttpConnector, String> {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let builder =
        Connector::builder().connector_settings(settings).sleep_impl(TokioSleep::new()).pool_idle_timeout(IDLE);
    if base_url.starts_with("http://") {
        return Ok(SharedHttpConnector::new(builder.build_http()));
    }
    let mut roots = tls::TrustStore::empty().with_pem_certificate(public_roots());
    if let Some(pem) = extra_roots {
        roots.add_pem_certificate(pem);
    }
    let context = tls::TlsContext::builder().with_trust_store(roots).build().map_err(|error| error.to_string())?;
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    Ok(SharedHttpConnector::new(builder.tls_provider(provider).tls_context(context).build()))
}

/// Mozilla's authorities as PEM, the only form that the connector takes.
fn public_roots() -> Vec<u8> {
    let mut pem = String::new();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        // Writing to a string cannot fail.
        let _ = writeln!(pem, "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", STANDARD.encode(root));
    }
    pem.into_bytes()
}

/// The longest wait that another side may ask of us; a wrong clock or a typo must not park a job.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether the connection was never made, so that the other side cannot have seen the request.
///
/// Anything that this does not recognise counts as sent.
#[must_use]
pub fn never_sent(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// A `retry-after` header (RFC 9110 section 10.2.3): seconds, also with a fraction, or an HTTP date; at most a day.
#[must_use]
pub fn retry_after(value: Option<&str>, now: Timestamp) -> Option<Duration> {
    let value = value?.trim();
    let wait = if value.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && let Ok(seconds) = value.parse::<f64>()
    {
        // More than fits is a very long wait.
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    } else {
        let then = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        // A date that has passed means now.
        Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_roots_are_certificates() {
        assert!(connector("https://api.example.com", None).is_ok());
        assert!(public_roots().len() > 100_000);
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a timestamp");
        let cases = [
            ("0", Some(0.0)),
            ("7", Some(7.0)),
            (" 30 ", Some(30.0)),
            ("1.5", Some(1.5)),
            ("0.25", Some(0.25)),
            ("99999999999999999999999", Some(86_400.0)),
            ("Sun, 01 Mar 2026 12:00:45 GMT", Some(45.0)),
            ("Sun, 01 Mar 2026 11:00:00 GMT", Some(0.0)),
            ("Sun, 01 Mar 2099 11:00:00 GMT", Some(86_400.0)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("soon", None),
            ("-5", None),
        ];
        for (value, seconds) in cases {
            let wait = retry_after(Some(value), now).map(|wait| wait.as_secs_f64());
            assert_eq!(wait, seconds, "{value:?}");
        }
        assert_eq!(retry_after(None, now), None);
    }
}
