//! One system of one size, whose functions are called in this thread, with and without the meter between.

use crate::cpu;
use crate::raw::Raw;
use lambda_http::http::header::{AUTHORIZATION, CONTENT_TYPE};
use lambda_http::http::{HeaderMap, Method};
use lambda_http::{Body, Request};
use local::event_source::{EventSource, Function, Mapping};
use local::names::{MAIL_EVENTS_QUEUE, queue_of};
use local::{Clock, Options, Storage, System, operator};
use serde_json::{Value, json};
use shared::Context;
use shared::account::{Joins, Registrant};
use shared::config::Config;
use shared::ids::{OrgId, UserId};
use shared::model::job::JobKind;
use shared::model::org::{Plan, Role};
use shared::queue::batch::Batch;
use shared::runtime::event::{Event as _, Parts, PathParameters};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use testkit::meter::Meter;

/// What everybody registers with.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Time limit of the worker and the sweeper, as in the template.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How the functions reach the database and the cache.
#[derive(Clone, Copy)]
pub(crate) struct Via {
    /// Through the meter.
    pub(crate) metered: bool,
    /// With a cache; without one, each read is a miss.
    pub(crate) cached: bool,
}

/// Straight to the database, without a cache.
pub(crate) const PLAIN: Via = Via { metered: false, cached: false };

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) function: &'static str,
    pub(crate) method: Method,
    pub(crate) parameters: Vec<(&'static str, String)>,
    pub(crate) query: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Option<Value>,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

impl Ask {
    pub(crate) fn new(function: &'static str, method: Method, token: Option<&str>) -> Self {
        let token = token.map(str::to_owned);
        Self { function, method, parameters: Vec::new(), query: String::new(), token, body: None, key: None }
    }

    /// With a parameter of the path, in place of an earlier one of its name.
    pub(crate) fn of(mut self, name: &'static str, value: impl ToString) -> Self {
        self.parameters.retain(|(earlier, _)| *earlier != name);
        self.parameters.push((name, value.to_string()));
        self
    }

    pub(crate) fn query(mut self, query: impl ToString) -> Self {
        self.query = query.to_string();
        self
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn key(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    fn request(&self) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        }
        if let Some(key) = &self.key {
            headers.insert("idempotency-key", key.parse().unwrap());
        }
        let parameters = self.parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Parts {
            method: self.method.clone(),
            path: format!("/{}", self.function),
            headers,
            query: self.query.parse().unwrap(),
            path_parameters: PathParameters(parameters.collect()),
            request_id: None,
            source_ip: Some(elsewhere()),
            body: self.body.as_ref().map_or(Body::Empty, |body| Body::Text(body.to_string())),
        }
        .into_request()
    }
}

/// Another address each time, always as long: there are limits on what comes from one.
fn elsewhere() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let part = |of: u32| u8::try_from(100 + of % 100).unwrap();
    Ipv4Addr::new(part(number / 1_000_000), part(number / 10_000), part(number / 100), part(number)).into()
}

/// A registered user with a session.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) token: String,
    pub(crate) user_id: UserId,
    pub(crate) org_id: OrgId,
    pub(crate) email: String,
}

/// A system, and all that calls it.
pub(crate) struct Scene {
    pub(crate) system: System,
    pub(crate) raw: Raw,
    pub(crate) meter: Meter,
    /// The thread of its database.
    pub(crate) database: u32,
    /// By metered and cached.
    contexts: [[&'static Context; 2]; 2],
    /// By metered, each worker's.
    sources: [[(&'static str, EventSource); 4]; 2],
    pub(crate) owner: Actor,
    pub(crate) member: Actor,
}

impl Scene {
    /// Starts one on `systems`; nothing of it runs in this thread but what is called.
    pub(crate) fn start(
        systems: &tokio::runtime::Runtime,
        here: &tokio::runtime::Runtime,
        folder: Option<PathBuf>,
    ) -> Self {
        let before = cpu::threads("database");
        let storage = folder.map_or(Storage::Memory, Storage::Folder);
        // Whether a call waits for its provider's rate depends on the time, and costs one more update.
        let rates = [("EMAILS_PER_SECOND", "1000"), ("ANALYSES_PER_MINUTE", "60000")];
        // All of it happens on one day.
        let per_day = [("EMAILS_PER_DAY", "1000000000"), ("ACCOUNT_MAILS_PER_DAY", "1000000000")];
        let limits = [per_day[0], per_day[1], ("CAP_SHARES", "100,100,100"), rates[0], rates[1]];
        let environment = limits.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        // However long it takes, nothing becomes due.
        let clock = Clock::stopped();
        let options = Options { clock, background: false, storage, environment, ..Options::ephemeral() };
        let system = systems.block_on(System::start(options)).unwrap();
        // A thread gives itself its name, once it runs.
        let named = || cpu::threads("database").into_iter().find(|thread| !before.contains(thread));
        let database = (0..10_000)
            .find_map(|_| {
                named().or_else(|| {
                    systems.block_on(async {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        None
                    })
                })
            })
            .expect("a thread for the database");
        let meter = systems.block_on(Meter::before(&system.database_url()));
        let config = |metered: bool, cached: bool| {
            let mut config: Config = system.context().config().clone();
            // Over HTTP, so that the database's own thread does its work.
            config.aws.http_layer = None;
            if metered {
                config.aws.endpoint_url = Some(meter.url.clone());
            }
            config.cache_url = if cached { "memory:" } else { "off:" }.parse().unwrap();
            config
        };
        let context = |metered, cached| -> &'static Context {
            // Lives as long as the process, as in a Lambda environment.
            Box::leak(Box::new(Context::new(config(metered, cached), system.clock().into())))
        };
        let contexts = [false, true].map(|metered| [false, true].map(|cached| context(metered, cached)));
        let sources = [false, true].map(|metered| sources(&system, &config(metered, false)));
        let raw = Raw::new(&system.database_url());
        let nobody =
            || Actor { token: String::new(), user_id: UserId::new(), org_id: OrgId::new(), email: String::new() };
        let mut scene = Self { system, raw, meter, database, contexts, sources, owner: nobody(), member: nobody() };
        here.block_on(async {
            scene.owner = scene.register(0).await;
            scene.member = scene.register(1).await;
            let org = scene.owner.org_id;
            operator::give_plan(scene.system.context(), org, Plan::Enterprise).await.unwrap();
            let email = scene.member.email.parse().unwrap();
            operator::add_member(scene.system.context(), org, &email, Role::Member).await.unwrap();
        });
        scene
    }

    /// Registers the `number`th account (all addresses are as long).
    pub(crate) async fn register(&self, number: u64) -> Actor {
        let email = format!("growth-{number:012}@example.com");
        let new = Registrant {
            email: email.parse().unwrap(),
            password: PASSWORD.to_owned().try_into().unwrap(),
            name: "Ada Lovelace".parse().unwrap(),
            joins: Joins::Founding("Analytical Ltd".parse().unwrap()),
        };
        let begun = operator::account(self.system.context(), new).await.unwrap();
        let token = begun.token.reveal().to_owned();
        Actor { token, user_id: begun.actor.user_id, org_id: begun.actor.org_id, email }
    }

    /// Somebody who has registered and not proven its address.
    pub(crate) async fn unverified(&self, number: u64) -> UserId {
        let email = format!("unverified-{number:012}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "name": "Ada Lovelace", "org_name": "Analytical Ltd"});
        let reply = self.must(&Ask::new("register", Method::POST, None).body(body)).await;
        // On a busy machine its mail's message may not be put on the queue in time.
        let done = self.deliver("account-mail-worker", PLAIN).await;
        assert!(done == 1 || self.waits(JobKind::AccountMail) == 0);
        reply["user"]["id"].as_str().unwrap().parse().unwrap()
    }

    /// Asks, and gives the status with the body's text.
    pub(crate) async fn ask(&self, via: Via, ask: &Ask) -> (u16, Body) {
        let context = self.contexts[usize::from(via.metered)][usize::from(via.cached)];
        let handler = local::functions::handler(ask.function, context, None).unwrap();
        let reply = handler(ask.request()).await;
        (reply.status().as_u16(), reply.into_body())
    }

    /// Asks for what must succeed.
    pub(crate) async fn must(&self, ask: &Ask) -> Value {
        let (status, body) = self.ask(PLAIN, ask).await;
        let Body::Text(text) = body else { return Value::Null };
        assert!((200..300).contains(&status), "{ask:?}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Hands one message of its queue to a worker.
    pub(crate) async fn deliver(&self, worker: &str, via: Via) -> usize {
        let sources = &self.sources[usize::from(via.metered)];
        let (_, source) = sources.iter().find(|(name, _)| *name == worker).unwrap();
        source.deliver().await.unwrap().deleted.len()
    }

    /// How many messages of a kind of jobs wait, or are with a worker.
    pub(crate) fn waits(&self, kind: JobKind) -> usize {
        let counts = self.system.sqs().counts(queue_of(kind)).unwrap();
        counts.visible + counts.in_flight
    }

    /// One round of the sweeper: it has no time to wait for what is away.
    pub(crate) async fn sweep(&self, via: Via) -> sweeper::Swept {
        let soon = u64::try_from(self.system.context().now().plus(Duration::from_secs(14)).as_millis()).unwrap();
        sweeper::handle(self.contexts[usize::from(via.metered)][0], sweeper::Tick, soon).await
    }

    /// Hands its example to the invalidator.
    pub(crate) async fn invalidate(&self, via: Via) -> Value {
        let event = invalidator::StreamEvent::read(include_str!("../../../../events/invalidator.json"));
        let context = self.contexts[usize::from(via.metered)][usize::from(via.cached)];
        serde_json::to_value(invalidator::handle(context, event, u64::MAX).await).unwrap()
    }
}

/// What feeds each worker, one message at a time.
fn sources(system: &System, config: &Config) -> [(&'static str, EventSource); 4] {
    let clock = || shared::clock::Clock::from(system.clock());
    let analyses = leak(analysis_worker::Worker::new(config.clone(), clock()).unwrap());
    let emails = leak(email_worker::Worker::new(config.clone(), clock()).unwrap());
    let account_mails = leak(account_mail_worker::Worker::new(config.clone(), clock()).unwrap());
    let notices = leak(Context::new(config.clone(), clock()));
    let value = |report| serde_json::to_value(report).unwrap();
    [
        (
            "analysis-worker",
            source(system, queue_of(JobKind::Analyze), move |batch, deadline| async move {
                value(analysis_worker::handle(analyses, batch, deadline).await)
            }),
        ),
        (
            "email-worker",
            source(system, queue_of(JobKind::SendEmail), move |batch, deadline| async move {
                value(email_worker::handle(emails, batch, deadline).await)
            }),
        ),
        (
            "account-mail-worker",
            source(system, queue_of(JobKind::AccountMail), move |batch, deadline| async move {
                value(account_mail_worker::handle(account_mails, batch, deadline).await)
            }),
        ),
        (
            "mail-event-worker",
            source(system, MAIL_EVENTS_QUEUE, move |batch, deadline| async move {
                value(mail_event_worker::handle(notices, batch, deadline).await)
            }),
        ),
    ]
}

/// Lives as long as the process, as in a Lambda environment.
fn leak<T>(environment: T) -> &'static T {
    Box::leak(Box::new(environment))
}

fn source<F>(
    system: &System,
    queue: &str,
    handle: impl Fn(Batch, u64) -> F + Copy + Send + Sync + 'static,
) -> EventSource
where
    F: Future<Output = Value> + Send + 'static,
{
    let context = system.context();
    let function: Function = Arc::new(move |event| {
        let deadline = u64::try_from(context.now().plus(TIMEOUT).as_millis()).unwrap();
        Box::pin(async move { Ok(handle(local::event_source::read(&event), deadline).await) })
    });
    let mapping = Mapping {
        queue: queue.to_owned(),
        batch_size: 1,
        maximum_batching_window: Duration::ZERO,
        maximum_concurrency: 1,
        report_batch_item_failures: true,
        function_timeout: TIMEOUT,
    };
    EventSource::new(system.sqs().clone(), mapping, function).unwrap()
}
