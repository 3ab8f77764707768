//! `cargo run -- --unkind`: anyone can see what jobs do while their providers have a bad day, and after it.

use super::rig::{MODEL, Rig};
use local::{Clock, Options};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::providers::{Bucket, Scene};

async fn rig(scene: Scene) -> Rig {
    Rig::start(Options { unkind: Some(scene), clock: Clock::stopped(), ..Options::ephemeral() }).await
}

async fn providers(rig: &Rig) -> Value {
    let url = format!("{}/_local/providers", rig.system.url());
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn go_over_to(rig: &Rig, scene: &str) -> u16 {
    let url = format!("{}/_local/providers", rig.system.url());
    let put = reqwest::Client::new().put(url).body(scene.to_owned()).send();
    put.await.unwrap().status().as_u16()
}

/// Lets time pass until both jobs have ended.
async fn passes(rig: &Rig) {
    for _ in 0..40 {
        rig.deliver_all().await;
        rig.system.clock().jump(Duration::from_secs(30));
        rig.sweep_once().await;
    }
}

/// In each scene jobs wait and say why, none fails for it, and when all is well again they are done.
#[tokio::test]
async fn jobs_wait_for_their_providers_to_be_well() {
    for (scene, codes) in [
        (Scene::Overloaded, ["provider_overloaded", "mail_overloaded"]),
        (Scene::Unreachable, ["provider_unreachable", "mail_unreachable"]),
        (Scene::Suspended, ["provider_billing", "mail_paused"]),
    ] {
        let rig = rig(Scene::Well).await;
        let owner = rig.owner("pro").await;
        assert_eq!(go_over_to(&rig, scene.name()).await, 200);
        let analysis = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
        let mail = json!({"to": owner.email, "subject": "s", "text": "t"});
        let email = rig.accepted(&owner, "/send-email", mail).await;
        rig.deliver_all().await;
        for (id, code) in [&analysis, &email].into_iter().zip(codes) {
            let job = rig.job(&owner, id).await;
            assert_eq!((&job["state"], &job["attempts"]), (&json!("queued"), &json!(0)), "{scene}: {job}");
            assert_eq!(job["waiting_for"]["code"], code, "{scene}: {job}");
        }
        assert_eq!(go_over_to(&rig, "well").await, 200);
        passes(&rig).await;
        for id in [&analysis, &email] {
            assert_eq!(rig.job(&owner, id).await["state"], "succeeded", "{scene}");
        }
        let mailed = std::fs::read_to_string(rig.system.mailbox().join(format!("{email}.eml"))).unwrap();
        assert!(mailed.contains("Subject: s"), "what they let through arrives: {mailed}");
    }
}

/// What is left of the day's calls is made use of, and the rest waits for the next day.
#[tokio::test]
async fn a_days_quota_is_waited_for() {
    let rig = rig(Scene::QuotaUsedUp).await;
    let owner = rig.owner("pro").await;
    let mut ids = Vec::new();
    for number in 0..14 {
        let body = json!({"text": format!("text {number}"), "model": MODEL});
        ids.push(rig.accepted(&owner, "/analyze", body).await);
    }
    passes(&rig).await;
    assert_eq!(providers(&rig).await["analyses"]["taken"], 10);
    for _ in 0..3 {
        rig.system.clock().jump(Duration::from_secs(8 * 3_600 - 600));
        rig.sweep_once().await;
        passes(&rig).await;
    }
    assert_eq!(providers(&rig).await["analyses"]["taken"], 14);
    for id in &ids {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
}

#[tokio::test]
async fn the_providers_say_what_they_did() {
    let rig = rig(Scene::Overloaded).await;
    assert_eq!(go_over_to(&rig, "sunny").await, 422);
    let figures = providers(&rig).await;
    assert_eq!(figures["scene"], "overloaded");
    assert_eq!(figures["analyses"], json!({"taken": 0, "refused": 0}));
}

/// Of two calls at once the one that looked at the clock first may come second.
#[test]
fn calls_that_overtake_each_other_take_what_is_there() {
    let mut bucket = Bucket::new(60, 1_000);
    assert_eq!([bucket.take(2_000), bucket.take(1_999)], [Ok(()), Ok(())]);
    assert_eq!(bucket.take(2_000), Err(1.0), "no time has passed twice");
    assert_eq!(bucket.take(3_000), Ok(()));
}
