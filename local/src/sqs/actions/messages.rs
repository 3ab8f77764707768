//! Actions on single messages: send, receive, hide, delete.

use serde::{Deserialize, Serialize};

use super::{Nothing, QueueUrl, Sqs};
use crate::sqs::Poll;
use crate::sqs::error::SqsError;
use crate::sqs::message::{Draft, Sent};
use crate::sqs::view::{Received, Show};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Send {
    queue_url: Option<QueueUrl>,
    #[serde(flatten)]
    draft: Draft,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Receive {
    queue_url: Option<QueueUrl>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    /// The older name of `message_system_attribute_names`.
    attribute_names: Option<Vec<String>>,
    message_system_attribute_names: Option<Vec<String>>,
    message_attribute_names: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Messages {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Received>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Delete {
    queue_url: Option<QueueUrl>,
    receipt_handle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct ChangeVisibility {
    queue_url: Option<QueueUrl>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl Sqs {
    pub(in crate::sqs) fn act_send(&self, asked: Send) -> Result<Sent, SqsError> {
        self.send(QueueUrl::name(asked.queue_url.as_ref())?, asked.draft)
    }

    pub(in crate::sqs) async fn act_receive(&self, asked: Receive) -> Result<Messages, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        let mut system = asked.attribute_names.unwrap_or_default();
        system.extend(asked.message_system_attribute_names.unwrap_or_default());
        let show = Show::new(system, asked.message_attribute_names.unwrap_or_default())?;
        let poll = Poll {
            max: asked.max_number_of_messages.unwrap_or(1),
            visibility_seconds: asked.visibility_timeout,
            wait_seconds: asked.wait_time_seconds,
        };
        let messages = self.receive(name, poll, &show).await?;
        Ok(Messages { messages })
    }

    pub(in crate::sqs) fn act_delete(&self, asked: Delete) -> Result<Nothing, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        self.delete(name, &asked.receipt_handle.unwrap_or_default())?;
        Ok(Nothing {})
    }

    pub(in crate::sqs) fn act_change_visibility(&self, asked: ChangeVisibility) -> Result<Nothing, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        let seconds = asked.visibility_timeout.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?;
        self.change_visibility(name, &asked.receipt_handle.unwrap_or_default(), seconds)?;
        Ok(Nothing {})
    }
}
