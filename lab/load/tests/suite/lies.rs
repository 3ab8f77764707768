//! An API that lies in one way at a time: each check of a reply must find its lie, and nothing else.

use crate::{account, give_plan};
use load::actions::{Action, perform};
use load::random::Random;
use load::settle::settle;
use load::world::World;
use local::{Options, System};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::http::{self, Call, Cut, Origin, Reply, Server, StatusCode};

/// Changes status and body of the replies to a method and to paths with a prefix; the number counts them.
#[derive(Clone, Copy)]
struct Lie {
    method: &'static str,
    path: &'static str,
    tell: Tell,
}

/// How a reply is changed: its number, its status, its body.
type Tell = fn(usize, &mut u16, &mut Value);

#[derive(Clone)]
struct Liar {
    origin: Origin,
    lie: Arc<Mutex<(Option<Lie>, usize)>>,
    url: String,
}

impl Liar {
    async fn before(origin: &str) -> Self {
        let server = Server::bind().await;
        let liar = Self { origin: Origin::at(origin), lie: Arc::default(), url: server.url.clone() };
        server.start(liar.clone(), answer);
        liar
    }

    fn tells(&self, lie: Option<Lie>) {
        *self.lie.lock().unwrap() = (lie, 0);
    }
}

async fn answer(liar: Liar, mut call: Call) -> Result<Reply, Cut> {
    let (method, path) = (call.method().clone(), call.uri().path().to_owned());
    // What is packed cannot be changed.
    call.headers_mut().remove("accept-encoding");
    let reply = liar.origin.pass(call).await;
    let mut status = reply.status().as_u16();
    let mut body: Value = serde_json::from_slice(reply.body()).unwrap_or(Value::Null);
    let mut told = liar.lie.lock().unwrap();
    if let Some(lie) = told.0.filter(|lie| lie.method == method.as_str() && path.starts_with(lie.path)) {
        (lie.tell)(told.1, &mut status, &mut body);
        told.1 += 1;
    }
    drop(told);
    Ok(http::json(StatusCode::from_u16(status).unwrap(), body))
}

/// What the API says wrong, in what it is asked then, and what must be found.
const LIES: [(&str, &str, Tell, Action, &str); 23] = [
    ("GET", "/items", |_, _, body| drop_first(body), Action::ListItems, "stale: a page of"),
    ("POST", "/items", |at, _, body| body["name"] = at.into(), Action::CreateAgain, "made twice: one key gave"),
    ("POST", "/items", |_, _, body| body["id"] = "itm_1".into(), Action::CreateItem, "one item for two creations"),
    (
        "POST",
        "/items",
        |_, _, body| body["created"][0] = body["created"][1].clone(),
        Action::CreateBatch,
        "one item for",
    ),
    ("GET", "/items/", |_, status, _| *status = 404, Action::GetItem, "lost: item"),
    ("GET", "/items/", |_, _, body| body["version"] = 0.into(), Action::GetItem, "stale: itm_"),
    ("GET", "/items/", |_, _, body| body["org_id"] = "org_1".into(), Action::GetItem, "crossed an org: get-item"),
    ("GET", "/items/", |_, status, _| *status = 200, Action::Foreign, "was shown itm_"),
    ("GET", "/orgs/", |_, _, body| body["version"] = 0.into(), Action::GetPlan, "stale: /orgs/"),
    ("GET", "/orgs/", |_, _, body| body["version"] = 0.into(), Action::GetSettings, "stale: /orgs/"),
    ("GET", "/users/", |_, _, body| body["name"] = "Ada -1".into(), Action::GetUser, "stale: /users/"),
    ("GET", "/models/", |at, _, body| body["data"][0]["name"] = at.into(), Action::Prices, "says two things of"),
    ("GET", "/models/", |_, _, body| body["data"][0]["provider"] = "x".into(), Action::Prices, "not those of"),
    ("POST", "/analyze", |_, _, body| body["id"] = "job_1".into(), Action::Analyze, "one job for two requests"),
    ("POST", "/analyze", |_, _, body| body["job"]["id"] = "job_1".into(), Action::AnalyzeAndWait, "one job for two"),
    (
        "POST",
        "/send-email",
        |_, _, body| body["job_id"] = "job_1".into(),
        Action::SendEmail,
        "one job for two requests",
    ),
    ("GET", "/jobs/", |_, status, _| *status = 404, Action::GetJob, "lost: job"),
    ("GET", "/jobs", |_, _, body| drop_first(body), Action::ListJobs, "stale: a page of"),
    ("GET", "/jobs", |_, _, body| body["data"][0]["org_id"] = "org_1".into(), Action::ListJobs, "crossed an org"),
    ("GET", "/usage", |_, _, body| body["analyses"]["used"] = 0.into(), Action::Usage, "stale: usage of"),
    ("GET", "/usage", |_, _, body| body["emails"]["used"] = 0.into(), Action::Usage, "stale: usage of"),
    (
        "POST",
        "/auth/login",
        |_, _, body| body["org"]["id"] = "org_1".into(),
        Action::LogInAndOut,
        "crossed an org: a log-in",
    ),
    ("GET", "/me", |_, status, _| *status = 200, Action::LogInAndOut, "an ended session of"),
];

/// All that is told at the end of a run.
const LAST_LIES: [(&str, Tell, &str); 5] = [
    ("/items", |_, _, body| drop_first(body), "lost: item"),
    ("/jobs", |_, _, body| drop_first(body), "job job_"),
    ("/jobs", |_, _, body| body["data"][0]["state"] = "running".into(), "never ended: job"),
    ("/usage", |_, _, body| body["cost_usd"] = "0.000000001".into(), "usage does not add up"),
    ("/usage", |_, _, body| body["input_tokens"] = 1.into(), "usage does not add up"),
];

fn drop_first(body: &mut Value) {
    if let Some(data) = body["data"].as_array_mut().filter(|data| !data.is_empty()) {
        data.remove(0);
    }
}

/// Something of everything, so that there is something to lie about.
const BEFORE: [Action; 7] = [
    Action::CreateItem,
    Action::UpdateItem,
    Action::PutSettings,
    Action::UpdateMe,
    Action::Analyze,
    Action::SendEmail,
    Action::CreateItem,
];

/// A world that was told the truth so far.
async fn world(system: &System, liar: &Liar) -> Arc<World> {
    liar.tells(None);
    let (account, plan) =
        (async |new: &Value| account(system, new).await, async |org: &str| give_plan(system, org).await);
    let world = World::found(&liar.url, account, plan, 2, 1).await.unwrap();
    let mut random = Random::new(1, 1);
    for action in (0..5).flat_map(|_| BEFORE) {
        perform(&world, action, &mut random, None).await;
    }
    assert_eq!(world.truth.violations(), (Vec::new(), 0));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lie_is_found() {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let liar = Liar::before(&system.url()).await;
    for (at, (method, path, tell, action, found)) in LIES.into_iter().enumerate() {
        let world = world(&system, &liar).await;
        let mut random = Random::new(1, 2 + at as u64);
        liar.tells(Some(Lie { method, path, tell }));
        for _ in 0..60 {
            perform(&world, action, &mut random, None).await;
            if world.truth.violations().1 > 0 {
                break;
            }
        }
        let (violations, _) = world.truth.violations();
        assert!(violations.first().is_some_and(|first| first.contains(found)), "lie {at}, {found}: {violations:?}");
    }
    for (path, tell, found) in LAST_LIES {
        let world = world(&system, &liar).await;
        settle(&world, Duration::from_secs(20)).await.unwrap();
        assert_eq!(world.truth.violations(), (Vec::new(), 0), "before {found} at {path}");
        liar.tells(Some(Lie { method: "GET", path, tell }));
        settle(&world, Duration::from_millis(1)).await.unwrap();
        let (violations, _) = world.truth.violations();
        assert!(violations.iter().any(|one| one.contains(found)), "{found} at {path}: {violations:?}");
    }
    system.shutdown().await;
}
