//! The embedded database's life: opening, locking, keeping.

use std::{
    env, fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::json;

use super::{Database, DatabaseError, Storage};
use crate::template::{Table, Template};

/// A folder of one test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(env::temp_dir().join(format!("citizen-database-{}-{number}", std::process::id())))
    }

    fn storage(&self) -> Storage {
        Storage::Folder(self.0.clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn table() -> Table {
    Template::parse(include_str!("../../template.yaml")).expect("whole template").table
}

#[tokio::test]
async fn a_folder_serves_one_system_at_a_time_and_keeps_its_table() {
    let folder = Folder::new();
    let first = Database::open(&folder.storage(), "records", &table()).expect("opens");
    let second = Database::open(&folder.storage(), "records", &table());
    assert!(matches!(second, Err(DatabaseError::InUse(_))), "{second:?}");
    first.close().await;
    let again = Database::open(&folder.storage(), "records", &table()).expect("opens again");
    again.close().await;
    let mut other = table();
    other.definition["KeySchema"] = json!([{ "AttributeName": "pk", "KeyType": "HASH" }]);
    let changed = Database::open(&folder.storage(), "records", &other);
    assert!(matches!(changed, Err(DatabaseError::OtherKeys(_))), "{changed:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_named() {
    let storage = Storage::Folder(PathBuf::from("/dev/null/records"));
    let error = Database::open(&storage, "records", &table()).expect_err("no such folder");
    assert!(error.to_string().starts_with("/dev/null/records: "), "{error}");
}

#[tokio::test]
async fn databases_in_memory_are_apart() {
    let one = Database::open(&Storage::Memory, "records", &table()).expect("opens");
    let two = Database::open(&Storage::Memory, "records", &table()).expect("opens");
    assert_ne!(one.endpoint_url(), two.endpoint_url());
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn a_call_in_the_process_is_answered_as_one_over_http_until_the_database_is_closed() {
    let database = Database::open(&Storage::Memory, "records", &table()).expect("opens");
    let service = database.service();
    let call = async |operation: &str, body: &str| {
        let answer = service.call(&format!("DynamoDB_20120810.{operation}"), body.as_bytes()).await;
        answer.map(|answer| (answer.status, answer.body))
    };
    let put = r#"{"TableName": "records", "Item": {"pk": {"S": "a"}, "sk": {"S": "b"}},
        "ConditionExpression": "attribute_not_exists(pk)"}"#;
    let get = r#"{"TableName": "records", "Key": {"pk": {"S": "a"}, "sk": {"S": "b"}}}"#;
    assert_eq!(call("PutItem", put).await, Ok((200, "{}".to_owned())));
    let (status, refusal) = call("PutItem", put).await.expect("answered");
    assert!(status == 400 && refusal.contains("#ConditionalCheckFailedException"), "{refusal}");
    assert_eq!(call("GetItem", get).await.map(|(status, body)| (status, body.contains("Item"))), Ok((200, true)));
    for (operation, body) in [("GetItem", "{"), ("GetItem", "{}"), ("Unheard", "{}")] {
        let (status, refusal) = call(operation, body).await.expect("answered");
        assert!(status == 400 && refusal.contains("#ValidationException"), "{operation}: {refusal}");
    }
    let transaction = |token: &str, sort: &str| {
        format!(
            r#"{{"ClientRequestToken": "{token}", "TransactItems": [{{"Put": {{"TableName": "records",
            "Item": {{"pk": {{"S": "a"}}, "sk": {{"S": "{sort}"}}}}, "ConditionExpression": "attribute_not_exists(pk)"}}}}]}}"#
        )
    };
    for (token, sort, expected) in [
        ("one", "c", "{}"),
        // Run again, it would fail on its condition.
        ("one", "c", "{}"),
        ("two", "c", "#TransactionCanceledException"),
        ("one", "d", "#IdempotentParameterMismatchException"),
        (&"t".repeat(37), "d", "#ValidationException"),
    ] {
        let (_, body) = call("TransactWriteItems", &transaction(token, sort)).await.expect("answered");
        assert!(body == expected || expected != "{}" && body.contains(expected), "{token} {sort}: {body}");
    }
    database.close().await;
    assert!(call("GetItem", get).await.is_err());
}
