//! The arguments and answers of each action, on top of what [`Sqs`] does.

mod batch;
mod messages;
mod queues;

use serde::{Deserialize, Serialize};

use super::Sqs;
use super::error::{ErrorKind, SqsError};

/// An answer without members.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// Arguments that only name a queue.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OnQueue {
    queue_url: Option<QueueUrl>,
}

/// A queue's URL. Its last part is the name; the host may be any that leads here.
#[derive(Deserialize)]
#[serde(transparent)]
struct QueueUrl(String);

impl QueueUrl {
    fn name(given: Option<&Self>) -> Result<&str, SqsError> {
        let url = given.ok_or_else(|| SqsError::missing("QueueUrl"))?;
        let (_, name) = url
            .0
            .rsplit_once('/')
            .ok_or_else(|| ErrorKind::QueueDoesNotExist.because("The specified queue does not exist."))?;
        Ok(name)
    }
}
