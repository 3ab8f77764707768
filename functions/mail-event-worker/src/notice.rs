//! What Amazon SES says became of an e-mail: it settles e-mails of unknown outcome, and lists addresses that are not to be
//! written to again. Through EventBridge and through a configuration set's topic it says the same; the notifications of an identity's own topic
//! call the event's type otherwise and name no job.
//! <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>,
//! <https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html>

use serde::Deserialize;
use shared::jobs::{JobMessage, settle_email};
use shared::model::job::{EmailOutcome, JobKind};
use shared::model::text::Email;
use shared::store::suppression::Reason;
use shared::{ApiError, Context};
use std::collections::HashMap;
use worker::mail::ses::{JOB_TAG, ORG_TAG};

/// A notice of SES's. Its fields may grow.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notice {
    #[serde(alias = "notificationType")]
    event_type: String,
    mail: Mail,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    message_id: String,
    tags: Option<HashMap<String, Option<Vec<String>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: Option<String>,
    bounce_sub_type: Option<String>,
    bounced_recipients: Option<Vec<Recipient>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Option<Vec<Recipient>>,
    /// What kind of report it is (RFC 5965), if the recipient's provider says.
    complaint_feedback_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: Option<String>,
}

impl Bounce {
    fn is_lasting(&self) -> bool {
        // What SES's own list held back reached nobody, and may be on it for a complaint.
        let is_held_back = self.bounce_sub_type.as_deref() == Some("OnAccountSuppressionList");
        self.bounce_type.as_deref() == Some("Permanent") && !is_held_back
    }
}

impl Recipient {
    /// The address: alone, in angle brackets, or behind a name, as the provider that sent the report wrote it.
    fn address(&self) -> Option<Email> {
        let text = self.email_address.as_deref()?.trim();
        let text = text.rsplit_once('<').map_or(text, |(_name, rest)| rest.split('>').next().unwrap_or_default());
        let address = Email::known(text.to_owned()).ok();
        if address.is_none() {
            tracing::warn!(
                "a recipient in the mail service's notice has no address that can be read: nothing is listed for it"
            );
        }
        address
    }
}

impl Notice {
    /// Settles and lists what it says.
    ///
    /// # Errors
    /// When the database is away: it is to come again.
    pub(crate) async fn apply(self, context: &Context) -> Result<(), ApiError> {
        for (address, reason) in self.unwelcome() {
            context.store().suppress(&address, reason).await?;
        }
        let (Some(message), Some(outcome)) = (self.job(), self.outcome()) else { return Ok(()) };
        message.note();
        if self.is_lasting_bounce() && is_account_mail(context, message).await? {
            context.store().note_bounced_account_mail().await?;
        }
        match settle_email(context, message, &outcome).await {
            Ok(true) => tracing::info!("the mail service settled an e-mail"),
            Ok(false) | Err(ApiError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The job that the e-mail was tagged with.
    fn job(&self) -> Option<JobMessage> {
        let tag = |name: &str| self.mail.tags.as_ref()?.get(name)?.as_ref()?.first();
        Some(JobMessage { org_id: tag(ORG_TAG)?.parse().ok()?, job_id: tag(JOB_TAG)?.parse().ok()? })
    }

    /// What it says of the hand-over. Whatever happens to an e-mail afterwards, it was taken.
    fn outcome(&self) -> Option<EmailOutcome> {
        match self.event_type.as_str() {
            "Send" | "Delivery" | "DeliveryDelay" | "Bounce" | "Complaint" => {
                Some(EmailOutcome::Reported { message_id: self.mail.message_id.clone() })
            }
            "Reject" => Some(EmailOutcome::ThrownAway { message_id: self.mail.message_id.clone() }),
            _ => None,
        }
    }

    fn is_lasting_bounce(&self) -> bool {
        self.event_type == "Bounce" && self.bounce.as_ref().is_some_and(Bounce::is_lasting)
    }

    /// Addresses that are not to be written to again. A bounce that may pass lists nobody, and neither does the report that an
    /// e-mail was taken for spam by mistake (`not-spam`, RFC 6430).
    fn unwelcome(&self) -> Vec<(Email, Reason)> {
        let bounce = self.bounce.as_ref().filter(|bounce| bounce.is_lasting());
        let bounced = bounce.and_then(|bounce| bounce.bounced_recipients.as_ref());
        let praise = |kind: &String| kind.eq_ignore_ascii_case("not-spam");
        let complaint = self.complaint.as_ref();
        let complaint = complaint.filter(|complaint| !complaint.complaint_feedback_type.as_ref().is_some_and(praise));
        let complained = complaint.and_then(|complaint| complaint.complained_recipients.as_ref());
        let bounced = bounced.into_iter().flatten().map(|one| (one, Reason::Bounce));
        let complained = complained.into_iter().flatten().map(|one| (one, Reason::Complaint));
        bounced.chain(complained).filter_map(|(one, reason)| Some((one.address()?, reason))).collect()
    }
}

/// Whether a job is mail about an account; one that is gone is not.
async fn is_account_mail(context: &Context, message: JobMessage) -> Result<bool, ApiError> {
    match context.store().job(message.org_id, message.job_id).await {
        Ok(job) => Ok(job.kind == JobKind::AccountMail),
        Err(ApiError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(kind: &str, more: Value) -> Notice {
        let mut detail = json!({"eventType": kind, "mail": {"messageId": "m", "timestamp": "2026-11-23T00:00:00Z",
            "tags": {"job_id": ["job_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e"],
                     "org_id": ["org_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e"]}}});
        detail.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value(detail).expect("a notice")
    }

    #[test]
    fn events_tell_an_emails_outcome() {
        for kind in ["Send", "Delivery", "DeliveryDelay"] {
            assert_eq!(
                event(kind, json!({})).outcome(),
                Some(EmailOutcome::Reported { message_id: "m".into() }),
                "{kind}"
            );
        }
        let thrown_away = EmailOutcome::ThrownAway { message_id: "m".into() };
        assert_eq!(event("Reject", json!({})).outcome(), Some(thrown_away));
        assert_eq!(event("Open", json!({})).outcome(), None);
        assert!(event("Send", json!({})).job().is_some());
    }

    #[test]
    fn lasting_bounces_and_complaints_list_addresses() {
        let bounce =
            |kind| json!({"bounce": {"bounceType": kind, "bouncedRecipients": [{"emailAddress": "Ada@Example.com"}]}});
        let listed = event("Bounce", bounce("Permanent")).unwelcome();
        assert_eq!((listed[0].0.as_str(), listed[0].1, listed.len()), ("ada@example.com", Reason::Bounce, 1));
        assert!(event("Bounce", bounce("Transient")).unwelcome().is_empty());
        let mut held_back = bounce("Permanent");
        held_back["bounce"]["bounceSubType"] = "OnAccountSuppressionList".into();
        assert!(event("Bounce", held_back).unwelcome().is_empty(), "it may be on SES's own list for a complaint");
        let complaint = json!({"complaint": {"complainedRecipients": [{"emailAddress": "bob@example.com"}]}});
        assert_eq!(event("Complaint", complaint).unwelcome()[0].1, Reason::Complaint);
    }

    #[test]
    fn a_report_that_it_was_no_spam_lists_nobody() {
        let complaint = |kind: Value| json!({"complaint": {"complainedRecipients": [{"emailAddress": "a@example.com"}], "complaintFeedbackType": kind}});
        for kind in ["not-spam", "Not-Spam"] {
            assert!(event("Complaint", complaint(kind.into())).unwelcome().is_empty(), "{kind}");
        }
        for kind in [json!("abuse"), json!("fraud"), json!("other"), json!("a-new-kind"), Value::Null] {
            assert_eq!(event("Complaint", complaint(kind.clone())).unwelcome().len(), 1, "{kind}");
        }
    }

    #[test]
    fn bounced_addresses_are_read_as_reports_write_them() {
        let listed = |address: Value| {
            let bounce = json!({"bounceType": "Permanent", "bouncedRecipients": [
                {"emailAddress": address, "diagnosticCode": null}, {"emailAddress": "other@example.com"}]});
            let listed = event("Bounce", json!({"bounce": bounce})).unwelcome();
            listed.into_iter().map(|(address, _)| address.into_string()).collect::<Vec<_>>()
        };
        for address in
            ["x@y.example", "<x@y.example>", " <X@Y.example> ", "Ada <x@y.example>", "\"<a> b\" <x@y.example>"]
        {
            assert_eq!(listed(address.into()), ["x@y.example", "other@example.com"], "{address}");
        }
        for nobody in [json!(""), json!("<>"), json!("<"), json!("nobody"), Value::Null] {
            assert_eq!(listed(nobody.clone()), ["other@example.com"], "{nobody}");
        }
    }

    #[test]
    fn what_is_null_is_missing() {
        for more in [
            json!({"bounce": null, "complaint": null}),
            json!({"bounce": {"bounceType": null}}),
            json!({"bounce": {"bounceType": "Permanent", "bouncedRecipients": null}}),
            json!({"complaint": {"complainedRecipients": null, "complaintFeedbackType": null}}),
        ] {
            assert!(event("Bounce", more.clone()).unwelcome().is_empty(), "{more}");
        }
        let untagged = json!({"notificationType": "Bounce", "mail": {"messageId": "m", "tags": null}});
        assert!(serde_json::from_value::<Notice>(untagged).expect("a notice").job().is_none());
    }
}
