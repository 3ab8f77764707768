//! The providers that configuration chooses, made once per environment.

use crate::analysis::{Anthropic, Provider, anthropic};
use crate::mail::{Mailbox, Mailer, Sender, Ses, ses};
use crate::secret::{ApiKey, KeySource, secrets_manager};
use crate::transport;
use lambda_http::http::HeaderValue;
use shared::Context;
use shared::clock::Clock;
use shared::config::{Config, ConfigError};
use shared::runtime::Environment;
use std::path::Path;
use std::time::Duration;

/// Longest call of the model provider; the function's own limit is 60 s.
const ANALYSIS_TIMEOUT: Duration = Duration::from_secs(40);
/// The model that needs no provider.
const BUILTIN: &str = "builtin";

/// What jobs run in.
pub struct Worker {
    pub(crate) context: Context,
    builtin: Provider,
    model_provider: Option<Provider>,
    pub(crate) mailer: Mailer,
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the environment variable {name} is wrong: {reason}")]
    Wrong { name: &'static str, reason: String },
}

impl Worker {
    /// A worker for a configuration.
    ///
    /// # Errors
    /// [`StartError`] names what is missing or wrong.
    pub fn new(config: Config, clock: Clock) -> Result<Self, StartError> {
        config.required("JOBS_QUEUE_URL")?;
        let model_provider = match config.required("ANALYSIS_PROVIDER")? {
            BUILTIN => None,
            "anthropic" => Some(Provider::Anthropic(model_provider(&config)?)),
            other => return Err(wrong("ANALYSIS_PROVIDER", format!("{other} is neither builtin nor anthropic"))),
        };
        let mailer = mailer(&config)?;
        Ok(Self { context: Context::new(config, clock), builtin: Provider::Builtin, model_provider, mailer })
    }

    /// Who analyses with a model.
    pub(crate) fn provider(&self, model: &str) -> Option<&Provider> {
        if model == BUILTIN { Some(&self.builtin) } else { self.model_provider.as_ref() }
    }
}

fn wrong(name: &'static str, reason: impl ToString) -> StartError {
    StartError::Wrong { name, reason: reason.to_string() }
}

fn model_provider(config: &Config) -> Result<Anthropic, StartError> {
    let secret_id = config.required("ANTHROPIC_SECRET_ID")?.to_owned();
    let aws = config.aws.at(endpoint(config, "AWS_ENDPOINT_URL_SECRETS_MANAGER"));
    let client = secrets_manager(&aws.sdk_config().map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?);
    let base_url = config.optional("ANTHROPIC_BASE_URL").unwrap_or(anthropic::BASE_URL);
    let connector = transport::connector(base_url, config.aws.extra_roots.as_deref())
        .map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?;
    let key = ApiKey::new(KeySource::SecretsManager { client, secret_id });
    Anthropic::new(base_url, connector, key, ANALYSIS_TIMEOUT).map_err(|error| wrong("ANTHROPIC_BASE_URL", error))
}

fn mailer(config: &Config) -> Result<Mailer, StartError> {
    let sender: Sender = config.required("MAIL_FROM")?.parse().map_err(|error| wrong("MAIL_FROM", error))?;
    match config.required("MAIL_PROVIDER")? {
        "mailbox" => {
            let folder = Path::new(config.required("MAILBOX_FOLDER")?);
            Mailbox::open(folder, sender).map(Mailer::Mailbox).map_err(|error| wrong("MAILBOX_FOLDER", error))
        }
        "ses" => {
            let aws = config.aws.at(endpoint(config, "AWS_ENDPOINT_URL_SESV2"));
            let aws = aws.sdk_config_without_repetition().map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?;
            let client = ses::client(&aws);
            let set = config.optional("SES_CONFIGURATION_SET").map(str::to_owned);
            Ok(Mailer::Ses(Ses::new(client, sender, set)))
        }
        other => Err(wrong("MAIL_PROVIDER", format!("{other} is neither mailbox nor ses"))),
    }
}

fn endpoint(config: &Config, name: &str) -> Option<String> {
    config.optional(name).or_else(|| config.optional("AWS_ENDPOINT_URL")).map(str::to_owned)
}

impl Environment for Worker {
    const CRATES: &'static [&'static str] = <Context as Environment>::CRATES;

    type Error = StartError;

    fn from_env() -> Result<Self, StartError> {
        Self::new(Config::from_env()?, Clock::system())
    }

    fn log_level(&self) -> tracing::Level {
        self.context.config().log_level
    }

    fn deployment(&self) -> &str {
        &self.context.config().table_name
    }

    fn allowed_origins(&self) -> &[HeaderValue] {
        &[]
    }

    // Nothing goes on after a batch: what it started has ended or is another run's.
    async fn after_reply(&self) {}
}
