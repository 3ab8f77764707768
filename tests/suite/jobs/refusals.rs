//! A provider that says "not now" costs a job time and nothing else, if it says yes within a day.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::Actor;
use crate::faults::{Fault, FaultyDatabase};
use crate::workers::Workers;
use local::{Clock, Options};
use serde_json::{Value, json};
use shared::jobs::JobMessage;
use shared::model::job::{JobKind, WaitingFor};
use shared::model::limiter::Provider;
use std::time::Duration;

async fn analysis(rig: &Rig, owner: &Actor) -> String {
    rig.accepted(owner, "/analyze", json!({"text": "a text", "model": MODEL})).await
}

fn state(job: &Value) -> (Option<&str>, Option<u64>) {
    (job["state"].as_str(), job["attempts"].as_u64())
}

#[tokio::test]
async fn a_refusal_costs_no_run_however_often() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will(vec![Answer::Refuse(429, Some(1)); 3]);
    providers.will(vec![Answer::Refuse(503, None); 9]);
    let id = analysis(&rig, &owner).await;
    let mail = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    rig.drain().await;
    for id in [&id, &mail] {
        let job = rig.job(&owner, id).await;
        assert_eq!(state(&job), (Some("succeeded"), Some(1)), "{job}");
    }
    assert_eq!((providers.analyses().len(), providers.emails().len(), rig.dead_letters()), (1, 1, 0));
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0.0045", "refused calls cost nothing");
}

#[tokio::test]
async fn a_job_that_waits_says_until_when_and_why() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Refuse(429, Some(120))]);
    let id = analysis(&rig, &owner).await;
    let accepted = rig.job(&owner, &id).await;
    assert!(accepted["not_before"].is_null() && accepted["give_up_at"].is_string(), "{accepted}");
    assert_eq!(rig.deliver().await.deleted.len(), 1, "another message comes in its place");
    let job = rig.job(&owner, &id).await;
    assert_eq!(state(&job), (Some("queued"), Some(0)), "{job}");
    assert!(job["not_before"].is_string() && job["started_at"].is_null(), "{job}");
    assert_eq!(job["give_up_at"], accepted["give_up_at"]);
    assert_eq!(job["waiting_for"]["code"], "provider_rate_limited");
    rig.system.clock().jump(Duration::from_secs(119));
    assert_eq!(rig.visible(), 0, "not before");
    rig.system.clock().jump(Duration::from_secs(3));
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(state(&job), (Some("succeeded"), Some(1)), "{job}");
    assert!(job["not_before"].is_null() && job["give_up_at"].is_null() && job["waiting_for"].is_null(), "{job}");
}

/// In a backlog a job has several messages: none of them makes it run before its time.
#[tokio::test]
async fn a_message_before_its_time_does_nothing() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = analysis(&rig, &owner).await;
    let context = rig.system.context();
    let job = context.store().job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
    for answer in [Answer::Refuse(429, Some(60)), Answer::Refuse(500, Some(60))] {
        providers.will([answer]);
        rig.deliver_all().await;
        let waits = rig.job(&owner, &id).await;
        context.queue(JobKind::Analyze).unwrap().send(&JobMessage::of(&job)).await.unwrap();
        assert_eq!(rig.deliver().await.deleted.len(), 1);
        assert_eq!(rig.job(&owner, &id).await, waits, "nobody was asked");
        rig.system.clock().jump(Duration::from_secs(62));
    }
    rig.drain().await;
    assert_eq!(state(&rig.job(&owner, &id).await), (Some("succeeded"), Some(2)));
}

/// Waits that are too long for a hidden message are waited in the index of what is due.
#[tokio::test]
async fn what_is_refused_for_a_day_gives_up_then() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will_always(Answer::Refuse(529, Some(3_600)));
    let id = analysis(&rig, &owner).await;
    rig.deliver().await;
    for hour in 1..=24 {
        let job = rig.job(&owner, &id).await;
        assert_eq!(state(&job), (Some("queued"), Some(0)), "hour {hour}: {job}");
        assert_eq!(rig.visible(), 0);
        rig.system.clock().jump(Duration::from_secs(3_601));
        assert_eq!(rig.sweep_once().await.queued, 1, "hour {hour}");
        rig.deliver().await;
    }
    let job = rig.job(&owner, &id).await;
    assert_eq!(state(&job), (Some("failed"), Some(0)), "{job}");
    assert_eq!(job["error"]["code"], "gave_up");
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0");
}

/// Messages are received without a run too: while the database is away, for example.
#[tokio::test]
async fn receives_are_no_runs() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = analysis(&rig, &owner).await;
    let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none",
        "attributes": {"ApproximateReceiveCount": "5"},
        "body": json!({"org_id": owner.org_id, "job_id": id}).to_string()}]});
    for (answer, attempts) in [(Answer::Refuse(503, None), 0), (Answer::Refuse(500, None), 1)] {
        providers.will([answer]);
        let later = rig.system.context().now().plus(Duration::from_secs(60));
        let deadline = u64::try_from(later.as_millis()).unwrap();
        let returned = Workers::of(&rig.system).returned("analysis-worker", &event.to_string(), deadline).await;
        assert_eq!(returned.len(), 0, "another one is sent, whose receives are counted anew");
        let job = rig.job(&owner, &id).await;
        assert_eq!(state(&job), (Some("queued"), Some(attempts)), "{job}");
        rig.system.clock().jump(Duration::from_secs(10));
    }
    rig.drain().await;
    assert_eq!(state(&rig.job(&owner, &id).await), (Some("succeeded"), Some(2)));
}

/// A probe whose job could not be claimed asked nobody: the next job probes at once, and not when the probe's time is over.
#[tokio::test]
async fn a_probe_that_asked_nobody_keeps_nobody_away() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), database.url.clone())].into();
    let rig = Rig::start(Options { environment, clock: Clock::stopped(), ..Options::ephemeral() }).await;
    let owner = rig.owner("pro").await;
    rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    let (store, now) = (rig.system.context().store(), rig.system.context().now());
    let why = WaitingFor::new("mail_paused", "sending is paused at the mail service");
    assert!(store.open_breaker(&Provider::Mail, 1, now, &why).await.unwrap());
    database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    rig.deliver_of(JobKind::SendEmail).await;
    database.release("TransactWriteItems");
    assert_eq!(store.limiter_record(&Provider::Mail).await.unwrap().open_until, Some(now));
}
