//! The backlog of an organization at a provider: what calls nobody takes no turn in it. Time is virtual.

use super::provider_rates::{MINUTE, SECOND, analyses, pass, rig_of};
use super::providers::Providers;
use super::rig::Rig;
use crate::api::Actor;
use reqwest::Method;
use shared::jobs::JobMessage;
use shared::model::job::{JobKind, JobRecord, JobState};
use shared::model::limiter::{Provider, Rate};

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

/// Who sent the wrong ones, cancels them and sends the right ones, does not wait for calls that nobody makes.
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

/// The provider takes sixty times as many from now on: who comes then waits a sixtieth.
#[tokio::test]
async fn a_raised_rate_shortens_a_backlog() {
    let providers = Providers::start().await;
    let (rig, owner, before) = an_hours_backlog(&providers).await;
    let model = Provider::Model(record(&rig, &owner, &before[0]).await.model.unwrap());
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
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 1, 14).await;
    let owner = rig.owner("pro").await;
    let begin = rig.system.context().now();
    for _ in 0..5 {
        let id = analyses(&rig, &owner, 1).await.remove(0);
        let job = record(&rig, &owner, &id).await;
        for _ in 0..2 {
            rig.system.context().queue(JobKind::Analyze).unwrap().send(&JobMessage::of(&job)).await.unwrap();
        }
    }
    rig.deliver_all().await;
    let next = analyses(&rig, &owner, 1).await.remove(0);
    rig.deliver_all().await;
    let turn = record(&rig, &owner, &next).await.not_before.unwrap();
    assert!(turn <= begin.plus(7 * MINUTE), "{turn:?}, counted from {begin:?}");
}
