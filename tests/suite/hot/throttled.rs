//! A partition that gives less than is asked of it: what is throttled waits, and says nothing of how busy its organization is.

use super::rig::Rig;
use crate::faults::{Fault, FaultyDatabase};
use local::like_aws::{Capacity, LikeAws};
use serde_json::json;
use shared::model::org::Plan;

/// As often as a transaction can be refused and still succeed.
const SPELL: u32 = 7;

/// A hundred of the largest items take 1,700 units of a partition that gives 1,000 a second.
#[tokio::test]
async fn a_batch_that_is_more_than_a_partition_gives_in_a_second_is_written() {
    let world = LikeAws { capacity: Some(Capacity::default()), ..LikeAws::nothing() };
    let rig = Rig::like_aws(world).await;
    let context = rig.system.contexts().get("create-item").unwrap();
    let large = json!({"items": vec![json!({"name": "x", "description": "😀".repeat(4_000)}); 100]});
    let (status, body) = rig.call(context, "create-item", &large, &[], &[]).await;
    assert_eq!((status, &body["failed"]), (201, &json!([])));
    assert_eq!(rig.balanced().await, 100);
}

/// A text of a million bytes takes 980 of the 1,000 units that this table gives in a second. With its job in one transaction it would take
/// twice that of one partition key, which no table gives.
#[tokio::test]
async fn the_longest_text_is_accepted_and_others_go_on_beside_it() {
    let capacity = Capacity { partitions: 1, ..Capacity::default() };
    let rig = Rig::like_aws(LikeAws { capacity: Some(capacity), ..LikeAws::nothing() }).await;
    rig.give_plan(Plan::Enterprise).await;
    rig.minutes_pass(20).await;
    let [analyze, create] = ["analyze", "create-item"].map(|name| rig.system.contexts().get(name).unwrap());
    let text = json!({"text": "0123456789".repeat(100_000)});
    let others = async {
        for _ in 0..20 {
            rig.create(create).await.unwrap();
        }
    };
    let ((status, job), ()) = tokio::join!(rig.call(analyze, "analyze", &text, &[], &[]), others);
    assert_eq!(status, 202, "{job}");
    let store = rig.here().store();
    let job = store.job(rig.org_id, job["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
    assert!(store.job_input(&job).await.unwrap() == text["text"].as_str().unwrap());
}

#[tokio::test]
async fn an_organization_that_is_throttled_is_not_spread() {
    let rig = Rig::new().await;
    rig.minutes_pass(20).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    for (endpoint, body) in [("create-item", json!({"name": "x"})), ("analyze", json!({"text": "a"}))] {
        database.inject("TransactWriteItems", Fault::Starve(SPELL));
        let before = database.calls("TransactWriteItems");
        let (status, reply) = rig.call(context, endpoint, &body, &[], &[]).await;
        assert!(status == 201 || status == 202, "{endpoint}: {reply}");
        assert!(database.calls("TransactWriteItems") > before + SPELL, "{endpoint}");
        assert_eq!(rig.org().await.spread_from, None, "{endpoint}");
    }
}

/// What meets on a key is one caller who repeats a request.
#[tokio::test]
async fn an_organization_whose_caller_repeats_a_key_is_not_spread() {
    let rig = Rig::new().await;
    rig.minutes_pass(20).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    // The first write of a transaction that takes a key is the key's.
    database.inject("TransactWriteItems", Fault::Conflict(SPELL));
    let key = [("idempotency-key", "k")];
    let (status, reply) = rig.call(context, "create-item", &json!({"name": "x"}), &key, &[]).await;
    assert_eq!((status, rig.org().await.spread_from), (201, None), "{reply}");
}
