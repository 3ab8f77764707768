//! What is called at each size: every function, with the fixtures it needs.

use crate::fill::{new_analysis, new_item};
use crate::scene::{Actor, Ask, PASSWORD, PLAIN, Scene, Via};
use local::names::{MAIL_EVENTS_QUEUE, queue_of};
use local::operator;
use local::system::project_folder;
use local::template::{Route, Template};
use serde_json::{Value, json};
use shared::cursor::CursorKey;
use shared::ids::{InvitationId, ItemId, SessionId};
use shared::model::account_mail::AccountMail;
use shared::model::analysis::Cost;
use shared::model::invitation::InvitationToken;
use shared::model::job::{JobKind, JobRecord, JobState};
use shared::model::org::Role;
use shared::store::jobs::Change;
use shared::store::keys::Key;
use shared::{ApiError, account_mail};
use std::sync::LazyLock;
use std::time::Duration;

static TEMPLATE: LazyLock<Template> =
    LazyLock::new(|| Template::read(&project_folder().join("template.yaml")).unwrap());
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&local::openapi::document()).unwrap());

/// Items and jobs of a page, so that the smallest sizes fill one too.
const PAGE: usize = 20;

/// Something to measure: a name, whether with a cache, and how often in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) cached: bool,
    /// Compares a password, which takes tens of milliseconds.
    pub(crate) slow: bool,
}

const fn plain(name: &'static str) -> Endpoint {
    Endpoint { name, cached: false, slow: false }
}

const fn hit(name: &'static str) -> Endpoint {
    Endpoint { name, cached: true, slow: false }
}

const fn slow(name: &'static str) -> Endpoint {
    Endpoint { name, cached: false, slow: true }
}

/// All of them. Pages come before what adds to their lists.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    plain("list-jobs"),
    plain("get-job"),
    plain("list-items"),
    plain("list-items, from the middle"),
    hit("list-items, hit"),
    plain("get-item"),
    plain("update-item"),
    plain("create-item"),
    plain("create-item, with a key"),
    plain("create-item, 25 at once"),
    plain("delete-item"),
    plain("get-me"),
    plain("update-me"),
    plain("sessions"),
    slow("change-password"),
    slow("reauthenticate"),
    plain("verify-email"),
    plain("change-email"),
    plain("forgot-password"),
    slow("reset-password"),
    plain("get-user"),
    hit("get-user, hit"),
    plain("get-org-plan"),
    hit("get-org-plan, hit"),
    plain("get-org-settings"),
    hit("get-org-settings, hit"),
    plain("put-org-settings"),
    plain("list-members"),
    plain("put-member"),
    plain("delete-member"),
    plain("invitations"),
    plain("accept-invitation"),
    plain("get-model-pricing"),
    hit("get-model-pricing, hit"),
    plain("analyze"),
    plain("send-email"),
    plain("cancel-job"),
    plain("retry-job"),
    plain("analysis-worker"),
    plain("email-worker"),
    plain("account-mail-worker"),
    plain("mail-event-worker"),
    plain("sweeper"),
    plain("invalidator"),
    plain("get-usage"),
    plain("health"),
    plain("health, deep"),
    plain("docs"),
    slow("register"),
    slow("login"),
    slow("logout"),
    plain("get-me, no session"),
];

/// What the calls are of.
pub(crate) struct Fixtures {
    pub(crate) item: ItemId,
    /// Whose public profile is read.
    pub(crate) user: Actor,
    /// Somebody who joins and leaves.
    guest: Actor,
    key: CursorKey,
    /// The newest of the jobs that have ended; [`PAGE`] of them are older.
    job: String,
}

impl Fixtures {
    /// Lays it: `job` is what [`end_jobs`] gave.
    pub(crate) async fn lay(scene: &Scene, (item, user, job): (ItemId, Actor, String)) -> Self {
        let org = scene.raw.row(Key::org(scene.owner.org_id)).await;
        let key = serde_json::from_value(org["cursor_key"]["S"].clone()).unwrap();
        Self { item, user, guest: scene.register(4).await, key, job }
    }
}

/// Runs some jobs, as long as no others wait. Gives the newest.
pub(crate) async fn end_jobs(scene: &Scene) -> String {
    let mut job = String::new();
    for _ in 0..=PAGE {
        job = id(&scene.must(&new_analysis(scene)).await["id"]);
        assert_eq!(scene.deliver("analysis-worker", PLAIN).await, 1);
    }
    job
}

/// What is measured.
pub(crate) enum Work {
    Ask(Ask, u16),
    Deliver(&'static str),
    Sweep,
    Invalidate,
}

fn id(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The function's first route, and what is documented of it.
fn operation(function: &str) -> (&'static Route, &'static Value) {
    let route = TEMPLATE.routes.iter().find(|route| route.function == function);
    let route = route.unwrap_or_else(|| panic!("{function} has no route in template.yaml"));
    (route, &DOCUMENT["paths"][&route.path][route.method.as_str().to_lowercase()])
}

/// A request as its route says: by the owner where a session is needed, about what the fixtures has.
fn asked(scene: &Scene, fixtures: &Fixtures, function: &'static str) -> Ask {
    let (route, documented) = operation(function);
    let token = documented["security"].is_array().then_some(scene.owner.token.as_str());
    let names = route.path.split('{').skip(1).map(|part| part.split('}').next().unwrap());
    names.fold(Ask::new(function, route.method.clone(), token), |ask, name| match name {
        "org_id" => ask.of(name, scene.owner.org_id),
        "user_id" => ask.of(name, fixtures.user.user_id),
        "item_id" => ask.of(name, fixtures.item),
        "job_id" => ask.of(name, &fixtures.job),
        // Of none: what is asked of one makes it, in `detailed`.
        "session_id" => ask.of(name, SessionId::new()),
        "invitation_id" => ask.of(name, InvitationId::new()),
        other => panic!("{}: the fixtures has no {other}", route.path),
    })
}

/// Makes ready what `endpoint` needs, past the meter, and says what to do. `number` is new for each call.
pub(crate) async fn prepare(scene: &Scene, fixtures: &Fixtures, endpoint: Endpoint, number: u64) -> Work {
    // Time passes for the buckets of the mail service and the models: each call finds them as the one before did. All calls together are
    // less than a job waits to be looked at.
    scene.system.clock().jump(Duration::from_millis(2));
    match endpoint.name {
        "analysis-worker" => {
            // The only message of a queue may be of a job that has been cancelled.
            if scene.system.sqs().counts(queue_of(JobKind::Analyze)).unwrap().visible == 1 {
                assert_eq!(scene.deliver(endpoint.name, PLAIN).await, 1);
            }
            let accepted = async || drop(scene.must(&new_analysis(scene)).await);
            return delivery(scene, endpoint.name, JobKind::Analyze, accepted).await;
        }
        "email-worker" => {
            let accepted = async || drop(scene.must(&detailed(scene, fixtures, "send-email", number).await).await);
            return delivery(scene, endpoint.name, JobKind::SendEmail, accepted).await;
        }
        "account-mail-worker" => {
            let mail = AccountMail::Verification { user_id: scene.unverified(number).await };
            let accepted = async || account_mail::send(scene.system.context(), &mail, None).await.map(drop).unwrap();
            return delivery(scene, endpoint.name, JobKind::AccountMail, accepted).await;
        }
        "mail-event-worker" => {
            let event: Value = serde_json::from_str(include_str!("../../../../events/mail-event-worker.json")).unwrap();
            let draft = json!({"MessageBody": event["Records"][0]["body"]});
            scene.system.sqs().send(MAIL_EVENTS_QUEUE, serde_json::from_value(draft).unwrap()).unwrap();
            return Work::Deliver(endpoint.name);
        }
        "sweeper" => {
            // Jobs of before that have waited for long are looked at, and so not due for the next quarter of an hour.
            scene.sweep(PLAIN).await;
            return Work::Sweep;
        }
        "invalidator" => return Work::Invalidate,
        "put-member" | "delete-member" => return membership(scene, fixtures, endpoint.name).await,
        _ => {}
    }
    let ask = detailed(scene, fixtures, endpoint.name, number).await;
    let expected = match endpoint.name {
        "get-me, no session" => 401,
        "analyze" => 202,
        // There is none.
        "accept-invitation" => 400,
        _ => success(ask.function),
    };
    if endpoint.cached {
        for metered in [false, true] {
            assert_eq!(scene.ask(Via { metered, cached: true }, &ask).await.0, expected);
        }
    }
    Work::Ask(ask, expected)
}

/// A worker has something to run: on a busy machine a job's message may not be put on its queue in time, and the sweeper would send it
/// later than anybody waits here.
async fn delivery(scene: &Scene, worker: &'static str, kind: JobKind, accepted: impl AsyncFn()) -> Work {
    for _ in 0..5 {
        accepted().await;
        if scene.waits(kind) > 0 {
            return Work::Deliver(worker);
        }
    }
    panic!("{worker}: five jobs were accepted, and no message is on the queue");
}

/// What `name` is asked, where its route does not say all of it.
async fn detailed(scene: &Scene, fixtures: &Fixtures, name: &'static str, number: u64) -> Ask {
    let page = |list: &str, at: &str| format!("limit={PAGE}&cursor={}", fixtures.key.seal(list, at));
    let ask = asked(scene, fixtures, name.split(',').next().unwrap());
    match name {
        "list-jobs" => ask.query(page("jobs", &fixtures.job)),
        "list-items" | "list-items, hit" => ask.query(format!("limit={PAGE}")),
        "list-items, from the middle" => ask.query(page("items", &fixtures.item.to_string())),
        "update-item" => ask.body(json!({"name": "An item of some note"})),
        "create-item" => new_item(scene),
        "create-item, with a key" => new_item(scene).key(format!("growth-{number:012}")),
        "create-item, 25 at once" => ask.body(json!({"items": vec![new_item(scene).body.unwrap(); 25]})),
        "delete-item" => ask.of("item_id", id(&scene.must(&new_item(scene)).await["id"])),
        "get-me, no session" => Ask { token: None, ..ask },
        "update-me" => ask.body(json!({"name": "Ada Byron"})),
        "put-org-settings" => ask.body(json!({"settings": {"timezone": "Europe/Vienna"}})),
        "get-model-pricing" | "get-model-pricing, hit" => ask.query("provider=mistral"),
        "analyze" => new_analysis(scene),
        "send-email" => ask.body(json!({"to": scene.member.email, "subject": "Hello", "text": "A line."})),
        "cancel-job" => ask.of("job_id", id(&scene.must(&new_analysis(scene)).await["id"])),
        "retry-job" => {
            let job = id(&scene.must(&new_analysis(scene)).await["id"]);
            let context = scene.system.context();
            let fail = |job: &JobRecord| {
                Ok(Change::to(job.end(JobState::Failed, Err(None), Cost::Nothing, context.now()), ()))
            };
            context.store().change_job(scene.owner.org_id, job.parse().unwrap(), fail).await.unwrap();
            ask.of("job_id", job)
        }
        "health, deep" => ask.query("deep=1"),
        "register" => ask.body(json!({"email": format!("new-{number:012}@example.com"), "password": PASSWORD,
            "name": "Ada Lovelace", "org_name": "Analytical Ltd"})),
        "login" => login(ask, &scene.member),
        "change-password" => ask.body(json!({"current": PASSWORD, "password": PASSWORD})),
        "verify-email" => {
            let store = scene.system.context().store();
            let owner = store.user(scene.owner.user_id).await.unwrap().unwrap();
            let (_, token) = store.new_verification(&owner).await.unwrap().unwrap();
            ask.body(json!({"token": token.reveal()}))
        }
        "change-email" => ask.body(json!({"email": format!("another-{number:012}@example.com")})),
        "forgot-password" => ask.body(json!({"email": scene.owner.email})),
        "reset-password" => {
            let store = scene.system.context().store();
            let member = store.user(scene.member.user_id).await.unwrap().unwrap();
            let token = store.new_password_reset(&member).await.unwrap().unwrap();
            ask.body(json!({"token": token.reveal(), "password": PASSWORD}))
        }
        "accept-invitation" => {
            let token = InvitationToken::generate(scene.owner.org_id, InvitationId::new()).unwrap();
            ask.body(json!({"token": token.reveal()}))
        }
        "reauthenticate" => ask.body(json!({"password": PASSWORD})),
        "logout" => {
            let login = login(asked(scene, fixtures, "login"), &scene.member);
            Ask { token: Some(id(&scene.must(&login).await["token"])), ..ask }
        }
        _ => ask,
    }
}

/// The lowest status of success that the function documents.
fn success(function: &str) -> u16 {
    let statuses = operation(function).1["responses"].as_object().unwrap().keys();
    statuses.filter_map(|status| status.parse().ok()).filter(|status| (200..300).contains(status)).min().unwrap()
}

fn login(ask: Ask, actor: &Actor) -> Ask {
    ask.body(json!({"email": actor.email, "password": PASSWORD, "org_id": actor.org_id}))
}

/// The guest, whom the operator makes a member if it is none, gets another role or leaves.
async fn membership(scene: &Scene, fixtures: &Fixtures, name: &'static str) -> Work {
    let of = |function| asked(scene, fixtures, function).of("user_id", fixtures.guest.user_id);
    let email = fixtures.guest.email.parse().unwrap();
    let added = operator::add_member(scene.system.context(), scene.owner.org_id, &email, Role::Member).await;
    assert!(matches!(added, Ok(_) | Err(ApiError::AlreadyMember)), "{added:?}");
    if name == "put-member" {
        scene.must(&of(name).body(json!({"role": "member"}))).await;
        return Work::Ask(of(name).body(json!({"role": "admin"})), 200);
    }
    Work::Ask(of(name), 204)
}

/// Does it; whether it went as it must.
pub(crate) async fn perform(scene: &Scene, via: Via, work: &Work) -> Result<(), String> {
    match work {
        Work::Ask(ask, expected) => {
            let (status, body) = scene.ask(via, ask).await;
            if status == *expected { Ok(()) } else { Err(format!("{ask:?}: {status} {body:?}")) }
        }
        Work::Deliver(worker) => match scene.deliver(worker, via).await {
            1 => Ok(()),
            count => Err(format!("the worker was done with {count} messages")),
        },
        Work::Sweep => match scene.sweep(via).await {
            swept if swept == sweeper::Swept::default() => Ok(()),
            swept => Err(format!("nothing was due, but {swept:?}")),
        },
        Work::Invalidate => match scene.invalidate(via).await {
            reply if reply == json!({"batchItemFailures": []}) => Ok(()),
            reply => Err(format!("the cache was not told: {reply}")),
        },
    }
}

/// Takes the messages off the queue that it put there, or older ones: as many wait as before.
pub(crate) async fn clear(scene: &Scene, endpoint: Endpoint) {
    let (worker, kind, messages) = match endpoint.name {
        "analyze" | "cancel-job" => ("analysis-worker", JobKind::Analyze, 1),
        // The first was the job's before it failed.
        "retry-job" => ("analysis-worker", JobKind::Analyze, 2),
        "send-email" => ("email-worker", JobKind::SendEmail, 1),
        "register" | "forgot-password" | "change-password" | "reset-password" => {
            ("account-mail-worker", JobKind::AccountMail, 1)
        }
        _ => return,
    };
    for _ in 0..messages {
        let done = scene.deliver(worker, PLAIN).await;
        // On a busy machine a message may not be put there in time. The sweeper would send it, and nothing waits.
        assert!(done == 1 || scene.waits(kind) == 0, "{worker}, what {} put on its queue", endpoint.name);
    }
}
