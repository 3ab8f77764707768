//! What calls take, as DynamoDB counts: a write unit is a kilobyte of the larger of the record before and after, a read unit four
//! kilobytes read consistently; a transaction takes both twice, for records that it only checks too, and a refused condition
//! takes what the write would have (Developer Guide, "Read and write operations").

use dynoxide::types::{Item, item_size, read_capacity_units, write_capacity_units};
use serde_json::{Value as Json, json};

use crate::database::from_json;
use crate::layers::embedded::EmbeddedDatabase;
use crate::like_aws::record::{RecordKey, Write};

/// The name of a call's table: the first that it names.
pub(super) fn table(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let after = |mark: &str| text.split_once(mark).and_then(|(_, rest)| rest.split('"').next());
    after("\"TableName\":\"").or_else(|| after("\"RequestItems\":{\"")).unwrap_or_default().to_owned()
}

/// Write units. What an update adds to a record beyond a kilobyte is not counted: only the engine knows it, afterwards.
pub(super) fn of_write(operation: &str, write: &Write<'_>, database: &EmbeddedDatabase, table: &str) -> f64 {
    let new = write.item.and_then(|item| serde_json::from_value(item.clone()).ok());
    let new = new.map_or(0, |item: Item| item_size(&item));
    let units = write_capacity_units(new.max(stored(&write.key, database, table)));
    if operation == "TransactWriteItems" { 2.0 * units } else { units }
}

/// Read units of a write whose transaction is done and was sent again.
pub(super) fn of_repetition(key: &RecordKey, database: &EmbeddedDatabase, table: &str) -> f64 {
    2.0 * read_capacity_units(stored(key, database, table))
}

/// Bytes of a record as it is; 0 if it is not there.
fn stored(key: &RecordKey, database: &EmbeddedDatabase, table: &str) -> usize {
    let Some(engine) = database.engine() else { return 0 };
    let key = json!({ "pk": { "S": key.pk }, "sk": { "S": key.sk } });
    let found = from_json(json!({ "TableName": table, "Key": key })).and_then(|request| engine.get_item(request));
    found.ok().and_then(|reply| reply.item).map_or(0, |item| item_size(&item))
}

/// The partition that a query reads: the value of its condition's partition key, and no sort key.
pub(super) fn queried(body: &Json) -> Option<RecordKey> {
    let condition = body["KeyConditionExpression"].as_str()?;
    let name = condition.split_once("pk = ")?.1.split_whitespace().next()?;
    let pk = body["ExpressionAttributeValues"][name]["S"].as_str()?;
    Some(RecordKey { pk: pk.to_owned(), sk: "QUERY".to_owned() })
}

/// Takes the keys at these positions out of a `BatchGetItem`; they as `UnprocessedKeys`, if there are any.
pub(super) fn leave_out(body: &mut Json, positions: &[usize]) -> Option<Json> {
    if positions.is_empty() {
        return None;
    }
    let (mut unprocessed, mut first) = (json!({}), 0);
    for (name, table) in body["RequestItems"].as_object_mut()? {
        let keys = table["Keys"].as_array_mut()?;
        let here = first..first + keys.len();
        let mut left = Vec::new();
        for position in positions.iter().rev().filter(|position| here.contains(position)) {
            left.push(keys.remove(position - first));
        }
        first = here.end;
        if !left.is_empty() {
            let mut back = table.clone();
            back["Keys"] = left.into();
            unprocessed[name] = back;
        }
    }
    let tables = body["RequestItems"].as_object_mut()?;
    tables.retain(|_, table| table["Keys"].as_array().is_some_and(|keys| !keys.is_empty()));
    Some(unprocessed)
}

/// The units that an answer says it took. No text of a record can be taken for it: quotes in it are escaped.
pub(super) fn consumed(body: &[u8]) -> f64 {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let number = text.rsplit_once("\"CapacityUnits\":").map(|(_, rest)| rest);
    let number = number.map(|rest| rest.split([',', '}']).next().unwrap_or_default());
    // A refused read of nothing takes what nothing takes.
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| read_capacity_units(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_comes_back_as_it_was_asked() {
        let key = |name: &str| json!({ "pk": { "S": name }, "sk": { "S": "X" } });
        let mut body =
            json!({ "RequestItems": { "t": { "Keys": [key("a"), key("b"), key("c")], "ConsistentRead": true } } });
        let unprocessed = leave_out(&mut body, &[0, 2]);
        assert_eq!(body["RequestItems"]["t"]["Keys"], json!([key("b")]));
        assert_eq!(unprocessed, Some(json!({ "t": { "Keys": [key("c"), key("a")], "ConsistentRead": true } })));
        assert_eq!(leave_out(&mut body, &[]), None);
    }

    #[test]
    fn table_partition_and_units_are_found() {
        assert_eq!(table(br#"{"TableName":"t","Key":{}}"#), "t");
        assert_eq!(table(br#"{"RequestItems":{"t":[]}}"#), "t");
        assert_eq!(table(br#"{"TransactItems":[{"Put":{"TableName":"t"}}]}"#), "t");
        let query = json!({ "KeyConditionExpression": "pk = :pk AND sk < :now", "ExpressionAttributeValues": { ":pk": { "S": "A#1" } } });
        assert_eq!(queried(&query).map(|key| key.pk), Some("A#1".to_owned()));
        let answer = br#"{"Count":1,"ConsumedCapacity":{"TableName":"t","CapacityUnits":2.5},"Items":[{"x":{"S":"\"CapacityUnits\":9"}}]}"#;
        assert!((consumed(answer) - 2.5).abs() < 1e-9);
        assert!((consumed(b"{}") - 1.0).abs() < 1e-9);
    }
}
