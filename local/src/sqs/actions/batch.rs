//! Batches: what fails the whole request, and what fails one entry beside the others.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{Nothing, QueueUrl, Sqs};
use crate::sqs::attributes::MESSAGE_BYTES_MAX;
use crate::sqs::error::{ErrorKind, SqsError};
use crate::sqs::message::{Draft, Sent};

/// Most entries of a batch.
const ENTRIES_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Batch<T> {
    queue_url: Option<QueueUrl>,
    #[serde(default = "Vec::new")]
    entries: Vec<Entry<T>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<T> {
    #[serde(default)]
    id: String,
    #[serde(flatten)]
    content: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct DeleteEntry {
    #[serde(default)]
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct VisibilityEntry {
    #[serde(default)]
    receipt_handle: String,
    visibility_timeout: Option<i64>,
}

/// How each entry fared.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Outcome<T> {
    successful: Vec<Done<T>>,
    failed: Vec<Failed>,
}

#[derive(Serialize)]
struct Done<T> {
    #[serde(rename = "Id")]
    id: String,
    #[serde(flatten)]
    result: T,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    sender_fault: bool,
    code: &'static str,
    message: String,
}

impl<T> Batch<T> {
    /// The queue's name, if the request as a whole is sound.
    fn checked(&self, sqs: &Sqs) -> Result<String, SqsError> {
        let name = QueueUrl::name(self.queue_url.as_ref())?;
        sqs.queues().get(name)?;
        match self.entries.len() {
            0 => {
                return Err(ErrorKind::EmptyBatchRequest.because("There should be at least one entry in the request."));
            }
            1..=ENTRIES_MAX => {}
            count => {
                return Err(ErrorKind::TooManyEntriesInBatchRequest.because(format!(
                    "Maximum number of entries per request are {ENTRIES_MAX}. You have sent \
                     {count}."
                )));
            }
        }
        let mut seen = HashSet::new();
        for Entry { id, .. } in &self.entries {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if !(1..=80).contains(&id.len()) || !id.bytes().all(known) {
                return Err(ErrorKind::InvalidBatchEntryId.because(
                    "A batch entry id can only contain alphanumeric characters, hyphens and \
                     underscores. It can be at most 80 letters long.",
                ));
            }
            if !seen.insert(id) {
                return Err(ErrorKind::BatchEntryIdsNotDistinct.because(format!("Id {id} repeated.")));
            }
        }
        Ok(name.to_owned())
    }

    /// Does `act` with each entry; one that fails leaves the others alone.
    fn each<R>(self, mut act: impl FnMut(T) -> Result<R, SqsError>) -> Outcome<R> {
        let mut outcome = Outcome { successful: Vec::new(), failed: Vec::new() };
        for Entry { id, content } in self.entries {
            match act(content) {
                Ok(result) => outcome.successful.push(Done { id, result }),
                Err(error) => outcome.failed.push(Failed {
                    id,
                    sender_fault: true,
                    code: error.kind.code(),
                    message: error.message,
                }),
            }
        }
        outcome
    }
}

impl Sqs {
    pub(in crate::sqs) fn act_send_batch(&self, batch: Batch<Draft>) -> Result<Outcome<Sent>, SqsError> {
        let name = batch.checked(self)?;
        let drafts = batch.entries.iter().map(|entry| &entry.content);
        let bytes: u64 = drafts.map(Draft::bytes).sum();
        if bytes > MESSAGE_BYTES_MAX {
            return Err(ErrorKind::BatchRequestTooLong.because(format!(
                "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent \
                 {bytes} bytes."
            )));
        }
        Ok(batch.each(|draft| self.send(&name, draft)))
    }

    pub(in crate::sqs) fn act_delete_batch(&self, batch: Batch<DeleteEntry>) -> Result<Outcome<Nothing>, SqsError> {
        let name = batch.checked(self)?;
        Ok(batch.each(|entry| {
            self.delete(&name, &entry.receipt_handle)?;
            Ok(Nothing {})
        }))
    }

    pub(in crate::sqs) fn act_change_visibility_batch(
        &self,
        batch: Batch<VisibilityEntry>,
    ) -> Result<Outcome<Nothing>, SqsError> {
        let name = batch.checked(self)?;
        Ok(batch.each(|entry| {
            let seconds = entry.visibility_timeout.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?;
            self.change_visibility(&name, &entry.receipt_handle, seconds)?;
            Ok(Nothing {})
        }))
    }
}
