//! Whoever has not proven its address does nothing outside of its organization. (All that it may do inside, `matrix` tries.)

use crate::api::{Actor, unique_email};
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::{MODEL, Rig};
use local::operator::redrive::{Which, redrive_failed};
use serde_json::json;
use shared::jobs::JobMessage;

/// An owner on a plan whose address is not proven.
async fn owner(rig: &Rig, plan: &str) -> Actor {
    let owner = rig.api.register_as_everybody().await;
    rig.give_plan(&owner, plan).await;
    owner
}

fn letter(to: &str) -> serde_json::Value {
    json!({"to": to, "subject": "Hello", "text": "A line."})
}

#[tokio::test]
async fn no_mail_goes_to_others_and_none_at_all_on_the_free_plan() {
    let rig = Rig::new().await;
    for plan in ["free", "pro"] {
        let owner = owner(&rig, plan).await;
        let member = rig.api.join(&owner, "member").await;
        let both = json!({"to": [owner.email, member.email], "subject": "Hello", "text": "A line."});
        for letter in [letter(&unique_email()), letter(&member.email), both] {
            rig.api.post(&owner, "/send-email", letter).await.is_problem(403, "email_unverified");
        }
        let to_itself = rig.api.post(&owner, "/send-email", letter(&owner.email)).await;
        match plan {
            "free" => to_itself.is_problem(403, "email_unverified"),
            _ => assert_eq!(to_itself.status, 202, "{}", to_itself.text),
        }
        // Whoever is proven writes; on the free plan, to nobody who is not.
        let to_owner = rig.api.post(&member, "/send-email", letter(&owner.email)).await;
        match plan {
            "free" => to_owner.is_problem(403, "plan_forbids"),
            _ => assert_eq!(to_owner.status, 202, "{}", to_owner.text),
        }
        rig.api.verify(&owner).await;
        for (from, to) in [(&owner, &member), (&member, &owner)] {
            assert_eq!(rig.api.post(from, "/send-email", letter(&to.email)).await.status, 202);
        }
    }
}

#[tokio::test]
async fn models_that_cost_money_are_for_proven_addresses() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = owner(&rig, "pro").await;
    let paid = json!({"text": "A text.", "model": MODEL});
    rig.api.post(&owner, "/analyze", paid.clone()).await.is_problem(403, "email_unverified");
    // As a default, too.
    rig.settings(&owner, json!({"default_model": MODEL})).await;
    rig.api.post(&owner, "/analyze", json!({"text": "A text."})).await.is_problem(403, "email_unverified");
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 0);
    rig.api.verify(&owner).await;
    rig.accepted(&owner, "/analyze", paid).await;
}

/// Whoever has a failed job run again sends its e-mail, and spends its money.
#[tokio::test]
async fn a_retry_asks_for_the_proof_of_who_asks() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = owner(&rig, "pro").await;
    let member = rig.api.join(&owner, "member").await;
    let failed = async |by: &Actor, path: &str, body: serde_json::Value| {
        providers.will([Answer::Refuse(400, None)]);
        let id = rig.accepted(by, path, body).await;
        rig.drain().await;
        assert_eq!(rig.job(by, &id).await["state"], "failed");
        id
    };
    let retry = async |id: &str| rig.api.post(&owner, &format!("/jobs/{id}/retry"), serde_json::Value::Null).await;
    let to_itself = failed(&owner, "/send-email", letter(&owner.email)).await;
    let to_stranger = failed(&member, "/send-email", letter(&unique_email())).await;
    let paid = failed(&member, "/analyze", json!({"text": "A text.", "model": MODEL})).await;
    for id in [&to_stranger, &paid] {
        retry(id).await.is_problem(403, "email_unverified");
        assert_eq!(rig.job(&owner, id).await["state"], "failed");
    }
    assert_eq!(retry(&to_itself).await.status, 202);
    // An operator is asked for nothing.
    let message = JobMessage { org_id: owner.org_id.parse().unwrap(), job_id: to_stranger.parse().unwrap() };
    assert_eq!(redrive_failed(rig.system.context(), Which::Job(message)).await.unwrap().queued, 1);
    rig.api.verify(&owner).await;
    assert_eq!(retry(&paid).await.status, 202);
    rig.drain().await;
    for id in [&to_itself, &to_stranger, &paid] {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
}
