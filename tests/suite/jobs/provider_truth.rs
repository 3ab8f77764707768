//! What is known of the model provider: the ids of its models, what fits them, and what its refusals mean.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use serde_json::json;
use shared::model::limiter::Provider;

#[tokio::test]
async fn a_model_goes_by_each_of_its_ids_at_one_price() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    for (asked, sent) in [
        (MODEL, MODEL),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
        ("claude-sonnet-4-latest", MODEL),
        ("claude-3-7-sonnet-20250219", "claude-3-7-sonnet-20250219"),
    ] {
        let id = rig.accepted(&owner, "/analyze", json!({"text": "A text.", "model": asked})).await;
        rig.deliver().await;
        let job = rig.job(&owner, &id).await;
        // 1,000 tokens at 3 dollars a million, and 100 at 15.
        assert_eq!(job["result"]["usage"]["cost_usd"], "0.0045", "{asked}: {job}");
        assert_eq!(providers.analyses().last().unwrap()["model"], sent, "{asked}");
    }
    rig.settings(&owner, json!({"default_model": "claude-sonnet-4-20250514"})).await;
    rig.accepted(&owner, "/analyze", json!({"text": "A text."})).await;
    for unknown in
        ["claude-sonnet-4-20250230", "claude-sonnet-4-20250514-x", "claude-sonnet", "gpt-4o", "Claude-Sonnet-4-0"]
    {
        let refused = rig.api.post(&owner, "/analyze", json!({"text": "A text.", "model": unknown})).await;
        assert_eq!((refused.status, refused.pointer()), (422, "/model"), "{unknown}");
    }
}

#[tokio::test]
async fn what_certainly_does_not_fit_the_model_is_refused_and_costs_nothing() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("enterprise").await;
    let words = "a ".repeat(300_000);
    let refused = rig.api.post(&owner, "/analyze", json!({"text": words, "model": MODEL})).await;
    assert_eq!((refused.status, refused.pointer()), (422, "/text"), "{}", refused.text);
    assert!(refused.text.contains("200000 tokens"), "{}", refused.text);
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 0);
    // A model that takes more, and one long word that may be few tokens.
    rig.accepted(&owner, "/analyze", json!({"text": words, "model": "claude-sonnet-4-6"})).await;
    rig.accepted(&owner, "/analyze", json!({"text": "a".repeat(900_000), "model": MODEL})).await;
}

/// Secrets Manager is away: the job waits, and the provider is held for unwell by nobody.
#[tokio::test]
async fn a_key_that_could_not_be_read_stops_nobody_else() {
    let providers = Providers::start().await;
    let keeper = "AWS_ENDPOINT_URL_SECRETS_MANAGER";
    let nobody_listens = |(name, url)| (name, if name == keeper { "http://127.0.0.1:1".to_owned() } else { url });
    let rig = Rig::with(providers.environment().map(nobody_listens)).await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    let waits = (&job["state"], &job["attempts"], &job["waiting_for"]["code"]);
    assert_eq!(waits, (&json!("queued"), &json!(0), &json!("provider_key_unread")), "{job}");
    let record = rig.system.context().store().limiter_record(&Provider::of_model(MODEL)).await.unwrap();
    assert_eq!((record.failures, record.open_until), (0, None));
}

#[tokio::test]
async fn a_job_says_what_its_refusal_means() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Say("prompt is too long: 208310 tokens > 200000 maximum".into())]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(
        (job["state"].as_str(), job["error"]["code"].as_str()),
        (Some("failed"), Some("input_too_large")),
        "{job}"
    );
    assert!(job["error"]["detail"].as_str().unwrap().contains("208310 tokens"), "{job}");

    // No fault of the job's: it is done once the account is in order.
    providers.will([Answer::Say("Your credit balance is too low to access the Anthropic API.".into())]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "queued");
    rig.drain().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
}

/// The account's month is used up, which the provider answers as it answers a rate: an operator is called, and nobody asks again and again.
#[tokio::test]
async fn a_month_that_is_used_up_is_the_operators() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let error = json!({"type": "rate_limit_error", "message": "The month is used up.",
        "details": {"error_code": "enforced_spend_limit_reached"}});
    providers.will([Answer::Error(429, error)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!(job["waiting_for"]["code"], "provider_limit_reached", "{job}");
    let record = rig.system.context().store().limiter_record(&Provider::of_model(MODEL)).await.unwrap();
    assert_eq!((record.failures, record.code.as_deref()), (1, Some("provider_limit_reached")));
}

/// A reply says that its text had more tokens than it can have: it is not believed, or nobody could read the month's sum of two of them.
#[tokio::test]
async fn a_reply_that_counts_too_many_tokens_leaves_the_usage_readable() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will(vec![Answer::Tokens(u64::MAX); 2]);
    for _ in 0..2 {
        let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
        rig.deliver().await;
        assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    }
    // A token for each byte, and what our own instructions may have.
    assert_eq!(rig.usage(&owner).await["input_tokens"], 2 * 3_006);
}
