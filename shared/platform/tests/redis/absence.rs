//! Absent records: remembered for a moment, in a bounded number, and never in the way of one that was created.

use super::records::{Failure, Profile, Record};
use super::server::{self, RedisServer};
use platform::cache::{ABSENCES_PER_SCOPE, ABSENT_MAX, Cache, Name};
use redis::Commands as _;
use std::cell::Cell;

fn name(key: &Profile) -> String {
    let mut name = String::new();
    key.write(&mut name);
    name
}

async fn read(cache: &Cache, key: u32, fetched: &Cell<u32>, record: Option<Record>) -> Option<Record> {
    let fetch = || async {
        fetched.set(fetched.get() + 1);
        Ok::<_, Failure>(record)
    };
    let found = cache.get_or_fill(&Profile(key), fetch).await.expect("no failure");
    cache.settle().await;
    found
}

async fn an_absence_is_remembered(cache: &Cache) {
    let fetched = Cell::new(0);
    for _ in 0..3 {
        assert_eq!(read(cache, 1, &fetched, None).await, None);
    }
    assert_eq!(fetched.get(), 1);
    // Created, and told to the cache before that is acknowledged.
    cache.renew(&Profile(1), &Record::new(1)).await;
    assert_eq!(read(cache, 1, &fetched, Some(Record::new(1))).await, Some(Record::new(1)));
    assert_eq!(fetched.get(), 2);
}

#[tokio::test]
async fn remembered_and_forgotten_on_creation() {
    let server = RedisServer::start();
    an_absence_is_remembered(&server.cache()).await;
    an_absence_is_remembered(&server::open("memory:")).await;
}

#[tokio::test]
async fn a_slow_fetch_of_nothing_does_not_hide_what_was_created_meanwhile() {
    let server = RedisServer::start();
    let (reader, writer) = (server.cache(), server.cache());
    let slow = reader.get_or_fill(&Profile(2), || async {
        writer.renew(&Profile(2), &Record::new(1)).await; // created after the origin said no
        Ok::<_, Failure>(None)
    });
    assert_eq!(slow.await, Ok(None));
    assert_eq!(read(&reader, 2, &Cell::new(0), Some(Record::new(1))).await, Some(Record::new(1)));
}

#[tokio::test]
async fn for_five_seconds_in_a_bounded_number_per_organization() {
    let server = RedisServer::start();
    let (cache, fetched) = (server.cache(), Cell::new(0));
    for key in (0..6000).step_by(2) {
        read(&cache, key, &fetched, None).await;
    }
    let mut bare = server.bare();
    let mut remembered = 0;
    for key in (0..6000).step_by(2) {
        let left: i64 = bare.pttl(name(&Profile(key))).expect("the server answers");
        assert!(left <= i64::try_from(ABSENT_MAX.as_millis()).expect("small"), "{left} ms");
        remembered += u32::from(left > 0);
    }
    assert!((1..=ABSENCES_PER_SCOPE).contains(&remembered), "{remembered} absences are remembered");
    // The other organization has its own allowance.
    read(&cache, 1, &fetched, None).await;
    assert!(bare.exists::<_, bool>(name(&Profile(1))).expect("the server answers"));
}
