//! Who has not proven its address does everything inside its organization and nothing outside.

use crate::api::{Actor, unique_email};
use crate::jobs::providers::Providers;
use crate::jobs::rig::{MODEL, Rig};
use serde_json::json;

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
async fn everything_inside_works() {
    let rig = Rig::new().await;
    let owner = owner(&rig, "free").await;
    rig.api.item(&owner).await;
    rig.settings(&owner, json!({"timezone": "Europe/Vienna"})).await;
    let job = rig.accepted(&owner, "/analyze", json!({"text": "A text.", "model": "builtin"})).await;
    rig.drain().await;
    assert_eq!(rig.job(&owner, &job).await["state"], "succeeded");
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
