//! A writer is rare and cold, and its renewal arrives all the same.

use super::faults::commands;
use super::records::{Failure, Plan, Record};
use super::server::{self, Counts, RedisServer};
use platform::cache::{Cache, Class, Delivery, Name as _, WRITE_PATIENCE};
use std::time::{Duration, Instant};
use testkit::tcp_proxy::{Fault, TcpProxy};

const CLASS: Class = Plan::CLASS;

/// A server that has version 1 of a plan.
async fn with_version_1() -> (RedisServer, Cache) {
    let server = RedisServer::start();
    let reader = server.cache();
    let read = reader.get_or_fill(&Plan(1), || async { Ok::<_, Failure>(Some(Record::new(1))) }).await;
    assert_eq!(read, Ok(Some(Record::new(1))));
    reader.settle().await;
    (server, reader)
}

/// A way to a server on which logging in takes longer than a reader waits, and its address.
fn slow_login(server: &RedisServer) -> (TcpProxy, String) {
    server.command(&["CONFIG", "SET", "requirepass", "right"]);
    let proxy = TcpProxy::start(server.port);
    proxy.set(Fault::Slow(Duration::from_millis(40)));
    let url = format!("redis://:right@127.0.0.1:{}", proxy.port);
    (proxy, url)
}

/// A connection takes DNS, TCP, TLS and a log-in, each a round trip or two, and this writer has none yet.
#[tokio::test]
async fn a_cold_writers_renewal_is_delivered_though_logging_in_takes_longer_than_a_reader_waits() {
    let (server, _) = with_version_1().await;
    let (_proxy, url) = slow_login(&server);
    assert_eq!(server::open(&url).renew(&Plan(1), &Record::new(2)).await, Delivery::Delivered);
    let reader = server::open_patient(&format!("redis://:right@127.0.0.1:{}", server.port));
    assert_eq!(server::cached(&reader, &Plan(1)).await, Some(Record::new(2)));
}

/// As cold is an environment that is asked for the server's health.
#[tokio::test]
async fn a_cold_ping_is_answered_though_logging_in_takes_longer_than_a_reader_waits() {
    let server = RedisServer::start();
    let (_proxy, url) = slow_login(&server);
    assert_eq!(server::open(&url).ping().await, Some(true));
}

#[tokio::test]
async fn a_writer_connects_before_it_has_something_to_tell() {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    let writer = server::open(&server::url(proxy.port));
    writer.connect();
    let since = Instant::now();
    while proxy.accepted() == 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "it does not connect");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.connect();
    assert_eq!(writer.invalidate(&Plan(1)).await, Delivery::Delivered);
    assert_eq!(proxy.accepted(), 1, "the connection that was made is used");
}

/// A full server that evicts nothing refuses to store. The old value would come back with its memory.
#[tokio::test]
async fn a_full_server_forgets_what_it_cannot_renew() {
    let (server, reader) = with_version_1().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let writer = server.cache();
    assert_eq!(writer.renew(&Plan(1), &Record::new(2)).await, Delivery::Delivered);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server::cached(&reader, &Plan(1)).await, None);
}

/// A primary that was demoted refuses each write at once, and goes on answering readers.
#[tokio::test]
async fn a_writer_that_is_refused_for_a_moment_is_heard() {
    for renews in [true, false] {
        let (server, reader) = with_version_1().await;
        let proxy = TcpProxy::start(server.port);
        let writer = server::open(&server::url(proxy.port));
        proxy.set(Fault::Answer(|bytes| {
            "-READONLY You can't write against a read only replica.\r\n".repeat(commands(bytes))
        }));
        let delivery = async {
            if renews { writer.renew(&Plan(1), &Record::new(2)).await } else { writer.invalidate(&Plan(1)).await }
        };
        let promotion = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            proxy.set(Fault::None);
        };
        let (delivered, ()) = tokio::join!(delivery, promotion);
        assert_eq!((delivered, Counts::of(&writer).count(&CLASS, "RenewalsLost")), (Delivery::Delivered, 0));
        assert_eq!(server::cached(&reader, &Plan(1)).await, None);
    }
}

/// The server comes back while the environment still runs: what was lost is delivered, and its loss was counted.
#[tokio::test]
async fn what_was_lost_is_delivered_after_the_reply() {
    let (server, reader) = with_version_1().await;
    let proxy = TcpProxy::start(server.port);
    let writer = server::open(&server::url(proxy.port));
    let counts = Counts::of(&writer);
    proxy.set(Fault::Refuse);
    assert_eq!(writer.renew(&Plan(1), &Record::new(2)).await, Delivery::Lost);
    assert_eq!((counts.count(&CLASS, "RenewalsLost"), counts.count(&CLASS, "RenewalsLate")), (1, 0));
    proxy.set(Fault::None);
    writer.settle().await;
    assert_eq!(counts.count(&CLASS, "RenewalsLate"), 1);
    assert_eq!(server::cached(&reader, &Plan(1)).await, None);
}

/// An environment that only writes, and rarely, asks nothing meanwhile that would find the cache well again.
#[tokio::test]
async fn what_failed_long_ago_is_waited_for_again() {
    let (server, _) = with_version_1().await;
    let (proxy, url) = slow_login(&server);
    let writer = server::open(&url);
    proxy.set(Fault::Refuse);
    assert_eq!(writer.renew(&Plan(1), &Record::new(2)).await, Delivery::Lost);
    assert!(writer.breaker_is_open(), "one write that is lost opens it");
    writer.abandon(); // its environment is frozen
    proxy.set(Fault::Slow(Duration::from_millis(40)));
    tokio::time::sleep(10 * WRITE_PATIENCE).await;
    assert_eq!(writer.renew(&Plan(1), &Record::new(3)).await, Delivery::Delivered);
    let reader = server::open_patient(&format!("redis://:right@127.0.0.1:{}", server.port));
    // Renewed, or removed by a later try.
    assert!(server::cached(&reader, &Plan(1)).await.is_none_or(|found| found == Record::new(3)));
}

/// A function has few environments. A server that hangs would hold each of them up for seconds with every write: whoever found it away
/// before leaves it to whatever else tells the cache.
#[tokio::test]
async fn a_write_holds_nothing_up_while_the_cache_is_away() {
    let (server, _) = with_version_1().await;
    let proxy = TcpProxy::start(server.port);
    let writer = server::open(&server::url(proxy.port));
    proxy.set(Fault::Hang);
    for _ in 0..1000 {
        if writer.breaker_is_open() {
            break;
        }
        writer.count("calls", Duration::from_secs(1)).await;
    }
    assert!(writer.breaker_is_open(), "the breaker never opens");
    let counts = Counts::of(&writer);
    let since = Instant::now();
    assert_eq!(writer.invalidate(&Plan(1)).await, Delivery::Lost);
    writer.settle().await;
    let held = since.elapsed();
    assert!(held < WRITE_PATIENCE / 2, "its environment was held for {held:?}");
    assert_eq!(counts.count(&CLASS, "RenewalsLost"), 1);
}
