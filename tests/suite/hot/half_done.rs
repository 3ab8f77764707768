//! Batches whose writers died: wherever that was, what was not written gives its room back, and only that.

use super::rig::{Rig, text};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::idempotency::key_of;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::Context;
use shared::idempotency::Begin;
use shared::ids::ItemId;
use shared::model::item::{ItemRecord, NewItem};
use shared::model::org::Plan;
use shared::store::items::{BatchWork, SETTLED_AFTER};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::aws;
use testkit::http::{Call, Cut, Origin, Reply, Server};
use tokio::sync::Notify;

/// A database that takes a number of calls. Whoever makes the next one dies, before that is done or afterwards.
#[derive(Clone)]
struct Deadly {
    origin: Origin,
    left: Arc<AtomicU32>,
    is_done: bool,
    died: Arc<Notify>,
    url: String,
}

impl Deadly {
    async fn before(rig: &Rig, calls: u32, is_done: bool) -> Self {
        let server = Server::bind().await;
        let origin = Origin::at(&rig.system.database_url());
        let (left, died) = (Arc::new(AtomicU32::new(calls)), Arc::default());
        let deadly = Self { origin, left, is_done, died, url: server.url.clone() };
        server.start(deadly.clone(), Self::answer);
        deadly
    }

    async fn answer(self, call: Call) -> Result<Reply, Cut> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Ok(self.origin.pass(call).await);
        }
        if self.is_done {
            self.origin.pass(call).await;
        }
        self.died.notify_one();
        std::future::pending().await
    }
}

const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];
const ITEMS: usize = 30;

fn body() -> Value {
    json!({"items": vec![json!({"name": "x"}); ITEMS]})
}

impl Rig {
    async fn sweep(&self) -> sweeper::Swept {
        let soon = u64::try_from(self.here().now().plus(Duration::from_secs(14)).as_millis()).unwrap();
        sweeper::handle(self.system.contexts().get("sweeper").unwrap(), sweeper::Tick, soon).await
    }

    /// So much time passes that what is left of a batch is settled, and it is.
    async fn settle(&self) -> sweeper::Swept {
        self.system.clock().jump(SETTLED_AFTER + Duration::from_millis(1));
        self.sweep().await
    }

    /// How many batches have an entry in the index of what is due.
    async fn pending(&self) -> usize {
        let scan = json!({"TableName": local::names::TABLE_NAME, "ConsistentRead": true,
            "FilterExpression": "contains(sk, :batch)", "ExpressionAttributeValues": {":batch": {"S": "#BATCH#"}}});
        self.raw("Scan", scan).await["Items"].as_array().unwrap().len()
    }

    async fn post(&self, context: &'static Context, key: &[(&'static str, &str)]) -> (u16, Value) {
        self.call(context, "create-item", &body(), key, &[]).await
    }

    /// What a request did before it died: it took the room for a batch, and wrote the first `written`.
    async fn half_a_batch(&self, key: Option<&str>, written: usize) -> Vec<ItemId> {
        let (store, now, org) = (self.here().store(), self.here().now(), self.org().await);
        let work = BatchWork::begun((0..ITEMS).map(|_| org.new_item_id(true, now)).collect(), now);
        let key = key.map(|key| key_of("create-item", key, &body().to_string()));
        let note = key.as_ref().map(|_| work.note().unwrap());
        let claim = key.as_ref().map(|key| key.begin(note, Duration::from_secs(20), now.as_millis()));
        assert!(matches!(store.begin_items(&org, &work, claim.as_ref()).await.unwrap(), Begin::First(())));
        let new = || NewItem { name: "x".parse().unwrap(), description: None };
        let items = work.item_ids[..written].iter().map(|id| new().into_record_of(self.org_id, *id, now));
        let outcome = store.write_items(self.org_id, &items.collect::<Vec<ItemRecord>>()).await;
        assert!(outcome.publish(self.here().cache()).await.unwrap().absent.is_empty());
        work.item_ids
    }
}

/// Wherever a request dies, before a call of the database or behind it, with a key or without one, in an organization that is spread or
/// not, and whatever is deleted meanwhile: two minutes later the count is what there is, and a repetition makes one batch of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_writer_dies_the_count_is_what_there_is() {
    join_all([false, true].map(|is_spread| async move {
        let rig = Rig::new().await;
        rig.give_plan(Plan::Pro).await;
        if is_spread {
            rig.spread().await;
        }
        let mut deaths = 0;
        for (key, is_done) in [(None, false), (None, true), (Some("done"), false), (Some("not"), true)] {
            for calls in 0.. {
                let name = key.map(|key| format!("{key}-{calls}"));
                let key: Vec<(&'static str, &str)> =
                    name.iter().map(|name| ("idempotency-key", name.as_str())).collect();
                let database = Deadly::before(&rig, calls, is_done).await;
                let before = rig.balanced().await;
                let survived = tokio::select! {
                    () = database.died.notified() => false,
                    (status, body) = rig.post(rig.environment(&database.url), &key) => {
                        assert_eq!(status, 201, "{body}");
                        true
                    }
                };
                let there = rig.listed(rig.here(), 100).await;
                if !survived && there.len() > before + 2 {
                    for id in &there[..2] {
                        assert_eq!(rig.delete(rig.here(), id).await, 204);
                    }
                }
                rig.settle().await;
                let said = format!("{name:?}, dies in call {calls}, done: {is_done}, spread: {is_spread}");
                assert_eq!(rig.pending().await, 0, "{said}");
                let left = rig.balanced().await;
                if name.is_some() && !survived {
                    let (status, reply) = rig.post(rig.here(), &key).await;
                    assert_eq!(
                        (status, reply["created"].as_array().map(Vec::len)),
                        (201, Some(ITEMS)),
                        "{said}: {reply}"
                    );
                    let is_whole = rig.balanced().await - before;
                    assert!(is_whole == ITEMS || is_whole == ITEMS - 2, "{said}: {is_whole} after {left}");
                    assert_eq!(rig.pending().await, 0, "{said}");
                }
                if survived {
                    break;
                }
                deaths += 1;
            }
        }
        assert!(deaths >= 4 * 5, "{deaths} deaths");
    }))
    .await;
}

/// While a request works on its batch, and while another one goes on with it, nothing of it is given back.
#[tokio::test]
async fn what_somebody_works_on_is_not_settled() {
    let rig = Rig::new().await;
    rig.half_a_batch(Some("k"), 10).await;
    rig.system.clock().jump(SETTLED_AFTER - Duration::from_secs(1));
    assert_eq!(rig.sweep().await.ended, 0, "it is not due");
    // Goes on with it, and is held before it writes.
    let store = rig.here().store();
    let key = key_of("create-item", "k", &body().to_string());
    let record = store.key(rig.org_id, &key).await.unwrap().unwrap();
    let abandoned = shared::idempotency::KeyClaim { key: &key, record };
    store.resume_key(rig.org_id, &abandoned, Duration::from_secs(20)).await.unwrap();
    rig.system.clock().jump(Duration::from_secs(2));
    assert_eq!((rig.sweep().await.ended, rig.org().await.item_count), (0, ITEMS as u64), "somebody works on it");
    rig.system.clock().jump(Duration::from_secs(20));
    assert_eq!((rig.sweep().await.ended, rig.balanced().await), (1, 10));
}

/// A repetition and the sweeper at once: one of them is first, and the other one sees it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repetition_and_the_sweeper_meet() {
    let rig = Rig::new().await;
    rig.give_plan(Plan::Pro).await;
    for round in 0..20_u64 {
        let before = rig.balanced().await;
        let key = format!("k{round}");
        let header = [("idempotency-key", key.as_str())];
        rig.half_a_batch(Some(&key), 10).await;
        rig.system.clock().jump(SETTLED_AFTER + Duration::from_millis(1));
        let repeated = async {
            tokio::time::sleep(Duration::from_millis(round % 10)).await;
            rig.post(rig.here(), &header).await
        };
        let ((status, reply), swept) = tokio::join!(repeated, rig.sweep());
        assert!(matches!(status, 201 | 409), "{reply}");
        assert_eq!(swept.left, 0);
        rig.settle().await;
        let (status, reply) = rig.post(rig.here(), &header).await;
        assert_eq!((status, reply["created"].as_array().map(Vec::len)), (201, Some(ITEMS)), "{reply}");
        assert_eq!((rig.balanced().await, rig.pending().await), (before + ITEMS, 0));
    }
}

/// Whoever has read the key before the batch was settled does not go on with it.
#[tokio::test]
async fn whoever_read_the_key_before_it_was_settled_has_lost_it() {
    let rig = Rig::new().await;
    rig.half_a_batch(Some("k"), 10).await;
    let store = rig.here().store();
    let key = key_of("create-item", "k", &body().to_string());
    let record = store.key(rig.org_id, &key).await.unwrap().unwrap();
    assert_eq!(rig.settle().await.ended, 1);
    let read_before = shared::idempotency::KeyClaim { key: &key, record };
    assert!(store.resume_key(rig.org_id, &read_before, Duration::from_secs(20)).await.is_err());
}

/// A batch that was settled takes its room again, if there is some.
#[tokio::test]
async fn a_settled_batch_takes_room_again() {
    let rig = Rig::new().await;
    let ids = rig.half_a_batch(Some("k"), 10).await;
    assert_eq!((rig.settle().await.ended, rig.balanced().await), (1, 10));
    let others = 1_000 - ITEMS + 1;
    let filled = join_all((0..others / 100).map(|_| rig.create_many(rig.here(), 100))).await;
    assert!(filled.iter().all(Result::is_ok));
    rig.create_many(rig.here(), others % 100 + 10).await.unwrap();
    let (status, refused) = rig.post(rig.here(), &KEY).await;
    assert_eq!((status, &refused["code"]), (403, &json!("plan_limit_reached")));
    assert_eq!(rig.balanced().await, 10 + others + 10);
    let listed = rig.listed(rig.here(), 100).await;
    for id in &listed[..12] {
        assert_eq!(rig.delete(rig.here(), id).await, 204);
    }
    let (status, reply) = rig.post(rig.here(), &KEY).await;
    assert_eq!(status, 201, "{reply}");
    let told: Vec<String> = reply["created"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect();
    assert_eq!(told, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!((rig.balanced().await, rig.pending().await), (10 + others - 2 + 20, 0));
}

/// What a version began that made no entries, and what nobody could tell any more: room is taken for what is missing, and none is given.
#[tokio::test]
async fn a_batch_of_the_version_before_takes_room_for_what_is_missing() {
    let rig = Rig::new().await;
    let (store, now) = (rig.here().store(), rig.here().now());
    let ids: Vec<ItemId> = (0..ITEMS).map(|_| ItemId::new()).collect();
    let key = key_of("create-item", "k", &body().to_string());
    let note = json!({"item_ids": ids, "created_at": now.as_millis()}).to_string();
    let claim = key.begin(Some(note), Duration::ZERO, now.as_millis());
    let before = BatchWork { item_ids: ids, created_at: now, due_at: None };
    assert!(store.begin_items(&rig.org().await, &before, Some(&claim)).await.is_ok());
    assert_eq!(rig.pending().await, 0);
    assert_eq!(rig.post(rig.here(), &KEY).await.0, 201);
    let count = rig.org().await.item_count;
    assert_eq!((rig.stored().await.0, count), (ITEMS, 2 * ITEMS as u64), "never below what there is");
    assert_eq!(rig.pending().await, 0);
}

/// Writes whose connections are cut, and which land when somebody lets them.
#[derive(Clone)]
struct Late {
    origin: Origin,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Late {
    async fn before(rig: &Rig) -> (Self, String) {
        let server = Server::bind().await;
        let late = Self { origin: Origin::at(&rig.system.database_url()), calls: Arc::default() };
        let url = server.url.clone();
        server.start(late.clone(), Self::answer);
        (late, url)
    }

    /// One of the writes lands.
    async fn land(&self) {
        let call = self.calls.lock().unwrap().swap_remove(0);
        self.origin.pass(call).await;
    }

    async fn answer(self, call: Call) -> Result<Reply, Cut> {
        if aws::operation(&call) != "BatchWriteItem" {
            return Ok(self.origin.pass(call).await);
        }
        self.calls.lock().unwrap().push(call);
        Err(Cut)
    }
}

/// What the caller was told may be written keeps its room until it is certain: then it is counted if it is there, and not if it is not.
#[tokio::test]
async fn what_may_still_be_written_is_settled_when_it_is_certain() {
    for (is_spread, key) in [(false, &[][..]), (true, &KEY[..])] {
        let rig = Rig::new().await;
        if is_spread {
            rig.spread().await;
        }
        let (late, url) = Late::before(&rig).await;
        let (status, reply) = rig.post(rig.environment(&url), key).await;
        let unknown = reply["failed"].as_array().unwrap().iter().filter(|item| item["code"] == "unknown").count();
        assert_eq!((status, unknown), (201, ITEMS), "{reply}");
        let (out, lanes) = (rig.org().await.item_count, rig.stored().await.1);
        assert_eq!(out - lanes.values().sum::<u64>(), ITEMS as u64, "their room is kept");
        assert_eq!((rig.stored().await.0, rig.pending().await), (0, 1));
        late.land().await;
        let landed = rig.stored().await.0;
        assert!(landed > 0 && landed < ITEMS);
        assert_eq!(rig.settle().await.ended, 1);
        assert_eq!((rig.balanced().await, rig.pending().await), (landed, 0));
        // What the caller was told stands.
        if !key.is_empty() {
            assert_eq!(rig.post(rig.here(), key).await, (201, reply));
        }
    }
}

/// The batch is old when somebody goes on with it, and what that wrote may still land: it is settled two minutes after that.
#[tokio::test]
async fn what_may_still_be_written_of_an_old_batch_keeps_its_room_as_long() {
    let rig = Rig::new().await;
    rig.half_a_batch(Some("k"), 10).await;
    rig.system.clock().jump(SETTLED_AFTER + Duration::from_millis(1));
    let (late, url) = Late::before(&rig).await;
    let (status, reply) = rig.post(rig.environment(&url), &KEY).await;
    let unknown = reply["failed"].as_array().unwrap().iter().filter(|item| item["code"] == "unknown").count();
    assert_eq!((status, unknown), (201, ITEMS - 10), "{reply}");
    assert_eq!((rig.sweep().await.ended, rig.pending().await), (0, 1));
    late.land().await;
    assert_eq!((rig.settle().await.ended, rig.balanced().await, rig.pending().await), (1, ITEMS, 0));
}

/// A request that ends its batch takes its entry with it: what it gave back is not given back again.
#[tokio::test]
async fn what_was_given_back_is_not_given_again() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    for key in [&[][..], &KEY[..]] {
        database.inject("BatchWriteItem", Fault::LeaveAfter(3));
        let before = rig.balanced().await;
        let (status, reply) = rig.post(rig.environment(&database.url), key).await;
        let created = reply["created"].as_array().unwrap().len();
        assert!(status == 201 && created < ITEMS, "{reply}");
        assert_eq!((rig.balanced().await, rig.pending().await), (before + created, 0));
        assert_eq!((rig.settle().await.ended, rig.balanced().await), (0, before + created));
    }
}

/// The sweeper was away for longer than deletions are known: it gives nothing back that may have been deleted.
#[tokio::test]
async fn what_nobody_can_tell_any_more_keeps_its_room() {
    let rig = Rig::new().await;
    let ids = rig.half_a_batch(None, 10).await;
    assert_eq!(rig.delete(rig.here(), &ids[0].to_string()).await, 204);
    rig.system.clock().jump(Duration::from_secs(25 * 60 * 60));
    assert_eq!((rig.sweep().await.ended, rig.pending().await), (1, 0));
    assert_eq!((rig.stored().await.0, rig.org().await.item_count), (9, 29));
}
