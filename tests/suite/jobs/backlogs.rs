//! The backlog of an organization at a provider: what calls nobody takes no turn in it. Time is virtual.

use super::provider_rates::{MINUTE, SECOND, analyses, pass, rig_of};
use super::providers::Providers;
use super::rig::Rig;
use crate::api::Actor;
use crate::faults::{Fault, FaultyDatabase};
use local::{Clock, Options, System};
use reqwest::Method;
use shared::jobs::JobMessage;
use shared::model::job::{JobKind, JobRecord, JobState};
use shared::model::limiter::{Provider, Rate};
use shared::model::time::Moment;
use std::time::Duration;

async fn record(rig: &Rig, owner: &Actor, id: &str) -> JobRecord {
    rig.system.context().store().job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap()
}

/// A rig whose model takes one analysis a minute, an owner, and an hour's jobs of theirs, which wait for their turns.
async fn an_hours_backlog(providers: &Providers) -> (Rig, Actor, Vec<String>) {
    let rig = rig_of(providers, 1, 14).await;
    let owner = rig.owner("pro").await;
    let ids = analyses(&rig, &owner, 60).await;
    rig.deliver_all().await;
    (rig, owner, ids)
}

/// Whoever sent the wrong ones, cancels them and sends the right ones, does not wait for calls that nobody makes.
#[tokio::test]
async fn a_cancelled_backlog_holds_up_nobody() {
    let providers = Providers::start().await;
    let (rig, owner, wrong) = an_hours_backlog(&providers).await;
    let mut cancelled = 0;
    for id in &wrong {
        let reply = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
        cancelled += usize::from(reply.status == 200);
    }
    assert_eq!((cancelled, providers.analyses().len()), (59, 1));
    analyses(&rig, &owner, 5).await;
    let took = pass(&rig, 5 * SECOND, 10 * MINUTE, async || providers.analyses().len() == 6).await;
    assert!(took <= 7 * MINUTE, "{took:?}");
}

/// The provider takes sixty times as many from now on: whoever comes then waits a sixtieth.
#[tokio::test]
async fn a_raised_rate_shortens_a_backlog() {
    let providers = Providers::start().await;
    let (rig, owner, before) = an_hours_backlog(&providers).await;
    let model = Provider::of_model(&record(&rig, &owner, &before[0]).await.model.unwrap());
    rig.system.context().store().note_rate(&model, Rate::of(60, MINUTE)).await.unwrap();
    let ids = analyses(&rig, &owner, 5).await;
    let all_are_done = async || {
        for id in &ids {
            if record(&rig, &owner, id).await.state != JobState::Succeeded {
                return false;
            }
        }
        true
    };
    let took = pass(&rig, SECOND, 10 * MINUTE, all_are_done).await;
    assert!(took <= 5 * MINUTE, "{took:?}");
}

/// Messages of a job that come at once ask for a place each, and the job has one.
#[tokio::test]
async fn several_messages_of_a_job_take_one_place() {
    let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&origin.database_url()).await;
    let providers = Providers::start().await;
    let others = [("ANALYSES_PER_MINUTE", "1".to_owned()), ("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())];
    let environment = providers.environment().into_iter().chain(others);
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, clock: Clock::stopped(), ..Options::ephemeral() }).await;
    let owner = rig.owner("pro").await;
    let begin = rig.system.context().now();
    analyses(&rig, &owner, 2).await;
    rig.deliver_all().await;
    let id = analyses(&rig, &owner, 1).await.remove(0);
    let job = record(&rig, &owner, &id).await;
    for _ in 0..2 {
        rig.system.context().queue(JobKind::Analyze).unwrap().send(&JobMessage::of(&job)).await.unwrap();
    }
    // Each has a place before one of them is written.
    database.inject("TransactWriteItems", Fault::Hold);
    let before = database.calls("TransactWriteItems");
    let meanwhile = async {
        while database.calls("TransactWriteItems") < before + 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        database.release("TransactWriteItems");
    };
    tokio::join!(rig.deliver(), meanwhile);
    let next = analyses(&rig, &owner, 1).await.remove(0);
    rig.deliver_all().await;
    let turn = record(&rig, &owner, &next).await.not_before.unwrap();
    assert!(turn <= begin.plus(4 * MINUTE), "{turn:?}, counted from {begin:?}");
}

/// Somebody cancels the first half of a backlog, whose others keep their turns, and cancels these after a job that came later has a call:
/// whoever comes next stands behind that call, and has none beside it.
#[tokio::test]
async fn a_backlog_that_is_cancelled_by_and_by_has_one_call_ahead() {
    let rig = rig_of(&Providers::start().await, 1, 14).await;
    let owner = rig.owner("pro").await;
    let (store, begin) = (rig.system.context().store(), rig.system.context().now());
    let job = record(&rig, &owner, &analyses(&rig, &owner, 1).await[0]).await;
    let model = job.model.as_deref().map(Provider::of_model).unwrap();
    let join = async |next: Moment| {
        store.join_backlog(job.org_id, &model, next, (Rate::of(1, MINUTE), 1), None).await.unwrap()
    };
    assert_eq!(join(begin).await, None, "nobody is before it");
    let mut places = Vec::new();
    for _ in 0..20 {
        places.push(join(begin).await.unwrap());
    }
    for place in &places[..10] {
        store.leave_backlog(&job, *place).await;
    }
    rig.system.clock().jump(12 * MINUTE);
    let call = begin.plus(17 * MINUTE);
    assert_eq!(join(call).await, None, "the backlog is over, though some of it wait");
    assert_eq!(join(call).await.unwrap().turn, call.plus(MINUTE));
    // So much is not there behind the call.
    let large = JobRecord { recipients: 3, ..job.clone() };
    for place in &places[13..] {
        store.leave_backlog(&large, *place).await;
    }
    assert_eq!(join(call).await.map(|place| place.turn), Some(call.plus(MINUTE)));
}

/// However short a backlog becomes by another rate, the call stays that one of its jobs has ahead.
#[tokio::test]
async fn a_raised_rate_leaves_the_call_ahead() {
    let rig = rig_of(&Providers::start().await, 1, 14).await;
    let owner = rig.owner("pro").await;
    let (store, begin) = (rig.system.context().store(), rig.system.context().now());
    let (org, model) = (owner.org_id.parse().unwrap(), Provider::of_model("a model"));
    let call = begin.plus(10 * MINUTE);
    let join = async |calls: u64| {
        store.join_backlog(org, &model, call, (Rate::of(calls, MINUTE), 1), None).await.unwrap().map(|place| place.turn)
    };
    assert_eq!(join(1).await, None, "nobody is before it");
    assert_eq!(join(60).await, Some(call.plus(SECOND)));
    rig.system.clock().jump(MINUTE);
    assert_eq!(join(60).await, Some(call.plus(2 * SECOND)), "it stands behind the one before");
}
