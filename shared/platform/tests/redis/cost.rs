//! What a hit costs over the bare client's `GET`, side by side in one run. CPU time of this thread, as the
//! kernel counts it, on a single-threaded runtime as the functions have.

use super::records::{Failure, Profile, Record};
use super::server::{self, RedisServer};
use redis::AsyncCommands as _;

const ROUNDS: usize = 30;
const CALLS: u32 = 1000;
/// Of what takes no system call: enough for rounds of many of the kernel's ticks.
const CALLS_IN_MEMORY: u32 = 100_000;

/// Nanoseconds this thread has spent on a CPU (proc(5), `schedstat`); counted at the kernel's ticks (some ms) and whenever
/// the thread waits.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
#[ignore = "a measurement: just bench-cache runs it on a release build"]
fn a_hit_over_the_bare_get() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (bare, hit) = runtime.block_on(async {
        let cache = super::server::open(&server.url());
        let read = || cache.get_or_fill(&Profile(1), || async { Ok::<_, Failure>(Some(Record::new(1))) });
        read().await.expect("read");
        let client = redis::Client::open(server.url()).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("the server answers");
        let (mut bare, mut hit) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = cpu_ns();
            for _ in 0..CALLS {
                let bytes: Vec<u8> = connection.get("org:1:profile:1").await.expect("a value");
                assert!(bytes.len() > 35);
            }
            let middle = cpu_ns();
            for _ in 0..CALLS {
                assert!(read().await.is_ok_and(|value| value.is_some()));
            }
            bare.push((middle - start) / u64::from(CALLS));
            hit.push((cpu_ns() - middle) / u64::from(CALLS));
        }
        (median(bare), median(hit))
    });
    println!("bare GET {bare} ns; get_or_fill on a hit {hit} ns (CPU, median of {ROUNDS} rounds)");
    assert!(hit <= bare + 15_000, "a hit adds {} ns", hit.saturating_sub(bare));
}

/// Over the memory back end: waiting for a server costs twenty times as much as what is measured, and varies by more.
#[test]
#[ignore = "a measurement: just bench-cache runs it on a release build"]
fn single_flight_over_a_hit() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (plain, full) = runtime.block_on(async {
        let cache = super::server::open("memory:");
        let read = || cache.get_or_fill(&Profile(1), || async { Ok::<_, Failure>(Some(Record::new(1))) });
        read().await.expect("read");
        let (mut plain, mut full) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = cpu_ns();
            for _ in 0..CALLS_IN_MEMORY {
                assert!(server::cached(&cache, &Profile(1)).await.is_some());
            }
            let middle = cpu_ns();
            for _ in 0..CALLS_IN_MEMORY {
                assert!(read().await.is_ok_and(|value| value.is_some()));
            }
            plain.push((middle - start) / u64::from(CALLS_IN_MEMORY));
            full.push((cpu_ns() - middle) / u64::from(CALLS_IN_MEMORY));
        }
        (median(plain), median(full))
    });
    println!("get {plain} ns; get_or_fill on a hit {full} ns (CPU, median of {ROUNDS} rounds)");
    assert!(plain > 0, "the rounds are too short for the kernel's clock");
    assert!(full <= plain + 1000, "single flight adds {} ns to a hit", full.saturating_sub(plain));
}
