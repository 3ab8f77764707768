//! `POST /analyze`: accepted at once, done soon, and what it says of a text.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::{Api, send};
use local::system::project_folder;
use reqwest::Method;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Notify;

/// The page of prose that `docs/walkthrough.md` analyses.
fn prose() -> String {
    std::fs::read_to_string(project_folder().join("data/prose.txt")).unwrap()
}

/// On the whole system: the queue and the schedule run by themselves.
#[tokio::test]
async fn a_page_of_prose_is_accepted_and_then_analysed() {
    let api = Api::new();
    let actor = api.register().await;
    let accepted = api.post(&actor, "/analyze", json!({"text": prose()})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.body["id"].as_str().unwrap();
    assert_eq!(
        (accepted.header("location"), accepted.location()),
        (format!("jobs/{id}").as_str(), format!("/jobs/{id}"))
    );
    assert_eq!((accepted.body["state"].as_str(), accepted.body["kind"].as_str()), (Some("queued"), Some("analyze")));
    assert!(accepted.header("server-timing").contains("queue;dur="), "{}", accepted.header("server-timing"));

    let job = api.ended(&actor, id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    let analysis = &job["result"]["analysis"];
    assert_eq!(analysis["language"], "en");
    assert!(!analysis["summary"].as_str().unwrap().is_empty());
    assert!(!analysis["key_phrases"].as_array().unwrap().is_empty());
    assert_eq!(job["result"]["usage"]["cost_usd"], "0");

    let listed = api.get(&actor, "/jobs").await;
    assert_eq!(listed.body["data"], json!([job]), "the list and the job say the same");
    let usage = api.get(&actor, "/usage").await;
    assert_eq!(usage.body["analyses"], json!({"used": 1, "limit": 100}));
}

#[tokio::test]
async fn whoever_prefers_to_wait_gets_the_analysis() {
    let api = Api::new();
    let actor = api.register().await;
    let request = api.request(Method::POST, "/analyze").bearer_auth(&actor.token).header("Prefer", "wait=20");
    let done = send(request.json(&json!({"text": prose()}))).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.header("preference-applied"), "wait=20");
    assert_eq!(done.body["analysis"]["language"], "en");
    assert_eq!(done.body["job"]["state"], "succeeded");
}

#[tokio::test]
async fn whoever_waits_in_vain_has_a_job() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let reply = rig.post_with(&owner, "/analyze", &[("Prefer", "wait=1")], r#"{"text":"a text"}"#).await;
    assert_eq!((reply.status, reply.body["state"].as_str()), (202, Some("queued")), "{}", reply.text);
}

#[tokio::test]
async fn what_cannot_be_analysed_is_refused() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let long = "é".repeat(10_001);
    for (body, pointer) in [
        (json!({}), "/text"),
        (json!({"text": " \n\t"}), "/text"),
        (json!({"text": long}), "/text"),
        (json!({"text": "a", "model": "no-such-model"}), "/model"),
        (json!({"text": "a", "model": MODEL}), "/model"),
        (json!({"text": "a", "more": 1}), "/more"),
    ] {
        assert_eq!(rig.api.post(&owner, "/analyze", body.clone()).await.pointer(), pointer, "{body:.60}");
    }
    assert_eq!(rig.visible(), 0);
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 0, "a refusal costs nothing");
}

/// A provider's answer: its tokens are counted and priced by the catalogue.
#[tokio::test]
async fn a_model_costs_what_the_catalogue_says() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "A text.", "model": MODEL})).await;
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    // 1,000 tokens at 3 dollars a million, and 100 at 15.
    assert_eq!(job["result"]["usage"], json!({"input_tokens": 1_000, "output_tokens": 100, "cost_usd": "0.0045"}));
    let usage = rig.usage(&owner).await;
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(1_000), &json!(100)));
    assert_eq!(usage["cost_usd"], "0.0045");
    assert_eq!(providers.analyses().len(), 1);
}

/// Jobs of one batch run beside one another: the first does not hold up the second.
#[tokio::test]
async fn jobs_of_a_batch_run_concurrently() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::Hold(told.clone())]);
    let mut ids = Vec::new();
    for text in ["one", "two"] {
        ids.push(rig.accepted(&owner, "/analyze", json!({"text": text, "model": MODEL})).await);
    }
    let checks = async {
        while providers.analyses().len() < 2 {
            tokio::task::yield_now().await;
        }
        loop {
            let mut ended = 0;
            for id in &ids {
                ended += usize::from(rig.job(&owner, id).await["state"] == "succeeded");
            }
            if ended == 1 {
                break;
            }
        }
        told.notify_one();
    };
    let (delivery, ()) = tokio::join!(rig.deliver(), checks);
    assert_eq!(delivery.deleted.len(), 2);
}
