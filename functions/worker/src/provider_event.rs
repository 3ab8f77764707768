//! What Amazon SES says became of an e-mail, as EventBridge puts it on the queue: it settles e-mails of unknown
//! fate, and lists addresses that are not to be written to again.
//! <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>

use crate::Worker;
use crate::mail::ses::{JOB_TAG, ORG_TAG};
use serde::Deserialize;
use shared::ApiError;
use shared::jobs::{JobMessage, settle_email};
use shared::model::job::EmailOutcome;
use shared::model::text::Email;
use shared::store::suppression::Reason;
use std::collections::HashMap;

/// An event of SES's. Its fields may grow.
#[derive(Debug, Deserialize)]
pub(crate) struct ProviderEvent {
    /// Only read: nobody else's events are believed.
    #[serde(rename = "source")]
    _source: Source,
    detail: Detail,
}

#[derive(Debug, Deserialize)]
enum Source {
    #[serde(rename = "aws.ses")]
    Ses,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    event_type: String,
    mail: Mail,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    message_id: String,
    #[serde(default)]
    tags: HashMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    bounced_recipients: Vec<Recipient>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Recipient>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
}

impl ProviderEvent {
    /// Settles and lists what it says.
    ///
    /// # Errors
    /// When the database is away: it is to come again.
    pub(crate) async fn apply(self, worker: &Worker) -> Result<(), ApiError> {
        for (address, reason) in self.unwelcome() {
            worker.context.store().suppress(&address, reason).await?;
        }
        let (Some(message), Some(fate)) = (self.job(), self.fate()) else { return Ok(()) };
        message.note();
        match settle_email(&worker.context, message, &fate).await {
            Ok(true) => tracing::info!("the mail service settled an e-mail"),
            Ok(false) | Err(ApiError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The job that the e-mail was tagged with.
    fn job(&self) -> Option<JobMessage> {
        let tag = |name: &str| self.detail.mail.tags.get(name)?.first();
        Some(JobMessage { org_id: tag(ORG_TAG)?.parse().ok()?, job_id: tag(JOB_TAG)?.parse().ok()? })
    }

    /// What it says of the hand-over. Whatever happens to an e-mail afterwards, it was taken.
    fn fate(&self) -> Option<EmailOutcome> {
        match self.detail.event_type.as_str() {
            "Send" | "Delivery" | "DeliveryDelay" | "Bounce" | "Complaint" => {
                Some(EmailOutcome::Sent { message_id: self.detail.mail.message_id.clone() })
            }
            "Reject" => Some(EmailOutcome::NotSent {
                code: "email_rejected",
                detail: "The mail service took the e-mail and threw it away.",
            }),
            _ => None,
        }
    }

    /// Addresses that are not to be written to again. A bounce that may pass lists nobody.
    fn unwelcome(&self) -> Vec<(Email, Reason)> {
        let bounced = self.detail.bounce.iter().filter(|bounce| bounce.bounce_type == "Permanent");
        let bounced = bounced.flat_map(|bounce| &bounce.bounced_recipients).map(|one| (one, Reason::Bounce));
        let complained = self.detail.complaint.iter().flat_map(|complaint| &complaint.complained_recipients);
        let all = bounced.chain(complained.map(|one| (one, Reason::Complaint)));
        all.filter_map(|(one, reason)| Some((Email::try_from(one.email_address.clone()).ok()?, reason))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(kind: &str, more: Value) -> ProviderEvent {
        let mut detail = json!({"eventType": kind, "mail": {"messageId": "m", "timestamp": "2026-11-23T00:00:00Z",
            "tags": {"job_id": ["job_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e"],
                     "org_id": ["org_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e"]}}});
        detail.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let event = json!({"version": "0", "source": "aws.ses", "detail-type": "Email", "detail": detail});
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn events_tell_an_emails_fate() {
        for kind in ["Send", "Delivery", "DeliveryDelay"] {
            assert_eq!(event(kind, json!({})).fate(), Some(EmailOutcome::Sent { message_id: "m".into() }), "{kind}");
        }
        assert!(matches!(event("Reject", json!({})).fate(), Some(EmailOutcome::NotSent { .. })));
        assert_eq!(event("Open", json!({})).fate(), None);
        assert!(event("Send", json!({})).job().is_some());
    }

    #[test]
    fn lasting_bounces_and_complaints_list_addresses() {
        let bounce =
            |kind| json!({"bounce": {"bounceType": kind, "bouncedRecipients": [{"emailAddress": "Ada@Example.com"}]}});
        let listed = event("Bounce", bounce("Permanent")).unwelcome();
        assert_eq!((listed[0].0.as_str(), listed[0].1, listed.len()), ("ada@example.com", Reason::Bounce, 1));
        assert!(event("Bounce", bounce("Transient")).unwelcome().is_empty());
        let complaint = json!({"complaint": {"complainedRecipients": [{"emailAddress": "bob@example.com"}]}});
        assert_eq!(event("Complaint", complaint).unwelcome()[0].1, Reason::Complaint);
    }

    #[test]
    fn other_sources_are_not_believed() {
        let other = json!({"source": "aws.s3", "detail": {"eventType": "Send", "mail": {"messageId": "m"}}});
        assert!(serde_json::from_value::<ProviderEvent>(other).is_err());
    }
}
