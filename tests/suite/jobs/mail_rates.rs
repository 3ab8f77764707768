//! The mail service's rate and breaker, which e-mails of organizations and mail about accounts share. Time is virtual.

use super::provider_rates::{MINUTE, SECOND, fourteen_emails_a_second, pass, rig_of};
use super::providers::Providers;
use super::rig::Rig;
use crate::api::{Actor, unique_email};
use local::{Clock, Options};
use reqwest::Method;
use serde_json::{Value, json};
use shared::account_mail;
use shared::model::account_mail::AccountMail;
use shared::model::job::WaitingFor;
use shared::model::limiter::Provider;
use std::time::Duration;

/// However many organizations have a call ahead, mail about accounts has its fifth of the rate, and what they leave over.
/// Both together are hardly refused.
#[tokio::test]
async fn a_fifth_of_the_rate_is_kept_for_account_mail() {
    let (providers, rig, first) = fourteen_emails_a_second().await;
    let mut owners = vec![first];
    for _ in 0..20 {
        owners.push(rig.owner("pro").await);
    }
    let sent = providers.emails().len();
    send_newsletters(&rig, &owners).await;
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

/// Organizations have calls ahead for seconds, so that they leave nothing over.
async fn send_newsletters(rig: &Rig, owners: &[Actor]) {
    let to: Vec<String> = (0..10).map(|number| format!("reader-{number}@example.com")).collect();
    for owner in owners {
        rig.accepted(owner, "/send-email", json!({"to": to, "subject": "s", "text": "t"})).await;
    }
    Box::pin(rig.deliver_all()).await;
}

async fn forget(rig: &Rig, email: &str) {
    let forgot = Some(json!({"email": email}));
    assert_eq!(rig.api.elsewhere().call(None, Method::POST, "/auth/forgot-password", forgot).await.status, 202);
}

/// Whoever asks for links that are never sent has nobody wait for another: neither to addresses that no account has, nor to one that has had
/// its three.
#[tokio::test]
async fn mail_that_is_never_sent_takes_no_call() {
    let (providers, rig, first) = fourteen_emails_a_second().await;
    let mut owners = vec![first];
    for _ in 0..8 {
        owners.push(rig.owner("pro").await);
    }
    let to = |who: &Actor| providers.emails().iter().filter(|mail| mail.to_string().contains(&who.email)).count();
    let before = [to(&owners[0]), to(&owners[1])];
    send_newsletters(&rig, &owners).await;
    for _ in 0..60 {
        forget(&rig, &unique_email()).await;
        forget(&rig, &owners[1].email).await;
    }
    Box::pin(rig.deliver_account_mail()).await;
    let owner = std::slice::from_ref(&owners[0]);
    let took = Box::pin(links_to_all(&rig, owner, async || to(&owners[0]) > before[0])).await;
    assert!(took <= 3 * SECOND, "{took:?}: before it are three mails to another");
    assert_eq!(to(&owners[1]) - before[1], 3);
}

/// Nor are calls leased for it beside one that is sent: that takes one of 2.8 a second.
#[tokio::test]
async fn a_mail_beside_others_that_are_not_sent_takes_one_call() {
    let (_providers, rig, owner) = fourteen_emails_a_second().await;
    let store = rig.system.context().store();
    let taken_beside = async |others: usize| {
        rig.system.clock().jump(MINUTE);
        for _ in 0..others {
            forget(&rig, &unique_email()).await;
        }
        forget(&rig, &owner.email).await;
        Box::pin(rig.deliver_account_mail()).await;
        let (record, now) = (store.limiter_record(&Provider::AccountMail).await.unwrap(), rig.system.context().now());
        record.account_next_at.unwrap().as_millis() - now.as_millis()
    };
    for others in [0, 9] {
        assert_eq!(taken_beside(others).await, 360, "beside {others}");
    }
}

/// What waits for another day takes no call when it is looked at, each hour.
#[tokio::test]
async fn mail_that_waits_for_the_day_takes_no_call() {
    let providers = Providers::start().await;
    let settings = [("EMAILS_PER_SECOND", "14"), ("ACCOUNT_MAILS_PER_DAY", "10")];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    let environment = providers.environment().into_iter().chain(settings);
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, clock: Clock::stopped(), ..Options::ephemeral() }).await;
    let context = rig.system.context();
    let mut owners = Vec::new();
    for _ in 0..8 {
        owners.push(rig.owner("pro").await);
    }
    for _ in 0..8 {
        assert!(context.store().take_mail_of_day(10).await.unwrap().is_some());
    }
    // Each has six mails of the day's.
    let mut unproven = Vec::new();
    for _ in 0..17 {
        let one = rig.api.register_as_everybody().await;
        let mail = AccountMail::Verification { user_id: one.user_id.parse().unwrap() };
        for _ in 0..5 {
            account_mail::send(context, &mail, None).await.unwrap();
        }
        unproven.push(one);
    }
    Box::pin(rig.deliver_account_mail()).await;
    rig.system.clock().jump(61 * MINUTE);
    Box::pin(rig.sweep_once()).await;
    assert_eq!(rig.account_mail(), 102, "their hour has come");
    send_newsletters(&rig, &owners).await;
    Box::pin(rig.deliver_account_mail()).await;
    let is_to = |to: &Actor| providers.emails().iter().any(|mail| mail.to_string().contains(&to.email));
    let owner = std::slice::from_ref(&owners[0]);
    let took = Box::pin(links_to_all(&rig, owner, async || is_to(&owners[0]))).await;
    assert!(took <= 3 * SECOND, "{took:?}");
    assert!(!unproven.iter().any(is_to), "the day has none left for them");
}

/// Each forgets the password. How long it takes until `are_sent`.
async fn links_to_all(rig: &Rig, owners: &[Actor], are_sent: impl AsyncFn() -> bool) -> Duration {
    for owner in owners {
        forget(rig, &owner.email).await;
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
