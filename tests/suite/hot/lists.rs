//! Lists of items that lie in several partitions, and the change to that under load.

use super::conflicts::Conflicts;
use super::rig::{Rig, text};
use futures_util::future::join_all;
use local::Clock;
use local::like_aws::{Capacity, Ledger, LikeAws};
use serde_json::{Value, json};
use shared::cursor::Page;
use shared::model::cached::ItemPageKey;
use shared::model::item::{Item, ItemPage};
use shared::model::org::Plan;
use std::collections::BTreeSet;
use std::sync::Arc;
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

/// `next_cursor` is null on a last page that is full, wherever its items lie.
#[tokio::test]
async fn a_full_last_page_of_spread_items_is_the_last() {
    for together in 0..3 {
        let rig = Rig::new().await;
        let here = rig.here();
        for _ in 0..together {
            rig.create(here).await.unwrap();
        }
        rig.spread().await;
        let count = together + rig.create_many(here, 3).await.unwrap().len();
        for limit in 1..=count + 1 {
            let (status, page) =
                rig.call(here, "list-items", &Value::Null, &[], &[("limit", &limit.to_string())]).await;
            let shown = page["data"].as_array().map(Vec::len);
            let said = (status, shown, page["next_cursor"].is_null());
            assert_eq!(said, (200, Some(limit.min(count)), limit >= count), "{together} together, limit {limit}");
        }
    }
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

/// So are those of an organization that is about to be spread, or was long ago: nothing new lies elsewhere, or nothing old is wanted.
#[tokio::test]
async fn pages_of_one_side_are_read_at_one_look() {
    // Ids go by the machine's time, and this goes by ids.
    let rig = Rig::at(Clock::system()).await;
    let here = rig.here();
    let mut ids = rig.create_many(here, 85).await.unwrap();
    here.store().spread_items(rig.org_id, Duration::from_secs(900)).await.unwrap();
    ids.extend(rig.create_many(here, 90).await.unwrap());
    newest_first(&mut ids);
    let database = crate::faults::FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.environment(&database.url);
    let looks = async |limit: usize| {
        let before = database.calls("Query");
        let listed = rig.listed(context, limit).await;
        (listed, database.calls("Query") - before)
    };
    assert_eq!(looks(20).await, (ids.clone(), 9 * 9), "before its time, nine pages of nine partitions");
    here_and_now(&rig).await;
    for _ in 0..4 {
        ids.extend(rig.create_many(here, 100).await.unwrap());
    }
    newest_first(&mut ids);
    let (listed, queries) = looks(20).await;
    assert_eq!(listed, ids);
    // One page lies on both sides, and few need more of a partition than most do.
    assert!((29 * 9..=29 * 9 + 15).contains(&queries), "{queries} queries for 29 pages of nine partitions");
}

/// Where a query ends after a megabyte, the next one asks for what the page lacks.
#[tokio::test]
async fn a_page_of_the_largest_items_takes_the_units_of_what_it_shows() {
    // By a clock that stands still: what it says of a second is a sum.
    let ledger = Arc::new(Ledger::new(Clock::stopped()));
    let noted = Some(Arc::clone(&ledger));
    let rig = Rig::like_aws(LikeAws { capacity: Some(Capacity::settled()), ledger: noted, ..LikeAws::nothing() }).await;
    let large = json!({"items": vec![json!({"name": "x", "description": "😀".repeat(4_000)}); 100]});
    for _ in 0..2 {
        assert_eq!(rig.call(rig.here(), "create-item", &large, &[], &[]).await.0, 201);
    }
    ledger.clear();
    let context = rig.system.contexts().get("list-items").unwrap();
    let (status, page) = rig.call(context, "list-items", &Value::Null, &[], &[("limit", "100")]).await;
    assert_eq!((status, page["data"].as_array().map(Vec::len)), (200, Some(100)));
    let hottest = ledger.hottest(100);
    let of_items = hottest.iter().filter(|(key, _)| key.pk.starts_with("ITEMS#"));
    let units: f64 = of_items.map(|(_, units)| units.read * ledger.seconds()).sum();
    // Of 16 KB each, and one more that says whether there is another page.
    assert!((390.0..420.0).contains(&units), "{units} read units");
}

/// What somebody read who began before an organization was spread is not shown to whoever began after.
#[tokio::test]
async fn a_page_of_before_is_not_shown_after() {
    let rig = Rig::new().await;
    let context = rig.with_cache(&rig.system.database_url());
    let old = rig.create(context).await.unwrap();
    rig.listed(context, 50).await;
    here_and_now(&rig).await;
    let new = rig.create(context).await.unwrap();
    assert!(new.parse::<shared::ids::ItemId>().unwrap().partition().is_some());
    // Its authority read was before; it looks late into where items lie together, and what it finds stays in the cache.
    let key = ItemPageKey { org_id: rig.org_id, limit: 50, after: None, spread: false };
    let page = Page { data: Vec::<Item>::new(), next_cursor: None };
    let late = context.cache().get_or_fill(&key, || async { Ok::<_, shared::ApiError>(Some(ItemPage::new(&page))) });
    assert!(late.await.unwrap().is_some());
    assert_eq!(rig.listed(context, 50).await, [new, old]);
}

/// Has an organization spread at once.
async fn here_and_now(rig: &Rig) {
    rig.here().store().spread_items(rig.org_id, Duration::ZERO).await.unwrap();
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
        rig.minutes_pass(21).await;
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

/// An organization that is spread, whose system goes back to the version before for a while: that shows what lies together, and creates and
/// deletes there. What followed it shows all again, wherever it lies, and counts on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_comes_back_and_goes_again() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Pro).await;
    let here = rig.here();
    let together = rig.create_many(here, 100).await.unwrap();
    here_and_now(&rig).await;
    let spread = join_all((0..3).map(|_| rig.create_many(here, 50))).await;
    let mut ids: Vec<String> = spread.into_iter().flat_map(Result::unwrap).collect();
    // The version before, under load.
    let worker = async |mine: &[String]| {
        let mut created = Vec::new();
        for id in mine {
            created.extend(as_before(&rig).await);
            delete_as_before(&rig, id).await;
        }
        created
    };
    let created = join_all(together[..60].chunks(15).map(worker)).await;
    assert_eq!(listed_as_before(&rig).await, 100);
    // Its successor: the newest of all lie together now, and older ones in partitions.
    ids.extend(together[60..].iter().cloned().chain(created.into_iter().flatten()));
    newest_first(&mut ids);
    for limit in [7, 50, 100] {
        assert_eq!(rig.listed(here, limit).await, ids, "limit {limit}");
    }
    let more = join_all((0..4).map(|_| rig.create_many(here, 20))).await;
    ids.extend(more.into_iter().flat_map(Result::unwrap));
    for id in ids.iter().step_by(9) {
        assert_eq!(rig.delete(here, id).await, 204);
    }
    let mut left: Vec<String> = ids.into_iter().enumerate().filter(|(at, _)| at % 9 != 0).map(|(_, id)| id).collect();
    newest_first(&mut left);
    assert_eq!(rig.listed(here, 40).await, left);
    assert_eq!(rig.balanced().await, left.len());
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

/// Deletes an item as version 0.1 does.
async fn delete_as_before(rig: &Rig, id: &str) {
    let (org, table) = (rig.org_id.to_string(), local::names::TABLE_NAME);
    let delete = json!({"TableName": table, "Key": {"pk": {"S": format!("ITEMS#{org}")}, "sk": {"S": id}},
        "ConditionExpression": "attribute_exists(pk)"});
    let count = json!({"TableName": table, "Key": {"pk": {"S": format!("ORG#{org}")}, "sk": {"S": "ORG"}},
        "UpdateExpression": "ADD item_count :minus", "ExpressionAttributeValues": {":minus": {"N": "-1"}}});
    rig.raw("TransactWriteItems", json!({"TransactItems": [{"Delete": delete}, {"Update": count}]})).await;
}
