//! Many rows, each a copy of one that the API made, with ids and times of its own.

use crate::scene::{Actor, Ask, PASSWORD, PLAIN, Scene};
use lambda_http::http::Method;
use local::names::queue_of;
use serde_json::{Value, json};
use shared::ids::{ItemId, JobId};
use shared::model::job::JobKind;
use shared::model::time::Moment;
use shared::model::usage::month_of;
use shared::store::keys::{self, Key};
use shared::token::Token;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// When filled jobs are to be looked at: not within any run.
const LATER: Duration = Duration::from_secs(24 * 60 * 60);
const AN_HOUR_MS: usize = 60 * 60 * 1_000;
/// When a hot organization was spread: before all that it has, so that pages lie on one side of it.
const LONG_AGO_MS: usize = 1_000_000_000_000;
/// Copies of a hot organization's record, lanes of a limit, and the partitions that lanes lie in.
const COPIES: u8 = 8;
const LANES: u8 = 240;
const LANE_PARTITIONS: u8 = 8;
/// What a filled lane gives.
const SLICE: usize = 1_000;

/// An id as old as the `back`th millisecond before `template` was made, and so in its place in the order.
fn older<I: Into<Uuid> + From<Uuid>>(template: I, back: usize) -> I {
    let mut bytes: [u8; 16] = template.into().into_bytes();
    let made = bytes[..6].iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    bytes[..6].copy_from_slice(&(made - back as u64).to_be_bytes()[2..]);
    bytes[12..].copy_from_slice(&u32::try_from(back).unwrap().wrapping_mul(0x9E37_79B9).to_be_bytes());
    Uuid::from_bytes(bytes).into()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn number(row: &Value, attribute: &str) -> String {
    row[attribute]["N"].as_str().unwrap().to_owned()
}

/// Attributes with types and lengths: what two rows of one kind share.
fn shape(row: &Value) -> BTreeMap<String, String> {
    let length = |value: &Value| match value.as_object().and_then(|typed| typed.iter().next()) {
        Some((kind, Value::String(text))) => format!("{kind} {}", text.len()),
        _ => value.to_string(),
    };
    row.as_object().unwrap().iter().map(|(name, value)| (name.clone(), length(value))).collect()
}

/// A row of ours is like one of the API's.
fn assert_alike(ours: &Value, api: &Value) {
    assert_eq!(shape(ours), shape(api), "{ours} is not as the API makes it: {api}");
}

pub(crate) fn new_item(scene: &Scene) -> Ask {
    let body = json!({"name": "An item of some kind", "description": "It has its purpose, and somebody cares for it."});
    Ask::new("create-item", Method::POST, Some(&scene.owner.token)).body(body)
}

pub(crate) fn new_analysis(scene: &Scene) -> Ask {
    let text = "The slow train was late again, but we love it. ".repeat(10);
    let body = json!({"text": text, "model": "builtin"});
    Ask::new("analyze", Method::POST, Some(&scene.owner.token)).body(body)
}

/// Fills the owner's organization up to `count` items. Returns the one in the middle.
pub(crate) async fn items(scene: &Scene, count: usize) -> ItemId {
    let org = scene.owner.org_id;
    let made: ItemId = scene.must(&new_item(scene)).await["id"].as_str().unwrap().parse().unwrap();
    let row = scene.raw.row(Key::item(org, made)).await;
    let pk = Key::item(org, made).pk;
    let (text, at) = (row.to_string(), number(&row, "created_at"));
    let id = |back| older(made, back);
    let time = |back: usize| (at.parse::<u64>().unwrap() - back as u64).to_string();
    let rows = (1..count).map(|back| {
        let row = text.replace(&made.to_string(), &id(back).to_string());
        let row = row.replace(&quoted(&pk), &quoted(&Key::item(org, id(back)).pk));
        row.replace(&quoted(&at), &quoted(&time(back)))
    });
    scene.raw.put_all(rows).await;
    // Where lanes hold units, the record counts those too.
    let out: usize = number(&scene.raw.row(Key::org(org)).await, "item_count").parse().unwrap();
    scene.raw.set(Key::org(org), "item_count", out + count - 1).await;
    let middle = if count > 1 { id(count / 2) } else { made };
    let other: ItemId = scene.must(&new_item(scene)).await["id"].as_str().unwrap().parse().unwrap();
    assert_alike(&scene.raw.row(Key::item(org, middle)).await, &scene.raw.row(Key::item(org, other)).await);
    let seen = scene.must(&Ask::new("get-item", Method::GET, Some(&scene.owner.token)).of("item_id", middle)).await;
    assert_eq!(seen["id"], middle.to_string());
    middle
}

/// Founds organizations, each with an owner who is logged in, until there are `count`. Returns the owner of the one in
/// the middle.
pub(crate) async fn orgs(scene: &Scene, count: usize) -> Actor {
    let made = scene.register(2).await;
    let rows = rows_of(scene, &made).await;
    let rows: Vec<String> = rows.iter().map(Value::to_string).collect();
    let hash = Token::parse(&made.token).unwrap().hash().as_str().to_owned();
    let actor = |back: usize| Actor {
        token: String::new(),
        user_id: older(made.user_id, back),
        org_id: older(made.org_id, back),
        email: format!("growth-{:012}@example.com", 1_000 + back),
    };
    let copies = (1..count.saturating_sub(2)).flat_map(|back| {
        let copy = actor(back);
        let session = format!("{:0width$x}", back, width = hash.len());
        let renamed = |row: &String| {
            let row = row.replace(&made.user_id.to_string(), &copy.user_id.to_string());
            let row = row.replace(&made.org_id.to_string(), &copy.org_id.to_string());
            row.replace(&made.email, &copy.email).replace(&hash, &session)
        };
        rows.iter().map(renamed).collect::<Vec<_>>()
    });
    scene.raw.put_all(copies).await;
    let middle = actor((count / 2).clamp(1, count.saturating_sub(3).max(1)));
    let login = json!({"email": middle.email, "password": PASSWORD});
    let session = scene.must(&Ask::new("login", Method::POST, None).body(login)).await;
    assert_eq!(session["org"]["id"], middle.org_id.to_string());
    let middle = Actor { token: session["token"].as_str().unwrap().to_owned(), ..middle };
    let other = scene.register(3).await;
    // The log-in above is a session of its own; the filled one beside it is as old as its copy.
    let (ours, api) = (rows_of(scene, &middle).await, rows_of(scene, &other).await);
    assert_eq!(ours.len(), api.len() + 1);
    for row in &api {
        let alike = ours.iter().filter(|our| shape(our) == shape(row)).count();
        assert!(alike >= 1, "no filled row is like {row}");
    }
    middle
}

/// All rows of a registration.
async fn rows_of(scene: &Scene, actor: &Actor) -> Vec<Value> {
    let mut rows = scene.raw.partition(keys::user_pk(actor.user_id)).await;
    rows.extend(scene.raw.partition(keys::org_pk(actor.org_id)).await);
    rows.push(scene.raw.row(Key::login(&actor.email)).await);
    rows
}

/// Accepts jobs until `count` of the owner's are queued: rows, entries in the index, inputs, messages, and their units
/// of the month. They are older than all others.
pub(crate) async fn jobs(scene: &Scene, count: usize) {
    let org = scene.owner.org_id;
    let made: JobId = scene.must(&new_analysis(scene)).await["id"].as_str().unwrap().parse().unwrap();
    let job = scene.raw.row(Key::job(org, made)).await;
    let (at, due) = (number(&job, "created_at"), number(&job, "due_at"));
    let from = Key::due(keys::due_shard(made), made, Moment::from_millis(due.parse().unwrap()));
    let entry = scene.raw.row(from.clone()).await;
    let input = scene.raw.row(Key::job_input(org, made, 0)).await;
    let later = scene.system.context().now().plus(LATER);
    let month = job["month"]["S"].as_str().unwrap().to_owned();
    let id = |back| older(made, AN_HOUR_MS + back);
    // One more than asked for, if one is to be run to see that it can be.
    let filled = count + usize::from(count > 1);
    let (job, entry, input) = (job.to_string(), entry.to_string(), input.to_string());
    let rows = (1..=filled).flat_map(|back| {
        let copy = id(back);
        let renamed = |row: &str| row.replace(&made.to_string(), &copy.to_string());
        let created = (at.parse::<u64>().unwrap() - (AN_HOUR_MS + back) as u64).to_string();
        let job = renamed(&job).replace(&format!("\"{at}\""), &format!("\"{created}\""));
        let job = job.replace(&format!("\"{due}\""), &format!("\"{}\"", later.as_millis()));
        let to = Key::due(keys::due_shard(made), copy, later);
        let entry = entry.replace(&from.sk, &to.sk).replace(&format!("\"{}\"", from.pk), &format!("\"{}\"", to.pk));
        [job, entry, renamed(&input)]
    });
    scene.raw.put_all(rows).await;
    let used = usage(scene, "/analyses/used").await;
    scene.raw.set(Key::usage(org, &month), "analyses", used + filled).await;
    assert_eq!(scene.deliver("analysis-worker", PLAIN).await, 1, "the one that the API made");
    for back in 1..=filled {
        let body = json!({"org_id": org, "job_id": id(back)}).to_string();
        let draft = json!({"MessageBody": body, "MessageGroupId": org.to_string()});
        scene.system.sqs().send(queue_of(JobKind::Analyze), serde_json::from_value(draft).unwrap()).unwrap();
    }
    if filled > count {
        let row = scene.raw.row(Key::job(org, id(count / 2))).await;
        assert_alike(&row, &serde_json::from_str(&job).unwrap());
        let before = usage(scene, "/output_tokens").await;
        assert_eq!(scene.deliver("analysis-worker", PLAIN).await, 1);
        assert!(usage(scene, "/output_tokens").await > before, "the worker did not run a filled job");
    }
}

/// Has the owner's organization spread since long ago, and a slice in all lanes: what a call costs does not depend on the lane that it finds.
pub(crate) async fn spread(scene: &Scene) {
    let org = scene.owner.org_id;
    scene.system.context().store().spread_items(org, Duration::ZERO).await.unwrap();
    for key in (0..COPIES).map(|copy| Key::org_copy(org, copy)).chain([Key::org(org)]) {
        scene.raw.set(key, "spread_from", LONG_AGO_MS).await;
    }
    // Its acceptance fills the lanes of one partition.
    scene.must(&new_analysis(scene)).await;
    let month = month_of(scene.system.context().now()).0;
    let mut filled = BTreeMap::new();
    for partition in 0..LANE_PARTITIONS {
        for lane in scene.raw.partition(Key::usage_lane(org, &month, "", partition).pk).await {
            filled.insert(lane["sk"]["S"].as_str().unwrap().to_owned(), lane["terms"]["S"].clone());
        }
    }
    let terms = filled.values().next().expect("lanes of one partition").clone();
    let root = scene.raw.row(Key::usage(org, &month)).await;
    for counter in ["analyses", "emails"] {
        let lanes = (0..LANES).map(|lane| Key::usage_lane(org, &month, counter, lane));
        let empty: Vec<Key> = lanes.filter(|lane| !filled.contains_key(&lane.sk)).collect();
        scene.raw.put_all(empty.iter().map(|lane| filled_lane(lane, &terms))).await;
        let out: usize = root[counter]["N"].as_str().map_or(0, |out| out.parse().unwrap());
        scene.raw.set(Key::usage(org, &month), counter, out + empty.len() * SLICE).await;
    }
    assert_eq!(scene.deliver("analysis-worker", PLAIN).await, 1);
}

/// The row of a lane that has a slice.
fn filled_lane(Key { pk, sk }: &Key, terms: &Value) -> String {
    let free = SLICE.to_string();
    json!({"pk": {"S": pk}, "sk": {"S": sk}, "free_units": {"N": free}, "terms": {"S": terms}}).to_string()
}

/// Fills the owner's organization with `count` jobs that have ended, copies of one that the API made. Returns the one in the middle.
pub(crate) async fn ended_jobs(scene: &Scene, made: &str, count: usize) -> String {
    let (org, made) = (scene.owner.org_id, made.parse::<JobId>().unwrap());
    let row = scene.raw.row(Key::job(org, made)).await;
    let (text, at, pk) = (row.to_string(), number(&row, "created_at"), Key::job(org, made).pk);
    let id = |back| older(made, AN_HOUR_MS + back);
    let rows = (1..=count).map(|back| {
        let row = text.replace(&made.to_string(), &id(back).to_string());
        let row = row.replace(&quoted(&pk), &quoted(&Key::job(org, id(back)).pk));
        let created = at.parse::<u64>().unwrap() - (AN_HOUR_MS + back) as u64;
        row.replace(&quoted(&at), &quoted(&created.to_string()))
    });
    scene.raw.put_all(rows).await;
    let middle = id(count / 2);
    let seen = scene.must(&Ask::new("get-job", Method::GET, Some(&scene.owner.token)).of("job_id", middle)).await;
    assert_eq!(seen["state"], "succeeded");
    middle.to_string()
}

/// A number of this month's usage.
async fn usage(scene: &Scene, pointer: &str) -> usize {
    let usage = scene.must(&Ask::new("get-usage", Method::GET, Some(&scene.owner.token))).await;
    usize::try_from(usage.pointer(pointer).unwrap().as_u64().unwrap()).unwrap()
}
