//! What each release put into the cache, byte for byte. A value of another shape must have another `SCHEMA`: the versions of a
//! gradual deployment share a cache, and postcard tells fields and variants by their place alone.

use super::samples;
use local::system::project_folder;
use serde_json::{Value, json};
use shared::cache::Cacheable;
use shared::ids::UserId;
use shared::model::cached::CachedCatalogue;
use shared::model::item::ItemPage;
use shared::model::org::{OrgPlan, Plan};
use shared::model::price::{Catalogue, ModelPrice, Price};
use shared::model::settings::{Settings, SettingsRecord};
use shared::model::time::Moment;
use shared::model::user::Profile;
use std::collections::BTreeSet;
use std::fs;

/// A value of each type and of each variant in it. Written out, so that a new field must have a value here.
fn today() -> Vec<Value> {
    let user_id: UserId = "usr_0197f2a4c1d27b3e8f00112233445566".parse().unwrap();
    let profile = Profile {
        user_id,
        name: "Ada Lovelace".into(),
        created_at: Moment::from_millis(1_795_000_000_120),
        version: 300,
    };
    let settings = json!({"default_model": "claude-sonnet-4-0", "email_recipients": "members", "timezone": "Europe/Vienna",
        "monthly_budget_usd": "25.00"});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let _a_new_field_needs_a_value_above = |settings: Settings| {
        let Settings { default_model: _, email_recipients: _, timezone: _, monthly_budget_usd: _ } = settings;
    };
    let price = ModelPrice {
        provider: "anthropic".into(),
        model: "claude-sonnet-4-0".into(),
        name: Some("Claude Sonnet 4".into()),
        context_window: Some(200_000),
        prices_usd_per_mtok: [("input_mtok".to_owned(), Price::Flat("3".into()))].into(),
    };
    let catalogue =
        Catalogue { as_of: "2026-11".into(), unit: "US dollars per million tokens".into(), data: vec![price] };
    vec![
        entry(&profile),
        entry(&OrgPlan { plan: Plan::Free, version: 1 }),
        entry(&OrgPlan { plan: Plan::Pro, version: 2 }),
        entry(&OrgPlan { plan: Plan::Enterprise, version: u64::MAX }),
        entry(&SettingsRecord { settings: Settings::default(), version: 1 }),
        entry(&SettingsRecord { settings, version: 2 }),
        entry(&ItemPage { json: r#"{"data":[],"next_cursor":null}"#.into() }),
        entry(&CachedCatalogue::new(catalogue)),
    ]
}

fn name<V>() -> &'static str {
    std::any::type_name::<V>().rsplit("::").next().unwrap()
}

fn entry<V: Cacheable>(value: &V) -> Value {
    json!({"type": name::<V>(), "schema": V::SCHEMA, "value": value, "bytes": hex(&postcard::to_stdvec(value).unwrap())})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub(super) fn write(version: &str) {
    samples::write_json(version, "cache.json", &json!(today()));
}

/// What is wrong with an entry of then: under the same schema the bytes must be the value's, then as now.
fn difference<V: Cacheable>(entry: &Value) -> Option<String> {
    let schema = entry["schema"].as_u64().unwrap();
    if schema < u64::from(V::SCHEMA) {
        return None; // it reads as a miss
    }
    let hex_then = entry["bytes"].as_str().unwrap();
    let value = serde_json::from_value::<V>(entry["value"].clone());
    let now = value.as_ref().map(|value| hex(&postcard::to_stdvec(value).unwrap()));
    let read = postcard::from_bytes::<V>(&bytes(hex_then)).map(|value| json!(value));
    let is_same = schema == u64::from(V::SCHEMA)
        && now.as_deref().is_ok_and(|now| now == hex_then)
        && read.as_ref().is_ok_and(|read| *read == entry["value"]);
    (!is_same).then(|| format!("{} of schema {schema}: raise its SCHEMA; {hex_then} reads {read:?}", entry["type"]))
}

fn check(entry: &Value) -> Option<String> {
    fn only<V: Cacheable>(entry: &Value) -> Option<Option<String>> {
        (entry["type"] == name::<V>()).then(|| difference::<V>(entry))
    }
    let found = only::<Profile>(entry)
        .or_else(|| only::<OrgPlan>(entry))
        .or_else(|| only::<SettingsRecord>(entry))
        .or_else(|| only::<ItemPage>(entry))
        .or_else(|| only::<CachedCatalogue>(entry));
    // A type that is no longer cached is nobody's to read.
    found.flatten()
}

#[test]
fn what_each_release_cached_is_read_or_is_a_miss() {
    for version in samples::versions() {
        let then = samples::read_json(&version, "cache.json");
        let wrong: Vec<String> = then.as_array().unwrap().iter().filter_map(check).collect();
        assert!(wrong.is_empty(), "{version}:\n  {}", wrong.join("\n  "));
    }
}

#[test]
fn each_cached_type_is_in_the_samples() {
    let source = fs::read_to_string(project_folder().join("shared/src/model/cached.rs")).unwrap();
    let declared = source.lines().filter_map(|line| line.strip_prefix("impl Cacheable for ")?.strip_suffix(" {"));
    let made = today();
    assert!(made.iter().filter_map(check).next().is_none(), "what is written today is read today");
    let made: BTreeSet<&str> = made.iter().map(|entry| entry["type"].as_str().unwrap()).collect();
    assert_eq!(made, declared.collect(), "`today` in tests/suite/stored/cached.rs has a value of each");
}
