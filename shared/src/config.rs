//! Configuration, read once at start. What is missing or wrong is named, and nothing starts without it.

use lambda_http::http::HeaderValue;
use platform::aws::{self, AwsConfig, Credentials};
use platform::cache::{CacheUrl, CacheUrlError};
use std::collections::BTreeMap;

/// What a function needs to know of where it runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// `TABLE_NAME`.
    pub table_name: String,
    /// `ALLOWED_ORIGINS`: exact origins, separated by commas.
    pub allowed_origins: Vec<HeaderValue>,
    /// `CACHE_URL`: `redis://…`, `rediss://…`, `memory:` or `off:`.
    pub cache_url: CacheUrl,
    /// `LOG_LEVEL`: `error`, `warn`, `info` (unless set), `debug` or `trace`.
    pub log_level: tracing::Level,
    pub aws: AwsConfig,
    /// `AWS_ENDPOINT_URL_ELASTICACHE`, or `AWS_ENDPOINT_URL`; none is AWS itself.
    pub elasticache_endpoint_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`, or `AWS_ENDPOINT_URL`; none is AWS itself.
    pub sqs_endpoint_url: Option<String>,
    /// What only some functions need ([`SOME_FUNCTIONS`]), by name.
    of_some: BTreeMap<&'static str, String>,
}

/// Variables that only some functions need. Those check them at their start with [`require`].
pub const SOME_FUNCTIONS: [&str; 11] = [
    "JOBS_QUEUE_URL",
    "ANALYSIS_PROVIDER",
    "ANTHROPIC_SECRET_ID",
    "ANTHROPIC_BASE_URL",
    "MAIL_PROVIDER",
    "MAIL_FROM",
    "MAILBOX_FOLDER",
    "SES_CONFIGURATION_SET",
    "AWS_ENDPOINT_URL_SESV2",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL",
];

/// Checks that the process's environment has these variables.
///
/// # Errors
/// [`ConfigError::Missing`] with the first one that it has not.
pub fn require(names: &[&'static str]) -> Result<(), ConfigError> {
    let present = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    names.iter().find(|name| !present(name)).map_or(Ok(()), |name| Err(ConfigError::Missing(name)))
}

/// A variable that is missing or has a value that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the environment variable {0} is missing")]
    Missing(&'static str),
    #[error("the environment variable {name} is wrong: {reason}")]
    Invalid { name: &'static str, reason: String },
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`ConfigError`] with the variable's name.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_lookup(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let optional = |name| get(name).filter(|value| !value.is_empty());
        let required = |name| optional(name).ok_or(ConfigError::Missing(name));
        let level = optional("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
        Ok(Self {
            table_name: required("TABLE_NAME")?,
            allowed_origins: parse_origins(&required("ALLOWED_ORIGINS")?)?,
            cache_url: cache_url(&required("CACHE_URL")?)?,
            log_level: level.parse().map_err(|_| ConfigError::Invalid {
                name: "LOG_LEVEL",
                reason: format!("{level} is none of error, warn, info, debug, trace"),
            })?,
            elasticache_endpoint_url: optional("AWS_ENDPOINT_URL_ELASTICACHE").or_else(|| optional("AWS_ENDPOINT_URL")),
            sqs_endpoint_url: optional("AWS_ENDPOINT_URL_SQS").or_else(|| optional("AWS_ENDPOINT_URL")),
            of_some: SOME_FUNCTIONS.into_iter().filter_map(|name| Some((name, optional(name)?))).collect(),
            aws: AwsConfig {
                region: required("AWS_REGION")?,
                endpoint_url: optional("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| optional("AWS_ENDPOINT_URL")),
                credentials: Credentials::new(
                    required("AWS_ACCESS_KEY_ID")?,
                    required("AWS_SECRET_ACCESS_KEY")?,
                    optional("AWS_SESSION_TOKEN"),
                    None, // Lambda's do not change while an environment lives
                    "environment",
                ),
                extra_roots: optional("AWS_CA_BUNDLE").map(|path| read_authorities(&path)).transpose()?,
                http_layer: None,
            },
        })
    }
}

impl Config {
    /// A variable of [`SOME_FUNCTIONS`], if it is set.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.of_some.get(name).map(String::as_str)
    }

    /// A variable of [`SOME_FUNCTIONS`] that this function needs.
    ///
    /// # Errors
    /// [`ConfigError::Missing`].
    pub fn required(&self, name: &'static str) -> Result<&str, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }
}

/// An address; in a build that cannot look names up, one with an endpoint.
fn cache_url(text: &str) -> Result<CacheUrl, ConfigError> {
    let invalid = |reason| ConfigError::Invalid { name: "CACHE_URL", reason };
    let url = text.parse().map_err(|error: CacheUrlError| invalid(error.to_string()))?;
    match &url {
        CacheUrl::Server(server) if server.endpoint.is_none() && !cfg!(feature = "discovery") => {
            Err(invalid("finding a cache by its name needs a build with the feature shared/discovery".to_owned()))
        }
        _ => Ok(url),
    }
}

/// The PEM file of authorities to trust besides Amazon's.
fn read_authorities(path: &str) -> Result<Vec<u8>, ConfigError> {
    let invalid = |reason| ConfigError::Invalid { name: "AWS_CA_BUNDLE", reason: format!("{path}: {reason}") };
    let pem = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
    match aws::certificates(&pem) {
        Ok(0) => Err(invalid("no certificate in it".to_owned())),
        Ok(_) => Ok(pem),
        Err(error) => Err(invalid(error)),
    }
}

/// Exact origins (RFC 6454: scheme, host and maybe a port; no path, no `*`), separated by commas.
///
/// # Errors
/// [`ConfigError::Invalid`] naming the first that is none.
pub fn parse_origins(list: &str) -> Result<Vec<HeaderValue>, ConfigError> {
    let invalid = |origin: &str| ConfigError::Invalid {
        name: "ALLOWED_ORIGINS",
        reason: format!("{origin:?} is not an origin such as https://app.example.com"),
    };
    list.split(',')
        .map(str::trim)
        .map(|origin| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let exact = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', '@', ' ']));
            if !exact {
                return Err(invalid(origin));
            }
            HeaderValue::from_str(origin).map_err(|_| invalid(origin))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 6] = [
        ("TABLE_NAME", "t"),
        ("ALLOWED_ORIGINS", "https://a.example, http://localhost:5173"),
        ("CACHE_URL", "memory:"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];

    fn with(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            let value = changes.iter().chain(&COMPLETE).find(|(key, _)| *key == name);
            value.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(with(&[]).is_ok());
        for (name, _) in COMPLETE {
            assert_eq!(with(&[(name, "")]).expect_err("missing"), ConfigError::Missing(name));
        }
    }

    #[test]
    fn origins_are_exact() {
        for origin in ["*", "https://", "https://a/", "https://*.a.example", "a.example", "https://a,", "null"] {
            assert!(with(&[("ALLOWED_ORIGINS", origin)]).is_err(), "{origin}");
        }
    }

    #[test]
    fn authorities_are_certificates() {
        let file = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
        let path = file.to_str().expect("a path of text");
        for garbage in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense!\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, garbage).expect("a file");
            let error = with(&[("AWS_CA_BUNDLE", path)]).expect_err("no certificate").to_string();
            assert!(error.contains("AWS_CA_BUNDLE"), "{error}");
        }
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("a file");
        assert!(with(&[("AWS_CA_BUNDLE", path)]).is_ok());
        std::fs::remove_file(&file).expect("there");
        assert!(with(&[("AWS_CA_BUNDLE", path)]).is_err());
    }

    #[test]
    fn levels_are_known() {
        assert!(with(&[("LOG_LEVEL", "loud")]).is_err());
        assert_eq!(with(&[("LOG_LEVEL", "debug")]).expect("valid").log_level, tracing::Level::DEBUG);
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = with(&[("AWS_SECRET_ACCESS_KEY", "hush-hush")]).expect("valid");
        assert!(!format!("{config:?}").contains("hush-hush"));
    }
}
