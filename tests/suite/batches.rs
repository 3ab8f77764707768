//! What handlers do when the database counts, throttles, conflicts and leaves writes undone.

use crate::api::PASSWORD;
use crate::faults::{Fault, FaultyDatabase};
use crate::hot::rig::{Rig, text};
use serde_json::{Value, json};
use shared::Context;
use std::time::Duration;

/// An organization of its own, and an environment whose database is faulty.
struct Fixture {
    rig: Rig,
    database: FaultyDatabase,
    context: &'static Context,
}

async fn fixture() -> Fixture {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.with_cache(&database.url);
    Fixture { rig, database, context }
}

impl Fixture {
    async fn create(&self, body: &Value) -> (u16, Value) {
        self.rig.call(self.context, "create-item", body, &[], &[]).await
    }

    /// The list that others of the organization see, past the faults.
    async fn listed(&self) -> Value {
        let (status, page) = self.rig.call(self.rig.here(), "list-items", &Value::Null, &[], &[]).await;
        assert_eq!(status, 200, "{page}");
        page
    }
}

fn batch(count: usize) -> Value {
    json!({"items": (0..count).map(|number| json!({"name": number.to_string()})).collect::<Vec<_>>()})
}

#[tokio::test]
async fn an_expired_session_is_none_though_its_record_is_still_there() {
    let fixture = fixture().await;
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 201);
    let token = shared::token::Token::parse(&fixture.rig.token).unwrap();
    let update = json!({
        "TableName": local::names::TABLE_NAME,
        "Key": {
            "pk": {"S": format!("USER#{}", token.user_id)},
            "sk": {"S": format!("SESSION#{}", token.hash().as_str())}
        },
        "UpdateExpression": "SET expires_at = :past",
        "ConditionExpression": "attribute_exists(pk)",
        "ExpressionAttributeValues": {":past": {"N": "1"}}
    });
    fixture.database.call("UpdateItem", &update).await;
    let (status, body) = fixture.create(&json!({"name": "a"})).await;
    assert_eq!((status, &body["code"]), (401, &json!("invalid_token")));
}

#[tokio::test]
async fn a_hundred_items_are_four_batch_writes() {
    let fixture = fixture().await;
    let (status, body) = fixture.create(&batch(100)).await;
    assert_eq!((status, body["created"].as_array().unwrap().len()), (201, 100));
    assert_eq!(fixture.database.calls("BatchWriteItem"), 4);
    // And one read of authority, one transaction that takes their room, and the end of their entry in the index: nothing else.
    assert_eq!((fixture.database.calls("DeleteItem"), fixture.database.total()), (1, 7));
}

#[tokio::test]
async fn one_item_is_one_authority_read_and_one_transaction() {
    let fixture = fixture().await;
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 201);
    assert_eq!((fixture.database.calls("BatchGetItem"), fixture.database.calls("TransactWriteItems")), (1, 1));
    assert_eq!(fixture.database.total(), 2);
}

#[tokio::test]
async fn unprocessed_writes_are_sent_again() {
    let fixture = fixture().await;
    fixture.database.inject("BatchWriteItem", Fault::LeaveUnprocessed(6));
    let (status, body) = fixture.create(&batch(60)).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["failed"], json!([]));
    assert_eq!(body["created"].as_array().unwrap().len(), 60);
}

/// However often: what bounds it is time.
#[tokio::test]
async fn unprocessed_writes_are_sent_again_as_long_as_there_is_time() {
    let fixture = fixture().await;
    fixture.database.inject("BatchWriteItem", Fault::LeaveUnprocessed(u32::MAX));
    let (status, body) = fixture.create(&batch(10)).await;
    assert_eq!((status, &body["failed"]), (201, &json!([])), "{body}");
    assert_eq!(fixture.database.calls("BatchWriteItem"), 10);
}

#[tokio::test]
async fn what_stays_unwritten_is_named_and_its_room_given_back() {
    let fixture = fixture().await;
    fixture.database.inject("BatchWriteItem", Fault::LeaveAfter(3));
    let (status, body) = fixture.create(&batch(30)).await;
    assert_eq!(status, 201, "{body}");
    let created = body["created"].as_array().unwrap();
    let failed = body["failed"].as_array().unwrap();
    assert_eq!(created.len() + failed.len(), 30);
    assert!(!failed.is_empty() && !created.is_empty());
    for entry in failed {
        let name = entry["index"].as_u64().unwrap().to_string();
        assert!(created.iter().all(|item| item["name"] != name), "{name} is both");
        assert_eq!(entry["code"], "unavailable");
    }
    // The free plan has room for 1,000: exactly what was not written is still free.
    fixture.database.inject("BatchWriteItem", Fault::LeaveUnprocessed(0));
    let mut room = 1000 - created.len();
    while room > 0 {
        let part = room.min(100);
        assert_eq!(fixture.create(&batch(part)).await.0, 201);
        room -= part;
    }
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 403);
}

#[tokio::test]
async fn a_batch_whose_replies_are_lost_is_not_called_failed() {
    let fixture = fixture().await;
    fixture.database.inject("BatchWriteItem", Fault::LoseReply(u32::MAX));
    let (status, body) = fixture.create(&batch(30)).await;
    assert_eq!((status, body["created"].as_array().unwrap().len()), (201, 30), "{body}");
}

/// Others have seen what a write did whose reply was lost, and may have changed or deleted it: it is not written again.
#[tokio::test]
async fn what_others_did_with_an_item_stands_though_its_batchs_reply_is_lost() {
    let fixture = fixture().await;
    let rig = &fixture.rig;
    fixture.database.inject("BatchWriteItem", Fault::HoldLostReply(1));
    let batch_of_two = batch(2);
    let others = async {
        fixture.database.has_done("BatchWriteItem").await;
        let items = fixture.listed().await;
        let [changed, deleted] = [0, 1].map(|at: usize| text(&items["data"][at]["id"]));
        let change = json!({"name": "changed"});
        let (status, body) = rig.call(rig.here(), "update-item", &change, &[], &[("item_id", changed.as_str())]).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(rig.delete(rig.here(), &deleted).await, 204);
        fixture.database.release("BatchWriteItem");
        changed
    };
    let ((status, body), changed) = tokio::join!(fixture.create(&batch_of_two), others);
    assert_eq!((status, body["created"].as_array().unwrap().len()), (201, 2), "{body}");

    let items = fixture.listed().await;
    let items: Vec<_> =
        items["data"].as_array().unwrap().iter().map(|item| (&item["name"], &item["version"])).collect();
    assert_eq!(items, [(&json!("changed"), &json!(2))]);
    assert_eq!(rig.delete(rig.here(), &changed).await, 204);
    assert_eq!(fixture.listed().await, json!({"data": [], "next_cursor": null}));
    for _ in 0..10 {
        assert_eq!(fixture.create(&batch(100)).await.0, 201, "1,000 in all");
    }
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 403);
}

/// A count that fell short, whatever did it, shuts nobody out.
#[tokio::test]
async fn an_organization_whose_count_fell_short_is_open() {
    let fixture = fixture().await;
    let update = json!({
        "TableName": local::names::TABLE_NAME,
        "Key": {"pk": {"S": format!("ORG#{}", fixture.rig.org_id)}, "sk": {"S": "ORG"}},
        "UpdateExpression": "SET item_count = :less",
        "ConditionExpression": "attribute_exists(pk)",
        "ExpressionAttributeValues": {":less": {"N": "-1"}}
    });
    fixture.database.call("UpdateItem", &update).await;
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 201);
    fixture.listed().await;
}

/// A write that timed out lands after it was looked for: it was not called unwritten, and its room was kept.
#[tokio::test]
async fn a_write_that_lands_late_is_unknown_and_keeps_its_room() {
    let fixture = fixture().await;
    // Longer than the client's patience with all attempts.
    fixture.database.inject("BatchWriteItem", Fault::Delay(u32::MAX, Duration::from_secs(12)));
    let (status, body) = fixture.create(&batch(5)).await;
    assert_eq!(status, 201, "{body}");
    let failed = body["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 5, "{body}");
    assert!(failed.iter().all(|entry| entry["code"] == "unknown"), "{body}");
    fixture.database.inject("BatchWriteItem", Fault::Delay(0, Duration::ZERO));
    // A refusal is certain: its room is free again.
    fixture.database.inject("BatchWriteItem", Fault::Throttle(u32::MAX));
    assert_eq!(fixture.create(&batch(5)).await.0, 503);
    fixture.database.inject("BatchWriteItem", Fault::Throttle(0));
    let mut room = 1_000 - 5;
    while room > 0 {
        let part = room.min(100);
        assert_eq!(fixture.create(&batch(part)).await.0, 201);
        room -= part;
    }
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 403);
}

#[tokio::test]
async fn taking_room_counts_once_though_its_reply_is_lost() {
    let fixture = fixture().await;
    fixture.database.inject("TransactWriteItems", Fault::LoseReply(1));
    assert_eq!(fixture.create(&batch(100)).await.0, 201);
    for _ in 0..9 {
        assert_eq!(fixture.create(&batch(100)).await.0, 201, "1,000 in all");
    }
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 403);
}

#[tokio::test]
async fn a_conflict_of_transactions_is_tried_again() {
    let fixture = fixture().await;
    fixture.database.inject("TransactWriteItems", Fault::Conflict(2));
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 201);
    assert_eq!(fixture.database.calls("TransactWriteItems"), 3);
    fixture.database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    let (status, body) = fixture.create(&json!({"name": "a"})).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
}

#[tokio::test]
async fn throttling_is_a_503_to_come_back_from() {
    let fixture = fixture().await;
    fixture.database.inject("BatchGetItem", Fault::Throttle(1));
    assert_eq!(fixture.create(&json!({"name": "a"})).await.0, 201, "the SDK tries again");
    fixture.database.inject("BatchGetItem", Fault::Throttle(u32::MAX));
    let (status, body) = fixture.create(&json!({"name": "a"})).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
    assert!(!body.to_string().contains(PASSWORD) && !body.to_string().contains("Provisioned"));
}
