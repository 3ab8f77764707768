//! When an organization whose requests meet is spread: at once where all versions that serve look into partitions, or when they do.

use super::rig::{Rig, text};
use crate::faults::{Fault, FaultyDatabase};
use serde_json::json;
use shared::ids::ItemId;
use std::time::Duration;

fn is_spread(id: &str) -> bool {
    id.parse::<ItemId>().unwrap().partition().is_some()
}

#[tokio::test]
async fn heat_spreads_an_organization_when_the_version_before_has_gone() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    database.inject("TransactWriteItems", Fault::Conflict(2));
    assert!(rig.create(context).await.is_ok());
    assert_eq!(rig.org().await.spread_from, None, "it was only a little warm");
    database.inject("TransactWriteItems", Fault::Conflict(3));
    let first = rig.create(context).await.unwrap();
    let from = rig.org().await.spread_from.expect("it is hot");
    // Until then nothing lies where the version before does not look.
    rig.system.clock().jump(Duration::from_secs(14 * 60));
    let second = rig.create(context).await.unwrap();
    rig.system.clock().jump(Duration::from_secs(61));
    let third = rig.create(context).await.unwrap();
    assert_eq!([first, second, third].map(|id| is_spread(&id)), [false, false, true]);
    // Heat does not put off what it has begun.
    database.inject("TransactWriteItems", Fault::Conflict(3));
    assert!(rig.create(context).await.is_ok());
    assert_eq!(rig.org().await.spread_from, Some(from));
    assert_eq!(rig.balanced().await, 5);
}

/// How long an organization that is found hot now waits to be spread.
async fn waits(rig: &Rig) -> Duration {
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    database.inject("TransactWriteItems", Fault::Conflict(3));
    let begun = context.now();
    assert!(rig.create(context).await.is_ok());
    let from = rig.org().await.spread_from.expect("it is hot");
    Duration::from_millis(u64::try_from(from.as_millis() - begun.as_millis()).unwrap())
}

#[tokio::test]
async fn heat_spreads_an_organization_at_once_where_all_versions_look_into_partitions() {
    let rig = Rig::new().await;
    rig.minutes_pass(15).await;
    assert!(waits(&rig).await < Duration::from_secs(5));
    let id = rig.create(rig.here()).await.unwrap();
    assert!(is_spread(&id));
    assert_eq!(rig.balanced().await, 2);
}

#[tokio::test]
async fn heat_waits_for_the_rest_of_a_deployment() {
    let rig = Rig::new().await;
    rig.minutes_pass(11).await;
    let left = waits(&rig).await;
    assert!((235..=245).contains(&left.as_secs()), "{left:?}");
}

/// The version before was brought back, and is replaced again: it notes nothing, and may serve as long as after the first time.
#[tokio::test]
async fn a_gap_in_the_notes_starts_the_count_anew() {
    let rig = Rig::new().await;
    rig.minutes_pass(60).await;
    rig.system.clock().jump(Duration::from_secs(180));
    rig.minutes_pass(2).await;
    let left = waits(&rig).await;
    assert!((13 * 60 - 5..=13 * 60 + 5).contains(&left.as_secs()), "{left:?}");
    // Nothing was noted of late: it may be there now.
    let rig = Rig::new().await;
    rig.minutes_pass(60).await;
    rig.system.clock().jump(Duration::from_secs(120));
    assert!(waits(&rig).await > Duration::from_secs(14 * 60));
}

#[tokio::test]
async fn jobs_that_meet_spread_an_organization_too() {
    let rig = Rig::new().await;
    rig.minutes_pass(15).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    let accept = async || rig.call(context, "analyze", &json!({"text": "a"}), &[], &[]).await;
    database.inject("TransactWriteItems", Fault::Conflict(5));
    assert_eq!(accept().await.0, 202);
    assert_eq!(rig.org().await.spread_from, None, "so often its workers meet each other");
    database.inject("TransactWriteItems", Fault::Conflict(6));
    let (status, first) = accept().await;
    assert_eq!(status, 202, "{first}");
    let (_, second) = accept().await;
    let partition = |job: &serde_json::Value| text(&job["id"]).parse::<shared::ids::JobId>().unwrap().partition();
    assert_eq!((partition(&first), partition(&second).is_some()), (None, true));
}
