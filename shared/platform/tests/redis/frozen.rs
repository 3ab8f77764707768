//! Frozen and thawed: a connection that died meanwhile costs one retry inside the deadline.

use super::records::{Failure, Plan, Record};
use super::server::{self, RedisServer, signal};
use platform::cache::{Cache, Delivery, Name, PATIENCE};
use std::process::Command;
use std::time::Duration;
use testkit::processes::Talking;
use testkit::tcp_proxy::TcpProxy;
use tokio::sync::Notify;

async fn read(cache: &Cache) {
    let value = cache.get_or_fill(&Plan(1), || async { Ok::<_, Failure>(Some(Record::new(1))) }).await;
    assert_eq!(value, Ok(Some(Record::new(1))));
    cache.settle().await;
}

async fn assert_hit(cache: &Cache) {
    assert_eq!(server::cached(cache, &Plan(1)).await, Some(Record::new(1)), "a hit on a new connection");
    assert_eq!(server::Counts::of(cache).count(&Plan::CLASS, "Failures"), 0, "no failure");
}

#[tokio::test]
async fn a_connection_that_the_server_closed() {
    let server = RedisServer::start();
    let cache = server::open(&server.url());
    read(&cache).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_hit(&cache).await;
}

/// A cache whose connection the network has forgotten, as it does with one that was silent for long: no end, no reset, no answer.
async fn forgotten() -> (RedisServer, TcpProxy, Cache) {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    let cache = server::open(&server::url(proxy.port));
    read(&cache).await;
    proxy.forget();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    (server, proxy, cache)
}

#[tokio::test]
async fn a_connection_that_died_without_a_word() {
    let (_server, _proxy, cache) = forgotten().await;
    assert_hit(&cache).await;
}

/// Several operations begin on it at once: each of them finds out.
#[tokio::test]
async fn operations_at_once_on_a_connection_that_died_without_a_word() {
    let (_server, proxy, cache) = forgotten().await;
    let second = Duration::from_secs(1);
    let (one, other, ()) = tokio::join!(cache.count("a", second), cache.count("b", second), assert_hit(&cache));
    assert_eq!((one, other), (Some(1), Some(1)));
    assert_eq!(proxy.accepted(), 2, "one new connection for all");
}

/// A connection that is given up may still deliver what was sent on it. A lease that is acquired so late is nobody's: a write was
/// acknowledged since the place was read for its first copy.
#[tokio::test]
async fn a_lease_that_is_acquired_late_stores_nothing_old() {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    let reader = server::open_patient(&server::url(proxy.port));
    assert_eq!(reader.ping().await, Some(true));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    proxy.hold();
    let (fetched, go_on) = (Notify::new(), Notify::new());
    let early = reader.get_or_fill(&Plan(1), || async {
        fetched.notify_one();
        go_on.notified().await; // the origin has answered 1; the reply is slow
        Ok::<_, Failure>(Some(Record::new(1)))
    });
    let meanwhile = async {
        fetched.notified().await; // by the lease of the second try, on a new connection
        assert_eq!(server.cache().renew(&Plan(1), &Record::new(2)).await, Delivery::Delivered);
        server.wait_until("org:1:plan", false).await;
        proxy.deliver();
        server.wait_until("org:1:plan", true).await; // the lease of the first try
        go_on.notify_one();
    };
    let (early, ()) = tokio::join!(early, meanwhile);
    assert_eq!(early, Ok(Some(Record::new(1))), "it asked before the write");
    reader.settle().await;
    assert_eq!(proxy.accepted(), 2, "it was sent on two connections");
    let late = server.cache().get_or_fill(&Plan(1), || async { Ok::<_, Failure>(Some(Record::new(2))) }).await;
    assert_eq!(late, Ok(Some(Record::new(2))), "it asked after the write");
}

/// A process that reads, waits for a line, and reads again.
#[test]
#[ignore = "a role of the other tests"]
fn sleeper_process() {
    let url = std::env::var("CACHE_URL").expect("the parent sets it");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let cache = server::open(&url);
        read(&cache).await;
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).expect("a line");
        assert_hit(&cache).await;
        println!("hit");
    });
}

#[test]
fn a_process_that_was_stopped_while_its_connection_was_killed() {
    let server = RedisServer::start();
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "frozen::sleeper_process", "--ignored", "--nocapture"]);
    let mut sleeper = Talking::start(command.env("CACHE_URL", server.url()));
    assert!(sleeper.says("ready"));
    let id = sleeper.process.0.id();
    signal(id, "STOP");
    std::thread::sleep(Duration::from_millis(300));
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    std::thread::sleep(PATIENCE);
    // The record must outlive the sleep, or there is nothing to hit.
    server.command(&["PERSIST", "org:1:plan"]);
    signal(id, "CONT");
    sleeper.tell("go");
    let hit = sleeper.says("hit");
    let status = sleeper.process.0.wait().expect("it ends");
    assert!(hit && status.success(), "no hit after the thaw");
}
