//! A system whose queue and schedule call nothing by themselves: the test delivers, sweeps and lets time pass.

use super::providers::Providers;
use crate::api::{Actor, Api, Reply};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use futures_util::future::join_all;
use local::event_source::{Delivery, EventSource};
use local::like_aws::ledger::Refusal;
use local::like_aws::{Ledger, LikeAws};
use local::names::{DEAD_LETTER_QUEUE, MAIL_EVENTS_QUEUE, queue_of};
use local::sqs::Counts;
use local::{Options, System, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::job::{JobKind, JobRecord};
use shared::model::time::Moment;
use shared::store::items::SPREAD_BY_OPERATOR_AFTER;
use shared::store::jobs::Advance;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt as _;

/// More batches than any test has messages.
const MANY_BATCHES: usize = 5_000;

/// The operator's caps are out of the way where a test names none.
const CAPS: [(&str, &str); 3] =
    [("EMAILS_PER_DAY", "1000000"), ("DOLLARS_PER_DAY", "1000000"), ("CAP_SHARES", "100,100,100")];
/// So are the providers' rates.
const RATES: [(&str, &str); 2] = [("ANALYSES_PER_MINUTE", "60000"), ("EMAILS_PER_SECOND", "1000")];

pub(crate) struct Rig {
    pub(crate) api: Api,
    pub(crate) system: System,
    /// Each queue, and what feeds its worker.
    sources: [(&'static str, EventSource); 3],
    /// Apart: no organization's job is on it.
    account_mail: EventSource,
    /// What met, where the suite runs in the like-aws world.
    ledger: Option<Arc<Ledger>>,
}

/// Whether rigs are in the like-aws world too, where the suite is. Not all their tests ask again after a `503`.
fn has_rigs() -> bool {
    std::env::var("CITIZEN_LIKE_AWS").is_ok_and(|parts| parts == "rigs")
}

/// The world of a rig's system: that which the test says. Else, where the suite runs in the like-aws world, what of that is around the
/// database: queues, functions and the stream are as the test calls them. Nothing of it where time stands still, for no call would end, and
/// over a database that is another system's, with faults of the test's: that is not the one whose records it looks at.
pub(crate) fn world_of(options: &Options) -> Option<LikeAws> {
    let is_anothers = options.environment.contains_key("AWS_ENDPOINT_URL_DYNAMODB");
    let of_suite =
        || LikeAws::from_environment().filter(|_| has_rigs() && !options.clock.stands_still() && !is_anothers);
    options.like_aws.clone().or_else(|| {
        let ledger = Some(Arc::new(Ledger::new(options.clock.clone())));
        of_suite().map(|world| LikeAws { queues: None, lambda: None, stream: None, ledger, ..world })
    })
}

impl Rig {
    /// With the builtin analysis and the mailbox.
    pub(crate) async fn new() -> Self {
        Self::with([]).await
    }

    /// With a model provider and a mail service of the test's.
    pub(crate) async fn over(providers: &Providers) -> Self {
        Self::with(providers.environment()).await
    }

    pub(crate) async fn with<const N: usize>(environment: [(&str, String); N]) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self::start(Options { environment, ..Options::ephemeral() }).await
    }

    /// With these options.
    pub(crate) async fn start(options: Options) -> Self {
        let like_aws = world_of(&options);
        let ledger = like_aws.as_ref().and_then(|world| world.ledger.clone());
        let mut environment = options.environment;
        if !environment.keys().any(|name| CAPS.iter().any(|(cap, _)| name == cap)) {
            environment.extend(CAPS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        for (name, value) in RATES {
            environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        let options = Options { background: false, environment, like_aws, ..options };
        let system = System::start(options).await.unwrap();
        let source = |queue, worker| (queue, system.event_source(worker).unwrap());
        let sources = [
            source(queue_of(JobKind::Analyze), "analysis-worker"),
            source(queue_of(JobKind::SendEmail), "email-worker"),
            source(MAIL_EVENTS_QUEUE, "mail-event-worker"),
        ];
        let account_mail = system.event_source("account-mail-worker").unwrap();
        Self { api: Api::of(&system), system, sources, account_mail, ledger }
    }

    /// Hands one batch to the worker of the first queue that has one; there must be something on a queue.
    pub(crate) async fn deliver(&self) -> Delivery {
        let source = self.sources.iter().find(|(queue, _)| self.counts(queue).visible > 0);
        source.expect("nothing is on a queue").1.deliver().await.unwrap()
    }

    /// Hands one batch of a kind's queue to its worker.
    pub(crate) async fn deliver_of(&self, kind: JobKind) -> Delivery {
        let source = self.sources.iter().find(|(queue, _)| *queue == queue_of(kind));
        source.unwrap().1.deliver().await.unwrap()
    }

    /// Delivers until nothing is visible.
    pub(crate) async fn deliver_all(&self) {
        for _ in 0..MANY_BATCHES {
            if self.visible() == 0 {
                return;
            }
            self.deliver().await;
        }
        panic!("a message comes again and again");
    }

    /// Delivers until nothing is left on the queues, letting time pass where messages are hidden.
    pub(crate) async fn drain(&self) {
        for _ in 0..50 {
            self.deliver_all().await;
            if self.sources.iter().all(|(queue, _)| {
                let counts = self.counts(queue);
                counts.visible + counts.in_flight + counts.delayed == 0
            }) {
                return;
            }
            self.system.clock().jump(Duration::from_secs(400));
        }
        panic!("the queues do not drain");
    }

    /// Hands all account mail that is on its queue to its worker.
    pub(crate) async fn deliver_account_mail(&self) {
        for _ in 0..MANY_BATCHES {
            if self.account_mail() == 0 {
                return;
            }
            self.account_mail.deliver().await.unwrap();
        }
        panic!("a message comes again and again");
    }

    /// How much account mail is on its queue.
    pub(crate) fn account_mail(&self) -> usize {
        self.counts(queue_of(JobKind::AccountMail)).visible
    }

    fn counts(&self, queue: &str) -> Counts {
        self.system.sqs().counts(queue).unwrap()
    }

    /// As if so much time had passed for a job: the sweeper is to look at it, and a run's lease is over.
    pub(crate) async fn time_passes(&self, owner: &Actor, id: &str) {
        let store = self.system.context().store();
        let job = store.job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
        let past = Moment::from_millis(self.system.context().now().as_millis() - 1_000);
        let later = JobRecord { lease_until: job.lease_until.map(|_| past), ..job.due(past) };
        assert_eq!(store.advance_job(&job, &later, &Default::default(), None).await.unwrap(), Advance::Done);
    }

    pub(crate) fn visible(&self) -> usize {
        self.sources.iter().map(|(queue, _)| self.counts(queue).visible).sum()
    }

    pub(crate) fn dead_letters(&self) -> usize {
        self.counts(DEAD_LETTER_QUEUE).visible
    }

    /// One round of the sweeper: it has no time to wait for what is away.
    pub(crate) async fn sweep_once(&self) -> sweeper::Swept {
        self.sweep_within(Duration::from_secs(14)).await
    }

    /// One run of the sweeper, which has so much time.
    pub(crate) async fn sweep_within(&self, time: Duration) -> sweeper::Swept {
        let deadline = u64::try_from(self.system.context().now().plus(time).as_millis()).unwrap();
        sweeper::handle(self.system.contexts().get("sweeper").unwrap(), sweeper::Tick, deadline).await
    }

    /// An owner on a plan.
    pub(crate) async fn owner(&self, plan: &str) -> Actor {
        let owner = self.api.register().await;
        self.give_plan(&owner, plan).await;
        owner
    }

    /// Gives the organization of `owner` another plan, as the operator.
    pub(crate) async fn give_plan(&self, owner: &Actor, plan: &str) {
        let plan = serde_json::from_value(json!(plan)).unwrap();
        operator::give_plan(self.system.context(), owner.org_id.parse().unwrap(), plan).await.unwrap();
    }

    /// Has the owner's organization spread by now, if `is_spread`.
    pub(crate) async fn spread_if(&self, is_spread: bool, owner: &Actor) {
        if is_spread {
            operator::spread(self.system.context(), owner.org_id.parse().unwrap()).await.unwrap();
            self.system.clock().jump(SPREAD_BY_OPERATOR_AFTER);
        }
    }

    pub(crate) async fn settings(&self, owner: &Actor, settings: Value) {
        let path = format!("/orgs/{}/settings", owner.org_id);
        let changed = self.api.put(owner, &path, json!({"settings": settings})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    pub(crate) async fn job(&self, actor: &Actor, id: &str) -> Value {
        let job = self.api.get(actor, &format!("/jobs/{id}")).await;
        assert_eq!(job.status, 200, "{}", job.text);
        job.body
    }

    pub(crate) async fn usage(&self, actor: &Actor) -> Value {
        let usage = self.api.get(actor, "/usage").await;
        assert_eq!(usage.status, 200, "{}", usage.text);
        usage.body
    }

    /// The id of an accepted job.
    pub(crate) async fn accepted(&self, actor: &Actor, path: &str, body: Value) -> String {
        let reply = self.api.post(actor, path, body).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let id = if path == "/analyze" { &reply.body["id"] } else { &reply.body["job_id"] };
        id.as_str().unwrap().to_owned()
    }

    /// A `POST` with more headers.
    pub(crate) async fn post_with(&self, actor: &Actor, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = self.api.request(Method::POST, path).bearer_auth(&actor.token);
        request = request.header("content-type", "application/json").body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        crate::api::send(request).await
    }

    /// A `POST` to an environment that dies as soon as its job is on a queue. Not over a connection: a function that runs does not hear
    /// that its caller is gone.
    pub(crate) async fn post_to_the_dying(&self, actor: &Actor, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut request = Request::post(path).header("authorization", format!("Bearer {}", actor.token));
        for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let request = request.extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5555))));
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let died = async {
            while self.visible() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            reply = self.system.router().oneshot(request) => panic!("answered {:?}", reply.map(|reply| reply.status())),
            () = died => {}
        }
    }
}

impl Rig {
    /// A `POST` under a key, sent again while the service is too busy to say yes or no.
    pub(crate) async fn decided(&self, actor: &Actor, path: &str, key: String, body: &str) -> Reply {
        for _ in 0..60 {
            let reply = self.post_with(actor, path, &[("Idempotency-Key", &key)], body).await;
            if reply.status != 503 {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("{path} stays busy");
    }
}

/// Where rigs are in the like-aws world, their transactions meet; elsewhere none does.
#[tokio::test]
async fn transactions_of_a_rig_meet_in_the_like_aws_world() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let created = join_all((0..20).map(|key| rig.decided(&owner, "/items", key.to_string(), r#"{"name":"x"}"#))).await;
    assert!(created.iter().all(|reply| reply.status == 201), "{created:?}");
    let refusals = rig.ledger.as_ref().map(|ledger| ledger.refusals()).unwrap_or_default();
    let met = refusals.keys().any(|(_, why)| *why == Refusal::Conflict);
    assert_eq!(met, has_rigs());
}

/// A model with a price, whose budget can be used up.
pub(crate) const MODEL: &str = "claude-sonnet-4-0";
