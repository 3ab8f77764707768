//! No stale value after an acknowledged write: random interleavings of readers, writers, slow fetchers, evictions, lost
//! scripts, cut connections, a full server, cold writers, lost replies of the database, and deaths in the middle of a fetch and
//! between a commit and its renewal, against a history.
//!
//! What was told to the cache holds for every read that begins afterwards. What could not be told, because its writer died, its
//! commit came after its answer or the cache was away, holds when the class's bound has passed, by the mechanism alone; and with
//! the table's stream as soon as that has told of it.

mod stream;
mod write_outcomes;

use super::records::{Failure, Lasting, Page, PageKey, Plan, Record};
use super::server::{self, RedisServer};
use platform::cache::{Cache, Class, Delivery, Key, LEASE_TIME};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use write_outcomes::{Written, write};

/// Few, so that operations meet.
const KEYS: u32 = 12;
/// Many, so that what nobody told of is not soon written or evicted, and stays to be read.
const KEYS_WITH_STREAM: u32 = 600;
const PAGES: u32 = 3;
/// Caches of their own connections and flights: what processes are to each other.
const PROCESSES: usize = 4;
const TASKS_PER_PROCESS: usize = 12;

/// A record at the origin, and what was acknowledged of it.
#[derive(Default)]
struct Truth {
    committed: AtomicU64,
    /// What the stream has told of.
    streamed: AtomicU64,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

struct Acknowledged {
    version: u64,
    at: Instant,
    at_ms: u64,
    delivery: Delivery,
}

impl Truth {
    /// The oldest version that a read beginning now may give: with the stream, whatever was acknowledged a second ago.
    fn floor(&self, world: &World, class: &Class) -> u64 {
        let now_ms = world.now_ms();
        let now = Instant::now();
        let acknowledged = self.acknowledged.lock().expect("no panic");
        let counts = |entry: &&Acknowledged| {
            // What was fetched before the commit may have been stored as long afterwards as its lease lasted.
            let bound = server::bound(class) + LEASE_TIME + SLACK;
            let is_told = world.has_stream && now_ms.saturating_sub(entry.at_ms) > BOUND_MS + SLACK.as_millis() as u64;
            entry.delivery == Delivery::Delivered || is_told || now.duration_since(entry.at) > bound
        };
        let told = acknowledged.iter().filter(counts).map(|entry| entry.version).max().unwrap_or(0);
        told.max(self.streamed.load(SeqCst))
    }

    fn acknowledge(&self, world: &World, version: u64, delivery: Delivery) {
        let mut acknowledged = self.acknowledged.lock().expect("no panic");
        acknowledged.push(Acknowledged { version, at: Instant::now(), at_ms: world.now_ms(), delivery });
        if acknowledged.len() > 256 {
            let newest = acknowledged.iter().filter(|entry| entry.delivery == Delivery::Delivered);
            let newest = newest.map(|entry| entry.version).max().unwrap_or(0);
            acknowledged.retain(|entry| entry.version >= newest);
        }
    }
}

/// Clocks are compared across a lost message; a tick of each is no lie.
const SLACK: Duration = Duration::from_millis(100);

/// How long after its commit a write is in the cache at most, where there is the stream, by [`World::now_ms`].
const BOUND_MS: u64 = 1_000;
/// A sleep of a millisecond counts as three at most. Where this machine stands still or is short of time, little passes: what is late by
/// this clock is late by what the code does.
const LONGEST_TICK_US: u64 = 3_000;

struct World {
    /// Classes last for an hour then, so that nothing but the stream mends what nobody told of.
    has_stream: bool,
    /// The time that all of this had to do something in, in microseconds.
    worked_us: AtomicU64,
    plans: Vec<Truth>,
    lists: Vec<Truth>,
    /// The table's, if there is one.
    stream: Mutex<Option<UnboundedSender<stream::Change>>>,
    /// Where writers connect to that have just been started.
    cold: Option<String>,
    operations: AtomicU64,
    reads: AtomicU64,
    fetches: AtomicU64,
    lost: AtomicU64,
    /// By what became of writes, in the order of `write_outcomes::WriteOutcome`.
    outcomes: [AtomicU64; 5],
    stale: Mutex<Vec<String>>,
}

impl World {
    fn now_ms(&self) -> u64 {
        self.worked_us.load(SeqCst) / 1_000
    }
}

/// A small generator (splitmix64), so that a seed names a run's choices.
struct SeededRng(u64);

impl SeededRng {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    /// Mostly nothing, sometimes a moment, rarely longer than a lease.
    async fn dawdle(&mut self) {
        match self.roll(1000) {
            0..=699 => {}
            700..=899 => tokio::task::yield_now().await,
            900..=997 => tokio::time::sleep(Duration::from_micros(self.roll(3000))).await,
            _ => tokio::time::sleep(Duration::from_millis(200 + self.roll(1200))).await,
        }
    }
}

async fn read_plan(world: &World, cache: &Cache, dice: &mut SeededRng, key: u32) {
    match world.has_stream {
        true => read_record(world, cache, dice, (key, &Lasting(Plan(key)))).await,
        false => read_record(world, cache, dice, (key, &Plan(key))).await,
    }
}

async fn read_record<K>(world: &World, cache: &Cache, dice: &mut SeededRng, (key, name): (u32, &K))
where
    K: Key<Value = Record> + 'static,
{
    let truth = &world.plans[key as usize];
    let floor = truth.floor(world, &K::CLASS);
    let mut inner = SeededRng(dice.roll(u64::MAX));
    let read = cache.get_or_fill(name, || async {
        world.fetches.fetch_add(1, SeqCst);
        inner.dawdle().await;
        let version = truth.committed.load(SeqCst);
        inner.dawdle().await;
        Ok::<_, Failure>((version > 0).then(|| Record::new(version)))
    });
    if let Ok(value) = read.await {
        let version = value.map_or(0, |record| record.version);
        world.reads.fetch_add(1, SeqCst);
        if version < floor {
            world.stale.lock().expect("no panic").push(format!("plan {key}: read {version}, acknowledged {floor}"));
        }
    }
}

async fn read_page(world: &World, cache: &Cache, dice: &mut SeededRng, key: u32) {
    let page = u32::try_from(dice.roll(u64::from(PAGES))).expect("small");
    match world.has_stream {
        true => read_list(world, cache, dice, (key, &Lasting(PageKey(key, page)))).await,
        false => read_list(world, cache, dice, (key, &PageKey(key, page))).await,
    }
}

async fn read_list<K>(world: &World, cache: &Cache, dice: &mut SeededRng, (key, name): (u32, &K))
where
    K: Key<Value = Page> + 'static,
{
    let truth = &world.lists[key as usize];
    let floor = truth.floor(world, &K::CLASS);
    let mut inner = SeededRng(dice.roll(u64::MAX));
    let read = cache.get_or_fill(name, || async {
        world.fetches.fetch_add(1, SeqCst);
        inner.dawdle().await;
        let as_of = truth.committed.load(SeqCst);
        inner.dawdle().await;
        Ok::<_, Failure>(Some(Page { as_of }))
    });
    if let Ok(Some(page)) = read.await {
        world.reads.fetch_add(1, SeqCst);
        if page.as_of < floor {
            world
                .stale
                .lock()
                .expect("no panic")
                .push(format!("page {key}: read {}, acknowledged {floor}", page.as_of));
        }
    }
}

fn note(world: &World, truth: &Truth, version: u64, delivery: Delivery) {
    if delivery == Delivery::Lost {
        world.lost.fetch_add(1, SeqCst);
    }
    truth.acknowledge(world, version, delivery);
}

/// One random operation; one in 200 dies at a random moment, holding whatever it holds.
async fn act(world: &World, cache: &Cache, dice: &mut SeededRng) {
    world.operations.fetch_add(1, SeqCst);
    let keys = world.plans.len() as u64;
    let key = u32::try_from(dice.roll(keys) * dice.roll(keys) / keys).expect("small");
    let mut own = SeededRng(dice.roll(u64::MAX));
    match dice.roll(100) {
        0..=59 => {
            let read = read_plan(world, cache, &mut own, key);
            if dice.roll(200) == 0 {
                let _died = tokio::time::timeout(Duration::from_micros(dice.roll(2000)), read).await;
            } else {
                read.await;
            }
        }
        60..=69 => write(world, cache, &mut own, Written::Plan(key)).await,
        70..=94 => {
            let read = read_page(world, cache, &mut own, key);
            if dice.roll(200) == 0 {
                let _died = tokio::time::timeout(Duration::from_micros(dice.roll(2000)), read).await;
            } else {
                read.await;
            }
        }
        _ => write(world, cache, &mut own, Written::List(key)).await,
    }
}

/// Evicts, forgets scripts, cuts connections and has no room for a moment, until told to stop.
fn havoc(server: &RedisServer, stop: &AtomicBool, keys: u32, seed: u64) {
    let mut dice = SeededRng(seed);
    let mut bare = server.bare();
    while !stop.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
        let key = dice.roll(u64::from(keys));
        let command = match dice.roll(1000) {
            0 => redis::cmd("FLUSHALL"),
            1 => redis::cmd("SCRIPT").arg("FLUSH").to_owned(),
            3 => {
                let mut room = |bytes: &str| {
                    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(bytes).exec(&mut bare).expect("it is set");
                };
                room("1");
                std::thread::sleep(Duration::from_millis(20));
                room("0");
                continue;
            }
            2 => redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes").to_owned(),
            4..=499 => redis::cmd("UNLINK").arg(format!("org:{key}:plan")).to_owned(),
            _ => redis::cmd("UNLINK").arg(format!("org:{key}:items")).to_owned(),
        };
        command.exec(&mut bare).expect("the server answers");
    }
}

fn choices() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("CACHE_SEED").unwrap_or(u64::from(std::process::id()));
    let operations = number("CACHE_OPERATIONS").unwrap_or(40_000);
    println!("CACHE_SEED={seed} CACHE_OPERATIONS={operations}");
    (seed, operations)
}

/// Lets tasks act on `caches`, one cache a process, and checks what they saw; with the stream if something is to follow it.
async fn history(
    caches: Vec<Cache>,
    keys: u32,
    cold: Option<String>,
    follower: Option<Cache>,
    seed: u64,
    operations: u64,
) {
    let (sender, changes) = unbounded_channel();
    let world = Arc::new(World {
        has_stream: follower.is_some(),
        worked_us: AtomicU64::new(0),
        stream: Mutex::new(follower.is_some().then_some(sender)),
        plans: (0..keys).map(|_| Truth::default()).collect(),
        lists: (0..keys).map(|_| Truth::default()).collect(),
        cold,
        operations: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        fetches: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        outcomes: Default::default(),
        stale: Mutex::default(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    let ticking = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            loop {
                let begun = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                let took_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                world.worked_us.fetch_add(took_us.min(LONGEST_TICK_US), SeqCst);
            }
        }
    });
    for (process, cache) in caches.into_iter().enumerate() {
        for task in 0..TASKS_PER_PROCESS {
            let (world, cache) = (Arc::clone(&world), cache.clone());
            let mut dice = SeededRng(seed ^ (((process * 1000 + task) as u64) << 32));
            tasks.spawn(async move {
                while world.operations.load(SeqCst) < operations {
                    act(&world, &cache, &mut dice).await;
                }
            });
        }
    }
    let followed = follower.map(|cache| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { (stream::follow(&world, &cache, changes, seed).await, cache) })
    });
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics");
    }
    if let Some(followed) = followed {
        at_rest(&world, followed).await;
    }
    ticking.abort();

    let count = |counter: &AtomicU64| counter.load(SeqCst);
    println!(
        "{} operations, {} reads, {} fetches, {} lost deliveries, {:?} outcomes (kept, lost, late, died, refused)",
        count(&world.operations),
        count(&world.reads),
        count(&world.fetches),
        count(&world.lost),
        world.outcomes.each_ref().map(count)
    );
    assert!(world.outcomes.iter().all(|outcome| count(outcome) > 0), "an outcome did not occur");
    let stale = world.stale.lock().expect("no panic");
    assert!(stale.is_empty(), "seed {seed}: {} stale reads, such as {:?}", stale.len(), &stale[..stale.len().min(5)]);
    assert!(count(&world.fetches) * 2 < count(&world.reads), "the cache was not used");
    assert!(count(&world.lost) * 50 < count(&world.operations), "the cache was away for most of the run");
}

/// Once the stream has told of all, everything is as it was committed: nothing stays old for ever.
async fn at_rest(world: &World, followed: tokio::task::JoinHandle<(Vec<u64>, Cache)>) {
    world.stream.lock().expect("no panic").take();
    let (lags, cache) = followed.await.expect("the stream goes on to the end");
    stream::report(lags);
    for (truth, key) in world.plans.iter().zip(0..) {
        let kept = server::cached(&cache, &Lasting(Plan(key))).await;
        let committed = truth.committed.load(SeqCst);
        assert!(kept.is_none_or(|kept| kept.version == committed), "plan {key} stays old: {committed} was committed");
    }
    for (truth, key) in world.lists.iter().zip(0..) {
        let committed = truth.committed.load(SeqCst);
        for page in 0..PAGES {
            let kept = server::cached(&cache, &Lasting(PageKey(key, page))).await;
            let is_new = kept.is_none_or(|kept| kept.as_of == committed);
            assert!(is_new, "page {page} of {key} stays old: {committed} was committed");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A history beside a server that nothing is kind to.
fn over_redis(with_stream: bool) {
    let (seed, operations) = choices();
    let server = RedisServer::start();
    // Half of them lose messages when this machine is busy, as the bound allows for.
    let cache = |process| if process % 2 == 0 { server.cache() } else { server::open(&server.url()) };
    let caches = (0..PROCESSES).map(cache).collect();
    let follower = with_stream.then(|| server.cache());
    let stop = AtomicBool::new(false);
    let keys = if with_stream { KEYS_WITH_STREAM } else { KEYS };
    std::thread::scope(|scope| {
        let havoc = scope.spawn(|| havoc(&server, &stop, keys, seed));
        let history = history(caches, keys, Some(server.url()), follower, seed, operations);
        let history = scope.spawn(|| runtime().block_on(history)).join();
        stop.store(true, SeqCst);
        havoc.join().expect("havoc goes on to the end");
        if let Err(failure) = history {
            std::panic::resume_unwind(failure);
        }
    });
}

#[test]
fn no_read_is_older_than_an_acknowledged_write() {
    over_redis(false);
}

#[test]
fn with_the_stream_none_is_older_than_what_that_has_told() {
    over_redis(true);
}

#[test]
fn the_memory_in_place_of_a_server_gives_no_stale_read() {
    let (seed, operations) = choices();
    let cache = server::open("memory:");
    runtime().block_on(history(vec![cache; PROCESSES], KEYS, None, None, seed, operations / 4));
}
