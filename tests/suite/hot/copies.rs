//! Copies of an organization's record: whichever is read says the same.

use super::conflicts::Conflicts;
use super::rig::Rig;
use crate::faults::{Fault, FaultyDatabase};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::org::Plan;
use shared::store::keys::Key;
use std::time::Duration;

const WRITE: &str = "TransactWriteItems";

#[tokio::test]
async fn requests_of_a_busy_organization_read_its_copies() {
    let rig = Rig::new().await;
    let database = Conflicts::before(&rig.system.database_url(), Duration::ZERO).await;
    let context = rig.environment(&database.url);
    rig.create(context).await.unwrap();
    rig.listed(context, 10).await;
    assert_eq!((database.read("ORG"), database.read("COPY")), (2, 0), "most organizations have none");
    rig.spread().await;
    for _ in 0..20 {
        rig.create(context).await.unwrap();
        rig.listed(context, 50).await;
    }
    assert_eq!((database.read("ORG"), database.read("COPY")), (3, 39), "the first reads that there are copies");
}

#[tokio::test]
async fn a_plan_counts_from_the_next_request_whichever_copy_it_reads() {
    let rig = Rig::new().await;
    rig.spread().await;
    let here = rig.here();
    for _ in 0..10 {
        rig.create_many(here, 100).await.unwrap();
    }
    for turn in 0..3 {
        rig.give_plan(Plan::Pro).await;
        let created = join_all((0..24).map(|_| rig.create(here))).await;
        assert!(created.iter().all(Result::is_ok), "{turn}: {created:?}");
        rig.give_plan(Plan::Free).await;
        let refused = join_all((0..24).map(|_| rig.create(here))).await;
        assert!(refused.iter().all(|reply| matches!(reply, Err((403, _)))), "{turn}: {refused:?}");
    }
    rig.balanced().await;
    alike(&rig).await;
}

/// Asked as often as would meet each of eight copies.
#[tokio::test]
async fn a_rotated_key_refuses_old_cursors_whichever_copy_is_read() {
    let rig = Rig::new().await;
    rig.spread().await;
    let here = rig.here();
    rig.create_many(here, 5).await.unwrap();
    rig.listed(here, 2).await;
    let first = rig.call(here, "list-items", &Value::Null, &[], &[("limit", "2")]).await.1;
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = [("limit", "2"), ("cursor", cursor)];
    assert_eq!(rig.call(here, "list-items", &Value::Null, &[], &next).await.0, 200);
    local::operator::rotate_cursor_key(here, rig.org_id).await.unwrap();
    for turn in 0..50 {
        let (status, body) = rig.call(here, "list-items", &Value::Null, &[], &next).await;
        assert_eq!(status, 422, "{turn}: {body}");
    }
    assert_eq!(rig.listed(here, 2).await.len(), 5);
    alike(&rig).await;
}

/// The key is rotated when the record has been read and the copies are about to be written.
#[tokio::test]
async fn copies_are_not_made_of_a_key_that_was_read_before_it_was_rotated() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let (quick, slow) = (rig.environment(&rig.system.database_url()), rig.environment(&database.url));
    database.inject(WRITE, Fault::Hold);
    let mut rotations = 0;
    let rotate = async {
        let mut seen = 0;
        loop {
            while database.calls(WRITE) == seen {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            seen = database.calls(WRITE);
            // Once: another rotation would put copies right.
            if rotations < 1 {
                local::operator::rotate_cursor_key(quick, rig.org_id).await.unwrap();
                rotations += 1;
            }
            database.release(WRITE);
            database.inject(WRITE, Fault::Hold);
        }
    };
    // The copies are of the first transaction, and come again after the rotation.
    tokio::select! {
        spread = local::operator::spread(slow, rig.org_id) => spread.unwrap(),
        () = rotate => {}
    }
    alike(&rig).await;
}

/// A key that is rotated while the copies are made is in them.
#[tokio::test]
async fn copies_have_the_key_that_is_rotated_meanwhile() {
    for _ in 0..4 {
        let rig = Rig::new().await;
        let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(1)).await;
        let (one, other) = (rig.environment(&database.url), rig.environment(&database.url));
        let rotations = async {
            for _ in 0..6 {
                while local::operator::rotate_cursor_key(one, rig.org_id).await.is_err() {}
            }
        };
        let (spread, ()) = tokio::join!(local::operator::spread(other, rig.org_id), rotations);
        if spread.is_err() {
            local::operator::spread(one, rig.org_id).await.unwrap();
        }
        alike(&rig).await;
    }
}

#[tokio::test]
async fn an_organization_without_copies_has_its_key_rotated_too() {
    let rig = Rig::new().await;
    let before = item(&rig, Key::org(rig.org_id)).await["cursor_key"].clone();
    local::operator::rotate_cursor_key(rig.here(), rig.org_id).await.unwrap();
    assert_ne!(item(&rig, Key::org(rig.org_id)).await["cursor_key"], before);
    let none = local::operator::rotate_cursor_key(rig.here(), shared::ids::OrgId::new()).await;
    assert!(matches!(none, Err(shared::ApiError::NotFound)), "{none:?}");
}

/// Changes the plan as version 0.1 does that is there again: in the record alone.
async fn give_plan_as_before(rig: &Rig, plan: &str) {
    let update = json!({"TableName": local::names::TABLE_NAME,
        "Key": {"pk": {"S": format!("ORG#{}", rig.org_id)}, "sk": {"S": "ORG"}},
        "UpdateExpression": "SET #plan = :plan, plan_version = plan_version + :one",
        "ExpressionAttributeNames": {"#plan": "plan"},
        "ExpressionAttributeValues": {":plan": {"S": plan}, ":one": {"N": "1"}}});
    rig.raw("UpdateItem", update).await;
}

/// Whatever changes next puts them right, and an operator can.
#[tokio::test]
async fn copies_that_say_something_else_than_the_record_are_put_right() {
    let rig = Rig::new().await;
    let here = rig.here();
    rig.spread().await;
    for _ in 0..10 {
        rig.create_many(here, 100).await.unwrap();
    }
    give_plan_as_before(&rig, "enterprise").await;
    rig.give_plan(Plan::Free).await;
    assert_eq!(rig.create(here).await, Err((403, "plan_limit_reached".to_owned())));
    alike(&rig).await;
    give_plan_as_before(&rig, "pro").await;
    local::operator::rotate_cursor_key(here, rig.org_id).await.unwrap();
    alike(&rig).await;
    assert!(rig.create(here).await.is_ok());
    give_plan_as_before(&rig, "enterprise").await;
    local::operator::spread(here, rig.org_id).await.unwrap();
    alike(&rig).await;
}

/// Nobody changes anything, but a request needs the record and sees it.
#[tokio::test]
async fn whoever_sees_that_copies_and_record_differ_renews_them() {
    let rig = Rig::new().await;
    let here = rig.here();
    rig.spread().await;
    for _ in 0..10 {
        rig.create_many(here, 100).await.unwrap();
    }
    // The full organization may hold more by its record.
    give_plan_as_before(&rig, "pro").await;
    for _ in 0..3 {
        assert!(rig.create(here).await.is_ok());
    }
    alike(&rig).await;
    rig.balanced().await;
}

/// A plan that is given while the copies are made is in them.
#[tokio::test]
async fn copies_are_like_the_record_whatever_races() {
    for _ in 0..4 {
        let rig = Rig::new().await;
        let database = Conflicts::before(&rig.system.database_url(), Duration::from_millis(1)).await;
        let (one, other) = (rig.environment(&database.url), rig.environment(&database.url));
        let plans = async {
            for plan in [Plan::Pro, Plan::Enterprise, Plan::Free, Plan::Pro, Plan::Enterprise] {
                // One that met others eight times was not given.
                while local::operator::give_plan(one, rig.org_id, plan).await.is_err() {}
            }
        };
        let (spread, again, ()) =
            tokio::join!(local::operator::spread(other, rig.org_id), local::operator::spread(one, rig.org_id), plans);
        // Whoever loses to five plans in a row is told so; an operator repeats it.
        if spread.is_err() && again.is_err() {
            local::operator::spread(one, rig.org_id).await.unwrap();
        }
        assert_eq!((rig.org().await.plan, rig.org().await.plan_version), (Plan::Enterprise, 6));
        alike(&rig).await;
    }
}

/// The same where whoever gives it has read the record before it had copies.
#[tokio::test]
async fn a_plan_that_is_given_while_the_copies_are_made_is_in_them() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let late = rig.environment(&database.url);
    database.inject("UpdateItem", Fault::Hold);
    let spread = async {
        database.holds("UpdateItem").await;
        local::operator::spread(rig.here(), rig.org_id).await.unwrap();
        database.release("UpdateItem");
    };
    let (given, ()) = tokio::join!(local::operator::give_plan(late, rig.org_id, Plan::Enterprise), spread);
    given.unwrap();
    assert_eq!(rig.org().await.plan, Plan::Enterprise);
    alike(&rig).await;
}

/// A record as it is stored.
async fn item(rig: &Rig, key: Key) -> Value {
    let key = json!({"pk": {"S": key.pk}, "sk": {"S": key.sk}});
    let get = json!({"TableName": local::names::TABLE_NAME, "Key": key, "ConsistentRead": true});
    rig.raw("GetItem", get).await["Item"].clone()
}

/// What requests go by is the same in all copies.
async fn alike(rig: &Rig) {
    let names = ["plan", "plan_version", "plan_given_at", "spread_from", "copied", "cursor_key", "org_id"];
    let read = async |key: Key| {
        let item = item(rig, key).await;
        names.map(|name| item[name].clone())
    };
    let root: [Value; 7] = read(Key::org(rig.org_id)).await;
    assert_eq!(root[4], json!({"BOOL": true}));
    for copy in 0..8 {
        assert_eq!(read(Key::org_copy(rig.org_id, copy)).await, root);
    }
}

/// Lists may read with one call alone, and that does for the record where its copies are missing: another region has it before them.
#[tokio::test]
async fn lists_are_read_where_copies_are_missing() {
    let rig = crate::jobs::rig::Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let owner = rig.api.register().await;
    rig.spread_if(true, &owner).await;
    for path in ["/items", "/jobs"] {
        assert_eq!(rig.api.get(&owner, path).await.status, 200, "{path}: it learns that there are copies");
    }
    for copy in 0..8 {
        let key = json!({"pk": {"S": format!("ORG#{}#{copy}", owner.org_id)}, "sk": {"S": "COPY"}});
        database.call("DeleteItem", &json!({"TableName": local::names::TABLE_NAME, "Key": key})).await;
    }
    for path in ["/items", "/jobs"] {
        assert_eq!(rig.api.get(&owner, path).await.status, 200, "{path}");
    }
}
