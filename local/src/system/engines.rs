//! What a system stands on: the embedded engines, and what is in the place of the world outside.

use std::{collections::BTreeMap, env, sync::Arc};

use shared::config::{Config, ConfigError};
use testkit::providers::Providers;

use super::{Options, StartError};
use crate::{
    background::Queues,
    database::Database,
    environment::Environment,
    layers::{
        Layer,
        counting::DatabaseCalls,
        embedded_mail::EmbeddedMail,
        embedded_queues::EmbeddedQueues,
        embedded_secrets::{EmbeddedSecrets, SECRET_ID},
        iam::Privileges,
        logging::Logging,
        stack,
    },
    like_aws::cache::CacheProxy,
    local_routes,
    mail_service::MailService,
    mailbox::MailFolder,
    names::TABLE_NAME,
    template::Template,
    unkind,
};

pub(super) struct Engines {
    pub(super) database: Database,
    pub(super) queues: Queues,
    pub(super) mail_folder: MailFolder,
    pub(super) mail: MailService,
    pub(super) mail_url: String,
    pub(super) providers: Option<Providers>,
    /// The way to the cache, and its address for the functions, where it is not the cache's own.
    pub(super) cache_proxy: Option<(CacheProxy, String)>,
    /// The model provider's key, where there is one.
    secrets: Option<Arc<dyn Layer>>,
    /// Variables that count before this system's own.
    chosen: BTreeMap<String, String>,
}

impl Engines {
    pub(super) async fn open(options: &Options, template: &Template, port: u16) -> Result<Self, StartError> {
        // First: it locks the folder, which the mail is in too.
        let database = Database::open(&options.storage, TABLE_NAME, &template.table, &options.clock)?;
        let mail_folder = MailFolder::open(options.mailbox.clone())
            .map_err(|source| StartError::MailFolder { path: env::temp_dir(), source })?;
        let mail = MailService::open(mail_folder.path())
            .map_err(|source| StartError::MailFolder { path: mail_folder.path().to_owned(), source })?;
        let mail_url = format!("http://127.0.0.1:{port}{}", local_routes::MAIL_SERVICE);
        let queues = Queues::open(template, options.clock.clone()).await?;
        let mut chosen = options.environment.clone();
        let providers = match options.unkind {
            Some(scene) => Some(unkind::start(scene, &mail_url, &options.clock, &mut chosen).await),
            None => None,
        };
        let key = options.anthropic_api_key.clone().or_else(|| providers.as_ref().map(|_| unkind::key()));
        let secrets = key.map(|key| Arc::new(EmbeddedSecrets::new(key)) as Arc<dyn Layer>);
        if secrets.is_some() {
            chosen.insert("ANTHROPIC_SECRET_ID".to_owned(), SECRET_ID.to_owned());
        }
        let cache_proxy = match &options.like_aws {
            Some(world) => world.cache_proxy(options.cache_url()).await.map_err(StartError::CacheProxy)?,
            None => None,
        };
        Ok(Self { database, queues, mail_folder, mail, mail_url, providers, cache_proxy, secrets, chosen })
    }

    /// The configuration of the functions, and what an operator's commands need of it.
    pub(super) fn configuration(
        &self,
        options: &Options,
        template: &Template,
        port: u16,
    ) -> Result<(Config, BTreeMap<&'static str, String>), ConfigError> {
        let origins = options.allowed_origins.clone().unwrap_or_else(|| default_origins(template, port));
        let environment = Environment {
            database_url: &self.database.endpoint_url(),
            sqs_url: self.queues.url(),
            queue_url: &|queue| self.queues.queue_url(queue),
            cache_url: self.cache_proxy.as_ref().map_or(options.cache_url(), |(_, url)| url),
            origins: &origins,
            mail_url: &self.mail_url,
            chosen: &self.chosen,
            without_rates: options.without_rates,
            parameters: &template.parameters,
        };
        let mut config = environment.config()?;
        config.aws.http_layer = Some(stack(vec![self.in_process(), self.queued()]));
        Ok((config, environment.for_operators()))
    }

    /// What the functions' calls pass, from the outside in.
    pub(super) fn layers(
        &self,
        options: &Options,
        privileges: &Arc<Privileges>,
        database_calls: &Arc<DatabaseCalls>,
    ) -> Vec<Arc<dyn Layer>> {
        let mut layers: Vec<Arc<dyn Layer>> = match options.without {
            None => {
                let world = options.like_aws.iter();
                let world = world.flat_map(|world| world.layers(&self.database.in_process(), &options.clock));
                let around: [Arc<dyn Layer>; 3] = [Arc::new(Logging), privileges.clone(), database_calls.clone()];
                let mailed = Arc::new(EmbeddedMail::new(self.mail_url.clone(), self.mail.clone()));
                around.into_iter().chain(world).chain([self.in_process(), self.queued(), mailed]).collect()
            }
            // What is compared has connections.
            Some(_) => vec![database_calls.clone()],
        };
        layers.extend(self.secrets.clone());
        layers
    }

    fn in_process(&self) -> Arc<dyn Layer> {
        Arc::new(self.database.in_process())
    }

    fn queued(&self) -> Arc<dyn Layer> {
        Arc::new(EmbeddedQueues::new(self.queues.url().to_owned(), self.queues.sqs().clone()))
    }
}

/// The template's, and this system's own: the documents' page is there, and writes with a cookie as pages elsewhere do.
fn default_origins(template: &Template, port: u16) -> String {
    let (mut origins, own) = (template.allowed_origins.clone(), format!("http://localhost:{port}"));
    if !origins.contains(&own) {
        origins.push(own);
    }
    origins.join(",")
}
