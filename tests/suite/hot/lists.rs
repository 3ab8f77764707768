//! Lists of items that lie in several partitions, and the change to that under load.

use super::conflicts::Conflicts;
use super::rig::{Rig, text};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::org::Plan;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn newest_first(ids: &mut [String]) {
    ids.sort_unstable_by(|one, other| other.cmp(one));
}

#[tokio::test]
async fn pages_of_spread_items_hold_each_once_newest_first() {
    let rig = Rig::new().await;
    let here = rig.here();
    let mut ids = rig.create_many(here, 60).await.unwrap();
    // A cursor of before leads on through what lies together.
    let (_, first) = rig.call(here, "list-items", &Value::Null, &[], &[("limit", "20")]).await;
    rig.spread().await;
    for _ in 0..2 {
        ids.extend(rig.create_many(here, 90).await.unwrap());
    }
    newest_first(&mut ids);
    for limit in [3, 50, 100] {
        assert_eq!(rig.listed(here, limit).await, ids, "limit {limit}");
    }
    let cursor = text(&first["next_cursor"]);
    let (status, page) = rig.call(here, "list-items", &Value::Null, &[], &[("limit", "40"), ("cursor", &cursor)]).await;
    let shown: Vec<String> = page["data"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect();
    assert_eq!((status, shown.as_slice()), (200, &ids[200..]));
    // Those of one partition may be the newest of all: the others are still there behind them.
    let lone: BTreeSet<&String> = ids.iter().filter(|id| id.as_bytes()[35] % 8 != 3).collect();
    for id in &lone {
        assert_eq!(rig.delete(here, id).await, 204);
    }
    let mut left: Vec<String> = ids.iter().filter(|id| !lone.contains(id)).cloned().collect();
    newest_first(&mut left);
    assert_eq!(rig.listed(here, 9).await, left);
}

/// A page costs one small read of each partition, however many items there are.
#[tokio::test]
async fn a_page_of_spread_items_is_read_at_one_look() {
    let rig = Rig::new().await;
    let here = rig.here();
    rig.spread().await;
    for _ in 0..5 {
        rig.create_many(here, 100).await.unwrap();
    }
    let database = crate::faults::FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    for _ in 0..20 {
        let (status, page) = rig.call(context, "list-items", &Value::Null, &[], &[]).await;
        assert_eq!((status, page["data"].as_array().unwrap().len()), (200, 50));
    }
    let queries = database.calls("Query");
    assert!((180..=220).contains(&queries), "{queries} queries for 20 pages of nine partitions");
}

/// A filled table of the version before is taken over under load, and that version reads and writes on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filled_organization_is_spread_under_load_and_the_version_before_goes_on() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Pro).await;
    let here = rig.here();
    let mut ids: Vec<String> =
        join_all((0..3).map(|_| rig.create_many(here, 100))).await.into_iter().flat_map(Result::unwrap).collect();
    let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(4)).await;
    let busy = rig.environment(&database.url);
    let done = AtomicBool::new(false);
    let writer = || async {
        let mut mine = Vec::new();
        while !done.load(Ordering::Relaxed) {
            match rig.create(busy).await {
                Ok(id) => mine.push(id),
                Err((status, _)) => assert_eq!(status, 503, "until it is spread, it is too busy at times"),
            }
        }
        mine
    };
    let reader = async {
        let known: BTreeSet<String> = ids.iter().cloned().collect();
        while !done.load(Ordering::Relaxed) {
            let listed = rig.listed(busy, 100).await;
            let shown: BTreeSet<String> = listed.iter().cloned().collect();
            assert_eq!(shown.len(), listed.len(), "none twice");
            assert!(shown.is_superset(&known), "none is missing");
            assert!(listed.is_sorted_by(|one, other| one > other));
        }
    };
    let before = async {
        while rig.org().await.spread_from.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Its time has not come: the version before finds all there is, and counts where it always did.
        let mut old = Vec::new();
        for _ in 0..20 {
            old.extend(as_before(&rig).await);
        }
        let (items, _) = rig.stored().await;
        assert!(listed_as_before(&rig).await >= items);
        rig.system.clock().jump(Duration::from_secs(15 * 60));
        while spread_count(&rig).await < 30 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // A creation of it that is late still counts and is still found.
        old.extend(as_before(&rig).await);
        done.store(true, Ordering::Relaxed);
        old
    };
    let all = async { tokio::join!(join_all((0..12).map(|_| writer())), reader, before) };
    let (created, (), old) = tokio::time::timeout(Duration::from_secs(60), all).await.expect("it is spread");
    ids.extend(created.into_iter().flatten().chain(old));
    newest_first(&mut ids);
    assert_eq!(rig.listed(here, 100).await, ids);
    assert_eq!(rig.balanced().await, ids.len());
    assert!(database.met("ORG") > 0);
}

/// How many items lie in partitions.
async fn spread_count(rig: &Rig) -> usize {
    let partition = |id: &String| id.parse::<shared::ids::ItemId>().unwrap().partition();
    rig.listed(rig.here(), 100).await.iter().filter(|id| partition(id).is_some()).count()
}

/// What version 0.1 lists.
async fn listed_as_before(rig: &Rig) -> usize {
    let query = json!({"TableName": local::names::TABLE_NAME, "KeyConditionExpression": "pk = :pk", "Select": "COUNT",
        "ConsistentRead": true, "ExpressionAttributeValues": {":pk": {"S": format!("ITEMS#{}", rig.org_id)}}});
    usize::try_from(rig.raw("Query", query).await["Count"].as_u64().unwrap()).unwrap()
}

/// Creates an item as version 0.1 does.
async fn as_before(rig: &Rig) -> Option<String> {
    let id = shared::ids::ItemId::new().to_string();
    let (org, now, table) = (rig.org_id.to_string(), rig.system.clock().now_ms().to_string(), local::names::TABLE_NAME);
    let item = json!({"pk": {"S": format!("ITEMS#{org}")}, "sk": {"S": id}, "item_id": {"S": id}, "org_id": {"S": org},
        "name": {"S": "old"}, "description": {"NULL": true}, "created_at": {"N": now}, "updated_at": {"N": now},
        "version": {"N": "1"}});
    let count = json!({"TableName": table, "Key": {"pk": {"S": format!("ORG#{org}")}, "sk": {"S": "ORG"}},
        "UpdateExpression": "ADD item_count :count", "ConditionExpression": "#plan = :plan AND item_count <= :highest",
        "ExpressionAttributeNames": {"#plan": "plan"}, "ExpressionAttributeValues": {":plan": {"S": "pro"},
        ":count": {"N": "1"}, ":highest": {"N": "99999"}}});
    let put = json!({"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"});
    rig.raw("TransactWriteItems", json!({"TransactItems": [{"Update": count}, {"Put": put}]})).await;
    Some(id)
}
