//! `POST /send-email`: who may be written to, what arrives, and that nothing is sent twice.

use super::providers::{Answer, Providers};
use super::rig::Rig;
use serde_json::{Value, json};
use std::fs;

fn letter(to: Value) -> Value {
    json!({"to": to, "subject": "Grüße", "text": "First line.\nSecond line."})
}

#[tokio::test]
async fn an_email_lies_in_the_mailbox_as_a_standard_file() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/send-email", letter(json!(["ada@example.com", "bob@example.net"]))).await;
    assert_eq!(rig.usage(&owner).await["emails"]["used"], 1);
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    let text = fs::read_to_string(rig.system.mailbox().join(format!("{id}.eml"))).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    for header in ["From: ", "To: ", "Subject: ", "Date: ", "Message-ID: ", "MIME-Version: 1.0"] {
        assert!(head.lines().any(|line| line.starts_with(header)), "{header} in {head}");
    }
    assert!(head.contains("ada@example.com") && head.contains("bob@example.net"), "{head}");
    assert!(body.contains("Second line."), "{body}");
}

#[tokio::test]
async fn a_free_plan_writes_to_its_members_only_and_so_does_who_chose_to() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let refused = rig.api.post(&owner, "/send-email", letter(json!([owner.email, "stranger@example.com"]))).await;
    assert_eq!(refused.pointer(), "/to");
    rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    let payer = rig.owner("pro").await;
    rig.accepted(&payer, "/send-email", letter(json!("stranger@example.com"))).await;
    rig.settings(&payer, json!({"email_recipients": "members"})).await;
    assert_eq!(rig.api.post(&payer, "/send-email", letter(json!("stranger@example.com"))).await.pointer(), "/to");
    // Somebody else's member is a stranger.
    assert_eq!(rig.api.post(&payer, "/send-email", letter(json!(owner.email))).await.pointer(), "/to");
    assert_eq!(rig.usage(&payer).await["emails"]["used"], 1);
}

#[tokio::test]
async fn what_no_header_may_hold_is_refused() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let eleven: Vec<String> = (0..11).map(|number| format!("a{number}@example.com")).collect();
    for (body, pointer) in [
        (json!({"to": "a@example.com", "subject": "s\r\nBcc: b@example.com", "text": "t"}), "/subject"),
        (json!({"to": "a@example.com", "subject": "s\u{0}", "text": "t"}), "/subject"),
        (json!({"to": "a@example.com\nBcc: b@example.com", "subject": "s", "text": "t"}), "/to"),
        (json!({"to": ["a@example.com", "b\r@example.com"], "subject": "s", "text": "t"}), "/to/1"),
        (json!({"to": eleven, "subject": "s", "text": "t"}), "/to"),
        (json!({"to": [], "subject": "s", "text": "t"}), "/to"),
        (json!({"to": "a@example.com", "subject": "s"}), "/text"),
        (json!({"to": "a@example.com", "template": "no-such"}), "/template"),
        (json!({"to": "a@example.com", "from": "b@example.com", "subject": "s", "text": "t"}), "/from"),
    ] {
        assert_eq!(rig.api.post(&owner, "/send-email", body.clone()).await.pointer(), pointer, "{body}");
    }
    assert_eq!((rig.visible(), rig.usage(&owner).await["emails"]["used"].as_u64()), (0, Some(0)));
}

#[tokio::test]
async fn a_refusal_that_may_pass_is_tried_again_and_arrives_once() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    providers.will([Answer::Refuse(429, None), Answer::Refuse(503, None)]);
    let id = rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(3)), "{job}");
    let emails = providers.emails();
    assert_eq!(emails.len(), 1);
    assert_eq!(emails[0]["Destination"]["ToAddresses"], json!([owner.email]));
    assert_eq!(emails[0]["Content"]["Simple"]["Subject"]["Data"], "Grüße");
}

/// A failure that does not say whether the e-mail was taken: shown as unknown, and never sent again.
#[tokio::test]
async fn an_email_whose_fate_nobody_knows_is_unknown_and_not_sent_again() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    providers.will([Answer::Refuse(500, None)]);
    let id = rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["error"]["code"].as_str()), (Some("unknown"), Some("outcome_unknown")));
    rig.drain().await;
    rig.sweep_once().await;
    assert_eq!((rig.visible(), providers.emails().len()), (0, 0));
}
