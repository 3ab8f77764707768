//! What jobs work on: written with a job or before it, read by whoever runs it, and missed without harm.

use super::providers::Providers;
use super::rig::{MODEL, Rig};
use crate::api::Actor;
use crate::faults::{Fault, FaultyDatabase};
use local::names::TABLE_NAME;
use local::{Clock, Options};
use serde_json::{Value, json};
use shared::model::job::JobRecord;
use shared::store::keys::Key;
use std::time::Duration;

/// Bytes of the longest text that any plan takes.
const LONGEST: usize = 1_000_000;

/// A text of so many bytes, of which no two pieces are alike.
fn text(bytes: usize) -> String {
    let (mut text, mut number) = (String::new(), 0);
    while text.len() < bytes {
        text.push_str(&format!("Train {number} was late again. "));
        number += 1;
    }
    text.truncate(bytes);
    text
}

/// A system over another one's database, which a test may disturb.
async fn over_a_proxy<const N: usize>(others: [(&str, String); N]) -> (Rig, FaultyDatabase, Rig) {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let proxied = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())];
    let environment = proxied.into_iter().chain(others).map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { clock: Clock::stopped(), environment, ..Options::ephemeral() }).await;
    (origin, database, rig)
}

async fn stored(rig: &Rig, owner: &Actor, id: &str) -> JobRecord {
    let store = rig.system.context().store();
    store.job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap()
}

async fn input(rig: &Rig, owner: &Actor, id: &str) -> String {
    rig.system.context().store().job_input(&stored(rig, owner, id).await).await.unwrap()
}

/// What is on the queues is run, this job too.
async fn succeeds(rig: &Rig, owner: &Actor, id: &str) {
    rig.deliver_all().await;
    let job = rig.job(owner, id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
}

/// The pieces of inputs of an organization's jobs.
async fn pieces_of(database: &FaultyDatabase, owner: &Actor) -> Vec<Value> {
    let prefix = format!("INPUT#{}#", owner.org_id);
    let (mut pieces, mut start) = (Vec::new(), Value::Null);
    loop {
        let mut scan = json!({"TableName": TABLE_NAME, "ConsistentRead": true});
        if !start.is_null() {
            scan["ExclusiveStartKey"] = start;
        }
        let mut page = database.ask("Scan", &scan).await;
        start = page["LastEvaluatedKey"].take();
        let Value::Array(found) = page["Items"].take() else { panic!("no items: {page}") };
        pieces.extend(found.into_iter().filter(|item| item["pk"]["S"].as_str().unwrap().starts_with(&prefix)));
        if start.is_null() {
            return pieces;
        }
    }
}

async fn is_there(database: &FaultyDatabase, Key { pk, sk }: Key) -> bool {
    let get = json!({"TableName": TABLE_NAME, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}, "ConsistentRead": true});
    database.ask("GetItem", &get).await.get("Item").is_some()
}

/// How many pieces of a job's input lie under one key, and how many each under its own.
async fn places(database: &FaultyDatabase, job: &JobRecord) -> (usize, usize) {
    let (mut together, mut apart) = (0, 0);
    for piece in 0..job.input_pieces {
        together += usize::from(is_there(database, Key::job_input(job.org_id, job.job_id, piece)).await);
        apart += usize::from(is_there(database, Key::input_apart(job.org_id, job.job_id, piece)).await);
    }
    (together, apart)
}

#[tokio::test]
async fn a_small_input_is_written_with_its_job_and_a_large_one_before_it() {
    let (_origin, database, rig) = over_a_proxy([]).await;
    let owner = rig.owner("enterprise").await;
    for (bytes, puts) in [(1, 0), (32_000, 0), (32_001, 1), (300_000, 1), (300_001, 2), (LONGEST, 4)] {
        let before = database.calls("PutItem");
        let id = rig.accepted(&owner, "/analyze", json!({"text": text(bytes)})).await;
        assert_eq!(database.calls("PutItem") - before, puts, "{bytes} bytes");
        assert!(input(&rig, &owner, &id).await == text(bytes), "{bytes} bytes");
        succeeds(&rig, &owner, &id).await;
    }
}

/// A version that looks for all pieces under one key would end a job whose pieces lie elsewhere.
#[tokio::test]
async fn pieces_lie_apart_once_every_version_that_serves_looks_for_them_there() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let (owner, spread) = (rig.owner("enterprise").await, rig.owner("enterprise").await);
    rig.spread_if(true, &spread).await;
    for (owner, minutes, expected) in [(&owner, 0, (4, 0)), (&spread, 0, (0, 4)), (&owner, 20, (0, 4))] {
        for _ in 0..minutes {
            rig.system.context().store().note_partitions_known().await.unwrap();
            rig.system.clock().jump(Duration::from_secs(60));
        }
        let id = rig.accepted(owner, "/analyze", json!({"text": text(LONGEST)})).await;
        assert_eq!(places(&database, &stored(&rig, owner, &id).await).await, expected);
        assert!(input(&rig, owner, &id).await == text(LONGEST));
        succeeds(&rig, owner, &id).await;
    }
}

#[tokio::test]
async fn what_was_not_accepted_leaves_an_input_that_expires_and_its_repetition_has_another() {
    let (_origin, database, rig) = over_a_proxy([]).await;
    let owner = rig.owner("enterprise").await;
    let body = json!({"text": text(LONGEST)}).to_string();
    let key = [("idempotency-key", "a-key")];
    database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    let refused = rig.post_with(&owner, "/analyze", &key, &body).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    database.release("TransactWriteItems");
    let listed = rig.api.get(&owner, "/jobs").await;
    assert_eq!(listed.body["data"], json!([]), "{}", listed.text);
    let accepted = rig.post_with(&owner, "/analyze", &key, &body).await;
    assert_eq!((accepted.status, accepted.header("idempotent-replayed")), (202, ""), "{}", accepted.text);
    let pieces = pieces_of(&database, &owner).await;
    assert_eq!(pieces.len(), 8, "four of each");
    let kept = rig.system.context().now().as_millis() / 1_000 + 30 * 24 * 60 * 60;
    for piece in &pieces {
        let ttl: i64 = piece["ttl"]["N"].as_str().unwrap().parse().unwrap();
        assert!((kept - 1..=kept + 1).contains(&ttl), "{ttl}, not {kept}");
    }
    succeeds(&rig, &owner, accepted.body["id"].as_str().unwrap()).await;
}

#[tokio::test]
async fn a_repetition_after_a_lost_reply_leaves_the_first_input_alone() {
    let (_origin, database, rig) = over_a_proxy([]).await;
    let owner = rig.owner("enterprise").await;
    let body = json!({"text": text(LONGEST)}).to_string();
    let key = [("idempotency-key", "a-key")];
    database.inject("TransactWriteItems", Fault::LoseReply(u32::MAX));
    let lost = rig.post_with(&owner, "/analyze", &key, &body).await;
    assert_eq!(lost.status, 503, "{}", lost.text);
    database.release("TransactWriteItems");
    let again = rig.post_with(&owner, "/analyze", &key, &body).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"), "{}", again.text);
    let id = again.body["id"].as_str().unwrap();
    assert!(input(&rig, &owner, id).await == text(LONGEST));
    // Nobody came to send its message.
    rig.time_passes(&owner, id).await;
    assert_eq!(rig.sweep_once().await.queued, 1);
    succeeds(&rig, &owner, id).await;
}

/// A piece may be gone, or be no text.
#[tokio::test]
async fn a_job_whose_input_is_not_whole_ends_at_once() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let owner = rig.owner("enterprise").await;
    for (bytes, harm) in [(10, "DeleteItem"), (LONGEST, "DeleteItem"), (LONGEST, "UpdateItem")] {
        let id = rig.accepted(&owner, "/analyze", json!({"text": text(bytes)})).await;
        let job = stored(&rig, &owner, &id).await;
        let Key { pk, sk } = Key::job_input(job.org_id, job.job_id, job.input_pieces - 1);
        let mut change = json!({"TableName": TABLE_NAME, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}});
        if harm == "UpdateItem" {
            change["UpdateExpression"] = json!("REMOVE #text");
            change["ExpressionAttributeNames"] = json!({"#text": "text"});
        }
        database.call(harm, &change).await;
        rig.deliver_all().await;
        let job = rig.job(&owner, &id).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("input_expired")), "{job}");
        assert_eq!((rig.visible(), rig.dead_letters()), (0, 0));
        let retried = rig.api.post(&owner, &format!("/jobs/{id}/retry"), Value::Null).await;
        retried.is_problem(409, "input_expired");
    }
}

/// Longer than the SDK repeats it.
#[tokio::test]
async fn a_piece_waits_for_a_partition_that_has_no_units_left() {
    let (_origin, database, rig) = over_a_proxy([]).await;
    let owner = rig.owner("pro").await;
    let before = database.calls("PutItem");
    database.inject("PutItem", Fault::Throttle(9));
    rig.accepted(&owner, "/analyze", json!({"text": text(200_000)})).await;
    assert_eq!(database.calls("PutItem") - before, 10);
}

#[tokio::test]
async fn an_input_that_cannot_be_written_takes_nothing_of_the_day() {
    let caps = [("EMAILS_PER_DAY", "1".to_owned()), ("CAP_SHARES", "100,100,100".to_owned())];
    let (_origin, database, rig) = over_a_proxy(caps).await;
    let owner = rig.owner("pro").await;
    let letter = json!({"to": owner.email, "subject": "s", "text": "A line of a long letter.\n".repeat(2_000)});
    database.inject("PutItem", Fault::LoseReply(u32::MAX));
    assert_eq!(rig.api.post(&owner, "/send-email", letter.clone()).await.status, 503);
    database.release("PutItem");
    rig.accepted(&owner, "/send-email", letter.clone()).await;
    rig.api.post(&owner, "/send-email", letter).await.is_problem(429, "operator_cap_reached");
}

#[tokio::test]
async fn what_costs_more_than_the_budget_is_refused_before_its_input_is_written() {
    let providers = Providers::start().await;
    let (_origin, database, rig) = over_a_proxy(providers.environment()).await;
    let owner = rig.owner("pro").await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.05"})).await;
    let refused = rig.api.post(&owner, "/analyze", json!({"text": text(100_000), "model": MODEL})).await;
    refused.is_problem(402, "budget_exceeded");
    assert_eq!(pieces_of(&database, &owner).await.len(), 0);
}
