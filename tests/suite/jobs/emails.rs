//! `POST /send-email`: who may be written to, what arrives, and that nothing is sent twice.

use super::providers::{Answer, Providers};
use super::rig::Rig;
use crate::api::Actor;
use local::names::{DEAD_LETTER_QUEUE, MAIL_EVENTS_QUEUE};
use local::operator;
use local::operator::dead_letters::apply_dead_letters;
use local::operator::redrive::{Which, redrive_failed};
use local::sqs::Draft;
use serde_json::{Value, json};
use shared::jobs::JobMessage;
use shared::model::job::JobKind;
use shared::model::text::Email;
use shared::model::time::Moment;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

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
    refused.is_problem(403, "plan_forbids");
    rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    let payer = rig.owner("pro").await;
    rig.accepted(&payer, "/send-email", letter(json!("stranger@example.com"))).await;
    rig.settings(&payer, json!({"email_recipients": "members"})).await;
    assert_eq!(rig.api.post(&payer, "/send-email", letter(json!("stranger@example.com"))).await.pointer(), "/to");
    let several = letter(json!([payer.email, "a@example.com", "A@Example.com", "b@example.com"]));
    let refused = rig.api.post(&payer, "/send-email", several).await;
    let errors = refused.body["errors"].as_array().unwrap();
    let places: Vec<&Value> = errors.iter().map(|error| &error["pointer"]).collect();
    assert_eq!(places, [&json!("/to/1"), &json!("/to/3")], "{}", refused.text);
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
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    let emails = providers.emails();
    assert_eq!(emails.len(), 1);
    assert_eq!(emails[0]["Destination"]["ToAddresses"], json!([owner.email]));
    assert_eq!(emails[0]["Content"]["Simple"]["Subject"]["Data"], "Grüße");
}

/// A failure that does not say whether the e-mail was taken: shown as unknown, and never sent again.
#[tokio::test]
async fn an_email_whose_outcome_nobody_knows_is_unknown_and_not_sent_again() {
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

/// An event of SES's, as EventBridge puts it on the queue.
pub(crate) fn happened(rig: &Rig, owner: &Actor, job: &str, kind: &str, more: Value) {
    reported(rig, (owner.org_id.as_str(), job), "ses-9", kind, more);
}

/// The same of an e-mail of this organization and job, by the id that SES gave it.
pub(super) fn reported(rig: &Rig, (org, job): (&str, &str), message_id: &str, kind: &str, more: Value) {
    let mut detail = json!({"eventType": kind, "mail": {"messageId": message_id,
        "tags": {"org_id": [org], "job_id": [job]}}});
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let event = json!({"version": "0", "source": "aws.ses", "detail-type": "Email", "detail": detail});
    rig.system.sqs().send(MAIL_EVENTS_QUEUE, Draft { message_body: event.to_string(), ..Draft::default() }).unwrap();
}

/// An e-mail of unknown outcome.
async fn unknown(rig: &Rig, providers: &Providers, owner: &Actor) -> String {
    providers.will([Answer::Refuse(500, None)]);
    let id = rig.accepted(owner, "/send-email", letter(json!(owner.email))).await;
    rig.deliver().await;
    assert_eq!(rig.job(owner, &id).await["state"], "unknown");
    id
}

#[tokio::test]
async fn the_providers_events_settle_what_is_unknown() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    for (kind, state) in
        [("Send", "succeeded"), ("Delivery", "succeeded"), ("Bounce", "succeeded"), ("Reject", "failed")]
    {
        let id = unknown(&rig, &providers, &owner).await;
        happened(&rig, &owner, &id, kind, json!({}));
        assert_eq!(rig.deliver().await.deleted.len(), 1);
        let job = rig.job(&owner, &id).await;
        assert_eq!(job["state"], state, "{kind}: {job}");
        // That it was taken is no news twice, and another e-mail is not this one.
        happened(&rig, &owner, &id, "Send", json!({}));
        reported(&rig, (owner.org_id.as_str(), &id), "another", "Reject", json!({}));
        rig.deliver().await;
        assert_eq!(rig.job(&owner, &id).await["state"], state, "{kind}");
        // The service looks into an e-mail after it took it. What it threw away stays so.
        for later in ["Reject", "Send", "Delivery"] {
            happened(&rig, &owner, &id, later, json!({}));
            rig.deliver().await;
            let job = rig.job(&owner, &id).await;
            let (state, code) = (job["state"].as_str(), job["error"]["code"].as_str());
            assert_eq!((state, code), (Some("failed"), Some("email_rejected")), "{kind}, {later}: {job}");
        }
    }
    let foreign = rig.owner("free").await;
    let id = unknown(&rig, &providers, &owner).await;
    happened(&rig, &foreign, &id, "Send", json!({}));
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    assert_eq!(rig.job(&owner, &id).await["state"], "unknown", "another organization's tag settles nothing");
    assert_eq!(providers.emails().len(), 0, "and nothing is ever sent again");
}

/// An e-mail that the mail service refused until the end of its time.
async fn given_up(rig: &Rig, providers: &Providers, owner: &Actor) -> String {
    providers.will([Answer::Refuse(503, None), Answer::Refuse(503, None)]);
    let id = rig.accepted(owner, "/send-email", letter(json!(owner.email))).await;
    rig.deliver_of(JobKind::SendEmail).await;
    rig.system.clock().jump(Duration::from_secs(24 * 60 * 60 + 1));
    rig.deliver_of(JobKind::SendEmail).await;
    assert_eq!(rig.job(owner, &id).await["error"]["code"], "gave_up");
    id
}

/// What the mail service refused and then took after all would be sent again: its own word settles it.
#[tokio::test]
async fn a_report_that_it_was_sent_settles_an_email_that_waits() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    for (kind, state) in [("Send", "succeeded"), ("Delivery", "succeeded"), ("Reject", "queued"), ("Open", "queued")] {
        providers.will([Answer::Refuse(503, None)]);
        let id = rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
        rig.deliver_of(JobKind::SendEmail).await;
        assert_eq!(rig.job(&owner, &id).await["state"], "queued");
        let job = JobMessage { org_id: owner.org_id.parse().unwrap(), job_id: id.parse().unwrap() };
        assert!(!operator::settle(rig.system.context(), job, true).await.unwrap(), "no person can know");
        happened(&rig, &owner, &id, kind, json!({}));
        rig.deliver().await;
        assert_eq!(rig.job(&owner, &id).await["state"], state, "{kind}");
        let sent = providers.emails().len();
        rig.drain().await;
        assert_eq!(rig.job(&owner, &id).await["state"], "succeeded", "{kind}");
        assert_eq!(providers.emails().len() - sent, usize::from(state == "queued"), "{kind}");
    }
}

/// Nor is it sent again by a retry, whyever its job failed: the last try was refused at the end of its time, a part in between refused, the
/// mail service rejected another try, a person was wrong.
#[tokio::test]
async fn a_report_that_it_was_sent_settles_an_email_that_failed() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    let given_up = given_up(&rig, &providers, &owner).await;
    providers.will([Answer::Refuse(400, None)]);
    let refused = rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    rig.deliver_of(JobKind::SendEmail).await;
    providers.will([Answer::RejectMessage]);
    let rejected = rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    rig.deliver_of(JobKind::SendEmail).await;
    let denied = unknown(&rig, &providers, &owner).await;
    let job = JobMessage { org_id: owner.org_id.parse().unwrap(), job_id: denied.parse().unwrap() };
    assert!(operator::settle(rig.system.context(), job, false).await.unwrap());

    let refused = [refused, rejected].map(|id| (id, "email_refused"));
    for (id, code) in refused.into_iter().chain([(given_up, "gave_up"), (denied, "not_sent")]) {
        let job = rig.job(&owner, &id).await;
        assert_eq!((job["state"].as_str(), job["error"]["code"].as_str()), (Some("failed"), Some(code)), "{job}");
        happened(&rig, &owner, &id, "Send", json!({}));
        rig.deliver().await;
        let job = rig.job(&owner, &id).await;
        assert_eq!((job["state"].as_str(), job["error"].is_null()), (Some("succeeded"), true), "{code}: {job}");
        rig.api.post(&owner, &format!("/jobs/{id}/retry"), Value::Null).await.is_problem(409, "job_not_failed");
    }
    let report = redrive_failed(rig.system.context(), Which::All(Moment::from_millis(0))).await.unwrap();
    assert_eq!((report.queued, report.stay.len()), (0, 0), "nor by an operator");
    rig.drain().await;
    assert_eq!(providers.emails().len(), 0);
}

/// An e-mail that the mail service took and threw away, though its job failed for something else: that it was taken is no news any more. Whoever
/// retries it sends it again.
#[tokio::test]
async fn a_report_that_it_was_thrown_away_is_told_of_an_email_that_failed() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    let id = given_up(&rig, &providers, &owner).await;
    for kind in ["Reject", "Send"] {
        happened(&rig, &owner, &id, kind, json!({}));
        rig.deliver().await;
        let job = rig.job(&owner, &id).await;
        let (state, code) = (job["state"].as_str(), job["error"]["code"].as_str());
        assert_eq!((state, code), (Some("failed"), Some("email_rejected")), "{kind}: {job}");
    }
    rig.system.clock().jump(Duration::from_secs(1));
    let report = redrive_failed(rig.system.context(), Which::All(Moment::from_millis(0))).await.unwrap();
    assert_eq!((report.queued, report.not_needed, report.stay.len()), (1, 0, 0), "the index has it once");
    rig.drain().await;
    assert_eq!((rig.job(&owner, &id).await["state"].as_str(), providers.emails().len()), (Some("succeeded"), 1));
}

/// The provider reports that it took an e-mail before its answer to the run is there, and the answer is lost: the job had ended, and the
/// run has nothing to say any more.
#[tokio::test]
async fn a_run_changes_nothing_of_a_job_that_ended_meanwhile() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    let told = Arc::new(Notify::new());
    providers.will([Answer::HoldThenRefuse(told.clone(), 500)]);
    let id = rig.accepted(&owner, "/send-email", letter(json!(owner.email))).await;
    let reported = async {
        while providers.emails().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        happened(&rig, &owner, &id, "Send", json!({}));
        rig.deliver().await;
        let job = rig.job(&owner, &id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        told.notify_one();
        job
    };
    let (_, reported) = tokio::join!(rig.deliver_of(JobKind::SendEmail), reported);
    assert_eq!(rig.job(&owner, &id).await, reported);
    rig.drain().await;
    assert_eq!(providers.emails().len(), 1);
}

/// The database was away for all receives of a notice: the operator's command applies it.
#[tokio::test]
async fn dead_notices_are_applied_by_a_command() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    let id = unknown(&rig, &providers, &owner).await;
    let detail = json!({"eventType": "Complaint", "mail": {"messageId": "ses-9",
        "tags": {"org_id": [owner.org_id], "job_id": [id]}},
        "complaint": {"complainedRecipients": [{"emailAddress": "Bob <bob@example.com>"}]}});
    for letter in [json!({"source": "aws.ses", "detail": detail}), json!({"hello": 1})] {
        let draft = Draft { message_body: letter.to_string(), ..Draft::default() };
        rig.system.sqs().send(DEAD_LETTER_QUEUE, draft).unwrap();
    }
    let url = rig.system.sqs().queue_url(DEAD_LETTER_QUEUE);
    let letters = apply_dead_letters(rig.system.context(), &url).await.unwrap();
    assert_eq!((letters.queued, letters.not_needed, letters.applied, letters.stay.len()), (0, 0, 1, 1));
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    let bob = ["bob@example.com".parse().unwrap()];
    assert_eq!(rig.system.context().store().suppressed(&bob).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_person_settles_what_is_unknown() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    for (was_sent, state) in [(true, "succeeded"), (false, "failed")] {
        let id = unknown(&rig, &providers, &owner).await;
        let job = JobMessage { org_id: owner.org_id.parse().unwrap(), job_id: id.parse().unwrap() };
        assert!(operator::settle(rig.system.context(), job, was_sent).await.unwrap());
        assert_eq!(rig.job(&owner, &id).await["state"], state);
        assert!(!operator::settle(rig.system.context(), job, !was_sent).await.unwrap(), "once");
    }
}

#[tokio::test]
async fn whoever_bounced_complained_or_was_listed_is_not_written_to() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let to = |address: &str| json!({"to": ["fine@example.com", address], "subject": "s", "text": "t"});
    let first = rig.accepted(&owner, "/send-email", to("gone@example.com")).await;
    rig.deliver().await;
    let recipients = |address: &str| json!([{"emailAddress": address}]);
    let lasting = json!({"bounce": {"bounceType": "Permanent", "bouncedRecipients": recipients("gone@example.com")}});
    happened(&rig, &owner, &first, "Bounce", lasting);
    let passing = json!({"bounce": {"bounceType": "Transient", "bouncedRecipients": recipients("full@example.com")}});
    happened(&rig, &owner, &first, "Bounce", passing);
    happened(
        &rig,
        &owner,
        &first,
        "Complaint",
        json!({"complaint": {"complainedRecipients": recipients("cross@example.com")}}),
    );
    rig.deliver_all().await;
    let listed = Email::try_from("listed@example.com".to_owned()).unwrap();
    operator::suppress(rig.system.context(), &listed, true).await.unwrap();
    for (address, state) in [
        ("gone@example.com", "failed"),
        ("full@example.com", "succeeded"),
        ("cross@example.com", "failed"),
        ("listed@example.com", "failed"),
    ] {
        let id = rig.accepted(&owner, "/send-email", to(address)).await;
        rig.deliver().await;
        let job = rig.job(&owner, &id).await;
        assert_eq!(job["state"], state, "{address}: {job}");
        if state == "failed" {
            assert_eq!(job["error"]["code"], "recipient_suppressed");
        }
    }
    operator::suppress(rig.system.context(), &listed, false).await.unwrap();
    let id = rig.accepted(&owner, "/send-email", to("listed@example.com")).await;
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    assert_eq!(providers.emails().len(), 3);
}
