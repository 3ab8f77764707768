//! What is called at each size: every function, with the ground it needs.

use crate::fill::{new_analysis, new_item};
use crate::scene::{Actor, Ask, PASSWORD, PLAIN, Scene, Via};
use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::cursor::CursorKey;
use shared::ids::ItemId;
use shared::store::keys::Key;

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
pub(crate) const ENDPOINTS: [Endpoint; 39] = [
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
    plain("get-user"),
    hit("get-user, hit"),
    plain("get-org-plan"),
    hit("get-org-plan, hit"),
    plain("put-org-plan"),
    plain("get-org-settings"),
    hit("get-org-settings, hit"),
    plain("put-org-settings"),
    plain("list-members"),
    plain("put-member"),
    plain("delete-member"),
    plain("get-model-pricing"),
    hit("get-model-pricing, hit"),
    plain("analyze"),
    plain("send-email"),
    plain("cancel-job"),
    plain("worker"),
    plain("sweeper"),
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
pub(crate) struct Ground {
    pub(crate) item: ItemId,
    /// Whose public profile is read.
    pub(crate) user: Actor,
    /// Somebody who joins and leaves.
    guest: Actor,
    key: CursorKey,
    /// The newest of the jobs that have ended; [`PAGE`] of them are older.
    job: String,
}

impl Ground {
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
        assert_eq!(scene.deliver(PLAIN).await, 1);
    }
    job
}

/// What is measured.
pub(crate) enum Work {
    Ask(Ask, u16),
    Deliver,
    Sweep,
}

fn id(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Makes ready what `endpoint` needs, past the meter, and says what to do. `number` is new for each call.
pub(crate) async fn prepare(scene: &Scene, ground: &Ground, endpoint: Endpoint, number: u64) -> Work {
    let token = Some(scene.owner.token.as_str());
    let org = scene.owner.org_id;
    let get = |function| Ask::new(function, Method::GET, token);
    let page = |list: &str, at: &str| format!("limit={PAGE}&cursor={}", ground.key.seal(list, at));
    let name = endpoint.name.split(',').next().unwrap();
    let ask = match endpoint.name {
        "worker" => {
            scene.must(&new_analysis(scene)).await;
            return Work::Deliver;
        }
        "sweeper" => {
            // Jobs of before that have waited for long are looked at, and so not due for the next quarter of an hour.
            scene.sweep(PLAIN).await;
            return Work::Sweep;
        }
        "list-jobs" => get(name).query(page("jobs", &ground.job)),
        "get-job" => get(name).of("job_id", &ground.job),
        "list-items" | "list-items, hit" => get(name).query(format!("limit={PAGE}")),
        "list-items, from the middle" => get(name).query(page("items", &ground.item.to_string())),
        "get-item" => get(name).of("item_id", ground.item),
        "update-item" => {
            let ask = Ask::new(name, Method::PATCH, token).of("item_id", ground.item);
            ask.body(json!({"name": "An item of some note"}))
        }
        "create-item" => new_item(scene),
        "create-item, with a key" => new_item(scene).key(format!("growth-{number:012}")),
        "create-item, 25 at once" => {
            let item = new_item(scene).body.unwrap();
            Ask::new(name, Method::POST, token).body(json!({"items": vec![item; 25]}))
        }
        "delete-item" => {
            let item = id(&scene.must(&new_item(scene)).await["id"]);
            Ask::new(name, Method::DELETE, token).of("item_id", item)
        }
        "get-me" | "get-usage" => get(name),
        "get-me, no session" => Ask::new(name, Method::GET, None),
        "update-me" => Ask::new(name, Method::PATCH, token).body(json!({"name": "Ada Byron"})),
        "get-user" | "get-user, hit" => Ask::new(name, Method::GET, None).of("user_id", ground.user.user_id),
        "get-org-plan" | "get-org-plan, hit" | "get-org-settings" | "get-org-settings, hit" => {
            get(name).of("org_id", org)
        }
        "put-org-plan" => Ask::new(name, Method::PUT, token).of("org_id", org).body(json!({"plan": "enterprise"})),
        "put-org-settings" => {
            let settings = json!({"settings": {"timezone": "Europe/Vienna"}});
            Ask::new(name, Method::PUT, token).of("org_id", org).body(settings)
        }
        "list-members" => get(name).of("org_id", org),
        "put-member" | "delete-member" => return membership(scene, ground, name).await,
        "get-model-pricing" | "get-model-pricing, hit" => Ask::new(name, Method::GET, None).query("provider=mistral"),
        "analyze" => new_analysis(scene),
        "send-email" => {
            let body = json!({"to": scene.member.email, "subject": "Hello", "text": "A line."});
            Ask::new(name, Method::POST, token).body(body)
        }
        "cancel-job" => {
            let job = id(&scene.must(&new_analysis(scene)).await["id"]);
            Ask::new(name, Method::POST, token).of("job_id", job)
        }
        "health" | "docs" => Ask::new(name, Method::GET, None),
        "health, deep" => Ask::new(name, Method::GET, None).query("deep=1"),
        "register" => {
            let body = json!({"email": format!("new-{number:012}@example.com"), "password": PASSWORD,
                "name": "Ada Lovelace", "org_name": "Analytical Ltd"});
            Ask::new(name, Method::POST, None).body(body)
        }
        "login" => login(&scene.member),
        "logout" => {
            let session = id(&scene.must(&login(&scene.member)).await["token"]);
            Ask::new(name, Method::POST, Some(&session))
        }
        other => panic!("nothing is known of {other}"),
    };
    let expected = expected(endpoint.name);
    if endpoint.cached {
        for metered in [false, true] {
            assert_eq!(scene.ask(Via { metered, cached: true }, &ask).await.0, expected);
        }
    }
    Work::Ask(ask, expected)
}

fn expected(name: &str) -> u16 {
    match name {
        "register" | "create-item" | "create-item, with a key" | "create-item, 25 at once" => 201,
        "analyze" | "send-email" => 202,
        "delete-item" | "delete-member" | "logout" => 204,
        "get-me, no session" => 401,
        _ => 200,
    }
}

fn login(actor: &Actor) -> Ask {
    let body = json!({"email": actor.email, "password": PASSWORD, "org_id": actor.org_id});
    Ask::new("login", Method::POST, None).body(body)
}

/// The guest joins, or leaves after having joined.
async fn membership(scene: &Scene, ground: &Ground, name: &'static str) -> Work {
    let token = Some(scene.owner.token.as_str());
    let of = |function, method| {
        Ask::new(function, method, token).of("org_id", scene.owner.org_id).of("user_id", ground.guest.user_id)
    };
    let join = of("put-member", Method::PUT).body(json!({"role": "member"}));
    if name == "put-member" {
        let (_gone_or_never_there, _) = scene.ask(PLAIN, &of("delete-member", Method::DELETE)).await;
        return Work::Ask(join, 201);
    }
    scene.must(&join).await;
    Work::Ask(of(name, Method::DELETE), 204)
}

/// Does it; whether it went as it must.
pub(crate) async fn perform(scene: &Scene, via: Via, work: &Work) -> Result<(), String> {
    match work {
        Work::Ask(ask, expected) => {
            let (status, body) = scene.ask(via, ask).await;
            if status == *expected { Ok(()) } else { Err(format!("{ask:?}: {status} {body:?}")) }
        }
        Work::Deliver => match scene.deliver(via).await {
            1 => Ok(()),
            count => Err(format!("the worker was done with {count} messages")),
        },
        Work::Sweep => match scene.sweep(via).await {
            swept if swept == sweeper::Swept::default() => Ok(()),
            swept => Err(format!("nothing was due, but {swept:?}")),
        },
    }
}

/// Takes the message off the queue that it put there, or an older one: as many jobs wait as before.
pub(crate) async fn clear(scene: &Scene, endpoint: Endpoint) {
    if matches!(endpoint.name, "analyze" | "send-email" | "cancel-job") {
        assert_eq!(scene.deliver(PLAIN).await, 1);
    }
}
