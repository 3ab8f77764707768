//! The month's limits and the budget: exact, however many ask at once.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::Api;
use crate::faults::{Fault, FaultyDatabase};
use futures_util::future::join_all;
use local::{Clock, Options};
use serde_json::{Value, json};

/// A plan with 100 analyses a month: of 1,000 calls at once exactly 100 are accepted, and the others are told
/// until when they wait.
#[tokio::test]
async fn of_a_thousand_simultaneous_calls_exactly_the_limit_is_accepted() {
    of_simultaneous_calls_the_limit_is_accepted(1_000, false).await;
}

/// The same where the organization is spread.
pub(crate) async fn of_simultaneous_calls_the_limit_is_accepted(calls: usize, is_spread: bool) {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    rig.spread_if(is_spread, &owner).await;
    // Each call has a key of its own, so that one that met a busy database can be sent again as what it is.
    let calls = (0..calls).map(|number| rig.decided(&owner, "/analyze", number.to_string(), r#"{"text":"a text"}"#));
    let replies = join_all(calls).await;
    let accepted = replies.iter().filter(|reply| reply.status == 202).count();
    assert_eq!(accepted, 100);
    let refused = replies.iter().find(|reply| reply.status != 202).unwrap();
    for reply in replies.iter().filter(|reply| reply.status != 202) {
        reply.is_problem(429, "quota_exceeded");
    }
    assert_eq!(refused.header("ratelimit-policy"), "\"analyses\";q=100");
    let left = refused.header("ratelimit").strip_prefix("\"analyses\";r=0;t=").unwrap_or_else(|| panic!("{refused:?}"));
    let reset: u64 = left.parse().unwrap();
    assert!((1..=31 * 86_400).contains(&reset) && refused.header("retry-after") == reset.to_string());
    assert_eq!(rig.usage(&owner).await["analyses"], json!({"used": 100, "limit": 100}));
    rig.deliver_all().await;
    let listed = rig.api.get(&owner, "/jobs?limit=100").await;
    let jobs = listed.body["data"].as_array().unwrap();
    assert_eq!(jobs.iter().filter(|job| job["state"] == "succeeded").count(), 100);
}

#[tokio::test]
async fn a_larger_plan_makes_room_at_once() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    for _ in 0..200 {
        rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    }
    let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
    rig.api.post(&owner, "/send-email", letter.clone()).await.is_problem(429, "quota_exceeded");
    rig.give_plan(&owner, "pro").await;
    rig.accepted(&owner, "/send-email", letter).await;
}

/// One run of the model may cost up to 0.0315 dollars and a little: a budget of ten cents has room for three at
/// a time. What they really cost is a seventh of that, so when they are done there is room again; and what
/// is spent never exceeds the budget.
#[tokio::test]
async fn a_budget_is_never_overshot_and_what_was_not_used_is_free_again() {
    a_budget_is_never_overshot(false).await;
}

pub(crate) async fn a_budget_is_never_overshot(is_spread: bool) {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    rig.spread_if(is_spread, &owner).await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.10"})).await;
    let mut done = 0;
    loop {
        let calls = (0..20).map(|_| rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})));
        let replies = join_all(calls).await;
        let accepted = replies.iter().filter(|reply| reply.status == 202).count();
        let refused = replies.iter().find(|reply| reply.status != 202).unwrap();
        refused.is_problem(402, "budget_exceeded");
        assert!(refused.header("retry-after").is_empty());
        assert!(accepted <= 3, "{accepted} at a time");
        if accepted == 0 {
            break;
        }
        done += accepted;
        rig.deliver_all().await;
    }
    let cost: f64 = rig.usage(&owner).await["cost_usd"].as_str().unwrap().parse().unwrap();
    assert!(cost <= 0.10 && (cost - 0.0045 * done as f64).abs() < 1e-9, "{cost} for {done}");
    assert!(done > 3, "room comes back");
    assert_eq!(providers.analyses().len(), done);
    rig.settings(&owner, json!({"monthly_budget_usd": "0"})).await;
    rig.accepted(&owner, "/analyze", json!({"text": "a"})).await; // The builtin analysis costs nothing.
}

/// A call that may have been billed counts in full; the job fails rather than overshoot.
#[tokio::test]
async fn runs_that_may_have_cost_all_they_could_use_up_the_budget() {
    runs_use_up_the_budget(false).await;
}

pub(crate) async fn runs_use_up_the_budget(is_spread: bool) {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    rig.spread_if(is_spread, &owner).await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.05"})).await;
    // 500 does not say whether the work was done.
    providers.will(vec![Answer::Refuse(500, None); 10]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(job["state"], "failed", "{job}");
    let cost: f64 = rig.usage(&owner).await["cost_usd"].as_str().unwrap().parse().unwrap();
    assert!(cost <= 0.05, "{cost}");
}

/// Between the request's authority read and its write the caller loses the role. Nothing was accepted, so nothing of the day stays taken.
#[tokio::test]
async fn a_retry_that_is_refused_for_its_role_takes_nothing_of_the_day() {
    let providers = Providers::start().await;
    let origin = Rig::start(Options { clock: Clock::stopped(), ..Options::ephemeral() }).await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let others = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.as_str()), ("EMAILS_PER_DAY", "3")];
    let others = others.into_iter().chain([("DOLLARS_PER_DAY", "1"), ("CAP_SHARES", "100,100,100")]);
    let environment = providers.environment().into_iter().chain(others.map(|(name, value)| (name, value.to_owned())));
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, clock: Clock::stopped(), ..Options::ephemeral() }).await;
    let owner = rig.owner("pro").await;
    let admin = rig.api.join(&owner, "admin").await;
    let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
    providers.will([Answer::Refuse(400, None)]);
    let id = rig.accepted(&owner, "/send-email", letter.clone()).await;
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "failed");
    database.inject("TransactWriteItems", Fault::Hold);
    let demotion = async {
        database.holds("TransactWriteItems").await;
        let member = format!("/orgs/{}/members/{}", owner.org_id, admin.user_id);
        let demoted = Api::of(&origin.system).put(&owner, &member, json!({"role": "member"})).await;
        assert_eq!(demoted.status, 200, "{}", demoted.text);
        database.release("TransactWriteItems");
    };
    let retry = format!("/jobs/{id}/retry");
    let (late, ()) = tokio::join!(rig.api.post(&admin, &retry, Value::Null), demotion);
    late.is_problem(403, "forbidden_role");
    for _ in 0..2 {
        rig.accepted(&owner, "/send-email", letter.clone()).await;
    }
    rig.api.post(&owner, "/send-email", letter).await.is_problem(429, "operator_cap_reached");
}
