//! Configuration, read once at start. What is missing or wrong is named, and nothing starts without it.

mod origins;

pub use origins::{NoOrigin, parse_origins};

use crate::caps::Caps;
use crate::limits::NetworkLimit;
use crate::model::job::JobKind;
use crate::model::limiter::Rate;
use crate::model::settings::BUILTIN;
use crate::request_rates::RequestRates;
use lambda_http::http::uri::Authority;
use lambda_http::http::{HeaderValue, Uri};
use platform::aws::{self, AwsConfig, Credentials};
use platform::cache::{CacheUrl, CacheUrlError};
use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

const WAITING_PLACES: &str = "WAITING_PLACES";
const ANALYSES_PER_MINUTE: &str = "ANALYSES_PER_MINUTE";
const EMAILS_PER_SECOND: &str = "EMAILS_PER_SECOND";
const INVITATIONS_PER_DAY: &str = "INVITATIONS_PER_DAY";

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
    /// The queues of the kinds of jobs that are accepted, run or swept here ([`Config::queue_url`]).
    pub queue_urls: HashMap<JobKind, String>,
    /// `ANALYSIS_PROVIDER`, where analyses are accepted or run ([`Config::analysis_provider`]).
    pub analysis_provider: Option<AnalysisProvider>,
    /// How many callers may wait for their analyses at a time, where they may ([`Config::waiting_places`]).
    pub waiting_places: Option<u32>,
    /// Where analyses are run by Anthropic's models ([`Config::anthropic`]).
    pub anthropic: Option<AnthropicConfig>,
    /// Where e-mails are sent ([`Config::mail`]).
    pub mail: Option<MailConfig>,
    /// How fast a model is called, where one is ([`Config::rate_of_analyses`]).
    pub rate_of_analyses: Option<Rate>,
    /// How fast the mail service is called, where it is ([`Config::rate_of_emails`]).
    pub rate_of_emails: Option<Rate>,
    /// `SESSION_REQUESTS_PER_SECOND`, and `ORG_REQUESTS_PER_SECOND` by plan.
    pub request_rates: RequestRates,
    /// What one network may do where it does that ([`Config::network_limit`]).
    pub network_limits: HashMap<NetworkLimit, u64>,
    /// What all organizations together may do in a day, where they do that.
    pub caps: Caps,
    /// Invitations that an organization may make in a day, where some are made ([`Config::invitations_per_day`]).
    pub invitations_per_day: Option<u64>,
    /// Where mail about accounts is written ([`Config::account_mail`]).
    pub account_mail: Option<AccountMailConfig>,
}

/// Who analyses with the models that have a price; `builtin` needs nobody and is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalysisProvider {
    /// `builtin`: nobody, there are no other models.
    Builtin,
    /// `anthropic`.
    Anthropic,
}

impl AnalysisProvider {
    /// Its name, in `ANALYSIS_PROVIDER` and in the catalogue of prices.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => BUILTIN,
            Self::Anthropic => "anthropic",
        }
    }
}

/// Where Anthropic is found, and with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnthropicConfig {
    /// `ANTHROPIC_SECRET_ID`: name or ARN of the secret with the key.
    pub secret_id: String,
    /// `ANTHROPIC_BASE_URL`; none is Anthropic's own.
    pub base_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`, or `AWS_ENDPOINT_URL`; none is AWS itself.
    pub secrets_manager_endpoint_url: Option<String>,
}

/// How e-mails leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// `MAIL_FROM`: the mailbox that they are from, such as `CitizenApp <no-reply@example.com>`.
    pub from: String,
    /// `SES_CONFIGURATION_SET`, through which SES says what became of an e-mail.
    pub configuration_set: Option<String>,
    /// `AWS_ENDPOINT_URL_SESV2`, or `AWS_ENDPOINT_URL`; none is AWS itself.
    pub endpoint_url: Option<String>,
}

/// What mail about accounts goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountMailConfig {
    /// `APP_URL`: where its links lead, one of the allowed origins. What a caller says of hosts counts for nothing.
    pub app_url: String,
    /// `ACCOUNT_MAILS_PER_DAY`: what is more waits for the next day. None are sent with 0.
    pub per_day: u64,
    /// `ACCOUNT_MAIL_BOUNCE_PERCENT`: it pauses while so many of its addresses bounce.
    pub bounce_percent: u64,
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
        let optional = |name| get(name).filter(|value| !value.trim().is_empty());
        let required = |name| optional(name).ok_or(ConfigError::Missing(name));
        let number = |name| optional(name).map(|text| whole(name, &text)).transpose();
        let rate = |name, time| match number(name)? {
            Some(0) => Err(ConfigError::Invalid { name, reason: "it is none".to_owned() }),
            calls => Ok(calls.map(|calls| Rate::of(calls, time))),
        };
        let url = |name| optional(name).map(|text| address(name, text)).transpose();
        let endpoint_url = |of_service| match url(of_service) {
            Ok(None) => url("AWS_ENDPOINT_URL"),
            of_service => of_service,
        };
        let allowed_origins = parse_origins(&required("ALLOWED_ORIGINS")?)
            .map_err(|error| ConfigError::Invalid { name: "ALLOWED_ORIGINS", reason: error.to_string() })?;
        let level = optional("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
        Ok(Self {
            table_name: required("TABLE_NAME")?,
            cache_url: cache_url(&required("CACHE_URL")?)?,
            log_level: level.parse().map_err(|_| ConfigError::Invalid {
                name: "LOG_LEVEL",
                reason: format!("{level} is none of error, warn, info, debug, trace"),
            })?,
            elasticache_endpoint_url: endpoint_url("AWS_ENDPOINT_URL_ELASTICACHE")?,
            sqs_endpoint_url: endpoint_url("AWS_ENDPOINT_URL_SQS")?,
            queue_urls: queue_urls(&optional)?,
            analysis_provider: optional("ANALYSIS_PROVIDER").map(|name| analysis_provider(&name)).transpose()?,
            waiting_places: optional(WAITING_PLACES).map(|text| whole(WAITING_PLACES, &text)).transpose()?,
            anthropic: match optional("ANTHROPIC_SECRET_ID") {
                None => None,
                Some(secret_id) => Some(AnthropicConfig {
                    secret_id,
                    base_url: url("ANTHROPIC_BASE_URL")?,
                    secrets_manager_endpoint_url: endpoint_url("AWS_ENDPOINT_URL_SECRETS_MANAGER")?,
                }),
            },
            mail: match optional("MAIL_FROM") {
                None => None,
                Some(from) => Some(MailConfig {
                    from,
                    configuration_set: optional("SES_CONFIGURATION_SET"),
                    endpoint_url: endpoint_url("AWS_ENDPOINT_URL_SESV2")?,
                }),
            },
            rate_of_analyses: rate(ANALYSES_PER_MINUTE, Duration::from_secs(60))?,
            rate_of_emails: rate(EMAILS_PER_SECOND, Duration::from_secs(1))?,
            request_rates: RequestRates::from_lookup(&required)?,
            network_limits: network_limits(&optional)?,
            caps: Caps::from_lookup(&optional)?,
            invitations_per_day: number(INVITATIONS_PER_DAY)?,
            account_mail: match optional("APP_URL") {
                None => None,
                Some(url) => Some(AccountMailConfig {
                    app_url: app_url(&url, &allowed_origins)?,
                    per_day: whole("ACCOUNT_MAILS_PER_DAY", &required("ACCOUNT_MAILS_PER_DAY")?)?,
                    bounce_percent: whole("ACCOUNT_MAIL_BOUNCE_PERCENT", &required("ACCOUNT_MAIL_BOUNCE_PERCENT")?)?,
                }),
            },
            allowed_origins,
            aws: AwsConfig {
                region: required("AWS_REGION")?,
                endpoint_url: endpoint_url("AWS_ENDPOINT_URL_DYNAMODB")?,
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

/// What only some functions need. They look at their start, so that none starts without it.
impl Config {
    /// The queue of a kind of jobs.
    ///
    /// # Errors
    /// Its variable ([`JobKind::queue_variable`]) is missing.
    pub fn queue_url(&self, kind: JobKind) -> Result<&str, ConfigError> {
        self.queue_urls.get(&kind).map(String::as_str).ok_or(ConfigError::Missing(kind.queue_variable()))
    }

    /// Who analyses.
    ///
    /// # Errors
    /// `ANALYSIS_PROVIDER` is missing.
    pub fn analysis_provider(&self) -> Result<AnalysisProvider, ConfigError> {
        self.analysis_provider.ok_or(ConfigError::Missing("ANALYSIS_PROVIDER"))
    }

    /// Where Anthropic is found.
    ///
    /// # Errors
    /// `ANTHROPIC_SECRET_ID` is missing.
    pub fn anthropic(&self) -> Result<&AnthropicConfig, ConfigError> {
        self.anthropic.as_ref().ok_or(ConfigError::Missing("ANTHROPIC_SECRET_ID"))
    }

    /// What one network may do.
    ///
    /// # Errors
    /// Its variable ([`NetworkLimit::variable`]) is missing.
    pub fn network_limit(&self, limit: NetworkLimit) -> Result<u64, ConfigError> {
        self.network_limits.get(&limit).copied().ok_or(ConfigError::Missing(limit.variable()))
    }

    /// How many callers may wait for their analyses at a time; none with 0.
    ///
    /// # Errors
    /// `WAITING_PLACES` is missing.
    pub fn waiting_places(&self) -> Result<u32, ConfigError> {
        self.waiting_places.ok_or(ConfigError::Missing(WAITING_PLACES))
    }

    /// How fast all environments together call each model, until its provider says another rate.
    ///
    /// # Errors
    /// `ANALYSES_PER_MINUTE` is missing.
    pub fn rate_of_analyses(&self) -> Result<Rate, ConfigError> {
        self.rate_of_analyses.ok_or(ConfigError::Missing(ANALYSES_PER_MINUTE))
    }

    /// How fast all environments together call the mail service.
    ///
    /// # Errors
    /// `EMAILS_PER_SECOND` is missing.
    pub fn rate_of_emails(&self) -> Result<Rate, ConfigError> {
        self.rate_of_emails.ok_or(ConfigError::Missing(EMAILS_PER_SECOND))
    }

    /// How e-mails leave.
    ///
    /// # Errors
    /// `MAIL_FROM` is missing.
    pub fn mail(&self) -> Result<&MailConfig, ConfigError> {
        self.mail.as_ref().ok_or(ConfigError::Missing("MAIL_FROM"))
    }

    /// How many invitations an organization may make in a day; 0 closes.
    ///
    /// # Errors
    /// `INVITATIONS_PER_DAY` is missing.
    pub fn invitations_per_day(&self) -> Result<u64, ConfigError> {
        self.invitations_per_day.ok_or(ConfigError::Missing(INVITATIONS_PER_DAY))
    }

    /// What mail about accounts goes by.
    ///
    /// # Errors
    /// `APP_URL` is missing.
    pub fn account_mail(&self) -> Result<&AccountMailConfig, ConfigError> {
        self.account_mail.as_ref().ok_or(ConfigError::Missing("APP_URL"))
    }
}

/// An origin as browsers send it, which is one of the allowed ones.
fn app_url(text: &str, allowed: &[HeaderValue]) -> Result<String, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid { name: "APP_URL", reason };
    let url = origins::parse_origin(text).map_err(|error| invalid(error.to_string()))?;
    let known = allowed.contains(&url).then(|| url.to_str().map(str::to_owned).ok()).flatten();
    known.ok_or_else(|| invalid(format!("{text} is none of ALLOWED_ORIGINS")))
}

pub(crate) fn whole<Number: FromStr>(name: &'static str, text: &str) -> Result<Number, ConfigError> {
    text.parse().map_err(|_| ConfigError::Invalid { name, reason: format!("{text} is no whole number") })
}

/// An address of the web. The SDK's clients take any text for one, and fail at each call.
fn address(name: &'static str, text: String) -> Result<String, ConfigError> {
    let is_one = text.parse::<Uri>().is_ok_and(|uri| {
        // `Uri` takes any text for a port.
        let is_whole =
            |of: &Authority| !of.host().is_empty() && (of.port_u16().is_some() || of.as_str().ends_with(of.host()));
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some_and(is_whole)
    });
    match is_one {
        true => Ok(text),
        false => Err(ConfigError::Invalid { name, reason: format!("{text} is no address such as https://a.example") }),
    }
}

/// Where the queues are that are named.
fn queue_urls(variable: &impl Fn(&'static str) -> Option<String>) -> Result<HashMap<JobKind, String>, ConfigError> {
    let mut urls = HashMap::new();
    for kind in JobKind::ALL {
        let Some(text) = variable(kind.queue_variable()) else { continue };
        urls.insert(kind, address(kind.queue_variable(), text)?);
    }
    Ok(urls)
}

fn network_limits(
    variable: &impl Fn(&'static str) -> Option<String>,
) -> Result<HashMap<NetworkLimit, u64>, ConfigError> {
    let mut limits = HashMap::new();
    for limit in NetworkLimit::ALL {
        let Some(text) = variable(limit.variable()) else { continue };
        limits.insert(limit, whole(limit.variable(), &text)?);
    }
    Ok(limits)
}

fn analysis_provider(name: &str) -> Result<AnalysisProvider, ConfigError> {
    let providers = [AnalysisProvider::Builtin, AnalysisProvider::Anthropic];
    let known = providers.into_iter().find(|provider| provider.name() == name);
    let invalid = || ConfigError::Invalid {
        name: "ANALYSIS_PROVIDER",
        reason: format!("{name} is neither builtin nor anthropic"),
    };
    known.ok_or_else(invalid)
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

#[cfg(test)]
mod tests;
