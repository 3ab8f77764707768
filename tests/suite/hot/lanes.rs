//! How lanes are chosen and filled.

use super::rig::{Rig, text};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::org::Plan;
use std::collections::BTreeMap;

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
    // What is asked at the same time in one process does not meet either; who comes late may find the lane of one that has ended.
    let created = join_all((0..5).map(|_| rig.create(environment))).await;
    assert!(created.iter().all(Result::is_ok));
    let after = given(&before, &rig.stored().await.1);
    assert_eq!(after.iter().sum::<u64>(), 17);
    assert!(after.iter().all(|given| *given < 17), "all went to one lane: {after:?}");
}

/// Else each of 240 lanes would lease its own in the first second of a month, and all of them write one record.
#[tokio::test]
async fn who_needs_the_first_lane_of_a_month_fills_those_beside_it() {
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

/// What lies in the lanes of usage, in all partitions.
async fn usage_lanes(rig: &Rig) -> BTreeMap<String, u64> {
    let mut lanes = BTreeMap::new();
    for partition in 0..8 {
        let query = json!({"TableName": local::names::TABLE_NAME, "ConsistentRead": true,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": format!("USAGE#{}#{partition}", rig.org_id)}}});
        for lane in rig.raw("Query", query).await["Items"].as_array().unwrap_or(&Vec::<Value>::new()) {
            lanes.insert(text(&lane["sk"]["S"]), text(&lane["free_units"]["N"]).parse().unwrap());
        }
    }
    lanes
}
