//! The operator's caps on what all organizations together may bring about in a day.

use crate::api::{Actor, Reply};
use crate::faults::{Fault, FaultyDatabase, updates_of};
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::{MODEL, Rig};
use futures_util::future::join_all;
use local::{Clock, Options};
use serde_json::{Value, json};
use shared::ApiError;
use shared::caps::Cap;
use shared::ids::OrgId;
use shared::jobs::redrive;
use shared::model::analysis::{Cost, TokenUsage};
use shared::model::job::{Claim, JobRecord, UsageDelta};
use shared::model::org::Plan;
use shared::store::Store;
use shared::store::jobs::Change;
use shared::store::keys::Key;
use std::time::Duration;

/// A system with these caps, whose clock stands still.
async fn with<const N: usize>(caps: [(&str, &str); N]) -> Rig {
    over(caps, []).await
}

/// A system with three e-mails a day over another one's database, which a test may disturb.
async fn three_emails_a_day() -> (Rig, FaultyDatabase, Rig) {
    let origin = with([]).await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let proxied = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())];
    let rig = over([("EMAILS_PER_DAY", "3"), ("CAP_SHARES", "100,100,100")], proxied).await;
    (origin, database, rig)
}

async fn over<const N: usize, const M: usize>(caps: [(&str, &str); N], others: [(&str, String); M]) -> Rig {
    let caps = caps.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let environment = caps.into_iter().chain(others.map(|(name, value)| (name.to_owned(), value))).collect();
    Rig::start(Options { clock: Clock::stopped(), environment, ..Options::ephemeral() }).await
}

async fn send(rig: &Rig, by: &Actor, to: Value, key: Option<&str>) -> Reply {
    let letter = json!({"to": to, "subject": "Hello", "text": "A line."}).to_string();
    let key = key.map(|key| ("idempotency-key", key));
    rig.post_with(by, "/send-email", key.as_slice(), &letter).await
}

#[track_caller]
fn is_capped(reply: &Reply, what: &str, limit: u64) {
    reply.is_problem(429, "operator_cap_reached");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=24 * 60 * 60).contains(&wait), "{wait}");
    assert_eq!(reply.header("ratelimit-policy"), format!("\"{what}\";q={limit}"));
    assert_eq!(reply.header("ratelimit"), format!("\"{what}\";r=0;t={wait}"));
}

#[tokio::test]
async fn all_organizations_together_write_to_no_more_than_the_cap() {
    let rig = with([("EMAILS_PER_DAY", "9"), ("CAP_SHARES", "100,100,100")]).await;
    let (one, other) = (rig.owner("pro").await, rig.owner("pro").await);
    let both = || json!([one.email, "second@example.com"]);
    let first = send(&rig, &one, both(), Some("a-key")).await;
    assert_eq!(first.status, 202, "{}", first.text);
    // What is refused for another reason, and what was accepted before, takes nothing.
    assert_eq!(send(&rig, &one, json!("no address"), None).await.status, 422);
    for _ in 0..5 {
        assert_eq!(send(&rig, &one, both(), Some("a-key")).await.status, 202);
        assert_eq!(send(&rig, &one, json!([one.email, other.email]), Some("a-key")).await.status, 422);
    }
    let replies = join_all((0..30).map(|number| {
        let (rig, by) = (&rig, if number % 2 == 0 { &one } else { &other });
        async move { send(rig, by, json!(by.email), None).await }
    }));
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 7);
    replies.iter().filter(|reply| reply.status != 202).for_each(|reply| is_capped(reply, "emails", 9));
    // A repetition is no new e-mail.
    let again = send(&rig, &one, both(), Some("a-key")).await;
    assert_eq!((again.status, &again.text, again.header("idempotent-replayed")), (202, &first.text, "true"));
    assert_eq!(again.header("ratelimit"), "");
    let until_midnight = send(&rig, &one, json!(one.email), None).await.header("retry-after").parse().unwrap();
    rig.system.clock().jump(Duration::from_secs(until_midnight));
    assert_eq!(send(&rig, &one, json!(one.email), None).await.status, 202);
}

#[tokio::test]
async fn one_organization_takes_the_part_of_its_plan() {
    let rig = with([("EMAILS_PER_DAY", "100"), ("CAP_SHARES", "2,4,100")]).await;
    let (small, large, other) = (rig.owner("free").await, rig.owner("pro").await, rig.owner("enterprise").await);
    for (owner, part) in [(&small, 2), (&large, 4)] {
        let replies = join_all((0..8).map(|_| send(&rig, owner, json!(owner.email), None))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), part);
        replies.iter().filter(|reply| reply.status != 202).for_each(|reply| is_capped(reply, "emails", part as u64));
    }
    let replies = join_all((0..100).map(|_| send(&rig, &other, json!(other.email), None))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 94, "the others took six");
}

#[tokio::test]
async fn a_cap_of_nothing_closes() {
    let providers = Providers::start().await;
    let caps = [("EMAILS_PER_DAY", "0"), ("DOLLARS_PER_DAY", "0")];
    let rig = over(caps, providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    is_capped(&send(&rig, &owner, json!(owner.email), None).await, "emails", 0);
    let paid = rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    is_capped(&paid, "cents", 0);
    rig.accepted(&owner, "/analyze", json!({"text": "a", "model": "builtin"})).await;
}

/// One run of the model may cost up to 0.0315 dollars and a little, and costs a seventh of that: of a tenth of a dollar there is room for
/// three at a time, and for more when they are done.
#[tokio::test]
async fn a_days_dollars_are_never_overshot_and_what_was_not_spent_is_free_again() {
    let providers = Providers::start().await;
    let caps = [("DOLLARS_PER_DAY", "0.10"), ("CAP_SHARES", "100,100,100")];
    let rig = over(caps, providers.environment()).await;
    let owners = [rig.owner("pro").await, rig.owner("pro").await];
    let mut done = 0;
    loop {
        let calls =
            (0..20).map(|number| rig.api.post(&owners[number % 2], "/analyze", json!({"text": "a", "model": MODEL})));
        let replies = join_all(calls).await;
        let accepted = replies.iter().filter(|reply| reply.status == 202).count();
        is_capped(replies.iter().find(|reply| reply.status != 202).unwrap(), "cents", 10);
        assert!(accepted <= 3, "{accepted} at a time");
        if accepted == 0 {
            break;
        }
        done += accepted;
        rig.deliver_all().await;
    }
    let mut cost = 0.0;
    for owner in &owners {
        cost += rig.usage(owner).await["cost_usd"].as_str().unwrap().parse::<f64>().unwrap();
    }
    assert!(cost <= 0.10 && done > 3, "{cost} for {done}");
    assert_eq!(providers.analyses().len(), done);
    // Cancelled before its run, it cost nothing.
    rig.system.clock().jump(Duration::from_secs(24 * 60 * 60));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(rig.accepted(&owners[0], "/analyze", json!({"text": "a", "model": MODEL})).await);
    }
    let again = || rig.api.post(&owners[1], "/analyze", json!({"text": "a", "model": MODEL}));
    is_capped(&again().await, "cents", 10);
    assert_eq!(rig.api.post(&owners[0], &format!("/jobs/{}/cancel", ids[0]), json!({})).await.status, 200);
    assert_eq!(again().await.status, 202);
    is_capped(&again().await, "cents", 10);
}

/// A call that may have been billed counts in full; what the day has no room for waits until the next one, and goes on then.
#[tokio::test]
async fn runs_that_may_have_cost_all_they_could_use_up_the_day_and_go_on_the_next() {
    let providers = Providers::start().await;
    let rig = over([("DOLLARS_PER_DAY", "0.10")], providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    providers.will(vec![Answer::Refuse(500, None); 3]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(
        (&job["state"], &job["waiting_for"]["code"]),
        (&json!("queued"), &json!("operator_cap_reached")),
        "{job}"
    );
    assert_eq!(job["attempts"], 3, "{job}");
    is_full(&rig, &owner).await;
    // The next day's cap is used up by others at once, so it waits on; until one of them gives back.
    rig.system.clock().jump(Duration::from_secs(to_midnight(&rig)));
    let (store, all) = (rig.system.context().store(), 100_000_000);
    let others = store.take_of_cap(Cap::Dollars, OrgId::new(), None, all).await.unwrap();
    rig.sweep_once().await;
    rig.deliver_all().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("queued"), &json!(3)), "{job}");
    assert_eq!(providers.analyses().len(), 0);
    store.give_back_to_cap(others, all).await;
    rig.system.clock().jump(Duration::from_secs(24 * 60 * 60));
    rig.sweep_once().await;
    rig.deliver_all().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("succeeded"), &json!(4)), "{job}");
    // What its run did not cost is free again on its day: three more are accepted, and no fourth.
    for _ in 0..3 {
        rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    }
    is_full(&rig, &owner).await;
}

/// Where the month has no room for another run either, the job ends for that: there is nothing to wait for.
#[tokio::test]
async fn what_neither_the_day_nor_the_month_has_room_for_fails() {
    let providers = Providers::start().await;
    let rig = over([("DOLLARS_PER_DAY", "0.10")], providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let (store, org) = (rig.system.context().store(), owner.org_id.parse().unwrap());
    let job = store.job(org, id.parse().unwrap()).await.unwrap();
    let _others = store.take_of_cap(Cap::Dollars, OrgId::new(), None, 100_000_000 - job.reserved_nanos).await.unwrap();
    rig.settings(&owner, json!({"monthly_budget_usd": "0.04"})).await;
    providers.will([Answer::Refuse(500, None)]);
    rig.deliver_all().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("budget_exceeded")), "{job}");
}

/// A worker writes a run's outcome again until it is written. Where it met others each time, nothing was, and nothing stays taken.
#[tokio::test]
async fn an_outcome_that_meets_others_takes_once_however_often_it_is_written() {
    let providers = Providers::start().await;
    let caps = [("DOLLARS_PER_DAY", "0.10")];
    let origin = over(caps, providers.environment()).await;
    let owner = origin.owner("enterprise").await;
    let id = origin.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let rig = over(caps, [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let (store, now) = (rig.system.context().store(), rig.system.context().now());
    let (org, id) = (owner.org_id.parse().unwrap(), id.parse().unwrap());
    let runs = |job: &JobRecord| match job.claim(now) {
        Claim::Run(run) => Ok(Change::to((*run, UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    let (job, ()) = store.change_job(org, id, runs).await.unwrap();
    let again = |job: &JobRecord| Ok(Change::to(job.retry(Duration::ZERO, Cost::Unknown, "why", now), ()));
    database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    for _ in 0..2 {
        let met_others = store.change_job(org, id, again).await;
        assert!(matches!(met_others, Err(ApiError::Unavailable(_))), "{met_others:?}");
    }
    database.release("TransactWriteItems");
    store.change_job(org, id, again).await.unwrap();
    // What its first run may have cost, and what the next one may: no more is out.
    let rest = 100_000_000 - 2 * job.reserved_nanos;
    let _rest = store.take_of_cap(Cap::Dollars, OrgId::new(), None, rest).await.unwrap();
    let beyond = store.take_of_cap(Cap::Dollars, OrgId::new(), None, 1).await;
    assert!(matches!(beyond, Err(ApiError::OperatorCapReached { .. })), "{beyond:?}");
}

/// An acceptance that met others each time, or was throttled, accepted nothing, so its caller may come back without having used up the day.
#[tokio::test]
async fn what_met_others_each_time_when_it_was_handed_in_takes_nothing() {
    let (_origin, database, rig) = three_emails_a_day().await;
    let owner = rig.owner("pro").await;
    for fault in [Fault::Conflict(u32::MAX), Fault::Starve(u32::MAX)] {
        database.inject("TransactWriteItems", fault);
        for _ in 0..2 {
            assert_eq!(send(&rig, &owner, json!(owner.email), None).await.status, 503);
        }
        database.release("TransactWriteItems");
    }
    for _ in 0..3 {
        assert_eq!(send(&rig, &owner, json!(owner.email), None).await.status, 202);
    }
    is_capped(&send(&rig, &owner, json!(owner.email), None).await, "emails", 3);
}

/// The record that all organizations meet on has no units left for a while, and theirs have: nothing is accepted, and nothing of their parts
/// stays taken.
#[tokio::test]
async fn what_the_cap_of_all_does_not_answer_takes_nothing_of_an_organizations_part() {
    let (_origin, database, rig) = three_emails_a_day().await;
    let owner = rig.owner("pro").await;
    let of_all = |rig: &Rig| updates_of(&Key::cap("emails", &rig.system.context().now().day()));
    database.inject(&of_all(&rig), Fault::Throttle(u32::MAX));
    for _ in 0..3 {
        let busy = send(&rig, &owner, json!(owner.email), None).await;
        busy.is_problem(503, "unavailable");
        assert_eq!(busy.header("retry-after"), "1");
    }
    database.release(&of_all(&rig));
    for _ in 0..3 {
        assert_eq!(send(&rig, &owner, json!(owner.email), None).await.status, 202);
    }
    // With slices, too: of 100,000 a slice is five.
    let most = 100_000;
    let proxied = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())];
    let sliced = over([("EMAILS_PER_DAY", "100000")], proxied).await;
    let (store, org, plan) = (sliced.system.context().store(), OrgId::new(), Some(Plan::Enterprise));
    database.inject(&of_all(&sliced), Fault::Throttle(u32::MAX));
    for units in [1, most / 2, most - 3] {
        let failed = store.take_of_cap(Cap::Emails, org, plan, units).await;
        assert!(matches!(failed, Err(ApiError::Unavailable(_))), "{failed:?}");
    }
    database.release(&of_all(&sliced));
    // The other system has taken three.
    assert_eq!(take(store, org, most - 3).await, most - 3);
}

/// It was refused, and only why could not be read.
#[tokio::test]
async fn a_refusal_that_could_not_be_read_takes_nothing_of_the_day() {
    let providers = Providers::start().await;
    let origin = with([]).await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let others = [("DOLLARS_PER_DAY", "0.10"), ("CAP_SHARES", "100,100,100")].map(|(name, to)| (name, to.to_owned()));
    let others = others.into_iter().chain([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]);
    let environment = providers.environment().into_iter().chain(others);
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { clock: Clock::stopped(), environment, ..Options::ephemeral() }).await;
    let owner = rig.owner("pro").await;
    let text = || json!({"text": "a", "model": MODEL});
    rig.settings(&owner, json!({"monthly_budget_usd": "0.04"})).await;
    rig.accepted(&owner, "/analyze", text()).await;
    database.inject("GetItem", Fault::Throttle(u32::MAX));
    for _ in 0..2 {
        rig.api.post(&owner, "/analyze", text()).await.is_problem(503, "unavailable");
    }
    database.release("GetItem");
    rig.settings(&owner, json!({"monthly_budget_usd": "1"})).await;
    for _ in 0..2 {
        rig.accepted(&owner, "/analyze", text()).await;
    }
    is_full(&rig, &owner).await;
}

/// The same of a run whose worker died, and of one that is cancelled while it waits: that gives nothing back that was not taken.
#[tokio::test]
async fn a_dead_run_waits_for_the_next_day_too_and_gives_back_nothing_that_it_did_not_take() {
    let providers = Providers::start().await;
    let rig = over([("DOLLARS_PER_DAY", "0.10")], providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let (store, org) = (rig.system.context().store(), owner.org_id.parse().unwrap());
    let dies = |job: &JobRecord| match job.claim(rig.system.context().now()) {
        Claim::Run(run) => Ok(Change::to((*run, UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    let (job, ()) = store.change_job(org, id.parse().unwrap(), dies).await.unwrap();
    rig.time_passes(&owner, &id).await;
    let _others = store.take_of_cap(Cap::Dollars, OrgId::new(), None, 100_000_000 - job.reserved_nanos).await.unwrap();
    rig.deliver_all().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(
        (&job["state"], &job["waiting_for"]["code"]),
        (&json!("queued"), &json!("operator_cap_reached")),
        "{job}"
    );
    assert_eq!(rig.api.post(&owner, &format!("/jobs/{id}/cancel"), json!({})).await.status, 200);
    assert_eq!(providers.analyses().len(), 0);
    is_full(&rig, &owner).await;
}

/// What a failed job takes when it is accepted again on another day comes back on that day.
#[tokio::test]
async fn what_a_job_took_when_it_was_accepted_again_comes_back() {
    let providers = Providers::start().await;
    let rig = over([("DOLLARS_PER_DAY", "0.10")], providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    providers.will([Answer::Refuse(400, None)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    rig.drain().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "failed");
    rig.system.clock().jump(Duration::from_secs(24 * 60 * 60));
    assert_eq!(rig.api.post(&owner, &format!("/jobs/{id}/retry"), json!({})).await.status, 202);
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    for _ in 0..3 {
        rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    }
}

/// A job that is read before midnight and accepted again after it takes from the cap of the new day, and what it does not cost goes back there.
#[tokio::test]
async fn what_is_accepted_again_across_midnight_comes_back() {
    let providers = Providers::start().await;
    let caps = [("DOLLARS_PER_DAY", "0.10")];
    let rig = over(caps, providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    providers.will([Answer::Refuse(400, None)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    rig.drain().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let operator = over(caps, [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    // It has read the job and goes on to its input.
    database.inject("BatchGetItem", Fault::Hold);
    let (org, job) = (owner.org_id.parse().unwrap(), id.parse().unwrap());
    let again = redrive(operator.system.context(), org, job);
    let midnight = async {
        database.holds("BatchGetItem").await;
        operator.system.clock().jump(Duration::from_secs(to_midnight(&operator)));
        rig.system.clock().jump(Duration::from_secs(to_midnight(&rig)));
        database.release("BatchGetItem");
    };
    let (again, ()) = tokio::join!(again, midnight);
    again.unwrap();
    rig.system.clock().jump(Duration::from_secs(400));
    rig.sweep_once().await;
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    for _ in 0..3 {
        rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    }
}

async fn is_full(rig: &Rig, owner: &Actor) {
    is_capped(&rig.api.post(owner, "/analyze", json!({"text": "a", "model": MODEL})).await, "cents", 10);
}

fn to_midnight(rig: &Rig) -> u64 {
    let now = rig.system.context().now();
    now.until(now.end_of_day()).as_secs() + 1
}

fn orgs(count: usize) -> Vec<OrgId> {
    (0..count).map(|_| OrgId::new()).collect()
}

/// Takes e-mails; how many it got: all or none.
async fn take(store: &Store, org: OrgId, units: u64) -> u64 {
    match store.take_of_cap(Cap::Emails, org, Some(Plan::Enterprise), units).await {
        Ok(_taken) => units,
        Err(ApiError::OperatorCapReached { .. }) => 0,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn of_a_thousand_racers_for_the_last_units_none_gets_more() {
    // Without slices and with: of 100,000 a slice is five.
    for (most, text) in [(50, "50"), (100_000, "100000")] {
        let rig = with([("EMAILS_PER_DAY", text)]).await;
        let store = rig.system.context().store();
        let orgs = orgs(20);
        let mut taken = take(store, orgs[0], most - 50).await;
        let racers = (0..1_000).map(|number| take(store, orgs[number % orgs.len()], 1));
        taken += join_all(racers).await.iter().sum::<u64>();
        assert!(taken <= most, "{taken}");
        let mut rest = 0;
        for org in &orgs {
            while take(store, *org, 1).await > 0 {
                rest += 1;
            }
        }
        assert_eq!(taken + rest, most, "all of it, when each has used up its slices");
    }
}

/// Organizations that took one each and never come again hold at most a twentieth.
#[tokio::test]
async fn a_cap_is_reached_early_by_a_twentieth_at_most() {
    // A slice is 100: without a bound they would hold 118,800 that nobody uses.
    let rig = with([("EMAILS_PER_DAY", "2000000")]).await;
    let store = rig.system.context().store();
    let mut taken = 0;
    for _ in 0..10 {
        let many = orgs(120);
        taken += join_all(many.iter().map(|org| take(store, *org, 1))).await.iter().sum::<u64>();
    }
    assert_eq!(taken, 1_200);
    let org = OrgId::new();
    for units in [100_000, 10_000, 1_000, 100, 10, 1] {
        while take(store, org, units).await > 0 {
            taken += units;
        }
    }
    assert!((1_900_000..=2_000_000).contains(&taken), "{taken}");
}

/// One organization that asks from everywhere at once holds no more than two slices.
#[tokio::test]
async fn a_busy_organization_holds_few_slices() {
    let rig = with([("EMAILS_PER_DAY", "2000000")]).await;
    let store = rig.system.context().store();
    let (busy, other) = (OrgId::new(), OrgId::new());
    let mut taken = join_all((0..200).map(|_| take(store, busy, 1))).await.iter().sum::<u64>();
    for units in [100_000, 10_000, 1_000, 100, 10, 1] {
        while take(store, other, units).await > 0 {
            taken += units;
        }
    }
    assert!((2_000_000 - 200..=2_000_000).contains(&taken), "{taken}: a slice is 100");
}

/// What adds to what may be taken is not sent again when its reply is lost.
#[tokio::test]
async fn a_lost_reply_adds_nothing_to_the_cap() {
    for (most, text) in [(10, "10"), (100_000, "100000")] {
        let rig = with([("EMAILS_PER_DAY", text)]).await;
        let database = FaultyDatabase::before(&rig.system.database_url()).await;
        let proxied = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())];
        let faulty = over([("EMAILS_PER_DAY", text)], proxied).await;
        let (store, org) = (faulty.system.context().store(), OrgId::new());
        let mut kept = 0;
        for lost in 0..6 {
            let units = u64::from(1 + lost % 3);
            database.inject("UpdateItem", Fault::LoseReply(lost));
            let Ok(taken) = store.take_of_cap(Cap::Emails, org, Some(Plan::Enterprise), units).await else { continue };
            if lost % 2 == 0 {
                database.inject("UpdateItem", Fault::LoseReply(1));
                store.give_back_to_cap(taken, units).await;
            } else {
                kept += units;
            }
        }
        database.inject("UpdateItem", Fault::LoseReply(0));
        for units in [1_000, 100, 10, 1] {
            while take(store, org, units).await > 0 {
                kept += units;
            }
        }
        assert!(kept <= most, "{kept} of {most}");
    }
}

/// An operator's command runs jobs again under no cap of its own: what it takes counts, and closes the day for nobody.
#[tokio::test]
async fn an_operators_command_takes_no_more_than_its_jobs() {
    const UNITS: u64 = 31_500_000;
    let rig = with([("DOLLARS_PER_DAY", "20")]).await;
    let database = [("AWS_ENDPOINT_URL_DYNAMODB", rig.system.database_url())];
    let operator = over([("DOLLARS_PER_DAY", "1000000000")], database).await;
    let _redriven =
        operator.system.context().store().take_of_cap(Cap::Dollars, OrgId::new(), None, UNITS).await.unwrap();
    let (store, plan) = (rig.system.context().store(), Some(Plan::Enterprise));
    let rest = 20_000_000_000 - UNITS;
    let _rest = store.take_of_cap(Cap::Dollars, OrgId::new(), plan, rest).await.unwrap();
    let beyond = store.take_of_cap(Cap::Dollars, OrgId::new(), plan, 1).await;
    assert!(matches!(beyond, Err(ApiError::OperatorCapReached { .. })), "{beyond:?}");
}

/// A run of the next day that costs a part of what it holds takes that part, and gives back nothing that was taken the day before.
#[tokio::test]
async fn a_part_of_another_day_gives_nothing_back_to_it() {
    let providers = Providers::start().await;
    let rig = over([("DOLLARS_PER_DAY", "0.10")], providers.environment()).await;
    let owner = rig.owner("enterprise").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let (store, org) = (rig.system.context().store(), owner.org_id.parse().unwrap());
    rig.system.clock().jump(Duration::from_secs(to_midnight(&rig)));
    let now = rig.system.context().now();
    let fails = |job: &JobRecord| match job.claim(now) {
        Claim::Run(run) => Ok(Change::to((*run, UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    let (job, ()) = store.change_job(org, id.parse().unwrap(), fails).await.unwrap();
    let part = Cost::Tokens(TokenUsage { input_tokens: 100, output_tokens: 100 });
    let (nanos, _) = job.price(part);
    assert!((1..job.reserved_nanos).contains(&nanos), "{nanos}");
    let again = |job: &JobRecord| Ok(Change::to(job.retry(Duration::ZERO, part, "why", now), ()));
    store.change_job(org, id.parse().unwrap(), again).await.unwrap();
    let _others = store.take_of_cap(Cap::Dollars, OrgId::new(), None, 100_000_000 - nanos).await.unwrap();
    rig.system.clock().jump(Duration::from_secs(400));
    rig.sweep_once().await;
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    let more = store.take_of_cap(Cap::Dollars, OrgId::new(), None, 1).await;
    assert!(matches!(more, Err(ApiError::OperatorCapReached { .. })), "{more:?}");
}

/// What goes back goes back once, also where the reply to it is lost.
#[tokio::test]
async fn a_lost_reply_gives_nothing_back_twice() {
    for (most, text) in [(10, "10"), (100_000, "100000")] {
        let rig = with([("EMAILS_PER_DAY", text)]).await;
        let database = FaultyDatabase::before(&rig.system.database_url()).await;
        let proxied = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())];
        let faulty = over([("EMAILS_PER_DAY", text)], proxied).await;
        let (store, org) = (faulty.system.context().store(), OrgId::new());
        let mut kept = take(store, org, 5).await;
        for _ in 0..3 {
            let taken = store.take_of_cap(Cap::Emails, org, Some(Plan::Enterprise), 2).await.unwrap();
            // One of the organization's part, one of the whole.
            database.inject("UpdateItem", Fault::LoseReply(2));
            store.give_back_to_cap(taken, 2).await;
            database.inject("UpdateItem", Fault::LoseReply(0));
        }
        for units in [10_000, 1_000, 100, 10, 1] {
            while take(store, org, units).await > 0 {
                kept += units;
            }
        }
        assert!(kept <= most, "{kept} of {most}");
    }
}

/// Of an acceptance whose outcome nobody knows, nothing comes back: the job may be there.
#[tokio::test]
async fn what_may_have_been_accepted_stays_taken() {
    let (_origin, database, rig) = three_emails_a_day().await;
    let owner = rig.owner("pro").await;
    database.inject("TransactWriteItems", Fault::LoseReply(u32::MAX));
    for _ in 0..2 {
        assert_eq!(send(&rig, &owner, json!(owner.email), None).await.status, 503);
    }
    database.inject("TransactWriteItems", Fault::LoseReply(0));
    while send(&rig, &owner, json!(owner.email), None).await.status == 202 {}
    let listed = rig.api.get(&owner, "/jobs?limit=100").await;
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 3, "{}", listed.text);
}
