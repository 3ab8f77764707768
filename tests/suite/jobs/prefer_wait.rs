//! `Prefer: wait`: who may wait, and what they are told.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::{Actor, Reply};
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};

/// A call that would wait for so many seconds, and how long it took.
async fn waited(rig: &Rig, owner: &Actor, seconds: u64) -> (Reply, Duration) {
    let started = Instant::now();
    let prefer = format!("wait={seconds}");
    let reply = rig.post_with(owner, "/analyze", &[("Prefer", &prefer)], r#"{"text":"a text"}"#).await;
    assert_eq!((reply.status, reply.body["state"].as_str()), (202, Some("queued")), "{}", reply.text);
    (reply, started.elapsed())
}

#[tokio::test]
async fn an_organization_waits_in_its_share_of_the_places_and_leaves_others_theirs() {
    let rig = Rig::new().await;
    let (greedy, other) = (rig.owner("pro").await, rig.owner("pro").await);
    let long = Duration::from_secs(5);
    let flood = join_all((0..12).map(|_| waited(&rig, &greedy, 5)));
    let beside = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        waited(&rig, &other, 1).await.1
    };
    let (flood, beside) = tokio::join!(flood, beside);
    let waiting = flood.iter().filter(|(_, took)| *took >= long).count();
    assert_eq!(waiting, 4, "a fifth of twenty places");
    let at_once = flood.iter().filter(|(_, took)| *took < long).count();
    assert_eq!(at_once, 8, "whoever has no place is answered at once");
    assert!(beside >= Duration::from_secs(1), "another organization waits beside it: {beside:?}");
    // And the places are free again.
    let again = join_all((0..4).map(|_| waited(&rig, &greedy, 1))).await;
    assert!(again.iter().all(|(_, took)| *took >= Duration::from_secs(1)));
}

#[tokio::test]
async fn without_places_nobody_waits() {
    let rig = Rig::with([("WAITING_PLACES", "0".to_owned())]).await;
    let owner = rig.owner("free").await;
    let (reply, took) = waited(&rig, &owner, 20).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(reply.location().starts_with("/jobs/job_"), "{}", reply.location());
}

/// Whoever holds a place and dies holds it for a time only.
#[tokio::test]
async fn a_place_is_free_when_its_time_is_over() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let (store, org) = (rig.system.context().store(), owner.org_id.parse().unwrap());
    let until = rig.system.context().now().plus(Duration::from_secs(30));
    let mut held = Vec::new();
    while let Some(place) = store.take_waiting_place(org, 20, until).await.unwrap() {
        held.push(place);
    }
    assert_eq!(held.len(), 4);
    rig.system.clock().jump(Duration::from_secs(31));
    let until = rig.system.context().now().plus(Duration::from_secs(30));
    let taken = store.take_waiting_place(org, 20, until).await.unwrap();
    assert!(taken.is_some());
    // Whoever comes back late gives no other's place away.
    for place in held {
        store.leave_waiting_place(place).await.unwrap();
    }
    let mut free = 0;
    while store.take_waiting_place(org, 20, until).await.unwrap().is_some() {
        free += 1;
    }
    assert_eq!(free, 3);
}

#[tokio::test]
async fn a_waiter_is_told_how_its_job_stands() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Refuse(400, None)]);
    let body = json!({"text": "a text", "model": MODEL}).to_string();
    let headers = [("Prefer", "wait=20"), ("Idempotency-Key", "k")];
    let worker = async {
        while rig.visible() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rig.deliver().await;
    };
    let (reply, ()) = tokio::join!(rig.post_with(&owner, "/analyze", &headers, &body), worker);
    assert_eq!((reply.status, reply.body["state"].as_str()), (202, Some("failed")), "{}", reply.text);
    assert_eq!(reply.body["error"]["code"], "request_refused");
    assert_eq!(reply.location(), format!("/jobs/{}", reply.body["id"].as_str().unwrap()));
    assert!(!reply.headers.contains_key("preference-applied"));
    let again = rig.post_with(&owner, "/analyze", &headers, &body).await;
    assert_eq!(again.text, reply.text, "and its key keeps that");
}
