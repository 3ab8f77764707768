//! What a lower plan ends: models and recipients, of requests to come, of settings, and of jobs that were accepted before.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use serde_json::json;

#[tokio::test]
async fn a_lower_plan_ends_models_and_recipients_of_accepted_jobs() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let paid = json!({"text": "A text.", "model": MODEL});
    let to_a_stranger = json!({"to": [owner.email, "stranger@example.com"], "subject": "s", "text": "t"});

    // Room for two runs of the model at a time.
    rig.settings(&owner, json!({"monthly_budget_usd": "0.07"})).await;
    providers.will([Answer::Refuse(429, Some(60))]);
    let waiting = rig.accepted(&owner, "/analyze", paid.clone()).await;
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &waiting).await["state"], "queued");
    let queued = rig.accepted(&owner, "/analyze", paid.clone()).await;
    let letter = rig.accepted(&owner, "/send-email", to_a_stranger.clone()).await;
    let to_a_member = json!({"to": owner.email, "subject": "s", "text": "t"});
    let allowed = rig.accepted(&owner, "/send-email", to_a_member).await;
    let builtin = rig.accepted(&owner, "/analyze", json!({"text": "A text.", "model": "builtin"})).await;
    rig.api.post(&owner, "/analyze", paid.clone()).await.is_problem(402, "budget_exceeded");

    rig.give_plan(&owner, "free").await;
    rig.drain().await;
    for id in [&waiting, &queued, &letter] {
        let job = rig.job(&owner, id).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("plan_forbids")), "{job}");
    }
    for id in [&allowed, &builtin] {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
    assert!(providers.analyses().is_empty(), "the provider hears nothing");
    let sent = providers.emails();
    assert!(sent.len() == 1 && !sent[0].to_string().contains("stranger"), "{sent:?}");
    rig.api.post(&owner, "/analyze", paid.clone()).await.is_problem(403, "plan_forbids");
    rig.api.post(&owner, "/send-email", to_a_stranger).await.is_problem(403, "plan_forbids");
    // Nothing is spent, and nothing reserved any more.
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0");
    rig.give_plan(&owner, "pro").await;
    for _ in 0..2 {
        rig.accepted(&owner, "/analyze", paid.clone()).await;
    }
}

/// A default that the plan does not have is refused where it is set; one from a larger plan is no fault of a caller that names none.
#[tokio::test]
async fn a_default_model_outside_the_plan_is_the_settings_to_mend() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    let path = format!("/orgs/{}/settings", owner.org_id);
    let settings = json!({"settings": {"default_model": MODEL}});
    rig.api.put(&owner, &path, settings.clone()).await.is_problem(403, "plan_forbids");
    // What is wrong with the body is told first.
    let mut wrong = settings.clone();
    wrong["settings"]["timezone"] = json!("Foo/Bar");
    let refused = rig.api.put(&owner, &path, wrong).await;
    assert_eq!((refused.pointer(), refused.body["errors"].as_array().unwrap().len()), ("/settings/timezone", 1));
    let text = json!({"text": "A text."});
    rig.accepted(&owner, "/analyze", text.clone()).await;

    rig.give_plan(&owner, "pro").await;
    assert_eq!(rig.api.put(&owner, &path, settings).await.status, 200);
    rig.accepted(&owner, "/analyze", text.clone()).await;
    rig.give_plan(&owner, "free").await;
    rig.api.post(&owner, "/analyze", text).await.is_problem(409, "default_model_unavailable");
    rig.accepted(&owner, "/analyze", json!({"text": "A text.", "model": "builtin"})).await;
}
