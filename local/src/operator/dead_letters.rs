//! The dead-letter queue: what can be read by now is applied.

use std::collections::HashSet;
use std::time::Duration;

use shared::error::chain;
use shared::jobs::{JobMessage, redrive};
use shared::{ApiError, Context};

/// How long a letter is hidden from others while it is dealt with.
const HIDDEN: Duration = Duration::from_secs(60);
/// How long a receive waits: with any wait, all of SQS's servers are asked.
const WAIT: Duration = Duration::from_secs(1);
/// As many receives in a row without anything new show that nothing is left; one alone may be empty by chance.
const EMPTY_RECEIVES: u32 = 2;

/// What became of the letters.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Their jobs, which failed, are in the queue again.
    pub queued: u32,
    /// Their jobs did not fail.
    pub not_needed: u32,
    /// Said by the mail service, and applied.
    pub applied: u32,
    /// Stay, by their ids, and why.
    pub stay: Vec<(String, String)>,
}

/// What is to become of a letter that was dealt with.
enum Dealt {
    Queued,
    NotNeeded,
    Applied,
}

/// Deals with all letters there are, each once, and removes those that are done with. Failed jobs need no letter; those of versions before
/// the index of failed jobs left one.
///
/// # Errors
/// When the queue is away; what was done by then stands.
pub async fn apply_dead_letters(context: &Context, queue_url: &str) -> Result<Letters, ApiError> {
    let queue = context.queue_at(queue_url.to_owned());
    let (mut letters, mut seen, mut empty) = (Letters::default(), HashSet::new(), 0);
    while empty < EMPTY_RECEIVES {
        empty += 1;
        for letter in queue.receive(HIDDEN, WAIT).await.map_err(ApiError::internal)? {
            // One that stays comes again when it is no longer hidden.
            if !seen.insert(letter.message_id.clone()) {
                continue;
            }
            empty = 0;
            match deal_with(context, &letter.body).await {
                Ok(Dealt::Queued) => letters.queued += 1,
                Ok(Dealt::NotNeeded) => letters.not_needed += 1,
                Ok(Dealt::Applied) => letters.applied += 1,
                Err(why) => {
                    letters.stay.push((letter.message_id, why));
                    continue;
                }
            }
            queue.delete(&letter.receipt_handle).await.map_err(ApiError::internal)?;
        }
    }
    Ok(letters)
}

async fn deal_with(context: &Context, body: &str) -> Result<Dealt, String> {
    if let Ok(JobMessage { org_id, job_id }) = serde_json::from_str(body) {
        return match redrive(context, org_id, job_id).await {
            Ok(()) => Ok(Dealt::Queued),
            Err(ApiError::NotFailed | ApiError::OutcomeUnknown) => Ok(Dealt::NotNeeded),
            Err(error) => Err(format!("{job_id} of {org_id}: {}", chain(&error))),
        };
    }
    match mail_event_worker::redrive(context, body).await {
        Ok(true) => Ok(Dealt::Applied),
        Ok(false) => Err("it cannot be read".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}
