//! What is larger than its class keeps: it is fetched each time, and leaves nothing of before.

use super::records::{Failure, Plan, Record};
use super::server::{self, Counts, RedisServer};
use platform::cache::{Cache, Class, Delivery, Key, MAX_BYTES, Name};
use redis::Value;
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::Notify;

/// A value that is stale at once.
struct Stale;

impl Name for Stale {
    const CLASS: Class = Class::stale_acceptable("stale", Duration::ZERO, Duration::from_secs(30));
    fn write(&self, out: &mut String) {
        out.push_str("stale");
    }
}

impl Key for Stale {
    type Value = Record;
}

fn large(version: u64) -> Record {
    Record { version, text: "x".repeat(MAX_BYTES) }
}

async fn fetched_each_time(cache: &Cache) {
    let (counts, fetched) = (Counts::of(cache), Cell::new(0));
    for _ in 0..3 {
        let fetch = || async {
            fetched.set(fetched.get() + 1);
            Ok::<_, Failure>(Some(large(1)))
        };
        assert_eq!(cache.get_or_fill(&Plan(1), fetch).await, Ok(Some(large(1))));
        cache.settle().await;
    }
    assert_eq!(fetched.get(), 3);
    let count = |event| counts.count(&Plan::CLASS, event);
    assert_eq!((count("Stores"), count("StoresRejected"), count("Hits")), (0, 3, 0));
}

#[tokio::test]
async fn what_is_larger_than_its_class_keeps_is_fetched_each_time() {
    let server = RedisServer::start();
    fetched_each_time(&server.cache()).await;
    assert_eq!(server.command(&["EXISTS", "org:1:plan"]), Value::Int(0), "neither it nor its lease is there");
    fetched_each_time(&server::open("memory:")).await;
}

async fn nothing_of_before_is_left(cache: &Cache) {
    let fetch = || async { Ok::<_, Failure>(Some(Record::new(1))) };
    assert_eq!(cache.get_or_fill(&Plan(1), fetch).await, Ok(Some(Record::new(1))));
    cache.settle().await;
    assert_eq!(cache.renew(&Plan(1), &large(2)).await, Delivery::Delivered);
    assert_eq!(server::cached(cache, &Plan(1)).await, None);
}

#[tokio::test]
async fn a_renewal_that_is_too_large_removes_what_was_there() {
    nothing_of_before_is_left(&RedisServer::start().cache()).await;
    nothing_of_before_is_left(&server::open("memory:")).await;
}

/// Else it would be served to its end although a newer one is known, and each reader would have that fetched.
#[tokio::test]
async fn a_refresh_that_is_too_large_removes_what_was_stale() {
    let server = RedisServer::start();
    let (one, other) = (server.cache(), server.cache());
    for (version, record) in [(1, Record::new(1)), (2, large(2))] {
        let found = one.get_or_refresh(Stale, move || async move { Ok::<_, Failure>(Some(record)) }).await;
        assert_eq!(found, Ok(Some(Record::new(1))), "what is fetched is version {version}");
        one.settle().await;
    }
    let found = other.get_or_refresh(Stale, || async { Err(Failure::Origin) }).await;
    assert_eq!(found, Err(Failure::Origin), "there is nothing to serve");
}

/// A page, whose lease does not come with the look-up.
struct Wide;

impl Name for Wide {
    const CLASS: Class = Class::renewed_on_update("wide", Duration::from_secs(30));
    fn write(&self, out: &mut String) {
        out.push_str("wide");
    }
}

impl Key for Wide {
    type Value = Record;
    fn write_page(&self, out: &mut String) {
        out.push('0');
    }
}

/// How often the server was asked for each script.
fn scripts(server: &RedisServer) -> Vec<String> {
    let Value::BulkString(said) = server.command(&["INFO", "commandstats"]) else { panic!("no statistics") };
    String::from_utf8_lossy(&said).lines().filter(|line| line.contains("eval")).map(str::to_owned).collect()
}

/// Readers at once would stand in line for a lease that brings none of them a value.
#[tokio::test]
async fn nobody_waits_for_the_lease_of_what_was_too_large() {
    let server = RedisServer::start();
    let (one, other) = (server.cache(), server.cache());
    let fetch = || async { Ok::<_, Failure>(Some(large(1))) };
    assert_eq!(one.get_or_fill(&Wide, fetch).await, Ok(Some(large(1))));
    one.settle().await;
    let (fetching, go_on) = (Notify::new(), Notify::new());
    let held = other.get_or_fill(&Wide, || async {
        fetching.notify_one();
        go_on.notified().await;
        Ok::<_, Failure>(Some(large(1)))
    });
    let read = async {
        fetching.notified().await;
        let before = scripts(&server);
        assert_eq!(one.get_or_fill(&Wide, fetch).await, Ok(Some(large(1))));
        assert_eq!(scripts(&server), before, "it asked for the lease that the other has");
        go_on.notify_one();
    };
    let (held, ()) = tokio::join!(held, read);
    assert_eq!(held, Ok(Some(large(1))));
}
