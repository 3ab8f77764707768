//! The dead-letter queue: what can be read by now is applied, and what waits gets another message.

use std::collections::HashSet;
use std::time::Duration;

use shared::error::chain;
use shared::ids::JobId;
use shared::jobs::{JobMessage, redrive};
use shared::model::job::Claim;
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
    /// Their jobs, which failed or wait, are in the queue again.
    pub queued: u32,
    /// Their jobs have ended, are run, or are in the queue by another letter.
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

/// Deals with all letters there are, each once, and removes those that are done with. A job that waits left one where no worker took its
/// message for a day. Failed jobs need none; those of versions before the index of failed jobs left one.
///
/// # Errors
/// When the queue is away; what was done by then stands.
pub async fn apply_dead_letters(context: &Context, queue_url: &str) -> Result<Letters, ApiError> {
    let queue = context.queue_at(queue_url.to_owned());
    let (mut letters, mut seen, mut sent, mut empty) = (Letters::default(), HashSet::new(), HashSet::new(), 0);
    while empty < EMPTY_RECEIVES {
        empty += 1;
        for letter in queue.receive(HIDDEN, WAIT).await.map_err(ApiError::internal)? {
            // One that stays comes again when it is no longer hidden.
            if !seen.insert(letter.message_id.clone()) {
                continue;
            }
            empty = 0;
            match deal_with(context, &letter.body, &mut sent).await {
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

/// `sent` are the jobs that are in the queue again by another letter.
async fn deal_with(context: &Context, body: &str, sent: &mut HashSet<JobId>) -> Result<Dealt, String> {
    if let Ok(message) = serde_json::from_str::<JobMessage>(body) {
        let JobMessage { org_id, job_id } = message;
        if sent.contains(&job_id) {
            return Ok(Dealt::NotNeeded);
        }
        let dealt =
            of_job(context, message).await.map_err(|error| format!("{job_id} of {org_id}: {}", chain(&error)))?;
        if matches!(dealt, Dealt::Queued) {
            sent.insert(job_id);
        }
        return Ok(dealt);
    }
    match mail_event_worker::redrive(context, body).await {
        Ok(true) => Ok(Dealt::Applied),
        Ok(false) => Err("it cannot be read".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}

/// A job that failed is run again. One that could be run has perhaps no message left.
async fn of_job(context: &Context, JobMessage { org_id, job_id }: JobMessage) -> Result<Dealt, ApiError> {
    match redrive(context, org_id, job_id).await {
        Ok(()) => return Ok(Dealt::Queued),
        Err(ApiError::NotFailed | ApiError::OutcomeUnknown) => {}
        Err(error) => return Err(error),
    }
    let (job, now) = (context.store().job(org_id, job_id).await?, context.now());
    if job.claim(now) == Claim::Leave {
        return Ok(Dealt::NotNeeded);
    }
    let message = JobMessage::in_time(&job, now);
    context.queue(job.kind)?.send(&message).await.map_err(ApiError::internal)?;
    Ok(Dealt::Queued)
}
