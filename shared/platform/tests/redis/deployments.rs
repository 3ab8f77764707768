//! Two deployments on one server share nothing.

use super::records::{Failure, Plan, Prices, Profile, Record};
use super::server::{self, RedisServer};
use platform::cache::{ABSENCES_PER_SCOPE, Cache, CacheUrl, Delivery, Options};
use std::time::Duration;

fn of(deployment: &str, server: &RedisServer) -> Cache {
    let patience = Duration::from_secs(5);
    let key_prefix = format!("{deployment}:");
    let options = Options { key_prefix, patience, write_patience: patience, ..Options::default() };
    Cache::with(&server.url().parse::<CacheUrl>().expect("an address"), options)
}

#[tokio::test]
async fn values_and_their_renewals_and_invalidations_are_each_deployments_own() {
    let server = RedisServer::start();
    let (one, other) = (of("one", &server), of("other", &server));
    for (cache, version) in [(&one, 1), (&other, 2)] {
        let read = cache.get_or_fill(&Plan(1), || async move { Ok::<_, Failure>(Some(Record::new(version))) }).await;
        assert_eq!(read, Ok(Some(Record::new(version))));
        let fetch = move || async move { Ok::<_, Failure>(Some(Record::new(version))) };
        assert_eq!(cache.get_or_refresh(Prices(1), fetch).await, Ok(Some(Record::new(version))));
        cache.settle().await;
    }
    assert_eq!(one.renew(&Plan(1), &Record::new(9)).await, Delivery::Delivered);
    assert_eq!(server::cached(&other, &Plan(1)).await, Some(Record::new(2)));
    assert_eq!(one.invalidate(&Plan(1)).await, Delivery::Delivered);
    assert_eq!(server::cached(&other, &Plan(1)).await, Some(Record::new(2)));
}

#[tokio::test]
async fn absences_are_counted_for_each_deployment() {
    let server = RedisServer::start();
    let (one, other) = (of("one", &server), of("other", &server));
    let absent = async |cache: &Cache, key: u32| {
        assert_eq!(cache.get_or_fill(&Profile(2 * key), || async { Ok::<_, Failure>(None) }).await, Ok(None));
        cache.settle().await;
    };
    for key in 0..ABSENCES_PER_SCOPE {
        absent(&one, key).await;
    }
    absent(&other, 0).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("other:*").query(&mut server.bare()).expect("valid");
    assert!(keys.contains(&"other:org:0:profile:0".to_owned()), "another deployment used up its absences: {keys:?}");
    let all: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut server.bare()).expect("valid");
    assert!(all.iter().all(|key| key.starts_with("one:") || key.starts_with("other:")));
}
