//! The providers that configuration chooses, made once per environment.

use crate::analysis::{Anthropic, Provider, anthropic};
use crate::mail::{Mailbox, Mailer, Sender, Ses, ses};
use crate::secret::{ApiKey, KeySource, secrets_manager};
use crate::transport;
use lambda_http::http::HeaderValue;
use shared::Context;
use shared::clock::Clock;
use shared::config::{AnalysisProvider, AnthropicConfig, Config, ConfigError, MailProvider};
use shared::model::settings::BUILTIN;
use shared::runtime::Environment;
use std::time::Duration;

/// Longest call of the model provider; the function's own limit is 60 s.
const ANALYSIS_TIMEOUT: Duration = Duration::from_secs(40);

/// What jobs run in.
pub struct Worker {
    pub(crate) context: Context,
    builtin: Provider,
    model_provider: Option<Provider>,
    pub(crate) mailer: Mailer,
}

impl Worker {
    /// A worker for a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names what is missing or wrong.
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        config.jobs_queue_url()?;
        let model_provider = match config.analysis_provider()? {
            AnalysisProvider::Builtin => None,
            AnalysisProvider::Anthropic => Some(Provider::Anthropic(model_provider(&config)?)),
        };
        let mailer = mailer(&config)?;
        Ok(Self { context: Context::new(config, clock), builtin: Provider::Builtin, model_provider, mailer })
    }

    /// Who analyses with a model.
    pub(crate) fn provider(&self, model: &str) -> Option<&Provider> {
        if model == BUILTIN { Some(&self.builtin) } else { self.model_provider.as_ref() }
    }
}

fn wrong(name: &'static str, reason: impl ToString) -> ConfigError {
    ConfigError::Invalid { name, reason: reason.to_string() }
}

fn model_provider(config: &Config) -> Result<Anthropic, ConfigError> {
    let AnthropicConfig { secret_id, base_url, secrets_manager_endpoint_url } = config.anthropic()?.clone();
    let aws = config.aws.at(secrets_manager_endpoint_url);
    let client = secrets_manager(&aws.sdk_config().map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?);
    let base_url = base_url.as_deref().unwrap_or(anthropic::BASE_URL);
    let connector = transport::connector(base_url, config.aws.extra_roots.as_deref())
        .map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?;
    let key = ApiKey::new(KeySource::SecretsManager { client, secret_id });
    Anthropic::new(base_url, connector, key, ANALYSIS_TIMEOUT).map_err(|error| wrong("ANTHROPIC_BASE_URL", error))
}

fn mailer(config: &Config) -> Result<Mailer, ConfigError> {
    let mail = config.mail()?;
    let sender: Sender = mail.from.parse().map_err(|error| wrong("MAIL_FROM", error))?;
    match &mail.provider {
        MailProvider::Mailbox(folder) => {
            Mailbox::open(folder, sender).map(Mailer::Mailbox).map_err(|error| wrong("MAILBOX_FOLDER", error))
        }
        MailProvider::Ses { configuration_set, endpoint_url } => {
            let aws = config.aws.at(endpoint_url.clone());
            let aws = aws.sdk_config_without_repetition().map_err(|reason| wrong("AWS_CA_BUNDLE", reason))?;
            Ok(Mailer::Ses(Ses::new(ses::client(&aws), sender, configuration_set.clone())))
        }
    }
}

impl Environment for Worker {
    const CRATES: &'static [&'static str] = <Context as Environment>::CRATES;

    type Error = ConfigError;

    fn from_env() -> Result<Self, ConfigError> {
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
