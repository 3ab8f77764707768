//! What is due is dealt with, whatever stands beside it in the index.

use super::deadlines::world;
use super::rig::Rig;
use crate::api::Actor;
use crate::faults::{Fault, FaultyDatabase};
use serde_json::{Value, json};
use shared::model::job::{Claim, JobRecord, UsageDelta};
use shared::model::time::Moment;
use shared::store::jobs::{Advance, Change};
use shared::store::keys::{DUE_SHARDS, Key, due_shard};
use std::time::Duration;

async fn analysis(rig: &Rig, owner: &Actor) -> String {
    rig.accepted(owner, "/analyze", json!({"text": "a text"})).await
}

async fn record(rig: &Rig, owner: &Actor, id: &str) -> JobRecord {
    rig.system.context().store().job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap()
}

/// All entries of the index, whenever they are due.
async fn entries(rig: &Rig) -> usize {
    let mut count = 0;
    for shard in 0..DUE_SHARDS {
        let ever = Moment::from_millis(9_999_999_999_999);
        count += rig.system.context().store().due_jobs(shard, ever, 1_000, None).await.unwrap().due.len();
    }
    count
}

async fn before(rig: &Rig) -> FaultyDatabase {
    FaultyDatabase::before(&rig.system.database_url()).await
}

fn table(rig: &Rig) -> &str {
    &rig.system.context().config().table_name
}

/// A record that only another version can read, as after a rollback.
#[tokio::test]
async fn a_job_that_cannot_be_read_holds_up_no_other() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(analysis(&rig, &owner).await);
    }
    rig.deliver_all().await;
    for _ in 0..40 {
        ids.push(analysis(&rig, &owner).await);
    }
    for strange in [&ids[0], &ids[40]] {
        let Key { pk, sk } = Key::job(owner.org_id.parse().unwrap(), strange.parse().unwrap());
        let update = json!({"TableName": table(&rig), "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": "SET kind = :kind", "ExpressionAttributeValues": {":kind": {"S": "export"}}});
        before(&rig).await.call("UpdateItem", &update).await;
    }
    rig.system.clock().jump(Duration::from_secs(60));
    let swept = rig.sweep_once().await;
    assert_eq!((swept.queued, swept.left), (39, 1));
    let (mut listed, mut next) = (Vec::new(), Some("/jobs?limit=10".to_owned()));
    while let Some(path) = next {
        let page = rig.api.get(&owner, &path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        listed.extend(page.body["data"].as_array().unwrap().clone());
        next = page.body["next_cursor"].as_str().map(|cursor| format!("/jobs?limit=10&cursor={cursor}"));
    }
    assert_eq!(listed.len(), 78, "all that can be read");
}

/// Entries that no job points to: a page full of them stands before one that is due.
#[tokio::test]
async fn orphans_of_the_index_are_passed_and_then_removed() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let id = analysis(&rig, &owner).await;
    let job = record(&rig, &owner, &id).await;
    let now = rig.system.context().now().as_millis();
    let database = before(&rig).await;
    for number in 0..150 {
        let Key { pk, sk } = Key::due(due_shard(job.job_id), job.job_id, Moment::from_millis(now - 300_000 + number));
        let item = json!({"pk": {"S": pk}, "sk": {"S": sk}, "org_id": {"S": owner.org_id}});
        database.call("PutItem", &json!({"TableName": table(&rig), "Item": item})).await;
    }
    rig.system.clock().jump(Duration::from_secs(60));
    assert_eq!(rig.sweep_once().await.queued, 1, "the job behind them");
    assert_eq!(entries(&rig).await, 151, "somebody may be just moving them");
    rig.system.clock().jump(Duration::from_secs(3_600));
    rig.sweep_once().await;
    assert_eq!(entries(&rig).await, 1, "that of the job itself");
    rig.deliver_all().await;
    assert_eq!((rig.job(&owner, &id).await["state"].as_str(), entries(&rig).await), (Some("succeeded"), 0));
}

/// There may be more shards in a later version: a job's entry stays where it is, and is found there.
#[tokio::test]
async fn an_entry_stays_in_the_shard_that_its_job_names() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let id = analysis(&rig, &owner).await;
    let job = record(&rig, &owner, &id).await;
    let other = (due_shard(job.job_id) + 5) % DUE_SHARDS;
    let moved = JobRecord { due_shard: Some(other), ..job.due(rig.system.context().now()) };
    let store = rig.system.context().store();
    assert_eq!(store.advance_job(&job, &moved, &Default::default(), None).await.unwrap(), Advance::Done);
    rig.system.clock().jump(Duration::from_secs(1));
    assert_eq!(rig.sweep_once().await.queued, 1);
    assert_eq!(entries(&rig).await, 1);
    rig.deliver_all().await;
    let job: Value = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), entries(&rig).await), (Some("succeeded"), 0));
}

/// How many jobs are live while the shards are doubled; in full 2,000 (`CITIZEN_DUE_JOBS=2000`).
fn live_jobs() -> usize {
    std::env::var("CITIZEN_DUE_JOBS").ok().and_then(|count| count.parse().ok()).unwrap_or(100)
}

/// A version with half as many shards accepted them, and one that this version cannot read is the oldest in each of its shards.
#[tokio::test]
async fn when_the_shards_were_doubled_all_is_swept_beside_what_cannot_be_read() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let (store, database) = (rig.system.context().store(), before(&rig).await);
    let shards_before = DUE_SHARDS / 2;
    let mut live = Vec::new();
    for number in 0..live_jobs() {
        let id = analysis(&rig, &owner).await;
        let job = record(&rig, &owner, &id).await;
        let shard = u8::try_from(number % usize::from(shards_before)).unwrap();
        let of_before =
            JobRecord { due_shard: Some(shard), ..job.due(job.due_at.unwrap().plus(Duration::from_millis(1))) };
        assert_eq!(store.advance_job(&job, &of_before, &Default::default(), None).await.unwrap(), Advance::Done);
        if number >= usize::from(shards_before) {
            live.push(id);
            continue;
        }
        let Key { pk, sk } = Key::job(job.org_id, job.job_id);
        let update = json!({"TableName": table(&rig), "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": "SET kind = :kind", "ExpressionAttributeValues": {":kind": {"S": "export"}}});
        database.call("UpdateItem", &update).await;
    }
    let mut queued = 0;
    for _ in 0..2 {
        rig.system.clock().jump(Duration::from_secs(60));
        let swept = rig.sweep_within(Duration::from_secs(55)).await;
        assert_eq!((swept.ended, swept.left), (0, u64::from(shards_before)));
        queued += swept.queued;
    }
    assert_eq!(queued, live.len() as u64, "within two minutes, once each");
    rig.deliver_all().await;
    for id in &live {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
    assert_eq!(entries(&rig).await, usize::from(shards_before), "those that cannot be read");
}

/// Nobody takes jobs off the queue for a day: each has three messages there, and not one for each minute.
#[tokio::test]
async fn a_backlog_of_a_day_has_three_messages_of_each_job() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    for _ in 0..20 {
        analysis(&rig, &owner).await;
    }
    for minutes in [1, 9, 10, 20, 60, 120, 300, 420, 495] {
        rig.system.clock().jump(Duration::from_secs(minutes * 60));
        rig.sweep_once().await;
    }
    assert_eq!(rig.visible(), 3 * 20);
    rig.deliver_all().await;
    let used = rig.usage(&owner).await;
    assert_eq!((used["analyses"]["used"].as_u64(), entries(&rig).await), (Some(20), 0));
}

/// An e-mail whose worker died while it handed it over: the sweeper ends it.
async fn died_while_sending(rig: &Rig, owner: &Actor) -> String {
    let id = rig.accepted(owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    let context = rig.system.context();
    let sending = |job: &JobRecord| match job.claim(context.now()) {
        Claim::Run(mine) => Ok(Change::to((mine.sending(), UsageDelta::default()), ())),
        other => panic!("{other:?}"),
    };
    context.store().change_job(owner.org_id.parse().unwrap(), id.parse().unwrap(), sending).await.unwrap();
    rig.time_passes(owner, &id).await;
    id
}

/// Reads go well, and writes fail: a sweep sends a message once, also where it goes on because of what it cannot end.
#[tokio::test]
async fn what_was_sent_is_not_sent_again_because_it_was_not_noted() {
    let (_origin, database, _providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let id = analysis(&rig, &owner).await;
    rig.time_passes(&owner, &id).await;
    let before = rig.visible();
    database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    let swept = rig.sweep_within(Duration::from_secs(55)).await;
    assert_eq!((swept.queued, swept.left, rig.visible()), (1, 1, before + 1));
    database.release("TransactWriteItems");

    died_while_sending(&rig, &owner).await;
    let before = rig.visible();
    database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    let swept = rig.sweep_within(Duration::from_secs(20)).await;
    assert_eq!((swept.queued, swept.ended, swept.left, rig.visible()), (1, 0, 2, before + 1));
    database.release("TransactWriteItems");
    assert_eq!(rig.sweep_once().await.ended, 1, "all of it is dealt with when writes go well");
}
