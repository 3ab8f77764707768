//! An outage is a slow day: whatever the cache server does, callers get the origin's answer, soon.

use super::records::{Failure, Plan, Record};
use super::server::{self, RedisServer};
use platform::cache::{Cache, FETCHES, Name, PATIENCE};
use redis::Commands as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};
use testkit::tcp_proxy::{Fault, TcpProxy};

const CALLS: u32 = 1000;

async fn read(cache: &Cache, key: u32) -> Duration {
    let start = Instant::now();
    let value = cache.get_or_fill(&Plan(key), || async { Ok::<_, Failure>(Some(Record::new(u64::from(key)))) }).await;
    assert_eq!(value, Ok(Some(Record::new(u64::from(key)))), "a caller saw the outage");
    let elapsed = start.elapsed();
    cache.settle().await;
    elapsed
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

pub(crate) async fn p99_of_calls(cache: &Cache, keys: std::ops::Range<u32>) -> Duration {
    let mut times = Vec::new();
    for key in keys {
        times.push(read(cache, key).await);
    }
    p99(times)
}

/// Waits until the cache is used: soon after an outage, or after a moment in which a busy machine looked like one.
async fn is_used(cache: &Cache, keys: std::ops::RangeFrom<u32>) {
    let since = Instant::now();
    for key in keys.take_while(|_| cache.breaker_is_open()) {
        assert!(since.elapsed() < Duration::from_secs(5), "the cache is not used again");
        read(cache, key).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Breaks a cache that works, calls it, mends it, and waits for it to be used again.
pub(crate) async fn suffers(cache: Cache, break_it: impl FnOnce(), mend: impl FnOnce()) {
    let counts = server::Counts::of(&cache);
    let failures = || counts.count(&Plan::CLASS, "Failures");
    let normal = p99_of_calls(&cache, 0..CALLS).await;
    assert!(!cache.breaker_is_open() || failures() >= 5, "the breaker is open without failures");
    is_used(&cache, 10 * CALLS..).await;

    break_it();
    let (before, mut key) = (failures(), CALLS);
    while !cache.breaker_is_open() {
        // Generous to a machine that is busy, and still far from what a server may take that has no deadline.
        assert!(read(&cache, key).await < PATIENCE * 40, "a caller waited for the server");
        key += 1;
        assert!(failures() - before <= 5, "the breaker is not open after {} failures", failures() - before);
        assert!(key < 2 * CALLS, "the breaker never opens");
    }
    let broken = p99_of_calls(&cache, 2 * CALLS..3 * CALLS).await;
    let added = broken.saturating_sub(normal);
    assert!(added <= Duration::from_millis(25), "p99 went from {normal:?} to {broken:?}");

    mend();
    is_used(&cache, key..).await;
    let hits = counts.count(&Plan::CLASS, "Hits");
    read(&cache, 9 * CALLS).await;
    read(&cache, 9 * CALLS).await;
    assert_eq!(counts.count(&Plan::CLASS, "Hits"), hits + 1, "the cache is used again");
}

async fn suffers_fault(fault: Fault) {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    suffers(server::open(&server::url(proxy.port)), || proxy.set(fault), || proxy.set(Fault::None)).await;
}

#[tokio::test]
async fn connections_refused() {
    suffers_fault(Fault::Refuse).await;
}

#[tokio::test]
async fn hanging() {
    suffers_fault(Fault::Hang).await;
}

#[tokio::test]
async fn cut_in_the_middle_of_a_reply() {
    suffers_fault(Fault::CutMidReply).await;
}

/// How many commands (RESP arrays of bulk strings) begin in `bytes`.
pub(super) fn commands(bytes: &[u8]) -> usize {
    let number = |at: usize| -> Option<(usize, usize)> {
        let end = at + bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        Some((std::str::from_utf8(bytes.get(at + 1..end)?).ok()?.parse().ok()?, end + 2))
    };
    let (mut count, mut at) = (0, 0);
    while bytes.get(at) == Some(&b'*') {
        let Some((words, mut next)) = number(at) else { break };
        count += 1;
        for _ in 0..words {
            let Some((length, start)) = number(next.min(bytes.len())) else { return count };
            next = start + length + 2;
        }
        at = next;
    }
    count
}

#[tokio::test]
async fn loading() {
    suffers_fault(Fault::Answer(|bytes| "-LOADING Redis is loading the dataset in memory\r\n".repeat(commands(bytes))))
        .await;
}

#[tokio::test]
async fn moved() {
    suffers_fault(Fault::Answer(|bytes| "-MOVED 3999 127.0.0.1:1\r\n".repeat(commands(bytes)))).await;
}

#[tokio::test]
async fn half_a_second_late() {
    suffers_fault(Fault::Slow(Duration::from_millis(500))).await;
}

#[tokio::test]
async fn read_only() {
    let server = RedisServer::start();
    let (demote, promote) = (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]);
    suffers(server::open(&server.url()), || drop(server.command(&demote)), || drop(server.command(&promote))).await;
}

#[tokio::test]
async fn wrong_password() {
    let server = RedisServer::start();
    let password = |password: &str| {
        // One connection for both: the first command shuts others out.
        let mut bare = redis::Client::open(format!("redis://:right@127.0.0.1:{}", server.port))
            .and_then(|client| client.get_connection())
            .or_else(|_| redis::Client::open(format!("redis://:other@127.0.0.1:{}", server.port))?.get_connection())
            .unwrap_or_else(|_| server.bare());
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(password).exec(&mut bare).expect("set");
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut bare).expect("killed");
    };
    password("right");
    let url = format!("redis://:right@127.0.0.1:{}", server.port);
    suffers(server::open(&url), || password("other"), || password("right")).await;
}

/// As the new primary of a failover does. Where each request counts first, the count takes each of the breaker's probes.
#[tokio::test]
async fn a_server_that_comes_back_without_its_scripts_is_used_again() {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    let cache = server::open(&server::url(proxy.port));
    let ask = async |key: u32| {
        tokio::join!(cache.count("session:1:rate", Duration::from_secs(1)), read(&cache, key));
    };
    ask(0).await;
    proxy.set(Fault::Hang);
    for key in (1..CALLS).take_while(|_| !cache.breaker_is_open()) {
        ask(key).await;
    }
    assert!(cache.breaker_is_open(), "the breaker never opens");
    server.command(&["SCRIPT", "FLUSH"]);
    proxy.set(Fault::None);
    let since = Instant::now();
    for key in (CALLS..).take_while(|_| cache.breaker_is_open()) {
        assert!(since.elapsed() < Duration::from_secs(5), "the cache is not used again");
        ask(key).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The origin is protected: no more than so many fetches at a time, and whoever does not get a turn is told when
/// to come back.
#[tokio::test]
async fn fetches_are_capped() {
    let cache = server::open("off:");
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls: Vec<_> = (0..4 * u32::try_from(FETCHES).expect("small"))
        .map(|key| {
            let (cache, now, most) = (cache.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let fetch = || async {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    now.fetch_sub(1, SeqCst);
                    Ok::<_, Failure>(Some(Record::new(1)))
                };
                cache.get_or_fill(&Plan(key), fetch).await
            })
        })
        .collect();
    let (mut served, mut busy) = (0, 0);
    for call in calls {
        match call.await.expect("no panic") {
            Ok(_) => served += 1,
            Err(Failure::Busy(told)) => {
                assert!(told.retry_after >= Duration::from_secs(1));
                busy += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((served, busy, most.load(SeqCst)), (FETCHES, 3 * FETCHES, FETCHES));
}

/// A write is acknowledged although its renewal cannot be delivered, and the old value is gone when its
/// class's bound has passed.
#[tokio::test]
async fn a_lost_renewal_costs_the_bound_at_most() {
    let server = RedisServer::start();
    let proxy = TcpProxy::start(server.port);
    let (reader, writer) = (server.cache(), server::open(&server::url(proxy.port)));
    let old = reader.get_or_fill(&Plan(1), || async { Ok::<_, Failure>(Some(Record::new(1))) }).await;
    assert_eq!(old, Ok(Some(Record::new(1))));
    reader.settle().await;
    let filled = Instant::now();
    proxy.set(Fault::Hang);
    assert_eq!(writer.renew(&Plan(1), &Record::new(2)).await, platform::cache::Delivery::Lost);
    loop {
        let read = reader.get_or_fill(&Plan(1), || async { Ok::<_, Failure>(Some(Record::new(2))) }).await;
        if read == Ok(Some(Record::new(2))) {
            break;
        }
        assert!(filled.elapsed() < server::bound(&Plan::CLASS) + Duration::from_millis(200), "older than the bound");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What another format, another shape or another program left under a key reads as a miss and is replaced.
#[tokio::test]
async fn what_cannot_be_read_is_a_miss() {
    let server = RedisServer::start();
    let mut bare = server.bare();
    let valid = {
        read(&server.cache(), 1).await;
        bare.get::<_, Vec<u8>>("org:1:plan").expect("stored")
    };
    let altered = |at: usize, byte: u8| {
        let mut bytes = valid.clone();
        bytes[at] = byte;
        bytes
    };
    let cases = [
        ("nothing", Vec::new()),
        ("another program's", b"{\"plan\":\"pro\"}".to_vec()),
        ("another format", altered(0, 9)),
        ("another kind", altered(1, b'?')),
        ("another schema", altered(2, 9)),
        ("cut in the header", valid[..20].to_vec()),
        ("cut in the value", valid[..valid.len() - 3].to_vec()),
    ];
    for (what, bytes) in cases {
        let () = bare.set("org:1:plan", bytes).expect("stored");
        let cache = server.cache();
        assert_eq!(server::cached(&cache, &Plan(1)).await, None, "{what}");
        read(&cache, 1).await;
        assert_eq!(server::cached(&cache, &Plan(1)).await, Some(Record::new(1)), "{what} was not replaced");
    }
}
