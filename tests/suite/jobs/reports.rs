//! What the mail service reports of an e-mail: it is believed of that e-mail, whatever its job is about, and of no other.

use super::emails::reported;
use super::provider_rates::rig_of;
use super::providers::{Answer, Providers};
use super::rig::Rig;
use crate::api::Actor;
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::job::{JobKind, JobState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The mail service took a link to another password and answered that it was overloaded. Another letter would make that link worthless.
#[tokio::test]
async fn a_report_that_it_was_sent_settles_mail_about_an_account() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 60_000, 1_000).await;
    let owner = rig.owner("free").await;
    rig.deliver_account_mail().await;
    let told = Arc::new(Notify::new());
    told.notify_one();
    providers.will([Answer::HoldThenRefuse(told, 503)]);
    let forgot = Some(json!({"email": owner.email}));
    assert_eq!(rig.api.elsewhere().call(None, Method::POST, "/auth/forgot-password", forgot).await.status, 202);
    let sent = providers.emails().len();
    rig.deliver_account_mail().await;
    let mail = providers.emails().pop().unwrap();
    let tag = |name: &str| {
        let tags = mail["EmailTags"].as_array().unwrap();
        tags.iter().find(|tag| tag["Name"] == name).unwrap()["Value"].as_str().unwrap().to_owned()
    };
    let (org, job) = (tag("org_id"), tag("job_id"));
    let state = async || {
        let job = rig.system.context().store().job(org.parse().unwrap(), job.parse().unwrap()).await;
        job.unwrap().state
    };
    assert_eq!((state().await, providers.emails().len()), (JobState::Queued, sent + 1));
    reported(&rig, (org.as_str(), job.as_str()), "ses-9", "Send", json!({}));
    rig.deliver().await;
    assert_eq!(state().await, JobState::Succeeded);
    rig.system.clock().jump(Duration::from_secs(400));
    rig.deliver_account_mail().await;
    assert_eq!(providers.emails().len(), sent + 1, "it is not sent again");
}

/// An e-mail to the owner itself, which the mail service answers with a status.
async fn answered(rig: &Rig, providers: &Providers, owner: &Actor, status: u16) -> String {
    providers.will([Answer::Refuse(status, None)]);
    let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
    let id = rig.accepted(owner, "/send-email", letter).await;
    rig.deliver_of(JobKind::SendEmail).await;
    id
}

/// What became of an e-mail by the report of the mail service, and its job then.
async fn told(rig: &Rig, owner: &Actor, id: &str, message_id: &str, kind: &str) -> Value {
    reported(rig, (owner.org_id.as_str(), id), message_id, kind, json!({}));
    rig.deliver().await;
    rig.job(owner, id).await
}

/// The mail service took it and threw it away, and its report that it took it comes last: when an admin has had it sent again, or when it waits
/// for another run. What is sent then is another e-mail.
#[tokio::test]
async fn a_late_report_of_an_email_that_was_thrown_away_settles_no_other() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 60_000, 1_000).await;
    let owner = rig.owner("free").await;
    for (status, state) in [(500, "failed"), (503, "queued")] {
        let id = answered(&rig, &providers, &owner, status).await;
        let job = told(&rig, &owner, &id, "ses-first", "Reject").await;
        assert_eq!(job["state"], state, "{job}");
        if state == "failed" {
            let again = rig.api.post(&owner, &format!("/jobs/{id}/retry"), Value::Null).await;
            assert!(matches!(again.status, 200..300), "{}", again.text);
            providers.will([Answer::Refuse(503, None)]);
            rig.deliver_of(JobKind::SendEmail).await;
        }
        let job = told(&rig, &owner, &id, "ses-first", "Send").await;
        assert_eq!(job["state"], "queued", "after {status}: {job}");
        let sent = providers.emails().len();
        rig.drain().await;
        let job = rig.job(&owner, &id).await;
        assert_eq!((job["state"].as_str(), providers.emails().len()), (Some("succeeded"), sent + 1), "{job}");
    }
}

/// Of two tries it threw one away. That it took the other is proof, though the job has failed by then: nobody is to send it again.
#[tokio::test]
async fn a_report_of_another_email_than_was_thrown_away_is_proof() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 60_000, 1_000).await;
    let owner = rig.owner("free").await;
    let id = answered(&rig, &providers, &owner, 500).await;
    let job = told(&rig, &owner, &id, "ses-second", "Reject").await;
    assert_eq!(job["error"]["code"], "email_rejected", "{job}");
    let job = told(&rig, &owner, &id, "ses-first", "Send").await;
    assert_eq!((job["state"].as_str(), job["result"]["message_id"].as_str()), (Some("succeeded"), Some("ses-first")));
}
