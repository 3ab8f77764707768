//! Every minute: queues again what was stored but never sent, or whose worker died, and ends what can go no
//! further, batches of items among it. Reads the index of what is due, never the jobs themselves at large.

use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use shared::error::chain;
use shared::ids::JobId;
use shared::jobs::JobMessage;
use shared::model::job::{Claim, JobKind, JobRecord, JobState};
use shared::model::time::Moment;
use shared::runtime::event::Event;
use shared::store::items::PendingBatch;
use shared::store::jobs::{DueJob, Found};
use shared::store::keys::DUE_SHARDS;
use shared::telemetry::metrics::{Metric, metrics};
use shared::telemetry::{self, About};
use shared::{ApiError, Context};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
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
/// An entry that its job does not point to is removed after this.
const ORPHANED_AFTER: Duration = Duration::from_secs(60 * 60);

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
    /// Jobs and batches of items that ended here.
    pub ended: u64,
    /// Jobs and batches that could not be dealt with, and shards that were not read to their end: left for the next sweep.
    pub left: u64,
}

/// What was done in a shard, or in a page of it.
#[derive(Debug, Default, Clone, Copy)]
struct Round {
    swept: Swept,
    /// Something is left because the queue or the database is away.
    is_away: bool,
    /// Since when the longest due of what is left is due.
    oldest: Option<Moment>,
}

impl Round {
    fn add(&mut self, other: Self) {
        self.swept.queued += other.swept.queued;
        self.swept.ended += other.swept.ended;
        self.swept.left += other.swept.left;
        self.is_away |= other.is_away;
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
    }

    /// Something that was due at a time is left for later.
    fn leave(&mut self, due_at: Option<Moment>, is_away: bool) {
        self.add(Self { swept: Swept { left: 1, ..Swept::default() }, is_away, oldest: due_at });
    }
}

/// The messages that this sweep has sent and could not note: of which job, and when that was due. As long as it is due at that time, only the
/// note is written again.
#[derive(Default)]
struct Unnoted(Mutex<BTreeSet<(JobId, Option<Moment>)>>);

impl Unnoted {
    fn has(&self, job: &JobRecord) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(job.job_id, job.due_at))
    }

    fn add(&self, job: &JobRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((job.job_id, job.due_at));
    }
}

/// Deals with all that is due, until `deadline_ms` (epoch milliseconds). While something is left because the
/// queue or the database is away, it goes on trying: what comes back is not made to wait for the next minute.
pub async fn handle(context: &Context, _tick: Tick, deadline_ms: u64) -> Swept {
    let deadline = Moment::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
    let (mut swept, unnoted) = (Swept::default(), Unnoted::default());
    if let Err(error) = context.store().note_partitions_known().await {
        tracing::warn!(cause = chain(&error), "that this version serves could not be noted");
    }
    // Each minute another one is first: what takes all the time of one sweep does not take it of all.
    let first = context.now().as_millis().div_euclid(60_000).rem_euclid(i64::from(DUE_SHARDS)) as usize;
    loop {
        let shards: Vec<_> = (0..DUE_SHARDS).map(|shard| sweep_shard(context, &unnoted, shard, deadline)).collect();
        let shards = stream::iter(in_turn(shards, first)).buffer_unordered(SHARDS_AT_ONCE);
        let round = shards.fold(Round::default(), |mut round, shard| async move {
            round.add(shard);
            round
        });
        let round = round.await;
        swept = Swept {
            queued: swept.queued + round.swept.queued,
            ended: swept.ended + round.swept.ended,
            left: round.swept.left,
        };
        if !round.is_away || context.now().plus(PAUSE + TIME_TO_END) > deadline {
            report(swept, round.oldest.map_or(Duration::ZERO, |at| at.until(context.now())));
            return swept;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn in_turn<T>(mut all: Vec<T>, first: usize) -> Vec<T> {
    all.rotate_left(first);
    all
}

/// Counts what is left and since when: an alarm reads it (docs/operations.md, "Metrics").
fn report(swept: Swept, oldest_due: Duration) {
    if swept != Swept::default() {
        let Swept { queued, ended, left } = swept;
        tracing::info!(queued, ended, left, oldest_due_seconds = oldest_due.as_secs(), "swept");
    }
    let values = [(Metric("SweepLeft"), swept.left.into()), (Metric("OldestDueSeconds"), oldest_due.as_secs().into())];
    metrics("CitizenApp/Jobs", None, &values);
}

/// Deals with what is due in one shard, page by page. What a page leaves holds up none of the next.
async fn sweep_shard(context: &Context, unnoted: &Unnoted, shard: u8, deadline: Moment) -> Round {
    let (mut round, mut from, mut last) = (Round::default(), None, None);
    let now = context.now();
    loop {
        if context.now().plus(TIME_TO_END) > deadline {
            round.leave(last, false);
            return round;
        }
        let page = match context.store().due_jobs(shard, now, PAGE, from).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(shard, cause = chain(&error), "a shard of what is due could not be read");
                round.leave(last, true);
                return round;
            }
        };
        let ends = [page.due.last().map(|due| due.at), page.batches.last().map(|batch| batch.at)];
        last = ends.into_iter().flatten().max().or(last);
        round.add(sweep_page(context, unnoted, &page.due, now).await);
        round.add(settle(context, &page.batches).await);
        from = page.next;
        if from.is_none() {
            return round;
        }
    }
}

/// Settles batches of items whose writers died.
async fn settle(context: &Context, batches: &[PendingBatch]) -> Round {
    let mut round = Round::default();
    let looks: Vec<_> =
        batches.iter().map(|batch| async move { (batch, context.store().settle_batch(batch).await) }).collect();
    let settled: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    for (batch, settled) in settled {
        match settled {
            Ok(true) => round.swept.ended += 1,
            // A request goes on with it.
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(org_id = %batch.org_id, batch = %batch.batch, cause = chain(&error), "a batch could not be settled");
                round.leave(Some(batch.at), matches!(error, ApiError::Unavailable(_)));
            }
        }
    }
    round
}

async fn sweep_page(context: &Context, unnoted: &Unnoted, due: &[DueJob], now: Moment) -> Round {
    let mut round = Round::default();
    if due.is_empty() {
        return round;
    }
    let jobs = match context.store().jobs_due(due).await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(cause = chain(&error), "jobs that are due could not be read");
            due.iter().for_each(|due| round.leave(Some(due.at), true));
            return round;
        }
    };
    let looks: Vec<_> = due
        .iter()
        .map(|due| {
            let look = look(context, due, jobs.get(&due.job_id), now);
            let message = JobMessage { org_id: due.org_id, job_id: due.job_id };
            telemetry::during(About::function("sweeper"), async move {
                message.note();
                let looked = look.await;
                (
                    due.at,
                    looked.inspect_err(|error| {
                        tracing::warn!(cause = chain(error), "a job that is due could not be dealt with")
                    }),
                )
            })
        })
        .collect();
    let looked: Vec<(Moment, Result<Look, ApiError>)> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    let mut waiting = Vec::new();
    for (at, look) in looked {
        match look {
            Ok(Look::Send(job)) => waiting.push(*job),
            Ok(Look::Ended) => round.swept.ended += 1,
            Ok(Look::Moved) => {}
            Ok(Look::Unreadable) => round.leave(Some(at), false),
            Err(_) => round.leave(Some(at), true),
        }
    }
    round.add(send_again(context, unnoted, &waiting).await);
    round
}

/// Sends the messages of jobs, and notes which are on their queue.
async fn send_again(context: &Context, unnoted: &Unnoted, waiting: &[JobRecord]) -> Round {
    let mut round = Round::default();
    let (mut sent, waiting): (Vec<&JobRecord>, Vec<&JobRecord>) = waiting.iter().partition(|job| unnoted.has(job));
    for kind in JobKind::ALL {
        let (kinds, outcomes) = send(context, kind, &waiting).await;
        for (job, is_sent) in kinds.into_iter().zip(outcomes) {
            if is_sent {
                round.swept.queued += 1;
                sent.push(job);
            } else {
                round.leave(job.due_at, true);
            }
        }
    }
    // Sent first, noted then: a crash between the two sends a message twice, which a claim bears.
    let notes: Vec<_> =
        sent.into_iter().map(|job| telemetry::during(About::function("sweeper"), note_sent(context, job))).collect();
    let noted: Vec<(&JobRecord, bool)> = stream::iter(notes).buffer_unordered(AT_ONCE).collect().await;
    for (job, _) in noted.into_iter().filter(|(_, is_noted)| !is_noted) {
        // Its message is on the queue: nothing is waited for that another try of this sweep could do better.
        unnoted.add(job);
        round.leave(job.due_at, false);
    }
    round
}

/// Sends the messages of the jobs of one kind; gives these, and of each whether its message is on the queue.
async fn send<'j>(context: &Context, kind: JobKind, jobs: &[&'j JobRecord]) -> (Vec<&'j JobRecord>, Vec<bool>) {
    let jobs: Vec<&JobRecord> = jobs.iter().copied().filter(|job| job.kind == kind).collect();
    if jobs.is_empty() {
        return Default::default();
    }
    let messages: Vec<_> = jobs.iter().map(|job| JobMessage::in_time(job, context.now())).collect();
    let sent = match context.queue(kind) {
        Ok(queue) => queue.send_batch(&messages).await.iter().map(Result::is_ok).collect(),
        Err(error) => {
            tracing::error!(?kind, cause = chain(&error), "the sweeper has no queue of a kind");
            vec![false; jobs.len()]
        }
    };
    (jobs, sent)
}

/// What a due job needs.
enum Look {
    Send(Box<JobRecord>),
    Ended,
    /// It went on by itself meanwhile.
    Moved,
    /// This version cannot read it: one that can has to deal with it.
    Unreadable,
}

async fn look(context: &Context, due: &DueJob, found: Option<&Found>, now: Moment) -> Result<Look, ApiError> {
    let store = context.store();
    let job = match found {
        None => return store.forget_due(due).await.map(|()| Look::Ended),
        Some(Found::Unreadable(error)) => {
            tracing::error!(cause = chain(error), "a job that is due cannot be read");
            return Ok(Look::Unreadable);
        }
        Some(Found::Job(job)) => job,
    };
    if job.due_at != Some(due.at) {
        // Its entry moves with it in one transaction: one that is still there later will never be pointed to again.
        if due.at.plus(ORPHANED_AFTER) <= now {
            tracing::warn!("an entry that no job points to is removed");
            store.forget_due(due).await?;
        }
        return Ok(Look::Moved);
    }
    match job.claim(now) {
        Claim::End(ended, delta) => {
            store.advance_job(job, &ended, &delta, None).await?;
            Ok(Look::Ended)
        }
        // A dead run is taken over by the worker that gets the message: that also charges what it cost.
        Claim::Run(_) => Ok(Look::Send(job.clone())),
        // One that waits for its turn: its message is hidden until then.
        Claim::Leave if job.state == JobState::Queued && job.sent_ahead_by(now).is_some() => {
            Ok(Look::Send(job.clone()))
        }
        Claim::Leave => Ok(Look::Moved),
    }
}

/// The message is on the queue: look again when it has had time to be received. Says whether that could be noted.
async fn note_sent<'j>(context: &Context, job: &'j JobRecord) -> (&'j JobRecord, bool) {
    JobMessage { org_id: job.org_id, job_id: job.job_id }.note();
    let later = job.sent_again(context.now());
    // If the job went on meanwhile, all the better.
    let noted = context.store().advance_job(job, &later, &Default::default(), None).await;
    let noted =
        noted.inspect_err(|error| tracing::warn!(cause = chain(error), "a job was queued and may be once more"));
    (job, noted.is_ok())
}
