//! `POST /jobs/{job_id}/cancel`.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::{Actor, Reply};
use reqwest::Method;
use serde_json::json;
use shared::model::job::{Claim, JobRecord, UsageDelta};
use shared::model::limiter::{Provider, Rate};
use shared::store::jobs::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Cancels a job once its provider has been called, and then has the provider answer.
async fn cancelled_once(rig: &Rig, owner: &Actor, id: &str, is_called: impl Fn() -> bool, told: &Notify) -> Reply {
    while !is_called() {
        tokio::task::yield_now().await;
    }
    let reply = rig.api.call(Some(owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    told.notify_one();
    reply
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_its_message_does_nothing() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.05"})).await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    let cancelled = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    assert_eq!((cancelled.status, cancelled.body["state"].as_str()), (200, Some("cancelled")), "{}", cancelled.text);
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 0, "it never ran: its place is free again");
    let delivery = rig.deliver().await;
    assert_eq!((delivery.deleted.len(), providers.analyses().len()), (1, 0));
    assert_eq!(rig.job(&owner, &id).await["state"], "cancelled");
    let again = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    again.is_problem(409, "job_ended");
    // What it held of the budget is free again: one run of this model needs more than half of it.
    rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
}

#[tokio::test]
async fn a_running_job_takes_no_effect_but_costs_what_it_cost() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::Hold(told.clone())]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    let cancel = cancelled_once(&rig, &owner, &id, || !providers.analyses().is_empty(), &told);
    let (delivery, reply) = tokio::join!(rig.deliver(), cancel);
    assert_eq!((reply.status, reply.body["state"].as_str()), (202, Some("running")), "{}", reply.text);
    assert_eq!(delivery.deleted.len(), 1);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job.get("result")), (Some("cancelled"), None), "{job}");
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0.0045", "the provider is paid all the same");
}

/// An e-mail that was handed over cannot be called back; one that was not is not sent.
#[tokio::test]
async fn an_email_on_its_way_cannot_be_cancelled() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::Hold(told.clone())]);
    let id = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    let cancel = cancelled_once(&rig, &owner, &id, || !providers.emails().is_empty(), &told);
    let (_, reply) = tokio::join!(rig.deliver(), cancel);
    reply.is_problem(409, "job_ended");
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");

    let id = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    let reply = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    assert_eq!(reply.status, 200);
    rig.deliver().await;
    assert_eq!(providers.emails().len(), 1, "the cancelled one was not sent");
}

/// Whatever else changes a job between its claim and its effect: only whoever asks for it cancels it.
#[tokio::test]
async fn another_change_of_a_claimed_job_does_not_cancel_it() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let context = rig.system.context();
    let (store, org) = (context.store(), owner.org_id.parse().unwrap());
    for is_cancelled in [false, true] {
        let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
        let id = rig.accepted(&owner, "/send-email", letter).await;
        let claim = |job: &JobRecord| match job.claim(context.now()) {
            Claim::Run(mine) => Ok(Change::to((*mine, Default::default()), ())),
            other => panic!("{other:?}"),
        };
        let (mine, ()) = store.change_job(org, id.parse().unwrap(), claim).await.unwrap();
        let later = |job: &JobRecord| {
            let at = job.due_at.unwrap().plus(Duration::from_secs(1));
            Ok(Change::to((job.due(at), Default::default()), ()))
        };
        store.change_job(org, mine.job_id, later).await.unwrap();
        if is_cancelled {
            let reply = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
            assert_eq!(reply.status, 202, "{}", reply.text);
        }
        let noted = worker::note_effect(context, mine).await.unwrap();
        assert_eq!(noted.is_none(), is_cancelled);
        let (state, attempts) = if is_cancelled { ("cancelled", 0) } else { ("running", 1) };
        let job = rig.job(&owner, &id).await;
        assert_eq!((&job["state"], &job["attempts"]), (&json!(state), &json!(attempts)));
    }
    assert_eq!(rig.usage(&owner).await["emails"]["used"], 1, "the cancelled one was never run");
}

/// Its provider refuses it, so that is no run; what it took of the month comes back.
#[tokio::test]
async fn a_job_that_is_cancelled_while_it_is_refused_was_never_run() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::HoldThenRefuse(told.clone(), 529)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    let cancel = cancelled_once(&rig, &owner, &id, || !providers.analyses().is_empty(), &told);
    let (_, reply) = tokio::join!(rig.deliver(), cancel);
    assert_eq!(reply.status, 202, "{}", reply.text);
    let job = rig.job(&owner, &id).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("cancelled"), &json!(0)), "{job}");
    let usage = rig.usage(&owner).await;
    assert_eq!((&usage["analyses"]["used"], &usage["cost_usd"]), (&json!(0), &json!("0")), "{usage}");
}

/// The id of an analysis whose worker died. The month's budget has room for two runs, and for no third.
async fn dead_run(rig: &Rig, owner: &Actor) -> String {
    rig.settings(owner, json!({"monthly_budget_usd": "0.08"})).await;
    let id = rig.accepted(owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    let context = rig.system.context();
    let claim = |job: &JobRecord| match job.claim(context.now()) {
        Claim::Run(mine) => Ok(Change::to((*mine, UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    context.store().change_job(owner.org_id.parse().unwrap(), id.parse().unwrap(), claim).await.unwrap();
    rig.time_passes(owner, &id).await;
    id
}

/// Nothing comes of it any more, so nothing is waited for, also where its worker stays away. Its run may have cost all that it held.
#[tokio::test]
async fn a_job_whose_run_died_is_cancelled_at_once() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = dead_run(&rig, &owner).await;
    let cancelled = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    assert_eq!((cancelled.status, cancelled.body["state"].as_str()), (200, Some("cancelled")), "{}", cancelled.text);
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0.031518");
    rig.deliver_all().await;
    assert_eq!(providers.analyses().len(), 0);
}

/// It is queued again, says until when it waits and why, and what it holds comes back when it is cancelled.
#[tokio::test]
async fn a_job_whose_run_died_waits_for_its_turn_like_any_other() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = dead_run(&rig, &owner).await;
    let (store, now) = (rig.system.context().store(), rig.system.context().now());
    let stored = store.job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
    let (model, rate) = (Provider::of_model(&stored.model.unwrap()), Rate::of(60_000, Duration::from_secs(60)));
    store.empty_bucket(&model, rate, now.plus(Duration::from_secs(3 * 3_600))).await.unwrap();
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    let job = rig.job(&owner, &id).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("queued"), &json!(1)), "{job}");
    assert_eq!((job["not_before"].is_string(), &job["waiting_for"]["code"]), (true, &json!("turn")), "{job}");
    let another = || rig.api.post(&owner, "/analyze", json!({"text": "a text", "model": MODEL}));
    another().await.is_problem(402, "budget_exceeded");
    let cancelled = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
    assert_eq!((cancelled.status, cancelled.body["state"].as_str()), (200, Some("cancelled")), "{}", cancelled.text);
    assert_eq!(another().await.status, 202);
}
