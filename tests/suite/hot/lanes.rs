//! How lanes are chosen and filled.

use super::conflicts::Conflicts;
use super::rig::{Rig, text};
use crate::faults::{Fault, FaultyDatabase};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::Context;
use shared::model::org::Plan;
use shared::model::usage::month_of;
use shared::store::keys::Key;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the root may be written where the terms of 240 lanes change, and a few lanes take more.
const FEW: u32 = 20;

/// Which lanes have given what.
fn given(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<u64> {
    before.iter().map(|(lane, units)| units - after[lane]).filter(|units| *units > 0).collect()
}

#[tokio::test]
async fn an_environment_keeps_to_a_lane_that_it_has_met_nobody_in() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Enterprise).await;
    rig.spread().await;
    let environment = rig.environment(&rig.system.database_url());
    let (_, before) = rig.stored().await;
    assert_eq!(before.len(), 240);
    for _ in 0..12 {
        rig.create(environment).await.unwrap();
    }
    assert_eq!(given(&before, &rig.stored().await.1), [12]);
    // What is asked at the same time in one process does not meet either; whoever comes late may find the lane of one that has ended.
    let created = join_all((0..5).map(|_| rig.create(environment))).await;
    assert!(created.iter().all(Result::is_ok));
    let after = given(&before, &rig.stored().await.1);
    assert_eq!(after.iter().sum::<u64>(), 17);
    assert!(after.iter().all(|given| *given < 17), "all went to one lane: {after:?}");
}

/// Else each of 240 lanes would lease its own in the first second of a month, and all of them write one record.
#[tokio::test]
async fn whoever_needs_the_first_lane_of_a_month_fills_those_beside_it() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Enterprise).await;
    rig.spread().await;
    let environment = rig.environment(&rig.system.database_url());
    let (status, job) = rig.call(environment, "analyze", &json!({"text": "a"}), &[], &[]).await;
    assert_eq!(status, 202, "{job}");
    let lanes = usage_lanes(&rig).await;
    assert_eq!(lanes.len(), 30, "those of one partition");
    let (least, most) = (lanes.values().min().unwrap(), lanes.values().max().unwrap());
    assert!(*least > 100 && *most == least + 1, "{lanes:?}");
    // What is out lies in lanes, or is used.
    let month = lanes.keys().next().unwrap().split('#').next().unwrap();
    let root = json!({"TableName": local::names::TABLE_NAME, "ConsistentRead": true,
        "Key": {"pk": {"S": format!("USAGE#{}", rig.org_id)}, "sk": {"S": month}}});
    let root = rig.raw("GetItem", root).await;
    let out: u64 = text(&root["Item"]["analyses"]["N"]).parse().unwrap();
    assert_eq!(out, 1 + lanes.values().sum::<u64>());
}

/// Else each of 240 lanes would come under the new plan by a transaction of its own, and all of them write one record. On the way from the
/// free plan a few lanes have units and the others none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_of_a_busy_organization_brings_no_hot_record_back() {
    for (before, after) in [(Plan::Free, Plan::Pro), (Plan::Pro, Plan::Enterprise)] {
        let rig = Rig::new().await;
        rig.give_plan(before).await;
        rig.spread().await;
        rig.give_plan(after).await;
        let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(15)).await;
        for round in 0..4 {
            // Which has no lane of its own yet.
            let environment = rig.environment(&database.url);
            let created = join_all((0..60).map(|_| rig.create(environment))).await;
            assert!(created.iter().all(Result::is_ok), "{before:?} to {after:?}, round {round}: {created:?}");
        }
        let writes = database.written(&Key::org(rig.org_id));
        assert!((1..=FEW).contains(&writes), "{before:?} to {after:?}: the record was written {writes} times");
        assert_eq!(rig.balanced().await, 240);
    }
}

/// So it is with a month, whose lanes hold under the plan's version or the settings'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_plan_of_a_busy_organization_brings_no_hot_month_back() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Enterprise).await;
    rig.spread().await;
    assert!(analyses(&rig, rig.here()).await.iter().all(|status| *status == 202));
    rig.give_plan(Plan::Enterprise).await;
    let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(15)).await;
    for round in 0..3 {
        let accepted = analyses(&rig, rig.environment(&database.url)).await;
        assert!(accepted.iter().all(|status| *status == 202), "round {round}: {accepted:?}");
    }
    let month = month_of(rig.here().now()).0;
    let writes = database.written(&Key::usage(rig.org_id, &month));
    assert!((1..=FEW).contains(&writes), "the month's record was written {writes} times");
    let (_, usage) = rig.call(rig.here(), "get-usage", &Value::Null, &[], &[]).await;
    assert_eq!(usage["analyses"]["used"], 160, "{usage}");
}

/// Forty at once: their statuses.
async fn analyses(rig: &Rig, environment: &'static Context) -> Vec<u16> {
    let accept = async || rig.call(environment, "analyze", &json!({"text": "a"}), &[], &[]).await.0;
    join_all((0..40).map(|_| accept())).await
}

/// Else those who have read the later plan and those who have not would change thirty lanes back and forth.
#[tokio::test]
async fn whoever_has_not_read_a_later_plan_takes_one_lane_back() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Enterprise).await;
    rig.spread().await;
    let month = month_of(rig.here().now()).0;
    let put = async |Key { pk, sk }: Key, mut item: Value| {
        (item["pk"], item["sk"]) = (json!({"S": pk}), json!({"S": sk}));
        rig.raw("PutItem", json!({"TableName": local::names::TABLE_NAME, "Item": item})).await;
    };
    put(Key::usage(rig.org_id, &month), json!({"analyses": {"N": "24000"}})).await;
    for lane in 0..240 {
        let later = json!({"free_units": {"N": "100"}, "terms": {"S": "9/1000000"}});
        put(Key::usage_lane(rig.org_id, &month, "analyses", lane), later).await;
    }
    let (status, job) = rig.call(rig.here(), "analyze", &json!({"text": "a"}), &[], &[]).await;
    assert_eq!(status, 202, "{job}");
    let lanes = stored_lanes(&rig).await;
    assert_eq!(lanes.iter().filter(|lane| lane["terms"]["S"] != "9/1000000").count(), 1);
    assert_eq!(usage_lanes(&rig).await.values().sum::<u64>(), 23_999);
}

/// The units are added to the lanes and counted as out in one transaction, which the SDK sends again with its token.
#[tokio::test]
async fn a_change_of_terms_whose_reply_is_lost_counts_once() {
    const WRITE: &str = "TransactWriteItems";
    let rig = Rig::new().await;
    rig.give_plan(Plan::Pro).await;
    rig.spread().await;
    rig.give_plan(Plan::Enterprise).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let environment = rig.environment(&database.url);
    database.inject("Query", Fault::Hold);
    let lose = async {
        // The lanes of a partition are read, to be changed next.
        database.holds("Query").await;
        database.inject(WRITE, Fault::LoseReply(1));
        database.release("Query");
    };
    let (created, ()) = tokio::join!(rig.create(environment), lose);
    assert!(created.is_ok(), "{created:?}");
    assert_eq!(database.calls(WRITE), 4, "refused, changed, sent again, and taken");
    assert_eq!(rig.balanced().await, 1);
}

/// What lies in the lanes of usage, in all partitions.
async fn usage_lanes(rig: &Rig) -> BTreeMap<String, u64> {
    let free = |lane: &Value| text(&lane["free_units"]["N"]).parse().unwrap();
    stored_lanes(rig).await.iter().map(|lane| (text(&lane["sk"]["S"]), free(lane))).collect()
}

/// The lanes of usage as they are stored.
async fn stored_lanes(rig: &Rig) -> Vec<Value> {
    let mut lanes = Vec::new();
    for partition in 0..8 {
        let query = json!({"TableName": local::names::TABLE_NAME, "ConsistentRead": true,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": format!("USAGE#{}#{partition}", rig.org_id)}}});
        lanes.extend(rig.raw("Query", query).await["Items"].as_array().cloned().unwrap_or_default());
    }
    lanes
}
