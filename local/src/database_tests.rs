//! The embedded database's life: opening, locking, keeping.

use std::{collections::HashMap, fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::{
        AttributeValue as Value, ConditionalOperator, KeysAndAttributes, Put, PutRequest, ReturnValue,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
    },
};
use serde_json::json;
use shared::aws::{AwsConfig, Credentials};

use super::{Clock, Database, DatabaseError, Storage};
use crate::{
    layers::stack,
    template::{Table, Template},
};

/// A record's attributes.
type Item = HashMap<String, Value>;

fn table() -> Table {
    Template::parse(include_str!("../../template.yaml")).expect("whole template").table
}

#[tokio::test]
async fn a_folder_serves_one_system_at_a_time_and_keeps_its_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let first = Database::open(&storage, "records", &table(), &Clock::system()).expect("opens");
    let second = Database::open(&storage, "records", &table(), &Clock::system());
    assert!(matches!(second, Err(DatabaseError::InUse(_))), "{second:?}");
    first.close().await;
    let again = Database::open(&storage, "records", &table(), &Clock::system()).expect("opens again");
    again.close().await;
    let mut other = table();
    other.definition["KeySchema"] = json!([{ "AttributeName": "pk", "KeyType": "HASH" }]);
    let changed = Database::open(&storage, "records", &other, &Clock::system());
    assert!(matches!(changed, Err(DatabaseError::OtherKeys(_))), "{changed:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_named() {
    let storage = Storage::Folder(PathBuf::from("/dev/null/records"));
    let error = Database::open(&storage, "records", &table(), &Clock::system()).expect_err("no such folder");
    assert!(error.to_string().starts_with("/dev/null/records: "), "{error}");
}

#[tokio::test]
async fn databases_in_memory_are_apart() {
    let one = Database::open(&Storage::Memory, "records", &table(), &Clock::system()).expect("opens");
    let two = Database::open(&Storage::Memory, "records", &table(), &Clock::system()).expect("opens");
    assert_ne!(one.endpoint_url(), two.endpoint_url());
    one.close().await;
    two.close().await;
}

/// To the system whose clock it is they live: growth's has stood still since a morning that is past.
#[tokio::test]
async fn what_a_folder_keeps_expires_by_no_clock_that_is_ahead_of_its_systems() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = |name: &str, clock: Clock| {
        Database::open(&Storage::Folder(folder.path().join(name)), "records", &table(), &clock).expect("opens")
    };
    let an_hour_ago = Clock::system().now_ms() / 1000 - 3600;
    for name in ["kept", "swept"] {
        let database = opened(name, Clock::at_ms(0));
        let item = [key("b"), [("ttl".to_owned(), Value::N(an_hour_ago.to_string()))].into()].into_iter().flatten();
        let put = client(&database, false).put_item().table_name("records").set_item(Some(item.collect()));
        put.send().await.expect("put");
        database.close().await;
    }
    // Each looks for what has expired as soon as it is opened.
    let (kept, swept) = (opened("kept", Clock::at_ms(0)), opened("swept", Clock::system()));
    let is_there = async |database: &Database| {
        let got = client(database, false).get_item().table_name("records").set_key(Some(key("b")));
        got.send().await.expect("answers").item.is_some()
    };
    while is_there(&swept).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(is_there(&kept).await);
    kept.close().await;
    swept.close().await;
}

/// A client of the database: by its HTTP server, or answered in the process.
fn client(database: &Database, in_process: bool) -> Client {
    let config = AwsConfig {
        region: "us-east-1".to_owned(),
        endpoint_url: Some(database.endpoint_url()),
        credentials: Credentials::new("x", "x", None, None, "test"),
        extra_roots: None,
        http_layer: in_process.then(|| stack(vec![Arc::new(database.in_process())])),
    };
    Client::new(&config.sdk_config().expect("no roots are given"))
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

/// What a function sees of an answer, without what only a connection has.
fn seen<O: Debug, E: Debug + ProvideErrorMetadata, R: Debug>(answer: Result<O, SdkError<E, R>>) -> String {
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
    ($clients:ident, |$client:ident| $call:expr) => {{
        let [in_process, over_http] = &$clients;
        let $client = in_process;
        let direct = seen($call.send().await);
        let $client = over_http;
        let network = seen($call.send().await);
        assert_eq!(comparable(&direct), comparable(&network));
        direct
    }};
}

#[tokio::test]
async fn a_call_in_the_process_is_answered_as_one_over_http_until_the_database_is_closed() {
    // Two databases, so that a write is made once in each.
    let database = Database::open(&Storage::Memory, "records", &table(), &Clock::system()).expect("opens");
    let other = Database::open(&Storage::Memory, "records", &table(), &Clock::system()).expect("opens");
    let clients = [client(&database, true), client(&other, false)];
    let mut item = key("1");
    item.extend(values());
    let old = ReturnValuesOnConditionCheckFailure::AllOld;

    let put = |client: &Client| client.put_item().table_name("records").set_item(Some(key("session")));
    both!(clients, |client| put(client));
    let refused = both!(clients, |client| put(client)
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(old.clone()));
    assert!(refused.contains("ConditionalCheckFailedException") && refused.contains("session"), "{refused}");

    let write = |item: &Item| {
        let put = Put::builder().table_name("records").set_item(Some(item.clone()));
        let put =
            put.condition_expression("attribute_not_exists(pk)").return_values_on_condition_check_failure(old.clone());
        TransactWriteItem::builder().put(put.build().expect("whole")).build()
    };
    let transaction = |client: &Client, token: &str| {
        let count = Update::builder().table_name("records").set_key(Some(key("count"))).update_expression("ADD n :by");
        let count = count.expression_attribute_values(":by", Value::N("1".to_owned()));
        let count = TransactWriteItem::builder().update(count.build().expect("whole")).build();
        let writes = client.transact_write_items().transact_items(count).transact_items(write(&item));
        writes.client_request_token(token)
    };
    both!(clients, |client| transaction(client, "first"));
    let cancelled = both!(clients, |client| transaction(client, "second"));
    assert!(cancelled.contains("TransactionCanceledException") && cancelled.contains("number"), "{cancelled}");
    let replayed = both!(clients, |client| transaction(client, "first"));
    assert!(
        replayed.contains("TransactWriteItemsOutput"),
        "a token's second call is answered as its first: {replayed}"
    );

    let get = |client: &Client| client.get_item().table_name("records").consistent_read(true);
    let counted = both!(clients, |client| get(client).set_key(Some(key("count"))));
    assert!(counted.contains("\"1\""), "{counted}");
    let found = both!(clients, |client| get(client).set_key(Some(key("1"))));
    assert!(found.contains("-1.5"), "{found}");
    both!(clients, |client| get(client).set_key(Some(key("none"))));
    both!(clients, |client| get(client).set_key(Some(values())));

    let update = |client: &Client| {
        let update = client.update_item().table_name("records").set_key(Some(key("1")));
        let update = update.update_expression("SET #name = :name").expression_attribute_names("#name", "name");
        update.expression_attribute_values(":name", Value::S("new".to_owned()))
    };
    both!(clients, |client| update(client).return_values(ReturnValue::AllNew));
    let missing = |client: &Client| {
        let update = update(client).condition_expression("#name = :old");
        update.expression_attribute_values(":old", Value::Bool(true))
    };
    both!(clients, |client| missing(client));
    both!(clients, |client| missing(client).return_values_on_condition_check_failure(old.clone()));

    let writes = || {
        let write = |at| {
            let put = PutRequest::builder().set_item(Some(key(&format!("many{at}")))).build().expect("whole");
            WriteRequest::builder().put_request(put).build()
        };
        (0..3).map(write).collect::<Vec<_>>()
    };
    both!(clients, |client| client.batch_write_item().request_items("records", writes()));

    let query = |client: &Client| {
        let query = client.query().table_name("records").key_condition_expression("pk = :pk AND begins_with(sk, :m)");
        let query = query.expression_attribute_values(":pk", Value::S("a".to_owned())).consistent_read(true);
        query.expression_attribute_values(":m", Value::S("many".to_owned()))
    };
    both!(clients, |client| query(client));
    let page = both!(clients, |client| query(client).limit(2).scan_index_forward(false));
    assert!(page.contains("many1") && !page.contains("many0"), "{page}");
    both!(clients, |client| query(client).set_exclusive_start_key(Some(key("many0"))));
    for client in &clients {
        assert!(seen(query(client).limit(0).send().await).contains("ValidationException"));
    }

    let wanted = KeysAndAttributes::builder().consistent_read(true).keys(key("1")).keys(key("none"));
    let wanted = wanted.build().expect("whole");
    both!(clients, |client| client.batch_get_item().request_items("records", wanted.clone()));

    let delete = |client: &Client| client.delete_item().table_name("records").set_key(Some(key("session")));
    both!(clients, |client| delete(client).return_values(ReturnValue::AllOld));
    both!(clients, |client| delete(client));
    let expected = both!(clients, |client| delete(client).conditional_operator(ConditionalOperator::And));
    assert!(expected.contains("ValidationException"), "{expected}");

    let [in_process, _] = clients;
    database.close().await;
    other.close().await;
    let closed = delete(&in_process).send().await.expect_err("it is closed");
    assert!(matches!(closed, SdkError::DispatchFailure(_)), "{closed:?}");
}
