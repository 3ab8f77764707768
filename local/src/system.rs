//! Starting and stopping the system: database, context, gateway.

mod engines;
mod error;

pub use error::StartError;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use analysis_worker::secret::Secret;
use shared::Context;
use testkit::providers::{Providers, Scene};
use tokio::{sync::oneshot, task::JoinHandle};

use engines::Engines;

use crate::{
    ablation::Ablation,
    background::{self, Background, BackgroundError, Surroundings},
    clock::Clock,
    connections::{self, Abandoned, Limits},
    database::{Database, DatabaseError, Storage},
    environment::Contexts,
    event_source::EventSource,
    functions, gateway,
    layers::{counting::DatabaseCalls, iam::Privileges, stack},
    like_aws::{LikeAws, Passage, api_gateway::Front, cache::CacheProxy, lambda::Counts},
    local_routes,
    mailbox::MailFolder,
    names::TABLE_NAME,
    operator::catalogue,
    sqs::Sqs,
    table_stream::TableStream,
    template::{EventFunction, Route, Template},
    unkind,
};

/// How long requests under way may take to finish when the system stops.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// How to start the system.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on the loopback addresses; 0 takes a free one.
    pub port: u16,
    /// Where records are kept.
    pub storage: Storage,
    /// What all of it goes by.
    pub clock: Clock,
    /// The SAM template to read.
    pub template: PathBuf,
    /// The file of model prices to load.
    pub catalogue: PathBuf,
    /// As the environment variable `CACHE_URL`.
    pub cache_url: String,
    /// Where e-mails are delivered to, as `.eml` files; none is a temporary folder that goes with the system.
    pub mailbox: Option<PathBuf>,
    /// In place of the template's default origins and this system's own, separated by commas.
    pub allowed_origins: Option<String>,
    /// Variables of the functions that count before this system's own: another analysis provider, say.
    pub environment: BTreeMap<String, String>,
    /// The model provider's key, for an environment that chooses it.
    pub anthropic_api_key: Option<Secret>,
    /// Whether sessions and organizations may ask as often as they like; else as often as the template says.
    pub without_rates: bool,
    /// What callers may take of the gateway.
    pub limits: Limits,
    /// Whether the queue and the schedule call their functions. A test that calls them itself says no.
    pub background: bool,
    /// What the whole process is to do without, to be measured.
    pub without: Option<Ablation>,
    /// Providers on a bad day in place of the builtin analysis and the mail service; none is those.
    pub unkind: Option<Scene>,
    /// What of AWS's ways stands between the functions and the embedded engines; none is what these do.
    pub like_aws: Option<LikeAws>,
}

impl Options {
    /// A system for one test: free port, records and cache in memory, this project's template.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self {
            port: 0,
            storage: Storage::Memory,
            clock: Clock::of_tests(),
            template: project_folder().join("template.yaml"),
            catalogue: project_folder().join("data/model-prices.json"),
            cache_url: "memory:".to_owned(),
            mailbox: None,
            allowed_origins: None,
            environment: BTreeMap::new(),
            anthropic_api_key: None,
            without_rates: true,
            limits: Limits::default(),
            background: true,
            without: None,
            unkind: None,
            like_aws: None,
        }
    }
}

impl Options {
    /// What the functions are told, where nothing stands between.
    fn cache_url(&self) -> &str {
        self.without.unwrap_or(Ablation::Nothing).cache_url(&self.cache_url)
    }
}

/// The folder of the project that this was built from.
#[must_use]
pub fn project_folder() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder)
}

/// A running system. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct System {
    port: u16,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    database: Database,
    background: Background,
    context: &'static Context,
    contexts: Contexts,
    privileges: Arc<Privileges>,
    router: axum::Router,
    front: Option<Arc<Front>>,
    _cache_proxy: Option<CacheProxy>,
    sqs_url: String,
    mail_url: String,
    mail_folder: MailFolder,
    providers: Option<Providers>,
    events: Vec<EventFunction>,
}

impl System {
    /// Starts everything. When it returns, requests are answered.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let template = Template::read(&options.template)
            .map_err(|source| StartError::Template { path: options.template.clone(), source })?;
        let template = options.without.unwrap_or(Ablation::Nothing).template(template);
        let (port, listeners) = connections::loopback(options.port).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse(options.port),
            _ => StartError::Port { port: options.port, source },
        })?;
        let engines = Engines::open(&options, &template, port).await?;
        let (config, endpoints) = engines.configuration(&options, &template, port)?;
        let privileges = Arc::new(Privileges::new(&template, &config));
        template.event_functions.iter().try_for_each(|event| privileges.poll(event))?;
        let database_calls = Arc::new(DatabaseCalls::default());
        let layers = stack(engines.layers(&options, &privileges, &database_calls));
        let production_clock = shared::clock::Clock::from(&options.clock);
        let contexts = Contexts::new(&template.functions, &config, &layers, &production_clock);
        let allowed_origins = config.allowed_origins.clone();
        // Lives as long as the process, as in a Lambda environment.
        let context: &'static Context = Box::leak(Box::new(Context::new(config, production_clock)));
        let account = options.like_aws.as_ref().and_then(|world| world.account(&template, &options.clock));
        let front = options.like_aws.as_ref().zip(account.as_ref());
        let front = front.and_then(|(world, account)| world.front(&template, &contexts, &options.clock, account));
        let find = |route: &Route| match &front {
            Some(front) => front.integration(route),
            None => {
                let name = &route.function;
                functions::handler(name, contexts.get(name)?, options.without).map(gateway::direct)
            }
        };
        let router = gateway::router(&template, allowed_origins, port, find)
            .map_err(|function| StartError::UnknownFunction { path: options.template.clone(), function })?;
        catalogue::load(&options.catalogue, context.store()).await?;
        let Engines { database, queues, mail_folder, mail, mail_url, providers, cache_proxy, .. } = engines;
        let (sqs, folder) = (queues.sqs().clone(), mail_folder.path().to_owned());
        let router = local_routes::add_to(router, database_calls, sqs, endpoints, folder, mail);
        let router = match &providers {
            Some(providers) => router.route(local_routes::PROVIDERS, unkind::route(providers.clone())),
            None => router,
        };
        let sqs_url = queues.url().to_owned();
        let world = options.like_aws.as_ref().map(|world| (world, &template));
        let around = Surroundings { contexts: &contexts, world, account: account.as_ref() };
        let events = if options.background { template.event_functions.as_slice() } else { &[] };
        let background = Background::start(queues, database.in_process(), events, &around)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let abandoned = Abandoned::RunsOn;
        let server = tokio::spawn(connections::serve(listeners, router.clone(), options.limits, abandoned, stopped));
        Ok(Self {
            port,
            stop,
            server,
            database,
            background,
            context,
            contexts,
            privileges,
            router,
            front,
            _cache_proxy: cache_proxy.map(|(cache_proxy, _)| cache_proxy),
            sqs_url,
            mail_url,
            mail_folder,
            providers,
            events: template.event_functions,
        })
    }

    /// The endpoint of the mail service.
    #[must_use]
    pub fn mail_url(&self) -> &str {
        &self.mail_url
    }

    /// The providers on a bad day, where the options chose such.
    #[must_use]
    pub fn providers(&self) -> Option<&Providers> {
        self.providers.as_ref()
    }

    /// What an operator or a test works with, who may do everything.
    #[must_use]
    pub fn context(&self) -> &'static Context {
        self.context
    }

    /// What the functions run in, which may do what the template grants them.
    #[must_use]
    pub fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// The functions' roles, and what was used of them.
    #[must_use]
    pub fn privileges(&self) -> &Privileges {
        &self.privileges
    }

    /// Where the API answers, without a slash at the end: at `localhost`, where browsers keep the session's `Secure` cookie for
    /// pages that are at `localhost` too.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// What answers requests, for whoever asks in this process: each needs its caller's address (`ConnectInfo`).
    pub fn router(&self) -> axum::Router {
        self.router.clone()
    }

    /// How often each function with a route was throttled and started; none where functions are always there.
    #[must_use]
    pub fn function_counts(&self) -> BTreeMap<String, Counts> {
        self.front.as_ref().map(|front| front.counts()).unwrap_or_default()
    }

    /// Where the embedded database answers.
    #[must_use]
    pub fn database_url(&self) -> String {
        self.database.endpoint_url()
    }

    /// A way to the embedded database in the like-aws world, for calls of other processes.
    #[must_use]
    pub fn passage(&self, world: &LikeAws) -> Passage {
        world.passage(&self.database.in_process(), self.clock())
    }

    /// The table's stream, from the oldest record on.
    ///
    /// # Errors
    /// The template's table has none.
    pub fn changes(&self) -> Result<TableStream, DatabaseError> {
        Ok(TableStream::from_oldest(self.database.in_process(), TABLE_NAME)?)
    }

    /// What all of it goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        self.background.sqs().clock()
    }

    /// What feeds a function from its queue, as the template says. With [`Options::background`] it runs already.
    ///
    /// # Errors
    /// [`BackgroundError`] for a function that no queue calls.
    pub fn event_source(&self, function: &str) -> Result<EventSource, BackgroundError> {
        let event = self.events.iter().find(|event| event.function == function);
        let event = event.ok_or_else(|| BackgroundError::UnknownFunction(function.to_owned()))?;
        background::from_queue(
            self.sqs(),
            event,
            &Surroundings { contexts: &self.contexts, world: None, account: None },
        )
    }

    /// The embedded queue service.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        self.background.sqs()
    }

    /// Where the embedded queue service answers.
    #[must_use]
    pub fn sqs_url(&self) -> &str {
        &self.sqs_url
    }

    /// Where e-mails are delivered to.
    #[must_use]
    pub fn mailbox(&self) -> &Path {
        self.mail_folder.path()
    }

    /// Lets requests under way finish, closes the database and removes what is temporary.
    pub async fn shutdown(self) {
        let _ = self.stop.send(());
        let mut server = self.server;
        if tokio::time::timeout(CLOSING_TIME, &mut server).await.is_err() {
            server.abort();
        }
        // A job that runs on is taken over after the next start.
        let _ = tokio::time::timeout(CLOSING_TIME, self.background.stop()).await;
        self.database.close().await;
    }
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
