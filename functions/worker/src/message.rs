//! What a message on the jobs queue is: a job's, or a notice of the mail service's, which comes through EventBridge or a topic of SNS.

use crate::provider_event::Notice;
use serde::Deserialize;
use shared::jobs::JobMessage;
use shared::runtime::event::object;

/// A message that was read. Fields that are not known here are a newer version's, and left alone.
#[derive(Debug)]
pub(crate) enum Message {
    Job(JobMessage),
    Notice(Notice),
}

/// Why a message goes to the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it has no text")]
    Empty,
    #[error("its text is no JSON object")]
    NoObject,
    #[error("it names no job, and is no notice of the mail service's")]
    Unknown,
    #[error("what it forwards from a topic is no notice of the mail service's")]
    Forwarded,
}

/// What Amazon SES put on EventBridge.
#[derive(Deserialize)]
struct EventBridge {
    /// Only read: nobody else's events are believed.
    #[serde(rename = "source")]
    _source: Source,
    detail: Notice,
}

#[derive(Deserialize)]
enum Source {
    #[serde(rename = "aws.ses")]
    Ses,
}

/// What SNS puts around a message unless raw delivery is on.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Topic {
    #[serde(rename = "Type")]
    _kind: Notification,
    message: String,
}

#[derive(Deserialize)]
enum Notification {
    Notification,
}

impl Message {
    /// Reads a message's text.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(crate) fn read(text: Option<&str>) -> Result<Self, Unreadable> {
        let text = text.ok_or(Unreadable::Empty)?;
        if let Some(job) = object(text) {
            return Ok(Self::Job(job));
        }
        if let Some(notice) = notice(text) {
            return Ok(Self::Notice(notice));
        }
        let Some(topic) = object::<Topic>(text) else {
            let is_object = object::<serde::de::IgnoredAny>(text).is_some();
            return Err(if is_object { Unreadable::Unknown } else { Unreadable::NoObject });
        };
        notice(&topic.message).map(Self::Notice).ok_or(Unreadable::Forwarded)
    }
}

/// A notice, as EventBridge gives it or as SES publishes it to a topic.
fn notice(text: &str) -> Option<Notice> {
    object(text).map(|event: EventBridge| event.detail).or_else(|| object(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ORG: &str = "org_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e";
    const JOB: &str = "job_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e";

    fn read(message: &serde_json::Value) -> Result<Message, Unreadable> {
        Message::read(Some(&message.to_string()))
    }

    #[test]
    fn a_jobs_message_may_say_more() {
        for message in [
            json!({"org_id": ORG, "job_id": JOB}),
            json!({"org_id": ORG, "job_id": JOB, "kind": "translate", "attempt": {"of": [1, null]}}),
            json!({"version": 2, "job_id": JOB, "org_id": ORG, "detail": {}}),
        ] {
            assert!(matches!(read(&message), Ok(Message::Job(job)) if job.job_id.to_string() == JOB), "{message}");
        }
        for message in
            [json!({"job_id": JOB}), json!({"org_id": ORG, "job_id": null}), json!({"org_id": JOB, "job_id": ORG})]
        {
            assert_eq!(read(&message).err(), Some(Unreadable::Unknown), "{message}");
        }
    }

    #[test]
    fn a_notice_comes_through_eventbridge_or_a_topic() {
        let notice = json!({"eventType": "Send", "mail": {"messageId": "m"}, "send": {}});
        let feedback = json!({"notificationType": "Bounce", "mail": {"messageId": "m"}, "bounce": null});
        let event = json!({"source": "aws.ses", "detail-type": "Email Sent", "detail": notice});
        let topic = |message: &serde_json::Value| json!({"Type": "Notification", "MessageId": "i", "TopicArn": "arn:aws:sns:us-east-1:0:ses", "Message": message.to_string()});
        for message in [&notice, &feedback, &event, &topic(&notice), &topic(&feedback), &topic(&event)] {
            assert!(matches!(read(message), Ok(Message::Notice(_))), "{message}");
        }
        let hello = json!({"hello": 1});
        assert_eq!(read(&topic(&hello)).err(), Some(Unreadable::Forwarded));
        assert_eq!(
            read(&json!({"Type": "SubscriptionConfirmation", "Message": notice.to_string()})).err(),
            Some(Unreadable::Unknown)
        );
    }

    #[test]
    fn other_sources_are_not_believed() {
        let other = json!({"source": "aws.s3", "detail": {"eventType": "Send", "mail": {"messageId": "m"}}});
        assert_eq!(read(&other).err(), Some(Unreadable::Unknown));
    }

    #[test]
    fn each_refusal_says_why() {
        assert_eq!(Message::read(None).err(), Some(Unreadable::Empty));
        for text in ["", "x", "null", "[]", "5", &json!([ORG, JOB]).to_string()] {
            assert_eq!(Message::read(Some(text)).err(), Some(Unreadable::NoObject), "{text}");
        }
    }
}
