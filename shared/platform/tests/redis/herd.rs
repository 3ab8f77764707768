//! No herd: what was stored together does not expire together.

use super::records::{Failure, Profile, Record};
use super::server::RedisServer;
use platform::cache::{JITTER_PERCENT, Name};

const KEYS: u32 = 10_000;

#[tokio::test]
async fn ten_thousand_keys_expire_evenly() {
    let server = RedisServer::start();
    let cache = server.cache();
    let reads: Vec<_> = (0..20)
        .map(|part| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for key in (part..KEYS).step_by(20) {
                    let fetch = || async { Ok::<_, Failure>(Some(Record::new(1))) };
                    assert!(cache.get_or_fill(&Profile(key), fetch).await.is_ok_and(|value| value.is_some()));
                }
            })
        })
        .collect();
    for read in reads {
        read.await.expect("no panic");
    }
    cache.settle().await;

    let mut pipeline = redis::pipe();
    for key in 0..KEYS {
        let mut name = String::new();
        Profile(key).write(&mut name);
        pipeline.cmd("PEXPIRETIME").arg(name);
    }
    let ends: Vec<i64> = pipeline.query(&mut server.bare()).expect("the server answers");
    assert!(ends.iter().all(|end| *end > 0), "everything is stored and expires");

    let (first, last) = (ends.iter().min().expect("some"), ends.iter().max().expect("some"));
    let fresh_ms = i64::try_from(Profile::CLASS.fresh.as_millis()).expect("small");
    let spread_ms = fresh_ms * 2 * i64::from(JITTER_PERCENT) / 100;
    assert!(last - first >= spread_ms * 9 / 10, "spread over {} ms of {spread_ms}", last - first);
    assert!(last - first <= spread_ms + 120_000, "beyond the jitter: {} ms of {spread_ms}", last - first);

    let mut buckets = [0_usize; 20];
    for end in &ends {
        let at = (end - first) * 20 / (last - first + 1);
        buckets[usize::try_from(at).expect("in range")] += 1;
    }
    let (peak, mean) = (buckets.iter().max().expect("some"), ends.len() / buckets.len());
    assert!(*peak * 2 <= mean * 3, "a peak of {peak} where the mean is {mean}: {buckets:?}");
}
