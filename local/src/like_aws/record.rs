//! The records that a call to DynamoDB touches, read from its body.

use std::fmt;

use serde_json::Value as Json;
use shared::store::keys::{PK, SK};

/// A record's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    pub pk: String,
    pub sk: String,
}

impl RecordKey {
    /// From an item or a key, in DynamoDB's JSON. What is no string is none of this system's.
    pub(crate) fn of(attributes: &Json) -> Self {
        let text = |name: &str| attributes[name]["S"].as_str().unwrap_or_default().to_owned();
        Self { pk: text(PK), sk: text(SK) }
    }

    /// Its kind: names stay and ids become `*`, so `ITEMS#org_0…` / `itm_0…` is `ITEMS#* / *`.
    #[must_use]
    pub fn kind(&self) -> String {
        format!("{} / {}", kind(&self.pk), kind(&self.sk))
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.pk, self.sk)
    }
}

fn kind(key: &str) -> String {
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let parts: Vec<&str> = key.split('#').map(|part| if is_name(part) { part } else { "*" }).collect();
    parts.join("#")
}

/// A record that a call writes or, in a transaction, checks.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    pub(crate) key: RecordKey,
    /// The new record, of a put.
    pub(crate) item: Option<&'a Json>,
    /// Where it is: the table's name and the position in its list, for what comes in lists.
    pub(crate) place: (&'a str, usize),
}

/// What a call writes and checks, in its order; nothing for a read.
pub(crate) fn writes<'a>(operation: &str, body: &'a Json) -> Vec<Write<'a>> {
    let write = |item: Option<&'a Json>, key: Option<&'a Json>, place| {
        let attributes = item.or(key)?;
        Some(Write { key: RecordKey::of(attributes), item, place })
    };
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => {
            write(body.get("Item"), body.get("Key"), ("", 0)).into_iter().collect()
        }
        "BatchWriteItem" => {
            let tables = body["RequestItems"].as_object().into_iter().flatten();
            let requests = tables.flat_map(|(table, list)| {
                list.as_array().into_iter().flatten().enumerate().map(move |one| (table, one))
            });
            let read = |(table, (position, request)): (&'a String, (usize, &'a Json))| {
                let (item, key) = (request["PutRequest"].get("Item"), request["DeleteRequest"].get("Key"));
                write(item, key, (table.as_str(), position))
            };
            requests.filter_map(read).collect()
        }
        "TransactWriteItems" => {
            let actions = body["TransactItems"].as_array().into_iter().flatten().enumerate();
            let read = |(position, action): (usize, &'a Json)| {
                let parts = action.as_object()?.values().find(|parts| parts.is_object())?;
                write(parts.get("Item"), parts.get("Key"), ("", position))
            };
            actions.filter_map(read).collect()
        }
        _ => Vec::new(),
    }
}

/// The records that a call asks for by their keys.
pub(crate) fn reads(operation: &str, body: &Json) -> Vec<RecordKey> {
    match operation {
        "GetItem" => vec![RecordKey::of(&body["Key"])],
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().into_iter().flatten();
            let keys = tables.flat_map(|(_, table)| table["Keys"].as_array().into_iter().flatten());
            keys.map(RecordKey::of).collect()
        }
        "TransactGetItems" => {
            let gets = body["TransactItems"].as_array().into_iter().flatten();
            gets.map(|get| RecordKey::of(&get["Get"]["Key"])).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(pk: &str, sk: &str) -> Json {
        json!({ "pk": { "S": pk }, "sk": { "S": sk } })
    }

    #[test]
    fn a_kind_has_names_and_no_ids() {
        for (pk, sk, kind) in [
            ("ITEMS#org_0192", "itm_0192", "ITEMS#* / *"),
            ("ORG#org_0192", "ORG", "ORG#* / ORG"),
            ("USER#usr_0192", "ORG#org_0192", "USER#* / ORG#*"),
            ("DUE#07", "1790000000000#job_0192", "DUE#* / *#*"),
            ("EMAIL#ada@example.com", "ATTEMPTS", "EMAIL#* / ATTEMPTS"),
        ] {
            assert_eq!(RecordKey::of(&key(pk, sk)).kind(), kind);
        }
    }

    #[test]
    fn each_write_of_a_call_is_found_in_its_order() {
        let transaction = json!({ "TransactItems": [
            { "Update": { "Key": key("A", "1"), "TableName": "t" } },
            { "Put": { "Item": key("B", "2"), "TableName": "t" } },
            { "ConditionCheck": { "Key": key("C", "3"), "TableName": "t" } },
            { "Delete": { "Key": key("D", "4"), "TableName": "t" } },
        ]});
        let found = writes("TransactWriteItems", &transaction);
        let of = |write: &Write<'_>| (write.key.pk.clone(), write.item.is_some(), write.place.1);
        let found: Vec<_> = found.iter().map(of).collect();
        let (a, b, c, d) = ("A".to_owned(), "B".to_owned(), "C".to_owned(), "D".to_owned());
        assert_eq!(found, [(a, false, 0), (b, true, 1), (c, false, 2), (d, false, 3)]);
        let batch = json!({ "RequestItems": { "t": [
            { "PutRequest": { "Item": key("A", "1") } }, { "DeleteRequest": { "Key": key("B", "2") } },
        ]}});
        let found = writes("BatchWriteItem", &batch);
        assert_eq!(found.iter().map(|write| write.place).collect::<Vec<_>>(), [("t", 0), ("t", 1)]);
        assert_eq!(writes("DeleteItem", &json!({ "Key": key("A", "1") }))[0].key.to_string(), "A / 1");
        assert!(writes("GetItem", &json!({ "Key": key("A", "1") })).is_empty());
    }

    #[test]
    fn each_key_of_a_read_is_found() {
        let batch = json!({ "RequestItems": { "t": { "Keys": [key("A", "1"), key("B", "2")] } } });
        assert_eq!(reads("BatchGetItem", &batch).len(), 2);
        let gets = json!({ "TransactItems": [{ "Get": { "Key": key("A", "1") } }] });
        assert_eq!(reads("TransactGetItems", &gets)[0].to_string(), "A / 1");
        assert_eq!(reads("GetItem", &json!({ "Key": key("A", "1") }))[0].to_string(), "A / 1");
    }
}
