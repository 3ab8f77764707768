//! A batch of messages: what fails the whole request, and what fails one entry beside the others.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Sqs;
use super::error::{ErrorKind, SqsError};
use super::message::{Draft, MESSAGE_BYTES_MAX};

/// Most entries of a batch.
const ENTRIES_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Batch {
    /// Drafts, each with an `Id` beside.
    entries: Vec<Map<String, Value>>,
}

/// Sends each entry and answers how it fared; one that fails leaves the others alone.
pub(super) fn send(sqs: &Sqs, queue: &str, batch: Batch) -> Result<Value, SqsError> {
    sqs.queues().get(queue)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, draft) in checked(batch)? {
        match sqs.send(queue, draft) {
            Ok(message_id) => successful.push(json!({ "Id": id, "MessageId": message_id })),
            Err(error) => failed.push(json!({
                "Id": id,
                "SenderFault": true,
                "Code": error.kind.code(),
                "Message": error.message,
            })),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

/// The ids and drafts, if the request as a whole is sound.
fn checked(batch: Batch) -> Result<Vec<(String, Draft)>, SqsError> {
    match batch.entries.len() {
        0 => return Err(ErrorKind::EmptyBatchRequest.because("There should be at least one entry in the request.")),
        1..=ENTRIES_MAX => {}
        count => {
            return Err(ErrorKind::TooManyEntriesInBatchRequest
                .because(format!("Maximum number of entries per request are {ENTRIES_MAX}. You have sent {count}.")));
        }
    }
    let mut seen = HashSet::new();
    let mut drafts = Vec::with_capacity(batch.entries.len());
    for mut entry in batch.entries {
        let id = entry.remove("Id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=80).contains(&id.len()) || !id.bytes().all(known) {
            return Err(ErrorKind::InvalidBatchEntryId.because(
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
                 80 letters long.",
            ));
        }
        if !seen.insert(id.clone()) {
            return Err(ErrorKind::BatchEntryIdsNotDistinct.because(format!("Id {id} repeated.")));
        }
        let draft: Draft = serde_json::from_value(entry.into())?;
        drafts.push((id, draft));
    }
    let bytes: usize = drafts.iter().map(|(_, draft)| draft.message_body.len()).sum();
    if bytes > MESSAGE_BYTES_MAX {
        return Err(ErrorKind::BatchRequestTooLong.because(format!(
            "Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {bytes} bytes."
        )));
    }
    Ok(drafts)
}
