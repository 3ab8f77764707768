//! The committed samples of each release, and a table's records as DynamoDB's JSON.

use crate::api::{Api, Reply};
use local::names::TABLE_NAME;
use local::system::project_folder;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use testkit::aws;
use testkit::http::Origin;

/// What a system has stored, and what it answered then.
#[derive(Clone)]
pub(super) struct Samples {
    /// When it was, in milliseconds since the Unix epoch.
    pub(super) made_at_ms: u64,
    /// Tokens of organizations' owners.
    pub(super) owners: Vec<String>,
    pub(super) records: Vec<Value>,
    /// Calls with `status` and at least the `reply` that they are to get, at once or, with `later`, when an hour has passed and
    /// all jobs have ended.
    pub(super) calls: Vec<Value>,
}

fn folder() -> PathBuf {
    project_folder().join("tests/samples")
}

/// The versions that there are samples of.
pub(super) fn versions() -> Vec<String> {
    let folders = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut versions: Vec<String> = folders.collect();
    versions.sort_by_key(|version| version.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>());
    versions
}

pub(super) fn file(version: &str, name: &str) -> PathBuf {
    folder().join(version).join(name)
}

pub(super) fn read_json(version: &str, name: &str) -> Value {
    serde_json::from_slice(&fs::read(file(version, name)).unwrap()).unwrap()
}

pub(super) fn write_json(version: &str, name: &str, value: &Value) {
    fs::create_dir_all(folder().join(version)).unwrap();
    fs::write(file(version, name), serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
}

impl Samples {
    pub(super) fn read(version: &str) -> Self {
        let (table, calls) = (read_json(version, "table.json"), read_json(version, "calls.json"));
        Self {
            made_at_ms: calls["made_at_ms"].as_u64().unwrap(),
            owners: serde_json::from_value(calls["owners"].clone()).unwrap(),
            records: table.as_array().unwrap().clone(),
            calls: calls["calls"].as_array().unwrap().clone(),
        }
    }

    pub(super) fn write(&self, version: &str) {
        let Self { made_at_ms, owners, records, calls } = self;
        write_json(version, "table.json", &json!(records));
        write_json(version, "calls.json", &json!({"made_at_ms": made_at_ms, "owners": owners, "calls": calls}));
    }

    /// The same as a newer version might have stored them: with one more attribute in each record, and in each object in it.
    pub(super) fn of_a_newer_version(mut self) -> Self {
        for record in &mut self.records {
            let record = record.as_object_mut().unwrap();
            record.values_mut().for_each(add_to_objects);
            record.insert(NEW.to_owned(), json!({"S": "new"}));
        }
        self
    }
}

/// The attribute that only a newer version knows.
const NEW: &str = "of_a_newer_version";

/// Adds [`NEW`] to the objects in an attribute, also where it is JSON in a text.
fn add_to_objects(attribute: &mut Value) {
    let (kind, value) = attribute.as_object_mut().unwrap().iter_mut().next().unwrap();
    match (kind.as_str(), value) {
        ("M", Value::Object(map)) => {
            // A kept reply's body is not read again: it is sent as it is.
            map.iter_mut().filter(|(name, _)| *name != "body").for_each(|(_, value)| add_to_objects(value));
            map.insert(NEW.to_owned(), json!({"S": "new"}));
        }
        ("L", Value::Array(list)) => list.iter_mut().for_each(add_to_objects),
        ("S", Value::String(text)) => {
            if let Ok(mut json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text) {
                add_to_json(&mut json);
                *text = json.to_string();
            }
        }
        _ => {}
    }
}

fn add_to_json(json: &mut Value) {
    match json {
        Value::Array(list) => list.iter_mut().for_each(add_to_json),
        // A map from names to prices has no fields: what is added to it is another name.
        Value::Object(map) => {
            map.iter_mut().filter(|(name, _)| *name != "prices_usd_per_mtok").for_each(|(_, value)| add_to_json(value));
            map.insert(NEW.to_owned(), json!("new"));
        }
        _ => {}
    }
}

/// A table, past every function.
pub(super) struct Table(Origin);

/// Records by their keys.
pub(super) type Records = BTreeMap<(String, String), Map<String, Value>>;

impl Table {
    pub(super) fn at(database_url: &str) -> Self {
        Self(Origin::at(database_url))
    }

    pub(super) async fn put(&self, records: &[Value]) {
        for record in records {
            self.call("PutItem", json!({"TableName": TABLE_NAME, "Item": record})).await;
        }
    }

    pub(super) async fn records(&self) -> Records {
        let (mut records, mut start) = (Records::new(), Value::Null);
        loop {
            let mut scan = json!({"TableName": TABLE_NAME, "ConsistentRead": true});
            if !start.is_null() {
                scan["ExclusiveStartKey"] = start;
            }
            let mut page = self.call("Scan", scan).await;
            records.extend(by_key(page["Items"].as_array().unwrap()));
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return records;
            }
        }
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let reply = self.0.pass(aws::dynamodb(operation, body.to_string())).await;
        assert!(reply.status().is_success(), "{operation}: {:?}", reply.body());
        serde_json::from_slice(reply.body()).unwrap()
    }
}

pub(super) fn by_key(records: &[Value]) -> Records {
    let text = |record: &Value, name: &str| record[name]["S"].as_str().unwrap().to_owned();
    records
        .iter()
        .map(|record| ((text(record, "pk"), text(record, "sk")), record.as_object().unwrap().clone()))
        .collect()
}

/// Makes a call as it stands in the samples.
pub(super) async fn repeat(api: &Api, call: &Value) -> Reply {
    let method: Method = call["method"].as_str().unwrap().parse().unwrap();
    let mut request = api.request(method, call["path"].as_str().unwrap());
    if let Some(token) = call["token"].as_str() {
        request = request.bearer_auth(token);
    }
    for (name, value) in call["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    if let Some(body) = call["body"].as_str() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    crate::api::send(request).await
}

/// Whether all that was answered then is answered now; what a later version adds is no difference.
pub(super) fn has_all_of(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            then.iter().all(|(name, then)| now.get(name).is_some_and(|now| has_all_of(now, then)))
        }
        (Value::Array(now), Value::Array(then)) => {
            now.len() == then.len() && now.iter().zip(then).all(|(now, then)| has_all_of(now, then))
        }
        (now, then) => now == then,
    }
}
