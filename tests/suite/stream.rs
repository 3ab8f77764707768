//! The cache hears of each committed write from the table's stream, whoever died before telling it; and nothing that comes late,
//! twice or in another order brings an old value back.

use crate::api::{Actor, Api};
use futures_util::FutureExt as _;
use local::like_aws::{self, Lambda, LikeAws, Stream};
use local::stream_source::StreamSource;
use local::system::project_folder;
use local::template::{StreamMapping, Template, Trigger};
use local::{Clock, Options, System, operator};
use serde_json::{Value, json};
use shared::ids::{ItemId, JobId, OrgId, UserId};
use shared::model::org::Plan;
use shared::model::time::Moment;
use shared::runtime::event::Event as _;
use shared::store::keys::{CachedRecord, Key};
use shared::token::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::ports::free_port;
use testkit::processes::Running;
use testkit::tcp_proxy::{Fault, TcpProxy};

/// A system, somebody in it, and another one that writes the same table and knows nothing of the cache: what it writes is
/// what a writer leaves that dies between its commit and its renewal.
struct World {
    system: System,
    api: Api,
    dying: System,
    owner: Actor,
    item: String,
}

impl World {
    /// With the invalidator or without; what is cached is so in the process, or in `CACHE_URL`.
    async fn start(background: bool) -> Self {
        let cache_url = std::env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned());
        Self::with_cache(background, cache_url).await
    }

    async fn with_cache(background: bool, cache_url: String) -> Self {
        Self::with(Options { background, cache_url, ..Options::ephemeral() }).await
    }

    async fn with(options: Options) -> Self {
        let system = System::start(options).await.unwrap();
        let dying = beside(&system, "off:").await;
        let api = Api::of(&system);
        let owner = api.register().await;
        let item = api.item(&owner).await;
        Self { system, api, dying, owner, item }
    }

    /// What readers get: name, plan, time zone, the first item's name.
    async fn read(&self) -> [String; 4] {
        let org = format!("/orgs/{}", self.owner.org_id);
        let read = async |path: &str, pointer: &str| {
            let reply = self.api.get(&self.owner, path).await;
            reply.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        [
            read(&format!("/users/{}", self.owner.user_id), "/name").await,
            read(&format!("{org}/plan"), "/plan").await,
            read(&format!("{org}/settings"), "/settings/timezone").await,
            read("/items", "/data/0/name").await,
        ]
    }

    /// Writes all four, and tells no cache.
    async fn write_and_die(&self, number: u32) -> [String; 4] {
        self.write(&self.dying, number).await
    }

    /// Writes all four through a system, and gives what readers are to get.
    async fn write(&self, system: &System, number: u32) -> [String; 4] {
        let (api, owner) = (Api::at(system.url()), &self.owner);
        let name = format!("Number {number}");
        let plan = if number.is_multiple_of(2) { Plan::Free } else { Plan::Pro };
        let zone = format!("Etc/GMT+{number}");
        let replies = [
            api.patch(owner, "/me", json!({"name": name})).await,
            api.put(owner, &format!("/orgs/{}/settings", owner.org_id), json!({"settings": {"timezone": zone}})).await,
            api.patch(owner, &format!("/items/{}", self.item), json!({"name": name})).await,
        ];
        replies.iter().for_each(|reply| assert_eq!(reply.status, 200, "{}", reply.text));
        operator::give_plan(system.context(), owner.org_id.parse().unwrap(), plan).await.unwrap();
        [name.clone(), plan.as_str().to_owned(), zone, name]
    }

    async fn deliver(&self, records: &[Value]) -> Value {
        let context = self.system.contexts().get("invalidator").unwrap();
        let event = invalidator::StreamEvent::read(&json!({ "Records": records }).to_string());
        serde_json::to_value(invalidator::handle(context, event, u64::MAX).await).unwrap()
    }

    /// As Lambda does where a cache is slow.
    async fn deliver_until_told(&self, records: &[Value]) {
        for _ in 0..100 {
            if self.deliver(records).await == json!({"batchItemFailures": []}) {
                return;
            }
        }
        panic!("the cache cannot be told");
    }
}

/// A system over the table of another, with a cache of its own.
async fn beside(system: &System, cache_url: &str) -> System {
    let environment = BTreeMap::from([("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), system.database_url())]);
    let cache_url = cache_url.to_owned();
    System::start(Options { background: false, cache_url, environment, ..Options::ephemeral() }).await.unwrap()
}

async fn soon(world: &World, expected: &[String; 4]) {
    for _ in 0..200 {
        if world.read().await == *expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.read().await, *expected, "readers get what a writer committed and could not tell");
}

/// Profile, plan, settings and pages of items, which are fresh for half a minute to an hour otherwise.
#[tokio::test]
async fn readers_get_what_a_dead_writer_committed() {
    let world = World::start(true).await;
    for number in 1..=3 {
        world.read().await; // now all is cached
        let written = world.write_and_die(number).await;
        soon(&world, &written).await;
    }
}

/// The same where nothing reads the stream: else the test above would show nothing.
#[tokio::test]
async fn without_the_stream_readers_get_what_is_cached() {
    // In the process, where what was read is cached at once.
    let world = World::with_cache(false, "memory:".to_owned()).await;
    let before = world.read().await;
    let written = world.write_and_die(1).await;
    assert_eq!(world.read().await, before);
    let changes = world.system.changes().unwrap().read(1000).unwrap();
    assert_eq!(world.deliver(&changes).await, json!({"batchItemFailures": []}));
    assert_eq!(world.read().await, written);
}

/// Batches as they may come after failures and a change of shards: each often, late, and in any order.
#[tokio::test]
async fn late_repeated_and_reordered_records_bring_nothing_old_back() {
    let world = World::start(false).await;
    for number in 1..=8 {
        world.write_and_die(number).await;
    }
    let newest = world.write_and_die(9).await;
    let mut changes = world.system.changes().unwrap().read(1000).unwrap();
    assert_eq!(world.read().await, newest, "nothing was cached before");
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..60 {
        for at in (1..changes.len()).rev() {
            changes.swap(at, draw(at + 1));
        }
        let some = &changes[..1 + draw(changes.len())];
        world.deliver_until_told(some).await;
        assert_eq!(world.read().await, newest);
    }
    // An old value is cached: what makes it newer is the newest record, in whatever company.
    let newer = {
        world.read().await;
        world.write_and_die(10).await
    };
    let mut all = world.system.changes().unwrap().read(1000).unwrap();
    all.retain(|change| change["eventName"] == "MODIFY");
    all.reverse();
    world.deliver_until_told(&all).await;
    assert_eq!(world.read().await, newer);
}

/// The batch comes again from the first record that something is cached of, and is done when the cache is back.
#[tokio::test]
async fn a_cache_that_is_away_has_the_batch_come_again() {
    let cache_url = "redis://127.0.0.1:1".to_owned(); // where nobody listens
    let world = World::with_cache(false, cache_url).await;
    world.write_and_die(1).await;
    let changes = world.system.changes().unwrap().read(1000).unwrap();
    let is_told = |change: &&Value| {
        let text = |name: &str| change["dynamodb"]["Keys"][name]["S"].as_str().unwrap().to_owned();
        CachedRecord::of(&text("pk"), &text("sk")).is_some()
    };
    let first = &changes.iter().find(is_told).unwrap()["dynamodb"]["SequenceNumber"];
    assert_eq!(world.deliver(&changes).await, json!({"batchItemFailures": [{"itemIdentifier": first}]}));
    let cache = world.system.contexts().get("invalidator").unwrap().cache();
    assert!(cache.settle().now_or_never().is_some(), "nothing goes on by itself");
    let nothing: Vec<Value> = changes.iter().filter(|change| !is_told(change)).cloned().collect();
    assert_eq!(world.deliver(&nothing).await, json!({"batchItemFailures": []}), "what concerns no cache needs none");
}

/// While the invalidator cannot reach the cache, others that can get the old values from it, and no longer than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real Redis: just test-redis"]
async fn what_was_written_while_the_cache_was_away_reaches_it_when_it_is_back() {
    let cache_url = std::env::var("CACHE_URL").unwrap();
    let port = cache_url.trim_start_matches("redis://127.0.0.1:").trim_end_matches('/').parse().unwrap();
    let proxy = TcpProxy::start(port);
    let mut world = World::with_cache(true, format!("redis://127.0.0.1:{}/", proxy.port)).await;
    let reader = beside(&world.system, &cache_url).await;
    world.api = Api::at(reader.url());
    // Stored beside the replies: now all is cached, however busy this machine is.
    for _ in 0..5 {
        world.read().await;
    }
    proxy.set(Fault::Refuse);
    let written = world.write_and_die(1).await;
    proxy.set(Fault::None);
    soon(&world, &written).await;
}

/// A Redis of a test's own, and its address.
async fn redis() -> (Running, String) {
    let port = free_port();
    let process = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server runs (apt-get install redis-server)");
    let process = Running(process);
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return (process, format!("redis://127.0.0.1:{port}/"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("redis-server does not listen on port {port}");
}

/// Failovers as AWS has them, one after the other: writers are cut off in the middle, and then nobody is there for longer than they wait.
/// What they could not tell, their tries after the reply do, or the stream. Whoever reads has the cache all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server: just test-redis"]
async fn what_is_written_during_failovers_of_the_cache_reaches_it() {
    let (_redis, cache_url) = redis().await;
    let ms = Duration::from_millis;
    let (failover_every, failover) = ((ms(500), ms(700)), (ms(2_500), ms(3_500)));
    let cache = Some(like_aws::Cache { failover_every, failover, ..like_aws::Cache::default() });
    let (lambda, stream) = (Some(Lambda::default()), Some(Stream::default()));
    let like_aws = Some(LikeAws { cache, lambda, stream, ..LikeAws::nothing() });
    let mut world = World::with(Options { cache_url: cache_url.clone(), like_aws, ..Options::ephemeral() }).await;
    let reader = beside(&world.system, &cache_url).await;
    world.api = Api::at(reader.url());
    for number in 1..=10 {
        // Stored beside the replies: now all is cached.
        for _ in 0..5 {
            world.read().await;
        }
        let written = world.write(&world.system, number).await;
        soon(&world, &written).await;
    }
}

fn mapping() -> StreamMapping {
    let template = Template::read(&project_folder().join("template.yaml")).unwrap();
    let mappings = template.event_functions.into_iter().filter_map(|event| match event.trigger {
        Trigger::Stream(mapping) => Some(mapping),
        _ => None,
    });
    mappings.into_iter().next().unwrap()
}

/// Whether the template's filter lets a change of a record through.
async fn passes(event: &str, key: &Key) -> bool {
    let seen = Arc::new(Mutex::new(false));
    let invoked = Arc::clone(&seen);
    let function: local::stream_source::StreamFunction = Arc::new(move |_| {
        *invoked.lock().unwrap() = true;
        Box::pin(async { Ok(Value::Null) })
    });
    let clock = Clock::of_tests();
    let keys = json!({"pk": {"S": key.pk}, "sk": {"S": key.sk}});
    let change = json!({"Keys": keys, "SequenceNumber": "1", "ApproximateCreationDateTime": clock.now_ms() / 1000});
    let source = StreamSource::new(mapping(), Duration::from_secs(1), function, clock).unwrap();
    source.deliver(vec![json!({"eventName": event, "dynamodb": change})]).await;
    *seen.lock().unwrap()
}

/// A filter that forgot a kind would leave its old values, and one that forgot none would call the function for each write.
#[tokio::test]
async fn the_filter_lets_through_what_something_is_cached_of_and_nothing_else() {
    let (user, org, item, job) = (UserId::new(), OrgId::new(), ItemId::new(), JobId::new());
    let token = Token::generate(user, org).unwrap();
    let now = Moment::from_millis(1_795_000_000_000);
    let keys = [
        Key::user(user),
        Key::membership(user, org),
        Key::session(user, &token.hash()),
        Key::login("ada@example.com"),
        Key::guesses("ada@example.com"),
        Key::org(org),
        Key::settings(org),
        Key::member(org, user),
        Key::item(org, item),
        Key::org_copy(org, 1),
        Key::spread_item(org, 1, item),
        Key::item_room(org, 1),
        Key::usage_lane(org, "2026-11", "analyses", 1),
        Key::spread_job(org, 1, job),
        Key::job(org, job),
        Key::job_input(org, job, 1),
        Key::input_apart(org, job, 1),
        Key::due(1, job, now),
        Key::usage(org, "2026-11"),
        Key::suppression("ada@example.com"),
        Key::catalogue_manifest(),
        Key::catalogue_chunk("1", 1),
    ];
    let mut kinds = BTreeSet::new();
    for key in keys {
        let cached = CachedRecord::of(&key.pk, &key.sk);
        kinds.extend(cached.map(|cached| format!("{cached:?}").split('(').next().unwrap().to_owned()));
        assert_eq!(passes("MODIFY", &key).await, cached.is_some(), "{key:?}");
        assert_eq!(passes("REMOVE", &key).await, cached.is_some(), "{key:?}");
        // A new record of which no absence is remembered is nothing to tell.
        let told = matches!(cached, Some(CachedRecord::User(_) | CachedRecord::Items(_)));
        assert_eq!(passes("INSERT", &key).await, told, "{key:?}");
    }
    assert_eq!(kinds, BTreeSet::from(["Catalogue", "Items", "Org", "Settings", "User"].map(str::to_owned)));
}

/// A class of the cache that the invalidator does not serve would be as stale as its freshness allows.
#[test]
fn each_class_of_the_cache_is_served() {
    let source = |file: &str| fs::read_to_string(project_folder().join(file)).unwrap();
    let (cached, invalidator) = (source("shared/src/model/cached.rs"), source("functions/invalidator/src/change.rs"));
    let mut served = 0;
    for name in cached.split("\nimpl Name for ").skip(1) {
        let (key, body) = name.split_once(" {").unwrap();
        // A page is removed with its group, whose class it says it has.
        let class = body.split("const CLASS: Class =").nth(1).unwrap().trim_start();
        let group = class.split_once("::CLASS;").map_or(key, |(group, _)| group);
        let group = if class.starts_with("Class::") { key } else { group };
        assert!(
            invalidator.contains(&format!("cache.invalidate(&{group}")),
            "functions/invalidator does not remove {key}"
        );
        served += 1;
    }
    assert!(served >= 6, "{served} classes: are they recognized?");
    let elsewhere = ["shared/src", "functions"].iter().flat_map(|folder| sources(folder));
    for (file, text) in elsewhere.filter(|(file, _)| !file.ends_with("model/cached.rs")) {
        assert!(
            !text.contains("impl Name for") && !text.contains("impl cache::Name for"),
            "{file}: cached.rs names what is cached"
        );
    }
}

/// Rust files below a folder of the project, with their texts.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![project_folder().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push((entry.display().to_string(), fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    found
}
