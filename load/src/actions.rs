//! What callers do, and how often; each reply is held against the truth.

use crate::client::{Call, Reply};
use crate::random::Random;
use crate::world::{Org, PASSWORD, User, World};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::Instant;

/// Items a page.
const PAGE: usize = 50;

/// What one may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    ListItems,
    CreateItem,
    CreateAgain,
    CreateBatch,
    GetItem,
    UpdateItem,
    GetPlan,
    PutPlan,
    GetUser,
    UpdateMe,
    GetSettings,
    PutSettings,
    Prices,
    AnalyzeAndWait,
    Analyze,
    SendEmail,
    GetJob,
    ListJobs,
    Usage,
    LogInAndOut,
    Foreign,
}

/// Of 1,000 actions. Items are listed and created 3:1.
const MIX: [(Action, usize); 21] = [
    (Action::ListItems, 270),
    (Action::CreateItem, 70),
    (Action::CreateAgain, 5),
    (Action::CreateBatch, 15),
    (Action::GetItem, 60),
    (Action::UpdateItem, 20),
    (Action::GetPlan, 140),
    (Action::PutPlan, 8),
    (Action::GetUser, 160),
    (Action::UpdateMe, 10),
    (Action::GetSettings, 40),
    (Action::PutSettings, 7),
    (Action::Prices, 70),
    (Action::AnalyzeAndWait, 15),
    (Action::Analyze, 20),
    (Action::SendEmail, 15),
    (Action::GetJob, 30),
    (Action::ListJobs, 10),
    (Action::Usage, 15),
    (Action::LogInAndOut, 10),
    (Action::Foreign, 10),
];

const PROVIDERS: [&str; 4] = ["anthropic", "openai", "mistral", "deepseek"];
const ZONES: [&str; 3] = ["Europe/Vienna", "America/New_York", "Asia/Tokyo"];
const WORDS: [&str; 6] =
    ["A good day.", "The slow train was late again.", "We love it!", "Nobody came.", "It works.", "Why?"];

/// Does one thing, as somebody. Its first request was to start at `intended`.
pub async fn act(world: &World, random: &mut Random, intended: Option<Instant>) {
    let mut at = random.below(MIX.iter().map(|(_, weight)| weight).sum());
    let action = MIX.iter().find(|(_, weight)| {
        at < *weight || {
            at -= weight;
            false
        }
    });
    let (org, user) = world.anybody(random);
    let actor = Actor { world, org, user, intended: Mutex::new(intended) };
    match action.map_or(Action::ListItems, |(action, _)| *action) {
        Action::ListItems => actor.list_items().await,
        Action::CreateItem => actor.create_item(random, 1).await,
        Action::CreateAgain => actor.create_item(random, 2).await,
        Action::CreateBatch => actor.create_batch(random).await,
        Action::GetItem => actor.get_item(random).await,
        Action::UpdateItem => actor.update_item(random).await,
        Action::GetPlan => actor.get_versioned("get-org-plan", "plan").await,
        Action::PutPlan => actor.put_plan(random).await,
        Action::GetUser => actor.get_user(random).await,
        Action::UpdateMe => actor.update_me().await,
        Action::GetSettings => actor.get_versioned("get-org-settings", "settings").await,
        Action::PutSettings => actor.put_settings(random).await,
        Action::Prices => actor.prices(random).await,
        Action::AnalyzeAndWait => actor.analyze(random, true).await,
        Action::Analyze => actor.analyze(random, false).await,
        Action::SendEmail => actor.send_email().await,
        Action::GetJob => actor.get_job(random).await,
        Action::ListJobs => drop(actor.get("list-jobs", "/jobs?limit=20".to_owned()).await),
        Action::Usage => drop(actor.get("get-usage", "/usage".to_owned()).await),
        Action::LogInAndOut => actor.log_in_and_out().await,
        Action::Foreign => actor.ask_for_what_is_anothers(random).await,
    }
}

/// Somebody who does one thing.
struct Actor<'a> {
    world: &'a World,
    org: &'a Org,
    user: &'a User,
    /// Of the first request; later ones start when they are sent.
    intended: Mutex<Option<Instant>>,
}

impl Actor<'_> {
    async fn call(&self, endpoint: &'static str, method: Method, path: String, rest: Rest<'_>) -> Reply {
        let call = Call {
            endpoint,
            method,
            path,
            token: Some(rest.token.unwrap_or(&self.user.token)),
            body: rest.body,
            headers: rest.headers,
            expected: rest.expected,
            intended: self.intended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(),
        };
        let reply = self.world.client.call(call).await;
        self.world.truth.reply(&self.org.id, endpoint, &reply.body);
        reply
    }

    async fn get(&self, endpoint: &'static str, path: String) -> Reply {
        self.call(endpoint, Method::GET, path, Rest::expecting(&[200])).await
    }

    async fn list_items(&self) {
        let floor = self.world.truth.items_floor(&self.org.id);
        let reply = self.get("list-items", format!("/items?limit={PAGE}")).await;
        if reply.status == 200 {
            let ids: Vec<String> = array(&reply.body["data"]).iter().map(|item| text(&item["id"])).collect();
            self.world.truth.first_page(&self.org.id, floor, &ids, !reply.body["next_cursor"].is_null());
        }
    }

    fn created(&self, item: &Value) {
        let id = text(&item["id"]);
        self.world.truth.item(&self.org.id, &id);
        self.world.truth.acknowledged(&id, item["version"].as_u64().unwrap_or(0));
        push(&self.org.items, id);
    }

    /// Sends a creation once, or twice under one key: then both replies are of one item.
    async fn create_item(&self, random: &mut Random, times: usize) {
        let body = json!({"name": format!("Item {}", random.below(1_000_000)), "description": "Of some importance."});
        let key = [("idempotency-key", format!("load-{}-{}", random.bits(), random.bits()))];
        let headers: &[_] = if times > 1 { &key } else { &[] };
        let mut first = None;
        for _ in 0..times {
            let rest = Rest { body: Some(body.clone()), headers, ..Rest::expecting(&[201]) };
            let reply = self.call("create-item", Method::POST, "/items".to_owned(), rest).await;
            match (reply.status, first.take()) {
                (201, None) => {
                    self.created(&reply.body);
                    first = Some(reply.body);
                }
                (201, Some(before)) if before != reply.body => {
                    self.world.truth.violated(format!("made twice: one key gave {before} and {}", reply.body));
                }
                (201, _) => {}
                _ => self.world.truth.unsure(&self.org.id, 1, 0),
            }
        }
    }

    async fn create_batch(&self, random: &mut Random) {
        let count = 10 + random.below(41);
        let items: Vec<Value> = (0..count).map(|at| json!({"name": format!("Of a batch {at}")})).collect();
        let rest = Rest { body: Some(json!({"items": items})), ..Rest::expecting(&[201]) };
        let reply = self.call("create-item (batch)", Method::POST, "/items".to_owned(), rest).await;
        let created = array(&reply.body["created"]);
        created.iter().for_each(|item| self.created(item));
        self.world.truth.unsure(&self.org.id, count - created.len().min(count), 0);
    }

    async fn get_item(&self, random: &mut Random) {
        let Some(id) = pick(&self.org.items, random) else { return self.list_items().await };
        let floor = self.world.truth.floor(&id);
        let reply = self.get("get-item", format!("/items/{id}")).await;
        if reply.status == 200 {
            self.world.truth.read(&id, floor, reply.body["version"].as_u64());
        } else if reply.status == 404 {
            self.world.truth.violated(format!("lost: item {id} of {} is not found", self.org.id));
        }
    }

    async fn update_item(&self, random: &mut Random) {
        let Some(id) = pick(&self.org.items, random) else { return self.list_items().await };
        let rest = Rest { body: Some(json!({"description": "Changed."})), ..Rest::expecting(&[200]) };
        let reply = self.call("update-item", Method::PATCH, format!("/items/{id}"), rest).await;
        if reply.status == 200 {
            self.world.truth.acknowledged(&id, reply.body["version"].as_u64().unwrap_or(0));
        }
    }

    async fn get_versioned(&self, endpoint: &'static str, what: &str) {
        let path = format!("/orgs/{}/{what}", self.org.id);
        let floor = self.world.truth.floor(&path);
        let reply = self.get(endpoint, path.clone()).await;
        if reply.status == 200 {
            self.world.truth.read(&path, floor, reply.body["version"].as_u64());
        }
    }

    async fn put_plan(&self, random: &mut Random) {
        let plan = ["pro", "enterprise"][random.below(2)];
        let body = json!({"plan": plan});
        self.put_versioned("put-org-plan", "plan", body).await;
    }

    async fn put_settings(&self, random: &mut Random) {
        let zone = ZONES[random.below(ZONES.len())];
        let body = json!({"settings": {"timezone": zone}});
        self.put_versioned("put-org-settings", "settings", body).await;
    }

    async fn put_versioned(&self, endpoint: &'static str, what: &str, body: Value) {
        let path = format!("/orgs/{}/{what}", self.org.id);
        let owner = self.org.users.first().map(|owner| owner.token.as_str());
        let rest = Rest { body: Some(body), token: owner, ..Rest::expecting(&[200]) };
        let reply = self.call(endpoint, Method::PUT, path.clone(), rest).await;
        if reply.status == 200 {
            self.world.truth.acknowledged(&path, reply.body["version"].as_u64().unwrap_or(0));
        }
    }

    /// Anybody's public profile: the number in the name is its version.
    async fn get_user(&self, random: &mut Random) {
        let (_, other) = self.world.anybody(random);
        let path = format!("/users/{}", other.user_id);
        let floor = self.world.truth.floor(&path);
        let reply = self.get("get-user", path.clone()).await;
        if reply.status == 200 {
            let version = reply.body["name"].as_str().and_then(|name| name.strip_prefix("Ada ")?.parse().ok());
            self.world.truth.read(&path, floor, version);
        }
    }

    async fn update_me(&self) {
        let mut renewals = self.user.renewals.lock().await;
        *renewals += 1;
        let rest = Rest { body: Some(json!({"name": format!("Ada {}", *renewals)})), ..Rest::expecting(&[200]) };
        let reply = self.call("update-me", Method::PATCH, "/me".to_owned(), rest).await;
        if reply.status == 200 {
            self.world.truth.acknowledged(&format!("/users/{}", self.user.user_id), *renewals);
        }
    }

    async fn prices(&self, random: &mut Random) {
        self.get("get-model-pricing", format!("/models/pricing?provider={}", PROVIDERS[random.below(4)])).await;
    }

    async fn analyze(&self, random: &mut Random, wait: bool) {
        let words: Vec<&str> = (0..20 + random.below(200)).map(|_| WORDS[random.below(WORDS.len())]).collect();
        let prefer = [("prefer", "wait=10".to_owned())];
        let endpoint = if wait { "analyze (wait)" } else { "analyze" };
        let headers: &[_] = if wait { &prefer } else { &[] };
        let body = Some(json!({"text": words.join(" "), "model": "builtin"}));
        let rest = Rest { body, headers, ..Rest::expecting(&[200, 202]) };
        let reply = self.call(endpoint, Method::POST, "/analyze".to_owned(), rest).await;
        let id = if reply.status == 200 { &reply.body["job"]["id"] } else { &reply.body["id"] };
        self.accepted(reply.status, id, "analyze");
    }

    async fn send_email(&self) {
        let body = json!({"to": self.user.email, "subject": "Hello", "text": "A line."});
        let rest = Rest { body: Some(body), ..Rest::expecting(&[202]) };
        let reply = self.call("send-email", Method::POST, "/send-email".to_owned(), rest).await;
        self.accepted(reply.status, &reply.body["job_id"], "send_email");
    }

    fn accepted(&self, status: u16, id: &Value, kind: &'static str) {
        match (status, id.as_str()) {
            (200 | 202, Some(id)) => {
                self.world.truth.job(&self.org.id, id, kind);
                push(&self.org.jobs, id.to_owned());
            }
            _ => self.world.truth.unsure(&self.org.id, 0, 1),
        }
    }

    async fn get_job(&self, random: &mut Random) {
        let Some(id) = pick(&self.org.jobs, random) else { return self.list_items().await };
        let reply = self.get("get-job", format!("/jobs/{id}")).await;
        if reply.status == 404 {
            self.world.truth.violated(format!("lost: job {id} of {} is not found", self.org.id));
        }
    }

    /// A session of its own, which is worth nothing once it is ended.
    async fn log_in_and_out(&self) {
        let body = json!({"email": self.user.email, "password": PASSWORD, "org_id": self.org.id});
        let rest = Rest { body: Some(body), ..Rest::expecting(&[200]) };
        let reply = self.call("login", Method::POST, "/auth/login".to_owned(), rest).await;
        let token = text(&reply.body["token"]);
        if reply.status != 200 {
            return;
        }
        if reply.body["org"]["id"].as_str() != Some(&self.org.id) {
            self.world
                .truth
                .violated(format!("crossed an org: a log-in to {} gave {}", self.org.id, reply.body["org"]));
        }
        let rest = Rest { token: Some(&token), ..Rest::expecting(&[204]) };
        if self.call("logout", Method::POST, "/auth/logout".to_owned(), rest).await.status == 204 {
            let rest = Rest { token: Some(&token), ..Rest::expecting(&[401]) };
            if self.call("get-me (ended)", Method::GET, "/me".to_owned(), rest).await.status == 200 {
                self.world.truth.violated(format!("stale: an ended session of {} was let in", self.org.id));
            }
        }
    }

    async fn ask_for_what_is_anothers(&self, random: &mut Random) {
        let (other, _) = self.world.anybody(random);
        let Some(id) = pick(&other.items, random).filter(|_| other.id != self.org.id) else {
            return self.list_items().await;
        };
        let reply = self.call("get-item (foreign)", Method::GET, format!("/items/{id}"), Rest::expecting(&[404])).await;
        if reply.status == 200 {
            self.world.truth.violated(format!("crossed an org: {} was shown {id} of {}", self.org.id, other.id));
        }
    }
}

/// What not every request has.
struct Rest<'a> {
    body: Option<Value>,
    headers: &'a [(&'static str, String)],
    token: Option<&'a str>,
    expected: &'a [u16],
}

impl<'a> Rest<'a> {
    fn expecting(expected: &'a [u16]) -> Self {
        Self { body: None, headers: &[], token: None, expected }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn push(list: &Mutex<Vec<String>>, id: String) {
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(id);
}

/// One of them, the newer the likelier.
fn pick(list: &Mutex<Vec<String>>, random: &mut Random) -> Option<String> {
    let list = list.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let back = (0..3).map(|_| random.below(list.len())).min()?;
    list.iter().rev().nth(back).cloned()
}
