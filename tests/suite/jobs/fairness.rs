//! One organization floods the queue: the others hardly notice. Counted in turns, not in time.

use super::rig::Rig;
use local::names::queue_of;
use local::sqs::Poll;
use serde_json::json;
use shared::ids::{JobId, OrgId};
use shared::jobs::JobMessage;
use shared::model::job::{JobKind, JobRecord};
use std::collections::HashMap;

/// What the template's worker takes at a time: ten batches of ten.
const TURNS_PER_TICK: usize = 100;
const TICKS: usize = 15;
/// Others than the one that floods; each sends one job a tick, so that they use 60% of the worker.
const OTHERS: usize = 60;

/// How many turns each job of the others waited, in the middle of all of them.
async fn median_wait(flood: usize) -> usize {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text"})).await;
    let context = rig.system.context();
    let base = context.store().job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
    rig.deliver_all().await;

    let queue = context.queue(JobKind::Analyze).unwrap();
    let job = |org_id: OrgId| JobRecord { org_id, job_id: JobId::new(), ..base.clone() };
    let noisy = OrgId::new();
    let flood: Vec<_> = (0..flood).map(|_| JobMessage::of(&job(noisy))).collect();
    assert!(queue.send_batch(&flood).await.iter().all(Result::is_ok));
    let others: Vec<OrgId> = (0..OTHERS).map(|_| OrgId::new()).collect();
    let (mut sent_at, mut waits) = (HashMap::new(), Vec::new());
    for tick in 0..TICKS {
        let jobs: Vec<_> = others.iter().map(|org| job(*org)).collect();
        sent_at.extend(jobs.iter().map(|job| (job.job_id, tick * TURNS_PER_TICK)));
        let messages: Vec<_> = jobs.iter().map(JobMessage::of).collect();
        assert!(queue.send_batch(&messages).await.iter().all(Result::is_ok));
        for turn in 0..TURNS_PER_TICK {
            let poll = Poll { max: 1, visibility_seconds: None, wait_seconds: Some(0) };
            for message in rig.system.sqs().receive(queue_of(JobKind::Analyze), poll).await.unwrap() {
                rig.system.sqs().delete(queue_of(JobKind::Analyze), &message.receipt_handle).unwrap();
                let message: JobMessage = serde_json::from_str(&message.body).unwrap();
                if let Some(sent) = sent_at.get(&message.job_id) {
                    waits.push(tick * TURNS_PER_TICK + turn - sent);
                }
            }
        }
    }
    assert_eq!(waits.len(), TICKS * OTHERS, "all of the others' jobs had their turn");
    waits.sort_unstable();
    waits[waits.len() / 2]
}

#[tokio::test]
async fn a_flood_adds_at_most_a_fifth_to_anothers_median_wait() {
    let (alone, flooded) = (median_wait(0).await, median_wait(3_000).await);
    assert!(alone > 0 && flooded * 5 <= alone * 6, "{alone} turns alone, {flooded} beside a flood");
}
