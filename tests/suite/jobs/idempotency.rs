//! `Idempotency-Key`: one execution, and the first reply byte for byte.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::{Actor, Reply};
use futures_util::future::join_all;
use local::Options;
use reqwest::Method;
use serde_json::json;
use shared::idempotency::{Begin, IdempotencyKey, KeyClaim, KeyRecord};
use shared::ids::ItemId;
use shared::store::items::BatchWork;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A reply without what belongs to its request alone.
fn kept(reply: &Reply) -> (u16, &str, Vec<(String, String)>) {
    let own = ["x-request-id", "server-timing", "date", "idempotent-replayed", "content-length"];
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (reply.status, &reply.text, headers)
}

#[track_caller]
fn is_replay(first: &Reply, second: &Reply) {
    assert!(first.headers.get("idempotent-replayed").is_none());
    assert_eq!(second.header("idempotent-replayed"), "true", "{}", second.text);
    assert_eq!(kept(first), kept(second));
}

async fn items(rig: &Rig, owner: &Actor) -> usize {
    rig.api.get(owner, "/items?limit=100").await.body["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_repetition_gets_the_first_reply_byte_for_byte_and_does_nothing() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let key = [("Idempotency-Key", "Of-visible:ASCII~only!")];
    let batch = json!({"items": (0..60).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>()}).to_string();
    for (path, body) in [
        ("/items", r#"{"name":"one"}"#),
        ("/analyze", r#"{"text":"a text"}"#),
        ("/send-email", r#"{"to":"a@example.com","subject":"s","text":"t"}"#),
    ] {
        let first = rig.post_with(&owner, path, &key, body).await;
        assert!(matches!(first.status, 201 | 202), "{}", first.text);
        is_replay(&first, &rig.post_with(&owner, path, &key, body).await);
        let other = rig.post_with(&owner, path, &key, &body.replace('"', " \"")).await;
        other.is_problem(422, "idempotency_key_reuse");
    }
    let key = [("Idempotency-Key", "batch")];
    let first = rig.post_with(&owner, "/items", &key, &batch).await;
    assert_eq!(first.body["created"].as_array().unwrap().len(), 60, "{}", first.text);
    is_replay(&first, &rig.post_with(&owner, "/items", &key, &batch).await);
    assert_eq!((items(&rig, &owner).await, rig.visible()), (61, 2));
    let usage = rig.usage(&owner).await;
    assert_eq!((&usage["analyses"]["used"], &usage["emails"]["used"]), (&json!(1), &json!(1)));
}

/// The scope is organization and endpoint; a key is 1 to 255 visible characters, given once.
#[tokio::test]
async fn keys_have_a_scope_and_a_form() {
    let rig = Rig::new().await;
    let (one, two) = (rig.owner("free").await, rig.owner("free").await);
    let key = [("Idempotency-Key", "k")];
    for owner in [&one, &two] {
        let reply = rig.post_with(owner, "/items", &key, r#"{"name":"x"}"#).await;
        assert_eq!((reply.status, reply.headers.get("idempotent-replayed")), (201, None));
    }
    assert_eq!(rig.post_with(&one, "/analyze", &key, r#"{"text":"x"}"#).await.status, 202);
    let long = "x".repeat(256);
    for wrong in ["", "a b", "é", long.as_str()] {
        let reply = rig.post_with(&one, "/items", &[("Idempotency-Key", wrong)], r#"{"name":"x"}"#).await;
        assert_eq!(reply.pointer(), "header/Idempotency-Key", "{wrong:.20}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let reply = rig.post_with(&one, "/items", &twice, r#"{"name":"x"}"#).await;
    assert_eq!(reply.pointer(), "header/Idempotency-Key");
}

/// What would be refused by now still gets its first reply; another body is told so before anything else.
#[tokio::test]
async fn a_repetition_is_looked_at_before_limits_and_contents() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let key = [("Idempotency-Key", "first")];
    let letter = json!({"to": owner.email, "subject": "s", "text": "t"}).to_string();
    let first = rig.post_with(&owner, "/send-email", &key, &letter).await;
    for _ in 0..199 {
        assert_eq!(rig.post_with(&owner, "/send-email", &[], &letter).await.status, 202);
    }
    rig.post_with(&owner, "/send-email", &[], &letter).await.is_problem(429, "quota_exceeded");
    is_replay(&first, &rig.post_with(&owner, "/send-email", &key, &letter).await);
    for other in ["{", r#"{"to":"nobody"}"#, r#"{"to":"stranger@example.com","subject":"s","text":"t"}"#] {
        rig.post_with(&owner, "/send-email", &key, other).await.is_problem(422, "idempotency_key_reuse");
    }
}

/// With `Prefer: wait` the first reply is the analysis: so is the repetition's, and in between the key is in flight.
#[tokio::test]
async fn a_waiting_request_is_repeated_with_its_analysis() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::Hold(told.clone())]);
    let headers = [("Idempotency-Key", "k"), ("Prefer", "wait=20")];
    let body = json!({"text": "a", "model": MODEL}).to_string();
    let others = async {
        while providers.analyses().is_empty() {
            if rig.visible() > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let release = async {
            let second = rig.post_with(&owner, "/analyze", &headers, &body).await;
            second.is_problem(409, "idempotency_in_flight");
            let seconds: u64 = second.header("retry-after").parse().unwrap();
            assert!((1..=5).contains(&seconds));
            rig.post_with(&owner, "/analyze", &headers, "{}").await.is_problem(422, "idempotency_key_reuse");
            told.notify_one();
        };
        tokio::join!(rig.deliver(), release);
    };
    let (first, ()) = tokio::join!(rig.post_with(&owner, "/analyze", &headers, &body), others);
    assert_eq!((first.status, first.body["job"]["state"].as_str()), (200, Some("succeeded")), "{}", first.text);
    is_replay(&first, &rig.post_with(&owner, "/analyze", &headers, &body).await);
    is_replay(&first, &rig.post_with(&owner, "/analyze", &headers[..1], &body).await);
    assert_eq!(providers.analyses().len(), 1);
}

/// One who waited died: who repeats the request gets that job's analysis, not another job.
#[tokio::test]
async fn a_dead_waiters_work_is_gone_on_with() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let headers = [("Idempotency-Key", "k"), ("Prefer", "wait=20")];
    let body = r#"{"text":"a text"}"#;
    left_by_a_dead_waiter(&rig, &owner, &headers, body).await;
    is_gone_on_with(&rig, &owner, &headers, body).await;
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 1);
}

/// A job whose caller, who waits, dies. It is done by the time that the key may be taken over.
async fn left_by_a_dead_waiter(rig: &Rig, owner: &Actor, headers: &[(&str, &str); 2], body: &str) {
    rig.post_to_the_dying(owner, "/analyze", headers, body).await;
    rig.deliver().await;
    lease_ends(rig, owner, "analyze", headers[0].1, body).await;
}

async fn is_gone_on_with(rig: &Rig, owner: &Actor, headers: &[(&str, &str); 2], body: &str) {
    let reply = rig.post_with(owner, "/analyze", headers, body).await;
    assert_eq!((reply.status, reply.body["job"]["state"].as_str()), (200, Some("succeeded")), "{}", reply.text);
    is_replay(&reply, &rig.post_with(owner, "/analyze", headers, body).await);
}

/// Also where a new one is refused by now: its plan has no such model, or the day has no room for another run.
#[tokio::test]
async fn a_dead_waiters_work_is_gone_on_with_though_a_new_one_is_refused() {
    let providers = Providers::start().await;
    let caps = [("DOLLARS_PER_DAY", "0.05".to_owned()), ("CAP_SHARES", "100,100,100".to_owned())];
    let environment = providers.environment().into_iter().chain(caps);
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, ..Options::ephemeral() }).await;
    let owner = rig.owner("pro").await;
    let body = json!({"text": "a", "model": MODEL}).to_string();
    let headers = [("Idempotency-Key", "plan"), ("Prefer", "wait=20")];
    left_by_a_dead_waiter(&rig, &owner, &headers, &body).await;
    rig.give_plan(&owner, "free").await;
    rig.post_with(&owner, "/analyze", &[], &body).await.is_problem(403, "plan_forbids");
    is_gone_on_with(&rig, &owner, &headers, &body).await;

    rig.give_plan(&owner, "pro").await;
    let headers = [("Idempotency-Key", "cap"), ("Prefer", "wait=20")];
    left_by_a_dead_waiter(&rig, &owner, &headers, &body).await;
    // What the two cost, a seventh of what they held, leaves room for one.
    rig.accepted(&owner, "/analyze", json!({"text": "another", "model": MODEL})).await;
    rig.post_with(&owner, "/analyze", &[], &body).await.is_problem(429, "operator_cap_reached");
    is_gone_on_with(&rig, &owner, &headers, &body).await;
    assert_eq!(providers.analyses().len(), 2, "nobody pays for another");
}

pub(crate) fn key_of(endpoint: &'static str, key: &str, body: &str) -> IdempotencyKey {
    let request = lambda_http::http::Request::post("/")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(lambda_http::Body::from(body))
        .unwrap();
    IdempotencyKey::of(endpoint, &request).unwrap().unwrap()
}

/// As if the lease of the request that works on a key were over.
async fn lease_ends(rig: &Rig, owner: &Actor, endpoint: &'static str, key: &str, body: &str) {
    let store = rig.system.context().store();
    let org = owner.org_id.parse().unwrap();
    let key = key_of(endpoint, key, body);
    let record = store.key(org, &key).await.unwrap().unwrap();
    assert!(record.reply.is_none());
    let over = KeyRecord { lease_until: rig.system.context().now().as_millis() - 1, ..record.clone() };
    assert!(store.advance_key(org, &KeyClaim { key: &key, record }, &over).await.unwrap());
}

/// What a request did before it died: it took the key and the room for forty items, and wrote the first fifteen. Its body, and all ids.
async fn half_a_batch(rig: &Rig, owner: &Actor) -> (String, Vec<ItemId>) {
    let body = json!({"items": (0..40).map(|n| json!({"name": n.to_string()})).collect::<Vec<_>>()}).to_string();
    let store = rig.system.context().store();
    let org: shared::ids::OrgId = owner.org_id.parse().unwrap();
    let record = store.org(org).await.unwrap().unwrap();
    let now = rig.system.context().now();
    let ids: Vec<ItemId> = (0..40).map(|_| record.new_item_id(true, now)).collect();
    let work = BatchWork::begun(ids.clone(), now);
    let taken = key_of("create-item", "k", &body);
    let claim = taken.begin(Some(work.note().unwrap()), Duration::ZERO, now.as_millis());
    let begun = store.begin_items(&record, &work, Some(&claim)).await.unwrap();
    assert!(matches!(begun, Begin::First(())));
    let written: Vec<_> = ids[..15]
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let item = shared::model::item::NewItem { name: n.to_string().parse().unwrap(), description: None };
            item.into_record_of(org, *id, now)
        })
        .collect();
    let written = store.write_items(org, &written).await;
    assert!(written.publish(rig.system.context().cache()).await.unwrap().absent.is_empty());
    (body, ids)
}

/// A batch whose writer died half-way: the repetition writes the rest of the same items, none twice, and takes no
/// further room.
#[tokio::test]
async fn a_dead_writers_batch_is_gone_on_with() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let (body, ids) = half_a_batch(&rig, &owner).await;
    let store = rig.system.context().store();
    let org: shared::ids::OrgId = owner.org_id.parse().unwrap();

    let key = [("Idempotency-Key", "k")];
    let calls = join_all((0..8).map(|_| rig.post_with(&owner, "/items", &key, &body))).await;
    // Whoever comes when it is done gets the same.
    let (replayed, mut others): (Vec<_>, Vec<_>) =
        calls.iter().partition(|reply| reply.headers.contains_key("idempotent-replayed"));
    let first = others.swap_remove(others.iter().position(|reply| reply.status == 201).expect("one goes on with it"));
    let told: Vec<&str> =
        first.body["created"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(told, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    others.iter().for_each(|other| other.is_problem(409, "idempotency_in_flight"));
    replayed.iter().for_each(|again| is_replay(first, again));
    is_replay(first, &rig.post_with(&owner, "/items", &key, &body).await);
    assert_eq!((items(&rig, &owner).await, store.org(org).await.unwrap().unwrap().item_count), (40, 40));
}

/// Items that are listed may be deleted before the request is repeated, which does not write them again: they were created.
#[tokio::test]
async fn what_was_deleted_of_a_dead_writers_batch_stays_deleted() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let store = rig.system.context().store();
    let org: shared::ids::OrgId = owner.org_id.parse().unwrap();
    // Deletions of before are not those of the batch's.
    let before = rig.api.item(&owner).await;
    assert_eq!(rig.api.call(Some(&owner), Method::DELETE, &format!("/items/{before}"), None).await.status, 204);
    let (body, ids) = half_a_batch(&rig, &owner).await;
    for id in &ids[3..5] {
        assert_eq!(rig.api.call(Some(&owner), Method::DELETE, &format!("/items/{id}"), None).await.status, 204);
    }
    let done = rig.post_with(&owner, "/items", &[("Idempotency-Key", "k")], &body).await;
    assert_eq!((done.status, &done.body["failed"]), (201, &json!([])), "{}", done.text);
    assert_eq!((items(&rig, &owner).await, store.org(org).await.unwrap().unwrap().item_count), (38, 38));
}

/// An expired key is as good as new, whether or not the database has removed it.
#[tokio::test]
async fn an_expired_key_is_new() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let store = rig.system.context().store();
    let record = store.org(owner.org_id.parse().unwrap()).await.unwrap().unwrap();
    let key = key_of("create-item", "k", "{}");
    let long_ago = rig.system.context().now().as_millis() - shared::idempotency::LIFETIME_MS - 1;
    let claim = key.begin(None, Duration::ZERO, long_ago);
    let work = BatchWork::begun(vec![ItemId::new()], rig.system.context().now());
    store.begin_items(&record, &work, Some(&claim)).await.unwrap();
    let reply = rig.post_with(&owner, "/items", &[("Idempotency-Key", "k")], r#"{"name":"x"}"#).await;
    assert_eq!((reply.status, reply.headers.get("idempotent-replayed")), (201, None), "{}", reply.text);
}

/// How many keys race; the full size is 10,000 (`CITIZEN_KEYS=10000`).
fn key_count() -> usize {
    std::env::var("CITIZEN_KEYS").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

/// Keys that are raced for at a time.
const AT_ONCE: usize = 12;

/// Eight callers race for each key: one execution, and byte-identical replies to all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_racing_callers_of_a_key_one_takes_effect() {
    let rig = Rig::new().await;
    let owner = rig.owner("enterprise").await;
    let keys: Vec<String> = (0..key_count()).map(|number| format!("key-{number}")).collect();
    for some in keys.chunks(AT_ONCE) {
        let races = some.iter().enumerate().map(|(number, key)| {
            let (rig, owner) = (&rig, &owner);
            async move {
                let (path, body) = match number % 3 {
                    0 => ("/items", format!(r#"{{"name":"{key}"}}"#)),
                    1 => ("/analyze", format!(r#"{{"text":"{key}"}}"#)),
                    _ => ("/send-email", format!(r#"{{"to":"a@example.com","subject":"{key}","text":"t"}}"#)),
                };
                let call = || rig.decided(owner, path, key.clone(), &body);
                let replies = join_all((0..8).map(|_| call())).await;
                let is_first = |reply: &&Reply| reply.headers.get("idempotent-replayed").is_none();
                // None is, if the first one's reply was lost in a busy moment.
                assert!(replies.iter().filter(is_first).count() <= 1, "{key}: one is the first");
                for reply in &replies {
                    assert!(matches!(reply.status, 201 | 202), "{}", reply.text);
                    assert_eq!(kept(reply), kept(&replies[0]), "{key}");
                }
            }
        });
        join_all(races).await;
    }
    let of = |path| keys.chunks(AT_ONCE).flat_map(|some| (0..some.len()).map(|n| n % 3)).filter(|n| *n == path).count();
    let store = rig.system.context().store();
    assert_eq!(store.org(owner.org_id.parse().unwrap()).await.unwrap().unwrap().item_count, of(0) as u64);
    let usage = rig.usage(&owner).await;
    assert_eq!(
        (usage["analyses"]["used"].as_u64(), usage["emails"]["used"].as_u64()),
        (Some(of(1) as u64), Some(of(2) as u64))
    );
    assert_eq!(rig.visible(), of(1) + of(2));
}
