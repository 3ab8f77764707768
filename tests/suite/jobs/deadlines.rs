//! The time of an invocation: no call begins that might not end in it, and what a call gave is written until its last second.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::Actor;
use crate::faults::{Fault, FaultyDatabase};
use crate::workers::Workers;
use local::{Clock, Options, System};
use serde_json::json;
use shared::model::job::{Claim, JobRecord, UsageDelta, WaitingFor};
use shared::model::limiter::Provider;
use shared::store::jobs::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A model's run may cost 0.0315 dollars and a little: such a day has room for three.
const DAY_OF_THREE_RUNS: [(&str, &str); 2] = [("DOLLARS_PER_DAY", "0.10"), ("CAP_SHARES", "100,100,100")];

/// A rig over a database that can fail. The first system has the database itself.
pub(crate) async fn world() -> (System, FaultyDatabase, Providers, Rig) {
    world_with([]).await
}

/// The same with these variables too.
async fn world_with<const N: usize>(
    variables: [(&'static str, &'static str); N],
) -> (System, FaultyDatabase, Providers, Rig) {
    let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&origin.database_url()).await;
    let providers = Providers::start().await;
    let environment = providers.environment().into_iter().chain([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]);
    let environment = environment.chain(variables.map(|(name, value)| (name, value.to_owned())));
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, ..Options::ephemeral() }).await;
    (origin, database, providers, rig)
}

#[tokio::test]
async fn a_result_is_written_as_soon_as_the_database_lets_it() {
    let (_origin, database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::Hold(told.clone())]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let meanwhile = async {
        while providers.analyses().is_empty() {
            tokio::task::yield_now().await;
        }
        // More than one write's own tries.
        database.inject("TransactWriteItems", Fault::Conflict(20));
        told.notify_one();
    };
    let (delivery, ()) = tokio::join!(rig.deliver(), meanwhile);
    assert_eq!(delivery.deleted.len(), 1);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    assert_eq!((providers.analyses().len(), rig.usage(&owner).await["cost_usd"].as_str()), (1, Some("0.0045")));
}

/// The next run is taken of the operator's day once, however often it is asked whether the outcome is written.
#[tokio::test]
async fn an_outcome_that_the_database_fails_to_write_takes_of_the_day_once() {
    let (_origin, database, providers, rig) = world_with(DAY_OF_THREE_RUNS).await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::HoldThenRefuse(told.clone(), 500)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let meanwhile = async {
        while providers.analyses().is_empty() {
            tokio::task::yield_now().await;
        }
        // One write's own tries.
        database.inject("TransactWriteItems", Fault::Fail(3));
        told.notify_one();
    };
    let (_, ()) = tokio::join!(rig.deliver(), meanwhile);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(1)), "{job}");
    has_room_for_one_run(&rig, &owner).await;
}

/// So it is where a job whose run died waits for its turn.
#[tokio::test]
async fn a_wait_that_the_database_fails_to_write_takes_of_the_day_once() {
    let (_origin, database, _providers, rig) = world_with(DAY_OF_THREE_RUNS).await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let context = rig.system.context();
    let claim = |job: &JobRecord| match job.claim(context.now()) {
        Claim::Run(mine) => Ok(Change::to((*mine, UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    context.store().change_job(owner.org_id.parse().unwrap(), id.parse().unwrap(), claim).await.unwrap();
    rig.time_passes(&owner, &id).await;
    let (provider, why) = (Provider::of_model(MODEL), WaitingFor::new("provider_overloaded", "why"));
    let until = context.now().plus(Duration::from_secs(600));
    assert!(context.store().open_breaker(&provider, 1, until, &why).await.unwrap());
    database.inject("TransactWriteItems", Fault::Fail(3));
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    let waits = (job["state"].as_str(), job["waiting_for"]["code"].as_str());
    assert_eq!(waits, (Some("queued"), Some("provider_overloaded")), "{job}");
    has_room_for_one_run(&rig, &owner).await;
}

/// Of a day's three runs one is left.
async fn has_room_for_one_run(rig: &Rig, owner: &Actor) {
    let analysis = json!({"text": "a", "model": MODEL});
    rig.accepted(owner, "/analyze", analysis.clone()).await;
    rig.api.post(owner, "/analyze", analysis).await.is_problem(429, "operator_cap_reached");
}

/// The claim takes time too: what is left after it may be too short.
#[tokio::test]
async fn no_call_begins_that_might_not_end_in_time() {
    let (_origin, database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let mail = json!({"to": owner.email, "subject": "s", "text": "t"});
    for (worker, path, body, call_seconds) in [
        ("analysis-worker", "/analyze", json!({"text": "a", "model": MODEL}), 40),
        ("email-worker", "/send-email", mail, 15),
    ] {
        let id = rig.accepted(&owner, path, body).await;
        let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none", "attributes": {},
            "body": json!({"org_id": owner.org_id, "job_id": id}).to_string()}]});
        database.inject("TransactWriteItems", Fault::Delay(1, Duration::from_millis(1_200)));
        let deadline = rig.system.context().now().plus(Duration::from_secs(call_seconds + 4));
        let deadline = u64::try_from(deadline.as_millis()).unwrap();
        let returned = Workers::of(&rig.system).returned(worker, &event.to_string(), deadline).await;
        assert_eq!(returned, ["m"], "{worker}: it comes again");
        let job = rig.job(&owner, &id).await;
        assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(0)), "{worker}: {job}");
    }
    assert_eq!((providers.analyses().len(), providers.emails().len()), (0, 0));
    rig.drain().await;
    assert_eq!((providers.analyses().len(), providers.emails().len()), (1, 1));
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0.0045");
}

/// So does reading the model provider's key, where an environment is new.
#[tokio::test]
async fn no_call_begins_whose_key_has_taken_its_time() {
    let providers = Providers::start().await;
    let environment = providers.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, clock: Clock::stopped(), ..Options::ephemeral() }).await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none", "attributes": {},
        "body": json!({"org_id": owner.org_id, "job_id": id}).to_string()}]});
    providers.key_takes(Duration::from_secs(3), rig.system.clock());
    let deadline = rig.system.context().now().plus(Duration::from_secs(44));
    let deadline = u64::try_from(deadline.as_millis()).unwrap();
    let returned = Workers::of(&rig.system).returned("analysis-worker", &event.to_string(), deadline).await;
    assert_eq!((returned, providers.analyses().len()), (vec!["m".to_owned()], 0), "it comes again");
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(0)), "{job}");
    rig.drain().await;
    assert_eq!((rig.job(&owner, &id).await["state"].as_str(), providers.analyses().len()), (Some("succeeded"), 1));
}

/// Nor do its receives add up until it is buried.
#[tokio::test]
async fn a_message_that_there_is_no_time_for_is_not_buried() {
    let (_origin, _database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    let before = rig.visible();
    let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none", "attributes": {"ApproximateReceiveCount": "5"},
        "body": json!({"org_id": owner.org_id, "job_id": id}).to_string()}]});
    let deadline = u64::try_from(rig.system.context().now().plus(Duration::from_secs(5)).as_millis()).unwrap();
    let returned = Workers::of(&rig.system).returned("email-worker", &event.to_string(), deadline).await;
    assert!(returned.is_empty(), "{returned:?}");
    rig.system.clock().jump(Duration::from_secs(2));
    assert_eq!((rig.visible(), rig.dead_letters()), (before + 1, 0), "another one is there, at once");
    rig.deliver_all().await;
    assert_eq!((rig.job(&owner, &id).await["state"].as_str(), providers.emails().len()), (Some("succeeded"), 1));
}

/// A run that could not even read what it works on has cost nothing.
#[tokio::test]
async fn a_run_that_could_not_begin_is_none() {
    let (_origin, database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    database.inject("BatchGetItem", Fault::Throttle(1_000));
    rig.deliver().await;
    database.release("BatchGetItem");
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(0)), "{job}");
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    assert_eq!((providers.analyses().len(), rig.usage(&owner).await["cost_usd"].as_str()), (1, Some("0.0045")));
}

/// The dead-letter queue is for what cannot be read, not for what the database was away for: a message of it is counted anew.
#[tokio::test]
async fn a_message_whose_job_was_never_read_is_not_buried() {
    let (_origin, database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let before = rig.visible();
    database.inject("GetItem", Fault::Throttle(1_000));
    let now = rig.system.context().now();
    let deadline = u64::try_from(now.plus(Duration::from_secs(60)).as_millis()).unwrap();
    for (receives, returns) in [(4, 1), (5, 0)] {
        let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none",
            "attributes": {"ApproximateReceiveCount": receives.to_string()},
            "body": json!({"org_id": owner.org_id, "job_id": id}).to_string()}]});
        let returned = Workers::of(&rig.system).returned("analysis-worker", &event.to_string(), deadline).await;
        assert_eq!(returned.len(), returns, "after {receives} receives");
    }
    rig.system.clock().jump(Duration::from_secs(400));
    assert_eq!(rig.visible(), before + 1, "another one is there");
    database.release("GetItem");
    rig.deliver_all().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    assert_eq!((providers.analyses().len(), rig.dead_letters()), (1, 0));
}

/// All three replies to it are lost: whether it is written is asked until that is known. The run that nobody began would be charged.
#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_no_run() {
    one_run_despite(Fault::LoseReply(3)).await;
}

/// So it is where the database has no units left for the first question.
#[tokio::test]
async fn a_claim_that_is_asked_for_while_units_are_short_is_no_run() {
    one_run_despite(Fault::StarveAfterLostReplies(3)).await;
}

/// A job whose claim meets a fault is run once, and charged once.
async fn one_run_despite(fault: Fault) {
    let (_origin, database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    database.inject("TransactWriteItems", fault);
    rig.deliver().await;
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    assert_eq!((providers.analyses().len(), rig.usage(&owner).await["cost_usd"].as_str()), (1, Some("0.0045")));
}
