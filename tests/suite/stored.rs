//! What each released version stored and cached is read, changed and run to its end by this one. The samples are in
//! `tests/samples/<version>/`; `just samples <version>` makes those of a release (docs/changing-a-record.md).

mod cached;
mod samples;
mod scenario;

use crate::api::{Api, PASSWORD};
use crate::jobs::providers::Providers;
use crate::jobs::rig::Rig;
use local::clock::Clock;
use local::system::project_folder;
use local::{Options, openapi, operator};
use samples::{Records, Samples, Table, has_all_of, repeat};
use serde_json::{Value, json};
use shared::model::job::JobKind;
use shared::model::org::Plan;
use shared::token::Token;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// What a write may change in a record of a kind, by how its keys start. Everything else of a record stays as it was.
const MAY_CHANGE: [(&str, &str, &[&str]); 17] = [
    ("EMAIL#", "GUESSES", &["window_ends", "ttl"]),
    ("USER#", "PROFILE", &["name", "version", "write_id", "write_id_before"]),
    ("USER#", "ORG#", &["role"]),
    ("ORG#", "MEMBER#", &["role"]),
    (
        "ORG#",
        "ORG",
        &[
            "plan",
            "plan_version",
            "plan_given_at",
            "plan_write_id",
            "plan_write_id_before",
            "spread_from",
            "copied",
            "item_count",
            "deletions",
        ],
    ),
    (
        "ORG#",
        "COPY",
        &["plan", "plan_version", "plan_given_at", "plan_write_id", "plan_write_id_before", "item_count", "deletions"],
    ),
    ("ORG#", "SETTINGS", &["settings", "version"]),
    ("CAP#", "CAP", &["units", "held", "taken", "free_units", "slot"]),
    ("LIMITER#", "LIMITER", &["next_at", "account_next_at"]),
    ("BACKLOG#", "", &["ends_at", "call_at", "ttl"]),
    ("WAITING#", "PLACE", &["holder", "held_until", "ttl"]),
    ("ITEMS#", "", &["name", "updated_at", "version", "write_id", "write_id_before"]),
    ("ROOM#", "", &["free_units", "terms"]),
    ("PARTITIONS", "KNOWN", &["since", "seen"]),
    (
        "USAGE#",
        "",
        &["analyses", "emails", "input_tokens", "output_tokens", "cost_nanos", "spent_nanos", "free_units", "terms"],
    ),
    ("IDEMPOTENCY#", "", &["lease_until", "work", "reply"]),
    (
        "JOBS#",
        "",
        &[
            "budget_nanos",
            "budget_version",
            "cap_day",
            "owes_cap",
            "state",
            "attempts",
            "fence",
            "lease_until",
            "sending",
            "started_at",
            "finished_at",
            "due_at",
            "not_before",
            "give_up_at",
            "waiting_for",
            "turn",
            "place",
            "refusals",
            "charged_nanos",
            "result",
            "error",
            "version",
        ],
    ),
];

#[tokio::test]
async fn what_each_release_stored_is_read_changed_and_run_to_its_end() {
    for version in samples::versions() {
        lives_on(&version, Samples::read(&version)).await;
    }
}

/// While a deployment runs, a version reads what the next one writes, and writes into its records.
#[tokio::test]
async fn what_a_newer_version_adds_is_read_over_and_kept() {
    let newest = samples::versions().pop().unwrap();
    lives_on("a newer version", Samples::read(&newest).of_a_newer_version()).await;
}

/// Puts the records into an empty system at the time that they are of; repeats the calls, changes what can be changed, runs all
/// jobs to their end, and looks at what has become of the records.
async fn lives_on(version: &str, samples: Samples) {
    let providers = Providers::start().await;
    let environment = providers.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let clock = Clock::at_ms(samples.made_at_ms);
    let rig = Rig::start(Options { clock, environment, ..Options::ephemeral() }).await;
    let table = Table::at(&rig.system.database_url());
    table.put(&samples.records).await;
    let before = samples::by_key(&samples.records);

    answer(version, &rig.api, samples.calls.iter().filter(|call| call["later"].is_null())).await;
    for owner in &samples.owners {
        change_everything(version, &rig, owner).await;
    }
    log_in(version, &rig.api, &before).await;
    rig.system.clock().jump(Duration::from_secs(3_600));
    let swept = rig.sweep_once().await;
    assert_eq!(swept.left, 0, "{version}: what is due is dealt with");
    rig.drain().await;
    answer(version, &rig.api, samples.calls.iter().filter(|call| !call["later"].is_null())).await;
    nothing_is_lost(version, &before, &table.records().await);
}

async fn answer(version: &str, api: &Api, calls: impl Iterator<Item = &Value>) {
    for call in calls {
        let reply = repeat(api, call).await;
        let as_then = reply.status == call["status"] && has_all_of(&reply.body, &call["reply"]);
        let said =
            format!("was {} {}\n  is answered now with {} {}", call["status"], call["reply"], reply.status, reply.text);
        assert!(as_then, "{version}: {} {}\n  {said}", call["method"], call["path"]);
    }
}

/// Changes each record that its organization can change.
async fn change_everything(version: &str, rig: &Rig, token: &str) {
    let api = &rig.api;
    let org = Token::parse(token).unwrap().org_id;
    let call = async |method: &str, path: &str, body: Value| {
        let call = json!({"token": token, "method": method, "path": path, "headers": {},
            "body": (!body.is_null()).then(|| body.to_string())});
        let reply = repeat(api, &call).await;
        assert!(matches!(reply.status, 200 | 201), "{version}: {method} {path}: {} {}", reply.status, reply.text);
        reply.body
    };
    call("PATCH", "/me", json!({"name": "Ada King"})).await;
    call("PUT", &format!("/orgs/{org}/settings"), json!({"settings": {"timezone": "UTC"}})).await;
    for item in call("GET", "/items", Value::Null).await["data"].as_array().unwrap() {
        let path = format!("/items/{}", item["id"].as_str().unwrap());
        call("PATCH", &path, json!({"name": "renamed"})).await;
    }
    call("POST", "/items", json!({"name": "new"})).await;
    let members = format!("/orgs/{org}/members");
    for member in call("GET", &members, Value::Null).await["data"].as_array().unwrap() {
        let role = match member["role"].as_str().unwrap() {
            "member" => "admin",
            "admin" => "member",
            owner => owner,
        };
        call("PUT", &format!("{members}/{}", member["user_id"].as_str().unwrap()), json!({"role": role})).await;
    }
    operator::give_plan(rig.system.context(), org, Plan::Enterprise).await.unwrap();
    assert_eq!(call("GET", &format!("/orgs/{org}/plan"), Value::Null).await["plan"], "enterprise");
}

/// Logs every account in.
async fn log_in(version: &str, api: &Api, before: &Records) {
    for (pk, _) in before.keys().filter(|(_, sk)| sk == "LOGIN") {
        let body = json!({"email": pk.strip_prefix("EMAIL#"), "password": PASSWORD});
        let reply = api.call(None, reqwest::Method::POST, "/auth/login", Some(body)).await;
        assert_eq!(reply.status, 200, "{version}: {pk}: {}", reply.text);
    }
}

/// Each record is still there, but for the entries of what was due, with all that no write was to change.
fn nothing_is_lost(version: &str, before: &Records, after: &Records) {
    for ((pk, sk), old) in before.iter().filter(|((pk, _), _)| !pk.starts_with("DUE#")) {
        let Some(new) = after.get(&(pk.clone(), sk.clone())) else { panic!("{version}: {pk} {sk} is gone") };
        let may_change = MAY_CHANGE.iter().find(|(p, s, _)| pk.starts_with(p) && sk.starts_with(s));
        let may_change = may_change.map_or(&[][..], |(_, _, names)| names);
        for (name, value) in old {
            let (changed, missing) = (new.get(name) != Some(value), !new.contains_key(name));
            let known = may_change.contains(&name.as_str());
            // What was begun under a key is done when its reply is kept, what was owed is taken, and what runs stands in no backlog.
            assert!(
                !missing || ["work", "owes_cap", "place"].contains(&name.as_str()),
                "{version}: {pk} {sk} has lost {name}"
            );
            assert!(!changed || known, "{version}: {name} of {pk} {sk} was {value} and is {:?}", new.get(name));
        }
    }
    let entries_of_then = before.keys().filter(|key| key.0.starts_with("DUE#") && after.contains_key(key)).count();
    assert_eq!(entries_of_then, 0, "{version}: what was due an hour ago is dealt with");
}

/// What `just samples` makes has each kind of record that the key table names and nothing else, each value of what is stored
/// as a word, and a value of each attribute. And it has its say on its own version: what is written today is read today.
#[tokio::test]
async fn the_scenario_makes_one_of_everything() {
    let made = scenario::samples().await;
    let source = fs::read_to_string(project_folder().join("shared/src/store/keys.rs")).unwrap();
    let kinds: Vec<Kind> = source.lines().filter_map(Kind::of_row).collect();
    let keys = source.lines().filter(|line| line.starts_with("    pub fn ") && line.ends_with("-> Self {")).count();
    assert_eq!(kinds.len(), keys, "each key of keys.rs has a row in its table");
    let mut missing = Vec::new();
    let records = samples::by_key(&made.records);
    for (pk, sk) in records.keys() {
        let of = kinds.iter().filter(|kind| matches(&kind.pk, pk) && matches(&kind.sk, sk)).count();
        assert_eq!(of, 1, "{pk} {sk} is of one kind in the table of keys.rs");
    }
    for kind in &kinds {
        let found: Vec<_> =
            records.iter().filter(|((pk, sk), _)| matches(&kind.pk, pk) && matches(&kind.sk, sk)).collect();
        let names: BTreeSet<&String> = found.iter().flat_map(|(_, record)| record.keys()).collect();
        let without_value = |name: &&&String| {
            found.iter().all(|(_, record)| record.get(**name).is_none_or(|value| value.get("NULL").is_some()))
        };
        missing.extend(found.is_empty().then(|| kind.name.clone()));
        missing.extend(names.iter().filter(without_value).map(|name| format!("{}: a value of {name}", kind.name)));
    }
    let text = json!(made.records).to_string();
    let document: Value = serde_json::from_str(&openapi::document()).unwrap();
    for word in ["JobState", "Plan", "Role", "EmailRecipients"] {
        let values = document["components"]["schemas"][word]["enum"].as_array().unwrap();
        let not_there = values.iter().filter(|value| !text.contains(&json!({"S": value}).to_string()));
        missing.extend(not_there.map(|value| format!("{word}: {value}")));
    }
    // What no caller sees is not in the document.
    let kinds = JobKind::ALL.map(|kind| json!({"S": kind}).to_string());
    missing.extend(kinds.into_iter().filter(|kind| !text.contains(kind)));
    assert!(missing.is_empty(), "tests/suite/stored/scenario.rs makes none of these:\n  {}", missing.join("\n  "));
    lives_on("today", made).await;
}

/// A row of the table in `keys.rs`.
struct Kind {
    name: String,
    pk: String,
    sk: String,
}

impl Kind {
    fn of_row(line: &str) -> Option<Self> {
        let cells: Vec<&str> = line.strip_prefix("//! | ")?.trim_end_matches('|').split('|').map(str::trim).collect();
        let [name, pk, sk] = cells[..] else { return None };
        let text = |cell: &str| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned());
        Some(Self { name: name.to_owned(), pk: text(pk)?, sk: text(sk)? })
    }
}

/// Whether a key has a shape such as `USER#<user>`: something without a `#` stands for each `<…>`.
fn matches(shape: &str, key: &str) -> bool {
    let (shape, key): (Vec<&str>, Vec<&str>) = (shape.split('#').collect(), key.split('#').collect());
    shape.len() == key.len() && shape.iter().zip(key).all(|(shape, key)| shape.starts_with('<') || *shape == key)
}

/// A release that the changelog names has its samples.
#[test]
fn each_release_has_its_samples() {
    let changelog = fs::read_to_string(project_folder().join("CHANGELOG.md")).unwrap();
    let releases =
        changelog.lines().filter_map(|line| line.strip_prefix("## [")?.split_once(']').map(|(name, _)| name));
    let releases: BTreeSet<String> = releases.filter(|name| *name != "Unreleased").map(str::to_owned).collect();
    assert!(!releases.is_empty());
    let without: Vec<_> = releases.difference(&samples::versions().into_iter().collect()).cloned().collect();
    assert!(without.is_empty(), "run `just samples <version>` for {without:?} and commit tests/samples");
}

/// Not a test: `just samples <version>` writes a release's samples with it.
#[tokio::test]
#[ignore = "writes into tests/samples"]
async fn make_samples() {
    let version = std::env::var("CITIZEN_SAMPLES").expect("CITIZEN_SAMPLES names the version");
    scenario::samples().await.write(&version);
    cached::write(&version);
}
