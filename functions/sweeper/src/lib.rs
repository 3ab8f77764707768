//! Every minute: queues again what was stored but never sent, or whose worker died, and ends what can go no
//! further. Reads the index of what is due, never the jobs themselves at large.

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use shared::ids::JobId;
use shared::jobs::JobMessage;
use shared::model::job::{Claim, JobKind, JobRecord};
use shared::model::time::Moment;
use shared::runtime::event::Event;
use shared::store::jobs::DueJob;
use shared::store::keys::DUE_SHARDS;
use shared::telemetry::{self, About};
use shared::{ApiError, Context};
use std::collections::HashMap;
use std::time::Duration;

/// Entries of a shard that are read at a time.
const PAGE: i32 = 100;
/// Shards that are swept at a time.
const SHARDS_AT_ONCE: usize = 4;
/// Jobs of a page that are looked at at a time.
const AT_ONCE: usize = 16;
/// Kept back from the time left: no page is begun later.
const TIME_TO_END: Duration = Duration::from_secs(10);
/// How long a sweep waits for a queue or a database that was away before it tries again.
const PAUSE: Duration = Duration::from_secs(5);

/// The schedule's event, or any other: nothing in it matters, and a sweep more does no harm.
#[derive(Clone, Copy, Debug)]
pub struct Tick;

impl Event for Tick {
    fn read(_json: &str) -> Self {
        Self
    }
}

/// What a sweep did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Jobs whose message was sent again.
    pub queued: u64,
    /// Jobs that ended here.
    pub ended: u64,
    /// Jobs, or shards that could not be read, left for the next sweep.
    pub left: u64,
}

/// Deals with all that is due, until `deadline_ms` (epoch milliseconds). While something is left because the
/// queue or the database is away, it goes on trying: what comes back is not made to wait for the next minute.
pub async fn handle(context: &Context, _tick: Tick, deadline_ms: u64) -> Swept {
    let deadline = Moment::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
    let mut swept = Swept::default();
    if let Err(error) = context.store().note_partitions_known().await {
        tracing::warn!(%error, "that this version serves could not be noted");
    }
    loop {
        let shards: Vec<_> = (0..DUE_SHARDS).map(|shard| sweep_shard(context, shard, deadline)).collect();
        let round: Vec<Swept> = stream::iter(shards).buffer_unordered(SHARDS_AT_ONCE).collect().await;
        swept.queued += round.iter().map(|shard| shard.queued).sum::<u64>();
        swept.ended += round.iter().map(|shard| shard.ended).sum::<u64>();
        swept.left = round.iter().map(|shard| shard.left).sum();
        if swept.left == 0 || context.now().plus(PAUSE + TIME_TO_END) > deadline {
            if swept != Swept::default() {
                tracing::info!(queued = swept.queued, ended = swept.ended, left = swept.left, "swept");
            }
            return swept;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Deals with what is due in one shard, page by page.
async fn sweep_shard(context: &Context, shard: u8, deadline: Moment) -> Swept {
    let mut swept = Swept::default();
    loop {
        let now = context.now();
        if now.plus(TIME_TO_END) > deadline {
            swept.left += 1;
            return swept;
        }
        let due = match context.store().due_jobs(shard, now, PAGE).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(shard, %error, "a shard of what is due could not be read");
                swept.left += 1;
                return swept;
            }
        };
        let page = sweep_page(context, &due, now).await;
        swept.queued += page.queued;
        swept.ended += page.ended;
        // What a page leaves stands first in the next one: that would be the same page again.
        swept.left += page.left;
        if due.len() < PAGE as usize || page.left > 0 {
            return swept;
        }
    }
}

async fn sweep_page(context: &Context, due: &[DueJob], now: Moment) -> Swept {
    let mut swept = Swept::default();
    if due.is_empty() {
        return swept;
    }
    let jobs = match context.store().jobs_due(due).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(%error, "jobs that are due could not be read");
            return Swept { left: due.len() as u64, ..swept };
        }
    };
    let mut jobs: HashMap<JobId, JobRecord> = jobs.into_iter().map(|job| (job.job_id, job)).collect();
    let looks: Vec<_> = due
        .iter()
        .map(|due| {
            let look = look(context, due, jobs.remove(&due.job_id), now);
            let message = JobMessage { org_id: due.org_id, job_id: due.job_id };
            telemetry::during(About::function("sweeper"), async move {
                message.note();
                look.await.inspect_err(|error| tracing::warn!(%error, "a job that is due could not be dealt with"))
            })
        })
        .collect();
    let looked: Vec<Result<Look, ApiError>> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    let mut waiting = Vec::new();
    for look in looked {
        match look {
            Ok(Look::Send(job)) => waiting.push(*job),
            Ok(Look::Ended) => swept.ended += 1,
            Ok(Look::Moved) => {}
            Err(_) => swept.left += 1,
        }
    }
    let mut sent = Vec::new();
    for kind in JobKind::ALL {
        let waiting: Vec<&JobRecord> = waiting.iter().filter(|job| job.kind == kind).collect();
        sent.extend(send(context, kind, &waiting).await);
    }
    swept.queued = sent.len() as u64;
    swept.left += (waiting.len() - sent.len()) as u64;
    // Sent first, noted then: a crash between the two sends a message twice, which a claim bears.
    let notes: Vec<_> =
        sent.into_iter().map(|job| telemetry::during(About::function("sweeper"), note_sent(context, job))).collect();
    swept.left +=
        stream::iter(notes).buffer_unordered(AT_ONCE).filter(|noted| std::future::ready(!noted)).count().await as u64;
    swept
}

/// Sends the messages of jobs of one kind; gives those whose message is on the queue.
async fn send<'j>(context: &Context, kind: JobKind, jobs: &[&'j JobRecord]) -> Vec<&'j JobRecord> {
    if jobs.is_empty() {
        return Vec::new();
    }
    let messages: Vec<_> = jobs.iter().map(|job| JobMessage::of(job)).collect();
    let outcomes = match context.queue(kind) {
        Ok(queue) => queue.send_batch(&messages).await,
        Err(error) => {
            tracing::error!(?kind, %error, "the sweeper has no queue of a kind");
            return Vec::new();
        }
    };
    jobs.iter().zip(outcomes).filter_map(|(job, outcome)| outcome.is_ok().then_some(*job)).collect()
}

/// What a due job needs.
enum Look {
    Send(Box<JobRecord>),
    Ended,
    /// It went on by itself meanwhile.
    Moved,
}

async fn look(context: &Context, due: &DueJob, job: Option<JobRecord>, now: Moment) -> Result<Look, ApiError> {
    let store = context.store();
    let Some(job) = job else { return store.forget_due(due).await.map(|()| Look::Ended) };
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

/// The message is on the queue: look again when it has had time to be received. Whether that stands.
async fn note_sent(context: &Context, job: &JobRecord) -> bool {
    JobMessage { org_id: job.org_id, job_id: job.job_id }.note();
    let later = job.sent_again(context.now());
    // If the job went on meanwhile, all the better.
    let noted = context.store().advance_job(job, &later, &Default::default()).await;
    noted.map_err(|error| tracing::warn!(%error, "a job was queued and may be once more")).is_ok()
}
