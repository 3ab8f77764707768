//! The embedded database's life: opening, locking, keeping.

use std::{
    collections::HashMap,
    env,
    fmt::Debug,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        batch_get_item::BatchGetItemInput, batch_write_item::BatchWriteItemInput, delete_item::DeleteItemInput,
        get_item::GetItemInput, put_item::PutItemInput, query::QueryInput,
        transact_write_items::TransactWriteItemsInput, update_item::UpdateItemInput,
    },
    primitives::Blob,
    types::{
        AttributeValue as Value, ConditionalOperator, KeysAndAttributes, Put, PutRequest, ReturnValue,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
    },
};
use serde_json::json;
use shared::{aws::Failure, config::Config};

use super::{Arc, Database, DatabaseError, Storage, values::Item};
use crate::{
    privileges::Privileges,
    template::{Table, Template},
};

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

/// Privileges under which `caller` may do everything to `records`.
fn privileges() -> Arc<Privileges> {
    let template = Template::parse(include_str!("../../template.yaml")).expect("whole template");
    let config = Config::from_lookup(|name| {
        let value = match name {
            "TABLE_NAME" => "records",
            "ALLOWED_ORIGINS" => "http://localhost",
            "CACHE_URL" => "off:",
            "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x",
            _ => return None,
        };
        Some(value.to_owned())
    });
    Arc::new(Privileges::new(&template, &config.expect("whole")))
}

/// A client of the database's HTTP server.
fn client(database: &Database) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("x", "x", None, None, "test"))
        .endpoint_url(database.endpoint_url());
    Client::from_conf(config.build())
}

/// A value of every type.
fn values() -> Item {
    let text = |text: &str| Value::S(text.to_owned());
    let nested = HashMap::from([("list".to_owned(), Value::L(vec![text("a"), Value::Null(true)]))]);
    [
        ("text", text("é")),
        ("number", Value::N("-1.50".to_owned())),
        ("bytes", Value::B(Blob::new([0, 255]))),
        ("truth", Value::Bool(false)),
        ("nothing", Value::Null(true)),
        ("texts", Value::Ss(vec!["a".to_owned(), "b".to_owned()])),
        ("numbers", Value::Ns(vec!["1".to_owned(), "2".to_owned()])),
        ("blobs", Value::Bs(vec![Blob::new([1]), Blob::new([2])])),
        ("map", Value::M(nested)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn key(sort: &str) -> Item {
    [("pk", "a"), ("sk", sort)].map(|(name, value)| (name.to_owned(), Value::S(value.to_owned()))).into()
}

/// What of an answer the functions see: the output, or the refusal's code, message and record.
fn seen<O: Debug, E: Debug + ProvideErrorMetadata>(answer: Result<O, Failure<E>>) -> String {
    match answer {
        Ok(output) => format!("{output:#?}"),
        Err(Failure::Refused(error, _)) => format!("{error:#?}"),
        Err(Failure::Closed) => "closed".to_owned(),
    }
}

/// The same of the SDK's, without what only a connection has.
fn sent<O: Debug, E: Debug + ProvideErrorMetadata, R: Debug>(answer: Result<O, SdkError<E, R>>) -> String {
    match answer {
        Ok(output) => format!("{output:#?}"),
        Err(SdkError::ServiceError(error)) => format!("{:#?}", error.err()),
        Err(error) => panic!("{error:?}"),
    }
}

/// The words that say something, in an order of their own, as maps have none. Request ids are the connection's.
fn comparable(seen: &str) -> Vec<String> {
    let is_id = |line: &str| line.len() > 50 && line.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let says = |line: &&str| {
        !line.is_empty()
            && !line.contains("request_id")
            && !line.starts_with("extras")
            && !is_id(line.trim_matches('"'))
    };
    let lines = seen.lines().map(|line| line.trim_matches([' ', ',', '(', ')', '{', '}'])).filter(says);
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Asks both databases the same, and compares.
macro_rules! both {
    ($engine:ident, $caller:literal, $client:ident, $operation:ident, $input:expr) => {{
        let input = $input;
        let direct = seen($engine.$operation($caller, input.clone().build().expect("whole")));
        let network = sent(input.send_with(&$client).await);
        assert_eq!(comparable(&direct), comparable(&network), "{}", stringify!($operation));
        direct
    }};
}

#[tokio::test]
async fn a_call_in_the_process_is_answered_as_one_over_http_until_the_database_is_closed() {
    // Two databases, so that a write is made once in each.
    let database = Database::open(&Storage::Memory, "records", &table()).expect("opens");
    let other = Database::open(&Storage::Memory, "records", &table()).expect("opens");
    let (engine, client) = (database.engine(privileges()), client(&other));
    let mut item = key("1");
    item.extend(values());
    let old = ReturnValuesOnConditionCheckFailure::AllOld;

    // login puts and updates, get-item reads, delete-item deletes in transactions, logout without.
    let put = PutItemInput::builder().table_name("records").set_item(Some(key("session")));
    both!(engine, "login", client, put_item, put.clone());
    let again =
        put.condition_expression("attribute_not_exists(pk)").return_values_on_condition_check_failure(old.clone());
    let refused = both!(engine, "login", client, put_item, again);
    assert!(refused.contains("ConditionalCheckFailedException") && refused.contains("session"), "{refused}");

    let write = |item: &Item| {
        let put = Put::builder().table_name("records").set_item(Some(item.clone()));
        let put =
            put.condition_expression("attribute_not_exists(pk)").return_values_on_condition_check_failure(old.clone());
        TransactWriteItem::builder().put(put.build().expect("whole")).build()
    };
    let transaction = |item: &Item, by: &str| {
        let count = Update::builder().table_name("records").set_key(Some(key("count"))).update_expression("ADD n :by");
        let count = count.expression_attribute_values(":by", Value::N(by.to_owned()));
        let count = TransactWriteItem::builder().update(count.build().expect("whole")).build();
        TransactWriteItemsInput::builder().transact_items(count).transact_items(write(item))
    };
    both!(engine, "create-item", client, transact_write_items, transaction(&item, "1"));
    let cancelled = both!(engine, "create-item", client, transact_write_items, transaction(&item, "1"));
    assert!(cancelled.contains("TransactionCanceledException") && cancelled.contains("number"), "{cancelled}");

    let get = GetItemInput::builder().table_name("records").consistent_read(true);
    let found = both!(engine, "get-item", client, get_item, get.clone().set_key(Some(key("1"))));
    assert!(found.contains("-1.5"), "{found}");
    both!(engine, "get-item", client, get_item, get.clone().set_key(Some(key("none"))));
    both!(engine, "get-item", client, get_item, get.clone().set_key(Some(values())));

    let update = UpdateItemInput::builder().table_name("records").set_key(Some(key("1")));
    let update = update.update_expression("SET #name = :name").expression_attribute_names("#name", "name");
    let update = update.expression_attribute_values(":name", Value::S("new".to_owned()));
    both!(engine, "update-item", client, update_item, update.clone().return_values(ReturnValue::AllNew));
    let missing = update.condition_expression("#name = :old").expression_attribute_values(":old", Value::Bool(true));
    both!(engine, "update-item", client, update_item, missing.clone());
    both!(engine, "update-item", client, update_item, missing.return_values_on_condition_check_failure(old));

    let writes = (0..3).map(|at| {
        let put = PutRequest::builder().set_item(Some(key(&format!("many{at}")))).build().expect("whole");
        WriteRequest::builder().put_request(put).build()
    });
    let batch = BatchWriteItemInput::builder().request_items("records", writes.collect());
    both!(engine, "create-item", client, batch_write_item, batch);

    let query =
        QueryInput::builder().table_name("records").key_condition_expression("pk = :pk AND begins_with(sk, :m)");
    let query = query.expression_attribute_values(":pk", Value::S("a".to_owned())).consistent_read(true);
    let query = query.expression_attribute_values(":m", Value::S("many".to_owned()));
    both!(engine, "list-items", client, query, query.clone());
    let page = both!(engine, "list-items", client, query, query.clone().limit(2).scan_index_forward(false));
    assert!(page.contains("many1") && !page.contains("many0"), "{page}");
    both!(engine, "list-items", client, query, query.clone().set_exclusive_start_key(Some(key("many0"))));
    assert!(seen(engine.query("list-items", query.limit(0).build().expect("whole"))).contains("ValidationException"));

    let wanted = KeysAndAttributes::builder().consistent_read(true).keys(key("1")).keys(key("none"));
    let wanted = BatchGetItemInput::builder().request_items("records", wanted.build().expect("whole"));
    both!(engine, "get-me", client, batch_get_item, wanted);

    let delete = DeleteItemInput::builder().table_name("records").set_key(Some(key("session")));
    both!(engine, "logout", client, delete_item, delete.clone().return_values(ReturnValue::AllOld));
    both!(engine, "logout", client, delete_item, delete.clone());

    let denied = seen(engine.delete_item("get-item", delete.clone().build().expect("whole")));
    assert!(denied.contains("AccessDeniedException"), "{denied}");
    let elsewhere = seen(engine.delete_item("logout", delete.clone().table_name("others").build().expect("whole")));
    assert!(elsewhere.contains("AccessDeniedException"), "{elsewhere}");
    let expected = delete.clone().conditional_operator(ConditionalOperator::And).build().expect("whole");
    assert!(seen(engine.delete_item("logout", expected)).contains("ValidationException"));

    database.close().await;
    other.close().await;
    assert_eq!(seen(engine.delete_item("logout", delete.build().expect("whole"))), "closed");
}
