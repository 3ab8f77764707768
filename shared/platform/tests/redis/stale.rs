//! Stale while one refreshes, and the process's own layer.

use super::origin::{self, Origin};
use super::records::{Failure, Prices, Record};
use super::server::{self, RedisServer};
use platform::cache::{Cache, Name};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::tcp_proxy::{Fault, TcpProxy};
use tokio::sync::Notify;

const PROCESSES: usize = 10;

async fn read(cache: &Cache, port: u16) -> u64 {
    let fetch = move || async move { origin::read(port).await.map(|version| Some(Record::new(version))) };
    let value = cache.get_or_refresh::<_, _, _, Failure>(Prices(1), fetch).await;
    value.expect("an answer").expect("a record").version
}

async fn until_stale() {
    tokio::time::sleep(Prices::CLASS.fresh * 12 / 10).await;
}

#[tokio::test]
async fn stale_at_once_for_all_while_one_fetches() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::from_millis(300)));
    let caches: Vec<Cache> = (0..PROCESSES).map(|_| server.cache()).collect();
    for cache in &caches {
        assert_eq!(read(cache, origin.port).await, 1);
    }
    assert_eq!(origin.reads(), 1);
    origin.set_version(2);
    until_stale().await;

    let start = Instant::now();
    let readers = caches.iter().flat_map(|cache| std::iter::repeat_n(cache, 20)).map(|cache| {
        let (cache, port) = (cache.clone(), origin.port);
        tokio::spawn(async move { read(&cache, port).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.expect("no panic"), 1, "served stale");
    }
    assert!(start.elapsed() < Duration::from_millis(300), "somebody waited for the origin");
    for cache in &caches {
        cache.settle().await;
    }
    assert_eq!(origin.reads(), 2, "one refreshed");
    for cache in &caches {
        assert_eq!(read(cache, origin.port).await, 2);
    }
    assert_eq!(origin.reads(), 2);
}

/// The server has lost it, and each process still has its own copy: one fetches, for all.
#[tokio::test]
async fn what_the_server_lost_is_fetched_by_one() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::from_millis(300)));
    let caches: Vec<Cache> = (0..PROCESSES).map(|_| server.cache()).collect();
    for cache in &caches {
        assert_eq!(read(cache, origin.port).await, 1);
    }
    origin.set_version(2);
    until_stale().await;
    server.command(&["FLUSHALL"]);
    for cache in &caches {
        assert_eq!(read(cache, origin.port).await, 1, "served stale");
    }
    for cache in &caches {
        cache.settle().await;
    }
    assert_eq!(origin.reads(), 2, "one refreshed");
    assert_eq!(read(&server.cache(), origin.port).await, 2, "for all");
    assert_eq!(origin.reads(), 2);
}

#[tokio::test]
async fn fresh_values_come_from_this_process() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::ZERO));
    let cache = server.cache();
    read(&cache, origin.port).await;
    drop(server);
    for _ in 0..10 {
        assert_eq!(read(&cache, origin.port).await, 1);
    }
    assert_eq!(server::Counts::of(&cache).count(&Prices::CLASS, "LocalHits"), 10);
    assert_eq!(origin.reads(), 1);
}

#[tokio::test]
async fn what_this_process_has_serves_while_the_server_is_away() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::ZERO));
    let proxy = TcpProxy::start(server.port);
    let cache = server::open(&server::url(proxy.port));
    read(&cache, origin.port).await;
    proxy.set(Fault::Hang);
    origin.set_version(2);
    until_stale().await;
    assert_eq!(read(&cache, origin.port).await, 1, "stale, and at once");
    cache.settle().await;
    assert_eq!(read(&cache, origin.port).await, 2);
    assert_eq!(origin.reads(), 2);
}

#[tokio::test]
async fn a_failed_refresh_leaves_the_stale_value_and_lets_another_try() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::ZERO));
    let cache = server.cache();
    read(&cache, origin.port).await;
    until_stale().await;
    let failing = cache.get_or_refresh(Prices(1), || async { Err(Failure::Origin) }).await;
    assert_eq!(failing, Ok(Some(Record::new(1))));
    cache.settle().await;
    origin.set_version(2);
    assert_eq!(read(&cache, origin.port).await, 1);
    cache.settle().await;
    assert_eq!(read(&cache, origin.port).await, 2, "the lease of the one that failed is not in the way");
}

/// The lease of a fetch may end before it does: whoever gets the next one and finds that this process fetches still gives it back at once.
#[tokio::test]
async fn a_refresh_that_finds_another_releases_its_lease() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::ZERO));
    let cache = server.cache();
    read(&cache, origin.port).await;
    cache.settle().await;
    until_stale().await;
    let (fetching, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, awaited) = (Arc::clone(&fetching), Arc::clone(&go_on));
    let slow = move || async move {
        begun.notify_one();
        awaited.notified().await;
        Ok::<_, Failure>(Some(Record::new(2)))
    };
    assert_eq!(cache.get_or_refresh(Prices(1), slow).await, Ok(Some(Record::new(1))));
    fetching.notified().await;
    server.command(&["UNLINK", "models:pricing:1"]); // the first lease with it
    assert_eq!(read(&cache, origin.port).await, 1, "this process's own copy");
    // A lease ends by itself after a second. This one does not, if it is there.
    server.command(&["PERSIST", "models:pricing:1"]);
    server.wait_until("models:pricing:1", false).await;
    go_on.notify_one();
    cache.settle().await;
    assert_eq!(origin.reads(), 1, "nobody fetched beside the one that did");
}
