//! What the template and Lambda put into the functions' environments, and the context that each function runs in.

use std::collections::{BTreeMap, HashMap};

use shared::Context;
use shared::aws::{Credentials, HttpLayer};
use shared::clock::Clock;
use shared::config::{Config, ConfigError};
use shared::model::job::JobKind;

use crate::names::{DEAD_LETTER_QUEUE, REGION, TABLE_NAME, queue_of};

/// Who calls when no function does: the system itself, an operator, a test.
const OPERATOR: &str = "local";

/// What all sign with. Nobody here checks signatures, only whose they are.
const SECRET: &str = "local";

/// The variables of the functions.
pub(crate) struct Environment<'a> {
    pub(crate) database_url: &'a str,
    pub(crate) sqs_url: &'a str,
    /// Where the queue of this name is.
    pub(crate) queue_url: &'a dyn Fn(&str) -> String,
    pub(crate) cache_url: &'a str,
    pub(crate) origins: &'a str,
    /// Where the mail service is.
    pub(crate) mail_url: &'a str,
    pub(crate) chosen: &'a BTreeMap<String, String>,
    pub(crate) without_rates: bool,
    /// The template's parameters, with their defaults.
    pub(crate) parameters: &'a HashMap<String, String>,
}

impl Environment<'_> {
    /// The operator's configuration, who may do everything.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            if let Some(value) = self.chosen.get(name) {
                return Some(value.clone());
            }
            if let Some(kind) = JobKind::ALL.into_iter().find(|kind| kind.queue_variable() == name) {
                return Some((self.queue_url)(queue_of(kind)));
            }
            let value = match name {
                "TABLE_NAME" => TABLE_NAME,
                "ALLOWED_ORIGINS" => self.origins,
                "CACHE_URL" => self.cache_url,
                "APP_URL" => self.origins.split(',').next().unwrap_or_default().trim(),
                // As many as where environments are reserved.
                "WAITING_PLACES" => "20",
                "ANALYSIS_PROVIDER" => "builtin",
                "MAIL_FROM" => "CitizenApp <no-reply@citizen.example>",
                "SES_CONFIGURATION_SET" => "MailConfiguration",
                "AWS_ENDPOINT_URL_SESV2" => self.mail_url,
                "AWS_REGION" => REGION,
                "AWS_ENDPOINT_URL_DYNAMODB" => self.database_url,
                "AWS_ENDPOINT_URL_SQS" => self.sqs_url,
                "AWS_ACCESS_KEY_ID" => OPERATOR,
                "AWS_SECRET_ACCESS_KEY" => SECRET,
                "SESSION_REQUESTS_PER_SECOND" if self.without_rates => "1000000000",
                "ORG_REQUESTS_PER_SECOND" if self.without_rates => "1000000000,1000000000,1000000000",
                "LOG_LEVEL" => return std::env::var("LOG_LEVEL").ok(),
                _ => return self.parameters.get(&parameter_of(name)).cloned(),
            };
            Some(value.to_owned())
        })
    }
}

/// The parameter that a variable has its value from, where that is all: `RegistrationsPerDay` of `REGISTRATIONS_PER_DAY`.
fn parameter_of(variable: &str) -> String {
    let words = variable.split('_').map(|word| word.split_at(word.len().min(1)));
    words.map(|(first, rest)| first.to_owned() + &rest.to_lowercase()).collect()
}

/// What an operator's commands need of it.
impl Environment<'_> {
    pub(crate) fn for_operators(&self) -> BTreeMap<&'static str, String> {
        let queues = JobKind::ALL.map(|kind| (kind.queue_variable(), (self.queue_url)(queue_of(kind))));
        let others = BTreeMap::from([
            ("AWS_ENDPOINT_URL_DYNAMODB", self.database_url.to_owned()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs_url.to_owned()),
            ("DEAD_LETTER_QUEUE_URL", (self.queue_url)(DEAD_LETTER_QUEUE)),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", OPERATOR.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]);
        others.into_iter().chain(queues).collect()
    }
}

/// A configuration like `config` for the function of this name, whose calls pass `layers`. The cache in memory is the same.
fn config_of(function: &str, config: &Config, layers: &HttpLayer) -> Config {
    let mut config = config.clone();
    config.aws.credentials = Credentials::new(function, SECRET, None, None, "local");
    config.aws.http_layer = Some(HttpLayer::clone(layers));
    config
}

/// The functions' contexts, by folder name.
#[derive(Debug)]
pub struct Contexts {
    by_function: BTreeMap<String, &'static Context>,
    clock: Clock,
}

impl Contexts {
    /// A context for each of these functions, which signs in its name and whose calls pass `layers`.
    pub(crate) fn new(functions: &[String], config: &Config, layers: &HttpLayer, clock: &Clock) -> Self {
        let contexts = functions.iter().map(|function| {
            // Lives as long as the process, as in a Lambda environment.
            let context: &'static Context =
                Box::leak(Box::new(Context::new(config_of(function, config, layers), clock.clone())));
            (function.clone(), context)
        });
        Self { by_function: contexts.collect(), clock: clock.clone() }
    }

    /// What a function runs in; `None` for one that the template does not have.
    #[must_use]
    pub fn get(&self, function: &str) -> Option<&'static Context> {
        self.by_function.get(function).copied()
    }

    /// What makes a context of its own for each environment of a function.
    pub(crate) fn factory(&self, function: &str) -> Option<impl Fn() -> &'static Context + Send + Sync + 'static> {
        let (config, clock) = (self.get(function)?.config().clone(), self.clock.clone());
        // Lives as long as the process, though its environment does not: a context is lent for as long as that.
        Some(move || -> &'static Context { Box::leak(Box::new(Context::new(config.clone(), clock.clone()))) })
    }
}
