//! One origin read per miss, within a process and across processes.

use super::origin::{self, Origin};
use super::records::{Failure, Plan, Record};
use super::server::{self, RedisServer};
use platform::cache::{LEASE_TIME, Name};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::processes::Talking;
use testkit::tcp_proxy::{Fault, TcpProxy};

const PROCESSES: usize = 20;
const READERS: usize = 50;

/// A process that waits for a line, reads one key with 50 readers at once, and says what they got.
#[test]
#[ignore = "a role of the other tests"]
fn reader_process() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by the parent"));
    let (url, port) = (variable("CACHE_URL"), variable("ORIGIN_PORT").parse().expect("a port"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let cache = server::open_patient(&url);
        assert_eq!(cache.ping().await, Some(true));
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).expect("a line");
        let readers = (0..READERS).map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let fetch = || async { origin::read(port).await.map(|version| Some(Record::new(version))) };
                cache.get_or_fill::<_, _, _, Failure>(&Plan(1), fetch).await
            })
        });
        let readers: Vec<_> = readers.collect();
        for reader in readers {
            let record = reader.await.expect("no panic").expect("an answer").expect("a record");
            assert_eq!(record.version, 1);
        }
        println!("done");
    });
}

fn reader(url: &str, origin: &Origin) -> Talking {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "one_fetch::reader_process", "--ignored", "--nocapture"]);
    let mut reader = Talking::start(command.env("CACHE_URL", url).env("ORIGIN_PORT", origin.port.to_string()));
    assert!(reader.says("ready"), "a reader did not start");
    reader
}

#[test]
fn twenty_processes_of_fifty_readers_fetch_once() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::from_millis(100)));
    let mut readers: Vec<_> = (0..PROCESSES).map(|_| reader(&server.url(), &origin)).collect();
    readers.iter_mut().for_each(|reader| reader.tell("go"));
    assert!(readers.iter_mut().all(|reader| reader.says("done")), "a reader failed");
    assert_eq!(origin.reads(), 1);
}

#[test]
fn a_killed_holder_costs_one_more_fetch_and_its_lease() {
    // The holder is killed while it waits for the origin, the others then read without delay.
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::from_millis(300)));
    let mut readers: Vec<_> = (0..PROCESSES).map(|_| reader(&server.url(), &origin)).collect();
    readers.iter_mut().for_each(|reader| reader.tell("go"));
    let start = Instant::now();
    let holder = loop {
        if let Some(holder) = origin.readers().first() {
            break *holder;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let held = readers.iter().position(|reader| reader.process.0.id() == holder).expect("one of them reads");
    drop(readers.swap_remove(held));
    assert!(readers.iter_mut().all(|reader| reader.says("done")), "a reader failed");
    assert_eq!(origin.reads(), 2);
    let waited = start.elapsed();
    assert!(waited < LEASE_TIME + Duration::from_secs(3), "waited {waited:?} for a lease of {LEASE_TIME:?}");
}

#[tokio::test]
async fn readers_of_one_process_share_one_flight() {
    let (server, origin) = (RedisServer::start(), Origin::start(Duration::from_millis(50)));
    let cache = server.cache();
    let readers: Vec<_> = (0..200)
        .map(|_| {
            let (cache, port) = (cache.clone(), origin.port);
            tokio::spawn(async move {
                let fetch = || async { origin::read(port).await.map(|version| Some(Record::new(version))) };
                cache.get_or_fill::<_, _, _, Failure>(&Plan(1), fetch).await
            })
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.await.expect("no panic"), Ok(Some(Record::new(1))));
    }
    assert_eq!(origin.reads(), 1);
}

/// A reader who asks after a write was acknowledged must not get what a flight found out before it.
#[tokio::test]
async fn a_late_waiter_does_not_take_an_early_answer() {
    let server = RedisServer::start();
    let (early, writer) = (server.cache(), server.cache());
    let (fetched, go_on) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let first = early.get_or_fill(&Plan(7), || async {
        fetched.notify_one();
        go_on.notified().await; // the origin has answered 1; the reply is slow
        Ok::<_, Failure>(Some(Record::new(1)))
    });
    let second = async {
        fetched.notified().await;
        writer.renew(&Plan(7), &Record::new(2)).await; // version 2 is acknowledged
        let late = early.get_or_fill(&Plan(7), || async { Ok::<_, Failure>(Some(Record::new(2))) });
        let release = async {
            tokio::time::sleep(Duration::from_millis(50)).await; // by now the late one waits for the flight
            go_on.notify_one();
        };
        tokio::join!(late, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first, Ok(Some(Record::new(1))), "it asked before the write");
    assert_eq!(second, Ok(Some(Record::new(2))), "it asked after the write");
    early.settle().await;
    assert_eq!(server::cached(&early, &Plan(7)).await, Some(Record::new(2)), "the early answer was not stored");
}

/// A lookup acquires the lease before it is known whether this process fetches already. The lease that such a reader got is
/// given back at once: whoever fetches, here or elsewhere, may wait for it.
#[tokio::test]
async fn a_waiting_reader_releases_its_lease() {
    let server = RedisServer::start();
    let cache = server.cache();
    let (fetched, go_on) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let first = cache.get_or_fill(&Plan(3), || async {
        fetched.notify_one();
        go_on.notified().await;
        Ok::<_, Failure>(Some(Record::new(1)))
    });
    let second = async {
        fetched.notified().await;
        server.command(&["UNLINK", "org:3:plan"]); // the first one's lease is gone: the second one's lookup acquires one
        let late = cache.get_or_fill(&Plan(3), || async { Ok::<_, Failure>(Some(Record::new(2))) });
        let given_back = async {
            for _ in 0..500 {
                let ran = format!("{:?}", server.command(&["INFO", "commandstats"]));
                if ran.contains("cmdstat_eval:calls=1,") {
                    return server.command(&["EXISTS", "org:3:plan"]);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("the lease was kept")
        };
        let release = async {
            assert_eq!(given_back.await, redis::Value::Int(0), "the lease is there still");
            go_on.notify_one();
        };
        tokio::join!(late, release).0
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), (Ok(Some(Record::new(1))), Ok(Some(Record::new(2)))));
}

/// Whoever fetched has its answer before the server is asked to keep it.
#[tokio::test]
async fn nobody_waits_for_the_store() {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    let cache = server::open(&server::url(proxy.port));
    let counts = server::Counts::of(&cache);
    let failures = || counts.count(&Plan::CLASS, "Failures");
    let read = cache.get_or_fill(&Plan(1), || async {
        proxy.set(Fault::Hang);
        Ok::<_, Failure>(Some(Record::new(1)))
    });
    assert_eq!((read.await, failures()), (Ok(Some(Record::new(1))), 0));
    cache.settle().await;
    assert_eq!(failures(), 1, "the store was given up");
}
