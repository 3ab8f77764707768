//! What the template and Lambda put into the functions' environments, and the context that each function runs in.

use std::collections::BTreeMap;

use shared::Context;
use shared::aws::Gate;
use shared::config::{Config, ConfigError};

use crate::system::TABLE_NAME;

/// Who calls when no function does: the system itself, an operator, a test.
const OPERATOR: &str = "local";

/// The variables of the functions.
pub(crate) struct Environment<'a> {
    pub(crate) database_url: &'a str,
    pub(crate) sqs_url: &'a str,
    pub(crate) queue_url: &'a str,
    pub(crate) cache_url: &'a str,
    pub(crate) origins: &'a str,
    pub(crate) mailbox: &'a str,
    pub(crate) chosen: &'a BTreeMap<String, String>,
}

impl Environment<'_> {
    /// The configuration of who signs calls with an access key id.
    fn config_of(&self, access_key: &str) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            if let Some(value) = self.chosen.get(name) {
                return Some(value.clone());
            }
            let value = match name {
                "TABLE_NAME" => TABLE_NAME,
                "ALLOWED_ORIGINS" => self.origins,
                "CACHE_URL" => self.cache_url,
                "JOBS_QUEUE_URL" => self.queue_url,
                "ANALYSIS_PROVIDER" => "builtin",
                "MAIL_PROVIDER" => "mailbox",
                "MAIL_FROM" => "CitizenApp <no-reply@citizen.example>",
                "MAILBOX_FOLDER" => self.mailbox,
                "AWS_REGION" => "us-east-1",
                "AWS_ENDPOINT_URL_DYNAMODB" => self.database_url,
                "AWS_ENDPOINT_URL_SQS" => self.sqs_url,
                "AWS_ACCESS_KEY_ID" => access_key,
                "AWS_SECRET_ACCESS_KEY" => "local",
                "LOG_LEVEL" => return std::env::var("LOG_LEVEL").ok(),
                _ => return None,
            };
            Some(value.to_owned())
        })
    }

    /// The operator's configuration, who may do everything.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        self.config_of(OPERATOR)
    }

    /// A context for each of these functions: all with the cache of `operator`, and each with clients that sign in its name
    /// and pass `gate`.
    pub(crate) fn contexts(
        &self,
        functions: &[String],
        operator: &Context,
        gate: &Gate,
    ) -> Result<Contexts, ConfigError> {
        let contexts = functions.iter().map(|function| {
            let mut config = self.config_of(function)?;
            config.aws.gate = gate.clone();
            // Lives as long as the process, as in a Lambda environment.
            let context: &'static Context = Box::leak(Box::new(operator.with_config(config)));
            Ok((function.clone(), context))
        });
        contexts.collect::<Result<_, _>>().map(Contexts)
    }
}

/// The functions' contexts, by folder name.
#[derive(Debug)]
pub struct Contexts(BTreeMap<String, &'static Context>);

impl Contexts {
    /// What a function runs in; `None` for one that the template does not have.
    #[must_use]
    pub fn get(&self, function: &str) -> Option<&'static Context> {
        self.0.get(function).copied()
    }
}
