//! The mail service's rate and breaker, which e-mails of organizations and mail about accounts share. Time is virtual.

use super::provider_rates::{MINUTE, SECOND, fourteen_emails_a_second, pass, rig_of};
use super::providers::Providers;
use super::rig::Rig;
use crate::api::Actor;
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::job::WaitingFor;
use shared::model::limiter::Provider;
use std::time::Duration;

/// However many organizations have a call ahead, mail about accounts has its fifth of the rate, and what they leave over.
/// Both together are hardly refused.
#[tokio::test]
async fn a_fifth_of_the_rate_is_kept_for_account_mail() {
    let (providers, rig, first) = fourteen_emails_a_second().await;
    let to: Vec<String> = (0..10).map(|number| format!("reader-{number}@example.com")).collect();
    let mut owners = vec![first];
    for _ in 0..20 {
        owners.push(rig.owner("pro").await);
    }
    let sent = providers.emails().len();
    for owner in &owners {
        rig.accepted(owner, "/send-email", json!({"to": to, "subject": "s", "text": "t"})).await;
    }
    Box::pin(rig.deliver_all()).await;
    let newsletters = providers.emails().len() - sent;
    assert!(newsletters <= 3, "the others wait: {newsletters}");
    let is_link = |mail: &Value| !mail.to_string().contains("reader-1@");
    let links = || providers.emails().iter().skip(sent).filter(|mail| is_link(mail)).count();
    let took = Box::pin(links_to_all(&rig, &owners, async || links() == owners.len())).await;
    assert!(took <= 9 * SECOND, "{took:?}: 21 mails at 2.8 a second, of which two at once");
    let newsletters = providers.emails().len() - sent - links();
    assert!((5..21).contains(&newsletters), "{newsletters} were sent meanwhile");
    Box::pin(pass(&rig, SECOND / 10, MINUTE, async || providers.emails().len() == sent + 2 * owners.len())).await;
    assert!(providers.refused() <= 2, "{} refused", providers.refused());

    rig.system.clock().jump(MINUTE);
    let sent = providers.emails().len();
    let took = Box::pin(links_to_all(&rig, &owners, async || providers.emails().len() == sent + owners.len())).await;
    assert!(took <= 5 * SECOND, "{took:?}: the others' part is free");
}

/// Each forgets the password. How long it takes until `are_sent`.
async fn links_to_all(rig: &Rig, owners: &[Actor], are_sent: impl AsyncFn() -> bool) -> Duration {
    for owner in owners {
        let forgot = json!({"email": owner.email});
        let reply = rig.api.elsewhere().call(None, Method::POST, "/auth/forgot-password", Some(forgot)).await;
        assert_eq!(reply.status, 202);
    }
    let is_done = async || {
        Box::pin(rig.deliver_account_mail()).await;
        are_sent().await
    };
    // Boxed, as a test that waits several times has no stack for it.
    Box::pin(pass(rig, SECOND / 10, 3 * MINUTE, is_done)).await
}

/// One breaker holds both kinds of mail back: what the mail service refuses to one, it refuses to the other.
#[tokio::test]
async fn a_paused_mail_service_stops_account_mail_too() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 1).await;
    let owner = rig.owner("pro").await;
    let store = rig.system.context().store();
    let why = WaitingFor::new("mail_paused", "sending is paused at the mail service");
    let until = rig.system.context().now().plus(MINUTE);
    assert!(store.open_breaker(&Provider::Mail, 1, until, &why).await.unwrap());
    let took = links_to_all(&rig, std::slice::from_ref(&owner), async || providers.emails().len() == 1).await;
    assert!((MINUTE..2 * MINUTE).contains(&took), "{took:?}");
    assert_eq!(
        store.limiter_record(&Provider::AccountMail).await.unwrap().failures,
        0,
        "its success closes the breaker"
    );
}
