//! The database's own interface, past the functions: what fills it, and what looks at rows.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use shared::store::keys::{Key, PK, SK};
use testkit::{aws, http::Origin};

/// Rows of one call (DynamoDB's limit).
const BATCH: usize = 25;

pub(crate) struct Raw(Origin);

impl Raw {
    pub(crate) fn new(url: &str) -> Self {
        Self(Origin::at(url))
    }

    async fn call(&self, operation: &str, body: String) -> Value {
        let reply = self.0.pass(aws::dynamodb(operation, body)).await;
        assert!(reply.status().is_success(), "{operation}: {:?}", reply.body());
        serde_json::from_slice(reply.body()).unwrap()
    }

    /// The row under a key, which must be there.
    pub(crate) async fn row(&self, key: Key) -> Value {
        let body = json!({"TableName": local::names::TABLE_NAME, "ConsistentRead": true,
            "Key": {PK: {"S": key.pk.clone()}, SK: {"S": key.sk.clone()}}});
        let mut reply = self.call("GetItem", body.to_string()).await;
        assert!(reply["Item"].is_object(), "no row under {key:?}");
        reply["Item"].take()
    }

    /// All rows of a partition.
    pub(crate) async fn partition(&self, pk: String) -> Vec<Value> {
        let body = json!({"TableName": local::names::TABLE_NAME, "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": pk}}});
        self.call("Query", body.to_string()).await["Items"].as_array().unwrap().clone()
    }

    /// Sets a number of a row.
    pub(crate) async fn set(&self, key: Key, attribute: &str, value: usize) {
        let body = json!({"TableName": local::names::TABLE_NAME, "Key": {PK: {"S": key.pk}, SK: {"S": key.sk}},
            "UpdateExpression": "SET #name = :value", "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": {"#name": attribute},
            "ExpressionAttributeValues": {":value": {"N": value.to_string()}}});
        self.call("UpdateItem", body.to_string()).await;
    }

    /// Writes rows, given as JSON.
    pub(crate) async fn put_all(&self, rows: impl Iterator<Item = String>) {
        let batches = Batches(rows).map(|puts| {
            let body = format!("{{\"RequestItems\":{{\"{}\":[{}]}}}}", local::names::TABLE_NAME, puts.join(","));
            async move {
                let reply = self.call("BatchWriteItem", body).await;
                assert!(reply["UnprocessedItems"].as_object().is_none_or(serde_json::Map::is_empty), "{reply}");
            }
        });
        stream::iter(batches).buffer_unordered(4).collect::<()>().await;
    }
}

/// Rows as the writes of one call each.
struct Batches<I>(I);

impl<I: Iterator<Item = String>> Iterator for Batches<I> {
    type Item = Vec<String>;

    fn next(&mut self) -> Option<Vec<String>> {
        let put = |row| format!("{{\"PutRequest\":{{\"Item\":{row}}}}}");
        let batch: Vec<String> = self.0.by_ref().take(BATCH).map(put).collect();
        (!batch.is_empty()).then_some(batch)
    }
}
