//! Texts that are long for the tokens that the account of the models has in a minute: what becomes of them is no concern of others.

use super::provider_rates::{MINUTE, SECOND, analyses, pass, rig_of};
use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::Actor;
use serde_json::{Value, json};
use shared::model::limiter::{LimiterRecord, Provider};
use std::time::Duration;

/// What a new account has.
const TOKENS_A_MINUTE: u32 = 30_000;

/// A model that takes 50 calls a minute and so many tokens, which its replies tell of or not; who has long texts, and somebody else.
async fn small_account(are_told: bool) -> (Providers, Rig, Actor, Actor) {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    providers.takes_tokens_a_minute(TOKENS_A_MINUTE, are_told, rig.system.clock());
    let (long, other) = (rig.owner("pro").await, rig.owner("pro").await);
    (providers, rig, long, other)
}

/// A job with so many words of ten letters, of which each has two and a half tokens.
async fn words(rig: &Rig, owner: &Actor, count: usize) -> String {
    rig.accepted(owner, "/analyze", json!({"text": "abcdefghi ".repeat(count), "model": MODEL})).await
}

/// One of 45,000 tokens. It has 18,000 words, so nobody can say before that it does not fit.
async fn long_text(rig: &Rig, owner: &Actor) -> String {
    words(rig, owner, 18_000).await
}

async fn limiter(rig: &Rig) -> LimiterRecord {
    let provider = Provider::of_model(MODEL);
    rig.system.context().store().limiter_record(&provider).await.unwrap()
}

#[track_caller]
fn never_fits(job: &Value) {
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("failed"), Some(1)), "{job}");
    assert_eq!(job["error"]["code"], "input_too_large", "{job}");
    assert!(job["error"]["detail"].as_str().unwrap().contains("30000 tokens"), "{job}");
}

#[tokio::test]
async fn a_text_above_the_accounts_minute_ends_and_holds_up_nobody() {
    let (providers, rig, long, other) = small_account(true).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(long_text(&rig, &long).await);
    }
    analyses(&rig, &other, 1).await;
    let took = pass(&rig, SECOND, MINUTE, async || providers.analyses().len() == 1).await;
    assert!(took <= 10 * SECOND, "{took:?}: a call of the long ones, or two, came first");
    pass(&rig, SECOND, MINUTE, async || providers.refused() == ids.len()).await;
    for id in &ids {
        never_fits(&rig.job(&long, id).await);
    }
    let record = limiter(&rig).await;
    assert_eq!((record.empty_until, record.failures), (None, 0));
    assert_eq!(rig.usage(&long).await["cost_usd"], "0");
}

/// What others have taken of the minute may be all that it lacks.
#[tokio::test]
async fn a_text_that_does_not_fit_now_waits_by_itself() {
    let (providers, rig, long, other) = small_account(true).await;
    words(&rig, &other, 800).await;
    rig.deliver_all().await;
    rig.system.clock().jump(2 * SECOND);
    let id = long_text(&rig, &long).await;
    rig.deliver_all().await;
    let job = rig.job(&long, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(0)), "{job}");
    assert_eq!(job["waiting_for"]["code"], "provider_input_limited", "{job}");
    let record = limiter(&rig).await;
    assert_eq!((record.empty_until, record.failures), (None, 0));
    rig.system.clock().jump(2 * SECOND);
    analyses(&rig, &other, 1).await;
    rig.deliver_all().await;
    assert_eq!(providers.analyses().len(), 2, "the next call is another's");
    // Nobody has taken anything for a while, and it does not fit all the same.
    pass(&rig, SECOND, 5 * MINUTE, async || providers.refused() == 2).await;
    never_fits(&rig.job(&long, &id).await);
}

/// Where replies do not tell what is left, its first refusal may be anybody's. Its next ones are its own, for others are answered.
#[tokio::test]
async fn a_text_that_is_refused_again_holds_up_nobody() {
    let (providers, rig, long, other) = small_account(false).await;
    let id = long_text(&rig, &long).await;
    rig.deliver_all().await;
    let held = limiter(&rig).await.empty_until;
    assert!(held.is_some(), "the model is not called for as long as it asks for");
    rig.system.clock().jump(Duration::from_millis(30_500));
    analyses(&rig, &other, 1).await;
    rig.deliver_all().await;
    assert_eq!((providers.analyses().len(), providers.refused()), (1, 1));
    pass(&rig, SECOND, 5 * MINUTE, async || providers.refused() == 2).await;
    let record = limiter(&rig).await;
    assert_eq!((record.empty_until, record.failures), (held, 0));
    assert_eq!(rig.job(&long, &id).await["waiting_for"]["code"], "provider_limited");
}

/// A short text is never refused for its own length: however often it comes, it is the account that is used up.
#[tokio::test]
async fn a_short_text_that_is_refused_again_holds_up_everybody() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    let (owner, other) = (rig.owner("pro").await, rig.owner("pro").await);
    providers.will([Answer::Refuse(429, Some(30))]);
    let id = words(&rig, &owner, 1).await;
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["waiting_for"]["code"], "provider_rate_limited");
    let held = limiter(&rig).await.empty_until;
    rig.system.clock().jump(Duration::from_millis(30_500));
    analyses(&rig, &other, 1).await;
    rig.deliver_all().await;
    assert_eq!((providers.analyses().len(), providers.refused()), (1, 1));
    providers.will([Answer::Refuse(429, Some(30))]);
    pass(&rig, SECOND, 5 * MINUTE, async || providers.refused() == 2).await;
    assert!(limiter(&rig).await.empty_until > held);
}
