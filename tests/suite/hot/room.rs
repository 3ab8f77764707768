//! Room for items that is leased in slices: no unit is lost, none is given twice, and nobody is refused while one is left.

use super::conflicts::Conflicts;
use super::rig::Rig;
use crate::faults::{Fault, FaultyDatabase};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use shared::model::org::Plan;
use shared::store::items::BatchWork;
use std::time::Duration;

const FREE: usize = 1_000;

/// How many race for the last unit; the full size is 1,000 (`CITIZEN_RACERS=1000`).
fn racers() -> usize {
    std::env::var("CITIZEN_RACERS").ok().and_then(|count| count.parse().ok()).unwrap_or(150)
}

fn full() -> (u16, String) {
    (403, "plan_limit_reached".to_owned())
}

/// Items of a limit that is counted in lanes, but for `left`.
async fn filled(rig: &Rig, left: usize) {
    rig.spread().await;
    let mut room = FREE - left;
    while room > 0 {
        let count = room.min(100);
        assert_eq!(rig.create_many(rig.here(), count).await.unwrap().len(), count);
        room -= count;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_racers_for_the_last_unit_one_gets_it() {
    let rig = Rig::new().await;
    filled(&rig, 1).await;
    let here = rig.here();
    let racing = rig.racing();
    let replies = join_all((0..racers()).map(|racer| rig.create_decided(racing, racer.to_string()))).await;
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 1);
    for refusal in replies.into_iter().filter_map(Result::err) {
        assert_eq!(refusal, full());
    }
    assert_eq!(rig.balanced().await, FREE);
    // What is deleted makes room, wherever it is given back to.
    let ids = rig.listed(here, 100).await;
    let deleted = join_all((0..4).map(|_| rig.delete(here, &ids[500]))).await;
    assert_eq!(deleted.iter().filter(|status| **status == 204).count(), 1);
    assert!(rig.create(here).await.is_ok());
    assert_eq!(rig.create(here).await, Err(full()));
    assert_eq!(rig.balanced().await, FREE);
}

/// What is left lies in many lanes, and a batch takes all of it.
#[tokio::test]
async fn a_batch_takes_the_last_units_wherever_they_lie() {
    let rig = Rig::new().await;
    filled(&rig, 0).await;
    let here = rig.here();
    let ids = rig.listed(here, 100).await;
    assert_eq!(join_all(ids[..70].iter().map(|id| rig.delete(here, id))).await, [204; 70]);
    let (_, lanes) = rig.stored().await;
    assert!(lanes.values().filter(|free| **free > 0).count() > 20, "{lanes:?}");
    assert_eq!(rig.create_many(here, 71).await, Err(403));
    assert_eq!(rig.create_many(here, 69).await.unwrap().len(), 69);
    assert!(rig.create(here).await.is_ok());
    assert_eq!(rig.create(here).await, Err(full()));
    assert_eq!(rig.balanced().await, FREE);
}

#[tokio::test]
async fn another_plan_counts_from_the_next_request_though_lanes_hold_units() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Pro).await;
    rig.spread().await;
    let here = rig.here();
    let ids = join_all((0..10).map(|_| rig.create_many(here, 100))).await;
    assert!(rig.create(here).await.is_ok());
    // The lanes hold units of the larger plan.
    let (items, lanes) = rig.stored().await;
    assert_eq!((items, lanes.values().sum::<u64>() > 10_000), (FREE + 1, true));
    rig.give_plan(Plan::Free).await;
    assert_eq!(rig.create(here).await, Err(full()));
    for id in &ids[0].as_ref().unwrap()[..3] {
        assert_eq!(rig.delete(here, id).await, 204);
    }
    assert!(rig.create(here).await.is_ok());
    assert!(rig.create(here).await.is_ok());
    assert_eq!(rig.create(here).await, Err(full()));
    rig.give_plan(Plan::Pro).await;
    assert!(rig.create(here).await.is_ok());
    rig.give_plan(Plan::Free).await;
    assert_eq!(rig.create(here).await, Err(full()));
    assert_eq!(rig.balanced().await, FREE + 1);
}

/// One of the things that happen to an organization.
#[derive(Debug, Clone)]
enum Step {
    Create,
    Batch(usize),
    Delete(usize),
    Plan(bool),
    Spread,
    Minute,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Create),
        6 => (1usize..=100).prop_map(Step::Batch),
        6 => (0usize..1_000).prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::Plan),
        1 => Just(Step::Spread),
        1 => Just(Step::Minute),
    ]
}

/// One after the other, whatever comes: refused exactly when the plan has no room, and balanced at the end.
#[test]
fn a_limit_is_exact_whatever_happens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 4, failure_persistence: None, ..Config::default() });
    let cases = proptest::collection::vec(step(), 1..40);
    runner
        .run(&(900usize..=FREE, cases), |(filled, steps)| {
            runtime.block_on(steps_of_an_organization(filled, steps));
            Ok(())
        })
        .unwrap();
}

async fn steps_of_an_organization(filled: usize, steps: Vec<Step>) {
    let rig = Rig::new().await;
    let here = rig.here();
    let (mut ids, mut limit) = (Vec::new(), FREE);
    while ids.len() < filled {
        ids.extend(rig.create_many(here, (filled - ids.len()).min(100)).await.unwrap());
    }
    for step in steps {
        match step {
            Step::Create => match rig.create(here).await {
                Ok(id) if ids.len() < limit => ids.push(id),
                other => assert_eq!((other, ids.len() >= limit), (Err(full()), true)),
            },
            Step::Batch(count) => match rig.create_many(here, count).await {
                Ok(created) if ids.len() + count <= limit => ids.extend(created),
                other => assert_eq!((other, ids.len() + count > limit), (Err(403), true), "{count} of {}", ids.len()),
            },
            Step::Delete(at) if !ids.is_empty() => {
                let id = ids.swap_remove(at % ids.len());
                assert_eq!(rig.delete(here, &id).await, 204);
            }
            Step::Delete(_) => {}
            Step::Plan(is_pro) => {
                rig.give_plan(if is_pro { Plan::Pro } else { Plan::Free }).await;
                limit = if is_pro { 100_000 } else { FREE };
            }
            Step::Spread => rig.spread().await,
            Step::Minute => rig.system.clock().jump(Duration::from_secs(60)),
        }
    }
    assert_eq!(rig.balanced().await, ids.len());
    ids.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(rig.listed(here, 100).await, ids);
}

/// With transactions that refuse each other, a record that each creation writes is the end at some fifty a second; lanes are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creations_of_one_organization_do_not_meet_on_a_record() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Enterprise).await;
    rig.spread().await;
    let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(15)).await;
    let context = rig.environment(&database.url);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let replies = join_all((0..40).map(|_| rig.create(context))).await;
        ids.extend(replies.into_iter().map(|reply| reply.expect("there are other lanes")));
    }
    let deleted = join_all(ids[..40].iter().map(|id| rig.delete(context, id))).await;
    assert_eq!(deleted, [204; 40]);
    assert_eq!(database.met("ORG"), 0, "neither creations nor deletions wrote or checked the organization's record");
    assert_eq!(rig.balanced().await, 160);
}

/// Filled lanes are not missed by those who still count in the organization's record.
#[tokio::test]
async fn before_its_time_comes_the_last_units_are_found_in_the_lanes() {
    let rig = Rig::new().await;
    let here = rig.here();
    shared_spread(&rig).await;
    for _ in 0..10 {
        assert_eq!(rig.create_many(here, 100).await.unwrap().len(), 100);
    }
    assert_eq!(rig.create(here).await, Err(full()));
    assert_eq!(rig.balanced().await, FREE);
}

/// Nor by those who read its record before it was spread.
#[tokio::test]
async fn whoever_read_it_before_it_was_spread_finds_the_last_units_in_the_lanes() {
    let rig = Rig::new().await;
    let (store, before) = (rig.here().store(), rig.org().await);
    let now = rig.here().now();
    let batch = |count| BatchWork::begun((0..count).map(|_| before.new_item_id(true, now)).collect(), now);
    rig.spread().await;
    for _ in 0..10 {
        assert!(store.begin_items(&before, &batch(100), None).await.is_ok());
    }
    assert!(matches!(
        store.begin_items(&before, &batch(1), None).await,
        Err(shared::ApiError::PlanLimitReached { .. })
    ));
}

/// As soon as it is found hot, creations meet on no record, though their items lie together until the version before has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_its_time_comes_creations_do_not_meet_on_a_record() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Enterprise).await;
    shared_spread(&rig).await;
    let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(15)).await;
    let context = rig.environment(&database.url);
    let created = join_all((0..60).map(|_| rig.create(context))).await;
    let partition = |id: &String| id.parse::<shared::ids::ItemId>().unwrap().partition();
    assert!(created.iter().all(|id| partition(id.as_ref().unwrap()).is_none()));
    assert_eq!(database.met("ORG"), 0);
    assert_eq!(rig.balanced().await, 60);
}

async fn shared_spread(rig: &Rig) {
    rig.system.context().store().spread_items(rig.org_id, Duration::from_secs(900)).await.unwrap();
}

/// An owner at the limit who pays for more gets it, however busy the organization is.
#[tokio::test]
async fn a_plan_is_given_to_an_organization_whose_record_is_held() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    database.inject("UpdateItem", Fault::Held(5));
    let given = local::operator::give_plan(context, rig.org_id, Plan::Pro).await.unwrap();
    assert_eq!((given.plan, given.version), (Plan::Pro, 2));
    database.inject("UpdateItem", Fault::Held(5));
    let path = [("user_id", "me")];
    let (status, _) = rig.call(context, "update-me", &json!({"name": "Ada"}), &[], &path).await;
    assert_eq!(status, 200);
    database.inject("DeleteItem", Fault::Held(5));
    let (status, _) = rig.call(context, "logout", &serde_json::Value::Null, &[], &[]).await;
    assert_eq!(status, 204);
}
