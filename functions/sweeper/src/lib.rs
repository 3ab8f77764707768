//! Every minute: queues again what was stored but never sent, or whose worker died, and ends what can go no
//! further. Reads the index of what is due, never the jobs themselves at large.

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use shared::jobs::JobMessage;
use shared::model::job::{Claim, JobRecord, JobState, UNSENT_AFTER, WAITING_AFTER};
use shared::model::time::Moment;
use shared::store::jobs::DueJob;
use shared::store::keys::DUE_SHARDS;
use shared::{ApiError, Context};
use std::time::Duration;

/// Entries of a shard that are read at a time.
const PAGE: i32 = 100;
/// Jobs that are looked at at a time.
const AT_ONCE: usize = 16;
/// Kept back from the time left: no page is begun later.
const TIME_TO_END: Duration = Duration::from_secs(10);

/// The schedule's event; nothing in it matters.
#[derive(Debug, Deserialize)]
pub struct Tick {}

/// What a sweep did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Jobs whose message was sent again.
    pub queued: u64,
    /// Jobs that ended here.
    pub ended: u64,
    /// Jobs that could not be dealt with now; the next sweep finds them again.
    pub left: u64,
}

/// Deals with all that is due, until `deadline_ms` (epoch milliseconds).
pub async fn handle(context: &Context, _tick: Tick, deadline_ms: u64) -> Swept {
    let deadline = Moment::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
    let mut swept = Swept::default();
    for shard in 0..DUE_SHARDS {
        loop {
            let now = Moment::now();
            if now.plus(TIME_TO_END) > deadline {
                return swept;
            }
            let due = match context.store().due_jobs(shard, now, PAGE).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(shard, %error, "a shard of what is due could not be read");
                    break;
                }
            };
            let before = swept;
            sweep_page(context, &due, now, &mut swept).await;
            // A page that moved nothing would come again: the queue or the database is away.
            let moved = swept.queued + swept.ended > before.queued + before.ended;
            if due.len() < PAGE as usize || !moved {
                break;
            }
        }
    }
    tracing::info!(queued = swept.queued, ended = swept.ended, left = swept.left, "swept");
    swept
}

async fn sweep_page(context: &Context, due: &[DueJob], now: Moment, swept: &mut Swept) {
    let looked = stream::iter(due).map(|due| look(context, due, now)).buffer_unordered(AT_ONCE);
    let looked: Vec<Result<Look, ApiError>> = looked.collect().await;
    let mut waiting = Vec::new();
    for look in looked {
        match look {
            Ok(Look::Send(job)) => waiting.push(*job),
            Ok(Look::Ended) => swept.ended += 1,
            Ok(Look::Moved) => {}
            Err(error) => {
                tracing::warn!(%error, "a job that is due could not be dealt with");
                swept.left += 1;
            }
        }
    }
    let messages: Vec<_> = waiting.iter().map(JobMessage::of).collect();
    let Ok(queue) = context.queue() else { return };
    let outcomes = queue.send_batch(&messages).await;
    let sent = waiting.iter().zip(outcomes).filter_map(|(job, outcome)| outcome.is_ok().then_some(job));
    let sent: Vec<&JobRecord> = sent.collect();
    swept.left += (waiting.len() - sent.len()) as u64;
    // Sent first, noted then: a crash between the two sends a message twice, which a claim bears.
    let noted = stream::iter(sent).map(|job| note_sent(context, job)).buffer_unordered(AT_ONCE);
    swept.queued += noted.collect::<Vec<()>>().await.len() as u64;
}

/// What a due job needs.
enum Look {
    Send(Box<JobRecord>),
    Ended,
    /// It went on by itself meanwhile.
    Moved,
}

async fn look(context: &Context, due: &DueJob, now: Moment) -> Result<Look, ApiError> {
    let store = context.store();
    let job = match store.job(due.org_id, due.job_id).await {
        Err(ApiError::NotFound) => return store.forget_due(due).await.map(|()| Look::Ended),
        job => job?,
    };
    if job.due_at != Some(due.at) {
        return Ok(Look::Moved);
    }
    match job.claim(now) {
        Claim::End(ended, settlement) => {
            store.advance_job(&job, &ended, &settlement).await?;
            Ok(Look::Ended)
        }
        // A dead run is taken over by the worker that gets the message: that also charges what it cost.
        Claim::Run(_) => Ok(Look::Send(Box::new(job))),
        Claim::Leave => Ok(Look::Moved),
    }
}

/// The message is on the queue: look again when it has had time to be received.
async fn note_sent(context: &Context, job: &JobRecord) {
    let wait = if job.state == JobState::Queued { WAITING_AFTER } else { UNSENT_AFTER };
    let later = job.due(Moment::now().plus(wait));
    // If the job went on meanwhile, all the better.
    if let Err(error) = context.store().advance_job(job, &later, &Default::default()).await {
        tracing::warn!(job_id = %job.job_id, %error, "a job was queued again and may be once more");
    }
}
