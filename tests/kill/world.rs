//! All that the functions live in, and its time: nobody waits for minutes that can be skipped.

use crate::oracle::Oracle;
use crate::plan::{Plan, Point};
use crate::process::Pool;
use crate::weather::Weather;
use crate::{Size, checks, clients, proxy};
use local::event_source::{EventSource, Function, Mapping};
use local::like_aws::{LikeAws, Passage};
use local::names::{TABLE_NAME, queue_of};
use local::{Clock, Options, System, operator};
use serde_json::{Value, json};
use shared::account::{Joins, Registrant};
use shared::ids::OrgId;
use shared::model::job::JobKind;
use shared::model::time::Moment;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::http::{Origin, Server};

/// Time limits of the template.
const WORKER_TIMEOUT: Duration = Duration::from_secs(60);
const SWEEPER_TIMEOUT: Duration = Duration::from_secs(55);
const API_TIMEOUT: Duration = Duration::from_secs(28);
/// Skipped when nothing is going on.
const STEP: Duration = Duration::from_secs(15);
/// A job that has not ended after so much time is stuck.
const PATIENCE: Duration = Duration::from_secs(6 * 3_600);
/// More of it for each job where providers have a rate: of a job's turns every other one is lost with a reply or a process here, and it
/// waits for the next.
const PATIENCE_AT_A_RATE: Duration = Duration::from_secs(8);

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) oracle: Oracle,
    /// None takes everything.
    pub(crate) weather: Option<Weather>,
    pub(crate) database: Origin,
    /// The way to the database in the like-aws world; none is straight to it.
    pub(crate) passage: Option<Passage>,
    pub(crate) sqs: Origin,
    pub(crate) system: System,
    pub(crate) owner: Owner,
    pub(crate) analyze: Pool,
    pub(crate) send_email: Pool,
    analysis_worker: Pool,
    email_worker: Pool,
    sweeper: Pool,
    proxy_url: String,
    cases: Mutex<HashMap<String, u32>>,
    lost: Mutex<HashMap<String, u32>>,
    skipped_ms: AtomicU64,
    batches: AtomicU64,
    running: AtomicUsize,
}

/// The kinds that clients ask for.
pub(crate) const KINDS: [JobKind; 2] = [JobKind::Analyze, JobKind::SendEmail];

pub(crate) struct Owner {
    pub(crate) org_id: OrgId,
    pub(crate) token: String,
}

/// Accepts the jobs, runs them to their ends, and tells what is wrong.
pub(crate) async fn run(size: &Size, seed: u64) -> Result<String, Vec<String>> {
    let server = Server::bind().await;
    let world = Arc::new(World::start(size, seed, server.url.clone()).await);
    server.start(world.clone(), proxy::pass);
    for kind in KINDS {
        let source = world.event_source(kind);
        tokio::spawn(async move { source.run(std::future::pending()).await });
    }
    let told = clients::accept_all(&world, size).await?;
    world.finish(size.jobs).await;
    checks::all(&world, size, &told).await
}

impl World {
    async fn start(size: &Size, seed: u64, proxy_url: String) -> Self {
        // The time of its processes, which go by the machine's.
        let clock = Clock::system();
        let system = System::start(Options { background: false, clock, ..Options::ephemeral() }).await.unwrap();
        let (time, mut weather) = (system.clock().clone(), None);
        if size.unkind {
            weather = Some(Weather::start(move || time.now_ms()).await);
        }
        let http = reqwest::Client::new();
        let owner = Owner::register(&http, &system).await;
        Self {
            plan: Plan::new(seed, size.jobs, size.kills),
            oracle: Oracle::default(),
            weather,
            database: Origin::at(&system.database_url()),
            passage: LikeAws::from_environment().map(|world| system.passage(&world)),
            sqs: Origin::at(system.sqs_url()),
            system,
            owner,
            analyze: Pool::new("analyze", 2, API_TIMEOUT),
            send_email: Pool::new("send-email", 2, API_TIMEOUT),
            analysis_worker: Pool::new("analysis-worker", 1, WORKER_TIMEOUT),
            email_worker: Pool::new("email-worker", 1, WORKER_TIMEOUT),
            sweeper: Pool::new("sweeper", 1, SWEEPER_TIMEOUT),
            proxy_url,
            cases: Mutex::default(),
            lost: Mutex::default(),
            skipped_ms: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            running: AtomicUsize::new(0),
        }
    }

    /// The variables of a function's process; all its calls bear its name.
    pub(crate) fn environment(&self, role: &str, id: u64) -> HashMap<&'static str, String> {
        let service = |name: &str| format!("{}/{role}/{id}/{name}", self.proxy_url);
        let queue = |kind: JobKind| (kind.queue_variable(), self.system.sqs().queue_url(queue_of(kind)));
        let queues = JobKind::ALL.map(queue);
        let others = HashMap::from([
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", service("db")),
            ("AWS_ENDPOINT_URL_SQS", service("sqs")),
            ("AWS_ENDPOINT_URL_SESV2", service("mail")),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", service("secrets")),
            ("ANTHROPIC_BASE_URL", service("model")),
            ("TABLE_NAME", TABLE_NAME.to_owned()),
            ("ALLOWED_ORIGINS", "http://localhost:5173".to_owned()),
            ("CACHE_URL", "memory:".to_owned()),
            ("LOG_LEVEL", "error".to_owned()),
            ("ANALYSIS_PROVIDER", "anthropic".to_owned()),
            ("ANTHROPIC_SECRET_ID", "key".to_owned()),
            ("SESSION_REQUESTS_PER_SECOND", "1000000000".to_owned()),
            ("ORG_REQUESTS_PER_SECOND", "1000000000,1000000000,1000000000".to_owned()),
            ("EMAILS_PER_DAY", "1000000".to_owned()),
            ("DOLLARS_PER_DAY", "1000000".to_owned()),
            ("CAP_SHARES", "100,100,100".to_owned()),
            ("ANALYSES_PER_MINUTE", "50".to_owned()),
            ("EMAILS_PER_SECOND", "14".to_owned()),
            ("WAITING_PLACES", "20".to_owned()),
            ("MAIL_FROM", "no-reply@citizen.example".to_owned()),
        ]);
        others.into_iter().chain(queues).collect()
    }

    /// Has the organization spread from now on, as heat does.
    pub(crate) async fn spread(&self) {
        self.system.context().store().spread_items(self.owner.org_id, Duration::ZERO).await.unwrap();
    }

    /// A kind's queue feeds its worker's processes. Some of what they finished comes again all the same.
    fn event_source(self: &Arc<Self>, kind: JobKind) -> EventSource {
        let world = self.clone();
        let function: Function = Arc::new(move |event| {
            let world = world.clone();
            Box::pin(async move {
                world.running.fetch_add(1, Ordering::SeqCst);
                let answer = world.worker(kind).invoke(&world, serde_json::to_vec(&event)?).await;
                world.running.fetch_sub(1, Ordering::SeqCst);
                let mut answer: Value = serde_json::from_slice(&answer?)?;
                let failures = answer["batchItemFailures"].as_array_mut().ok_or("no report")?;
                for message in &event.records {
                    let case = world.case_of(message.body.as_deref().unwrap_or_default());
                    let again = json!({"itemIdentifier": message.message_id});
                    let whom = case.map_or(u64::MAX, u64::from);
                    if !failures.contains(&again) && world.plan.strikes(Point::Redelivered, whom) {
                        failures.push(again);
                    }
                }
                Ok(answer)
            })
        });
        let mapping = Mapping {
            queue: queue_of(kind).to_owned(),
            batch_size: if kind == JobKind::Analyze { 5 } else { 10 },
            maximum_batching_window: Duration::ZERO,
            maximum_concurrency: 1,
            report_batch_item_failures: true,
            function_timeout: WORKER_TIMEOUT,
        };
        EventSource::new(self.system.sqs().clone(), mapping, function).unwrap()
    }

    /// Lets time pass, sweeping every minute of it, until all jobs have ended and the queue is empty.
    async fn finish(self: &Arc<Self>, jobs: u32) {
        let (start, mut next_sweep) = (self.now(), self.now());
        let patience = PATIENCE + self.weather.as_ref().map_or(Duration::ZERO, |_| PATIENCE_AT_A_RATE * jobs);
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let counts = KINDS.map(|kind| self.system.sqs().counts(queue_of(kind)).unwrap());
            if counts.iter().any(|counts| counts.visible > 0) || self.running.load(Ordering::SeqCst) > 0 {
                continue;
            }
            if let Some(weather) = &self.weather {
                weather.changes(Duration::from_millis(self.skipped_ms()));
            }
            if self.now() < next_sweep {
                self.skip(STEP);
                continue;
            }
            next_sweep = self.now().plus(Duration::from_secs(60));
            // A sweep that is killed has the next one for a successor.
            let _ = self.sweeper.invoke(self, b"{}".to_vec()).await;
            let waiting = counts.iter().any(|counts| counts.in_flight + counts.delayed > 0);
            if (!waiting && checks::ended(self).await == jobs as usize) || self.now() > start.plus(patience) {
                return;
            }
        }
    }

    fn worker(&self, kind: JobKind) -> &Pool {
        match kind {
            JobKind::Analyze => &self.analysis_worker,
            JobKind::SendEmail => &self.email_worker,
            JobKind::AccountMail => unreachable!("nobody registers here"),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.system.context().now()
    }

    fn skip(&self, by: Duration) {
        self.system.clock().jump(by);
        self.skipped_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn skipped_ms(&self) -> u64 {
        self.skipped_ms.load(Ordering::SeqCst)
    }

    pub(crate) fn next_batch(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::SeqCst) + (1 << 40)
    }

    pub(crate) fn kill(&self, id: u64) {
        for pool in [&self.analyze, &self.send_email, &self.analysis_worker, &self.email_worker, &self.sweeper] {
            pool.kill(id);
        }
    }

    pub(crate) fn note_lost(&self, service: &str) {
        *self.lost.lock().unwrap().entry(service.to_owned()).or_default() += 1;
    }

    pub(crate) fn lost(&self, service: &str) -> u32 {
        self.lost.lock().unwrap().get(service).copied().unwrap_or(0)
    }

    /// The job that a call is about: its number stands in its text, and its id is known from its acceptance.
    pub(crate) fn case_of(&self, body: &str) -> Option<u32> {
        number_in(body).or_else(|| {
            let cases = self.cases.lock().unwrap();
            job_ids(body).find_map(|id| cases.get(id).copied())
        })
    }

    /// Learns the ids of a job from the call that stored it.
    pub(crate) fn learn(&self, body: &str) {
        if let Some(case) = number_in(body) {
            let mut cases = self.cases.lock().unwrap();
            for id in job_ids(body) {
                cases.insert(id.to_owned(), case);
            }
        }
    }

    pub(crate) fn case_of_job(&self, id: &str) -> Option<u32> {
        self.cases.lock().unwrap().get(id).copied()
    }
}

/// The text that carries a job's number.
pub(crate) fn marker(case: u32) -> String {
    format!("case-{case:08}")
}

fn number_in(body: &str) -> Option<u32> {
    let at = body.find("case-")? + "case-".len();
    body.get(at..at + 8)?.parse().ok()
}

fn job_ids(body: &str) -> impl Iterator<Item = &str> {
    body.match_indices("job_")
        .filter_map(|(at, _)| body.get(at..at + 36))
        .filter(|id| id[4..].bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Owner {
    pub(crate) async fn register(http: &reqwest::Client, system: &System) -> Self {
        let url = system.url();
        let new = Registrant {
            email: "owner@example.com".parse().unwrap(),
            password: "correct horse battery".to_owned().try_into().unwrap(),
            name: "Ada".parse().unwrap(),
            joins: Joins::Founding("Analytical Engines".parse().unwrap()),
        };
        let begun = operator::account(system.context(), new).await.unwrap();
        let (token, org_id) = (begun.token.reveal().to_owned(), begun.actor.org_id);
        operator::give_plan(system.context(), org_id, shared::model::org::Plan::Enterprise).await.unwrap();
        let settings = json!({"settings": {"monthly_budget_usd": "100000"}});
        let put = http.put(format!("{url}/orgs/{org_id}/settings")).bearer_auth(&token).json(&settings);
        assert_eq!(put.send().await.unwrap().status(), 200);
        Self { org_id, token }
    }
}
