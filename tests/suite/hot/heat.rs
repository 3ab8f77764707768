//! When an organization whose requests meet is spread: at once where all versions that serve look into partitions, or when they do.

use super::rig::{Rig, text};
use crate::faults::{Fault, FaultyDatabase};
use local::system::project_folder;
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
    // Until then nothing lies where the version before does not look, and it changes the record without any copies.
    rig.minutes_pass(19).await;
    let second = rig.create(context).await.unwrap();
    assert!(!rig.org().await.copied);
    rig.minutes_pass(2).await;
    let third = rig.create(context).await.unwrap();
    assert!(rig.org().await.copied, "the first that finds it due sees to it");
    let fourth = rig.create(context).await.unwrap();
    assert_eq!([first, second, third, fourth].map(|id| is_spread(&id)), [false, false, false, true]);
    // Heat does not put off what it has begun.
    database.inject("TransactWriteItems", Fault::Conflict(3));
    assert!(rig.create(context).await.is_ok());
    assert_eq!(rig.org().await.spread_from, Some(from));
    assert_eq!(rig.balanced().await, 6);
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
    rig.minutes_pass(20).await;
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
    assert!((535..=545).contains(&left.as_secs()), "{left:?}");
}

/// The version before was brought back, and is replaced again: it notes nothing, and may serve as long as after the first time.
#[tokio::test]
async fn a_gap_in_the_notes_starts_the_count_anew() {
    let rig = Rig::new().await;
    rig.minutes_pass(60).await;
    rig.system.clock().jump(Duration::from_secs(180));
    rig.minutes_pass(2).await;
    let left = waits(&rig).await;
    assert!((18 * 60 - 5..=18 * 60 + 5).contains(&left.as_secs()), "{left:?}");
    // Nothing was noted of late: it may be there now.
    let rig = Rig::new().await;
    rig.minutes_pass(60).await;
    rig.system.clock().jump(Duration::from_secs(120));
    assert!(waits(&rig).await > Duration::from_secs(19 * 60));
}

/// A canary's time, twice: what a deployment takes beside it is a part of that.
#[tokio::test]
async fn heat_waits_for_twice_as_long_as_the_templates_canaries_take() {
    let template = std::fs::read_to_string(project_folder().join("template.yaml")).unwrap();
    let minutes = template.lines().filter_map(|line| line.split("Canary10Percent").nth(1)?.strip_suffix("Minutes"));
    let canary: u64 = minutes.map(|minutes| minutes.parse().unwrap()).max().expect("there are canaries");
    assert!(waits(&Rig::new().await).await >= Duration::from_secs(2 * canary * 60));
}

/// Marked, and then the version before came back: it is there again when the next deployment begins, whatever the mark says.
#[tokio::test]
async fn a_mark_of_before_the_version_before_came_back_waits_anew() {
    let rig = Rig::new().await;
    rig.minutes_pass(10).await;
    assert!(waits(&rig).await < Duration::from_secs(11 * 60));
    rig.system.clock().jump(Duration::from_secs(3 * 24 * 60 * 60));
    rig.minutes_pass(1).await;
    let here = rig.here();
    let mut ids = vec![rig.create(here).await.unwrap(), rig.create(here).await.unwrap()];
    let org = rig.org().await;
    let left = here.now().until(org.spread_from.unwrap());
    assert!((19 * 60 - 5..=19 * 60).contains(&left.as_secs()) && !org.copied, "{left:?}");
    rig.minutes_pass(18).await;
    ids.push(rig.create(here).await.unwrap());
    assert!(!ids.iter().any(|id| is_spread(id)), "the version before does not look there");
    rig.minutes_pass(2).await;
    rig.create(here).await.unwrap();
    assert!(is_spread(&rig.create(here).await.unwrap()));
}

/// Its function ended, or the database was away, between the mark and the copies.
#[tokio::test]
async fn what_was_marked_and_not_copied_is_copied_by_the_next_that_write() {
    for (endpoint, body) in [("create-item", json!({"name": "x"})), ("analyze", json!({"text": "a"}))] {
        let rig = Rig::new().await;
        rig.minutes_pass(20).await;
        let mark = json!({"TableName": local::names::TABLE_NAME,
            "Key": {"pk": {"S": format!("ORG#{}", rig.org_id)}, "sk": {"S": "ORG"}},
            "UpdateExpression": "SET spread_from = :from",
            "ExpressionAttributeValues": {":from": {"N": rig.here().now().as_millis().to_string()}}});
        rig.raw("UpdateItem", mark).await;
        rig.system.clock().jump(Duration::from_secs(5));
        assert!(rig.call(rig.here(), endpoint, &body, &[], &[]).await.0 < 300);
        assert!(rig.org().await.copied, "{endpoint}");
        assert!(is_spread(&rig.create(rig.here()).await.unwrap()));
        assert!(rig.balanced().await > 0);
    }
}

#[tokio::test]
async fn jobs_that_meet_spread_an_organization_too() {
    let rig = Rig::new().await;
    rig.minutes_pass(20).await;
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

#[tokio::test]
async fn deletions_that_meet_on_the_count_spread_an_organization_too() {
    let rig = Rig::new().await;
    let (first, second) = (rig.create(rig.here()).await.unwrap(), rig.create(rig.here()).await.unwrap());
    rig.minutes_pass(20).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    // The first write is the item's, which one caller may repeat.
    database.inject("TransactWriteItems", Fault::Conflict(7));
    assert_eq!(rig.delete(context, &first).await, 204);
    assert_eq!(rig.org().await.spread_from, None, "only its item is busy");
    database.inject("TransactWriteItems", Fault::ConflictOn(3, 1));
    assert_eq!(rig.delete(context, &second).await, 204);
    assert!(rig.org().await.spread_from.is_some(), "it is hot");
    assert_eq!(rig.balanced().await, 0);
}
