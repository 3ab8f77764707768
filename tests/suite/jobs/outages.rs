//! A worker that takes nothing off its queue: its function does not start, is throttled, or rests. None of our code sees a message meanwhile,
//! and each is received again and again.

use super::rig::Rig;
use crate::api::Actor;
use local::names::DEAD_LETTER_QUEUE;
use local::operator::dead_letters::{Letters, apply_dead_letters};
use local::sqs::Draft;
use reqwest::Method;
use serde_json::json;
use shared::model::job::{Claim, JobKind, JobRecord, UsageDelta};
use shared::store::jobs::Change;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// How long a message is hidden once it is received.
const HIDDEN: Duration = Duration::from_secs(360);

async fn analysis(rig: &Rig, owner: &Actor) -> String {
    rig.accepted(owner, "/analyze", json!({"text": "a text"})).await
}

/// All workers are away for so many hours. The sweeper looks each minute at first, when it sends messages anew, and then each hour.
async fn workers_are_away(rig: &Rig, hours: u32) {
    for round in 0..hours * 10 {
        for kind in JobKind::ALL {
            rig.system.context().queue(kind).unwrap().receive(HIDDEN, Duration::ZERO).await.unwrap();
        }
        for _ in 0..6 {
            rig.system.clock().jump(MINUTE);
            if round < 3 {
                rig.sweep_once().await;
            }
        }
        if round % 10 == 0 {
            rig.sweep_once().await;
        }
    }
}

/// An hour, and most of a day.
#[tokio::test]
async fn what_waited_for_a_worker_is_done_ten_minutes_after_its_return() {
    for hours in [1, 22] {
        let rig = Rig::new().await;
        let owner = rig.owner("free").await;
        let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
        let ids = [analysis(&rig, &owner).await, rig.accepted(&owner, "/send-email", letter).await];
        let forgot = Some(json!({"email": owner.email}));
        let asked = rig.api.elsewhere().call(None, Method::POST, "/auth/forgot-password", forgot).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        workers_are_away(&rig, hours).await;
        assert!(rig.account_mail() > 0 && rig.dead_letters() == 0, "after {hours} hours");
        for _ in 0..10 {
            rig.system.clock().jump(MINUTE);
            rig.sweep_once().await;
            rig.deliver_all().await;
            rig.deliver_account_mail().await;
        }
        for id in &ids {
            assert_eq!(rig.job(&owner, id).await["state"], "succeeded", "after {hours} hours");
        }
        assert_eq!((rig.account_mail(), rig.dead_letters()), (0, 0), "after {hours} hours");
    }
}

/// A worker takes a job and says nothing more of it.
async fn claims(rig: &Rig, owner: &Actor, id: &str) {
    let context = rig.system.context();
    let claim = |job: &JobRecord| match job.claim(context.now()) {
        Claim::Run(mine) => Ok(Change::to((*mine, UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    context.store().change_job(owner.org_id.parse().unwrap(), id.parse().unwrap(), claim).await.unwrap();
}

/// A worker was away for longer than messages are received. Whatever waits gets another one, and each job one: one that waits, and one whose
/// run died. A run that lives needs none.
#[tokio::test]
async fn a_letter_of_a_job_that_waits_gives_it_another_message() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let (waits, dead, lives) =
        (analysis(&rig, &owner).await, analysis(&rig, &owner).await, analysis(&rig, &owner).await);
    let queue = rig.system.context().queue(JobKind::Analyze).unwrap();
    for lost in queue.receive(HIDDEN, Duration::ZERO).await.unwrap() {
        queue.delete(&lost.receipt_handle).await.unwrap();
    }
    claims(&rig, &owner, &dead).await;
    rig.time_passes(&owner, &dead).await;
    claims(&rig, &owner, &lives).await;
    for id in [&waits, &waits, &dead, &lives] {
        let body = json!({"org_id": owner.org_id, "job_id": id}).to_string();
        rig.system.sqs().send(DEAD_LETTER_QUEUE, Draft { message_body: body, ..Draft::default() }).unwrap();
    }
    let url = rig.system.sqs().queue_url(DEAD_LETTER_QUEUE);
    let letters = apply_dead_letters(rig.system.context(), &url).await.unwrap();
    assert_eq!(letters, Letters { queued: 2, not_needed: 2, ..Letters::default() });
    assert_eq!((rig.visible(), rig.dead_letters()), (2, 0));
    rig.deliver_all().await;
    for id in [&waits, &dead] {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
}
