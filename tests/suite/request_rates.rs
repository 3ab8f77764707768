//! How often a session and an organization may ask in a second.

use crate::api::{Actor, Api, Reply};
use local::{Clock, Options, System, operator};
use reqwest::Method;
use serde_json::json;
use shared::model::org::Plan;
use shared::token::Token;
use std::time::{Duration, Instant};

struct Rates {
    api: Api,
    system: System,
    clock: Clock,
}

impl Rates {
    /// With the template's rates, or these; the clock stands still.
    async fn with<const N: usize>(rates: [(&str, &str); N]) -> Self {
        Self::over("memory:", rates).await
    }

    async fn over<const N: usize>(cache_url: &str, rates: [(&str, &str); N]) -> Self {
        let environment = rates.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let clock = Clock::stopped();
        let options = Options {
            clock: clock.clone(),
            cache_url: cache_url.to_owned(),
            environment,
            background: false,
            without_rates: false,
            ..Options::ephemeral()
        };
        let system = System::start(options).await.unwrap();
        Self { api: Api::of(&system), system, clock }
    }

    async fn owner(&self, plan: Plan) -> Actor {
        let owner = self.api.register().await;
        self.give(&owner, plan).await;
        owner
    }

    async fn give(&self, owner: &Actor, plan: Plan) {
        operator::give_plan(self.system.context(), owner.org_id.parse().unwrap(), plan).await.unwrap();
    }

    /// As many as are answered of `count` requests for a path.
    async fn answered(&self, by: &Actor, path: &str, count: usize) -> usize {
        let mut answered = 0;
        for _ in 0..count {
            let reply = self.api.get(by, path).await;
            answered += usize::from(reply.status == 200);
        }
        answered
    }

    /// Another session of an owner's.
    async fn session(&self, owner: &Actor) -> Actor {
        Actor::of(&self.api.login(&owner.email, None).await.body, &owner.email)
    }

    fn next_second(&self) {
        self.clock.jump(Duration::from_secs(1));
    }
}

#[track_caller]
fn is_limited(reply: &Reply, what: &str, limit: u64) {
    reply.is_problem(429, "rate_limited");
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(reply.header("ratelimit-policy"), format!("\"{what}\";q={limit}"));
    assert_eq!(reply.header("ratelimit"), format!("\"{what}\";r=0;t=1"));
}

#[tokio::test]
async fn a_session_asks_fifty_times_a_second() {
    let rates = Rates::with([]).await;
    let (owner, other) = (rates.owner(Plan::Pro).await, rates.owner(Plan::Pro).await);
    for path in ["/me", "/items"] {
        assert_eq!(rates.answered(&owner, path, 60).await, 50, "{path}");
        is_limited(&rates.api.get(&owner, path).await, "session", 50);
        assert_eq!(rates.api.get(&other, path).await.status, 200, "another's is its own");
    }
    rates.next_second();
    assert_eq!(rates.answered(&owner, "/me", 60).await, 50);
}

#[tokio::test]
async fn an_organization_asks_as_often_as_its_plan_says() {
    // The cache's seconds are not the stopped clock's.
    let rates = Rates::over("off:", [("ORG_REQUESTS_PER_SECOND", "10,20,100")]).await;
    let owner = rates.owner(Plan::Free).await;
    let other = rates.session(&owner).await;
    // With the plan read beside the caller, and without.
    for path in ["/items", "/me"] {
        assert_eq!(rates.answered(&owner, path, 6).await + rates.answered(&other, path, 6).await, 10, "{path}");
        is_limited(&rates.api.get(&owner, path).await, "organization", 10);
    }
    rates.give(&owner, Plan::Pro).await;
    rates.next_second();
    assert_eq!(rates.answered(&owner, "/items", 30).await, 20, "another plan counts at once");
    rates.clock.jump(Duration::from_secs(10));
    assert_eq!(rates.answered(&other, "/me", 30).await, 20, "and within ten seconds where it is not read");
}

/// A token says which organization it is of, and proves nothing.
#[tokio::test]
async fn a_stranger_uses_up_nobodys_rate() {
    let rates = Rates::with([("ORG_REQUESTS_PER_SECOND", "5,5,5")]).await;
    let owner = rates.owner(Plan::Pro).await;
    let (user, org) = (owner.user_id.parse().unwrap(), owner.org_id.parse().unwrap());
    for _ in 0..20 {
        let token = Token::generate(user, org).unwrap().reveal().to_owned();
        assert_eq!(rates.api.get(&Actor { token, ..owner.clone() }, "/me").await.status, 401);
    }
    assert_eq!(rates.answered(&owner, "/me", 5).await, 5);
}

#[tokio::test]
async fn a_rate_of_nothing_closes() {
    let rates = Rates::with([("SESSION_REQUESTS_PER_SECOND", "0")]).await;
    let owner = rates.owner(Plan::Pro).await;
    is_limited(&rates.api.get(&owner, "/me").await, "session", 0);
    is_limited(&rates.api.post(&owner, "/items", json!({"name": "one"})).await, "session", 0);
    assert_eq!(rates.api.call(None, Method::GET, "/health", None).await.status, 200);
    let rates = Rates::with([("ORG_REQUESTS_PER_SECOND", "0,9,9")]).await;
    let owner = rates.owner(Plan::Free).await;
    is_limited(&rates.api.get(&owner, "/me").await, "organization", 0);
}

/// Whatever wants a session counts it, and before it looks at anything else.
#[tokio::test]
async fn each_operation_with_a_session_is_counted() {
    let rates = Rates::with([("SESSION_REQUESTS_PER_SECOND", "0")]).await;
    let owner = rates.owner(Plan::Pro).await;
    let document = rates.api.call(None, Method::GET, "/openapi.json", None).await.body;
    let mut uncounted = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let wants_session = operation["security"].as_array().is_some_and(|kinds| !kinds.is_empty());
            if !wants_session {
                continue;
            }
            let path = path.replace("{org_id}", &owner.org_id).replace(['{', '}'], "");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let reply = rates.api.call(Some(&owner), method, &path, Some(json!({}))).await;
            if reply.status != 429 {
                uncounted.push((operation["operationId"].clone(), reply.status));
            }
        }
    }
    assert_eq!(uncounted, []);
}

/// Each function counts for itself; what looks something up in the cache counts there, too.
#[tokio::test]
async fn what_looks_something_up_is_counted_for_all_environments_together() {
    for (cache, together) in [("memory:", 5), ("off:", 9)] {
        for rate in [("SESSION_REQUESTS_PER_SECOND", "5"), ("ORG_REQUESTS_PER_SECOND", "5,5,5")] {
            let rates = Rates::over(cache, [rate]).await;
            // The cache's second is the world's: on a busy machine it may end too early.
            let answered = loop {
                let (owner, start, mut answered) = (rates.owner(Plan::Pro).await, Instant::now(), 0);
                let org = &owner.org_id;
                for path in ["items".to_owned(), format!("orgs/{org}/plan"), format!("orgs/{org}/settings")] {
                    answered += rates.answered(&owner, &format!("/{path}"), 3).await;
                }
                if start.elapsed() < Duration::from_secs(1) {
                    break answered;
                }
            };
            assert_eq!(answered, together, "{cache} {rate:?}");
        }
    }
}
