//! The providers that configuration chooses, made once per environment.

use crate::analysis::{Anthropic, Provider, anthropic};
use crate::secret::{ApiKey, secrets_manager};
use shared::caps::Cap;
use shared::config::{AnalysisProvider, AnthropicConfig, Config, ConfigError};
use shared::model::settings::BUILTIN;
use std::time::Duration;
use worker::{Limiter, transport};

/// Longest call of the model provider; the function's own limit is 60 s.
pub(crate) const ANALYSIS_TIMEOUT: Duration = Duration::from_secs(40);

/// Who analyses.
pub struct Analyses {
    builtin: Provider,
    model_provider: Option<Provider>,
    /// How fast the models are called.
    pub(crate) limiter: Limiter,
}

impl Analyses {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        config.caps.most(Cap::Dollars)?;
        let model_provider = match config.analysis_provider()? {
            AnalysisProvider::Builtin => None,
            AnalysisProvider::Anthropic => Some(Provider::Anthropic(Box::new(model_provider(config)?))),
        };
        Ok(Self { builtin: Provider::Builtin, model_provider, limiter: Limiter::new(config.rate_of_analyses()?) })
    }

    /// Who analyses with a model.
    pub(crate) fn analyst(&self, model: &str) -> Option<&Provider> {
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
    let key = ApiKey::new(client, secret_id);
    Anthropic::new(base_url, connector, key, ANALYSIS_TIMEOUT).map_err(|error| wrong("ANTHROPIC_BASE_URL", error))
}
