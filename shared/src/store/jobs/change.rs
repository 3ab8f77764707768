//! Changes of a job: a pure function says what is to become of it, and that is written if the job is still as it
//! was read.

mod surely;

use super::super::keys::Key;
use super::super::slices::{Reservation, lane_backoff, random_lane};
use super::super::{Store, Transaction, changes, condition_failed, contended, is_contended, number, usage};
use super::{LANE_ATTEMPTS, shard_of};
use crate::caps::Cap;
use crate::error::ApiError;
use crate::ids::{JobId, OrgId};
use crate::model::job::{ATTEMPTS_EXHAUSTED, GAVE_UP, JobRecord, JobState, UsageDelta};
use crate::model::org::OrgRecord;
use crate::model::price::usd;
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::TransactWriteItem;
use platform::telemetry::metrics::{Metric, metrics};
use platform::telemetry::{Part, timed};

/// How often a change is tried while the job changes under it.
const CHANGE_ATTEMPTS: u32 = 6;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    Done,
    /// The job is not what it was when it was read. Nothing was written.
    Changed,
    /// The month's budget has no room. Nothing was written.
    OverBudget,
    /// The operator's cap of the day has no room. Nothing was written.
    OverCap,
}

/// What is to become of a job, and what to answer when that is written.
#[derive(Debug)]
pub struct Change<T> {
    write: Option<(JobRecord, UsageDelta)>,
    over_budget: Option<Box<Self>>,
    over_cap: Option<Box<Self>>,
    asks_until: Option<Moment>,
    answer: T,
}

impl<T> Change<T> {
    /// The job stays as it is.
    pub fn none(answer: T) -> Self {
        Self { write: None, over_budget: None, over_cap: None, asks_until: None, answer }
    }

    /// The job's next state, and what changes in the month's usage with it.
    pub fn to(write: (JobRecord, UsageDelta), answer: T) -> Self {
        Self { write: Some(write), over_budget: None, over_cap: None, asks_until: None, answer }
    }

    /// What is done instead when the month's budget has no room for it.
    #[must_use]
    pub fn or_over_budget(self, instead: Self) -> Self {
        Self { over_budget: Some(Box::new(instead)), ..self }
    }

    /// What is done instead when the operator's cap of the day has no room for it.
    #[must_use]
    pub fn or_over_cap(self, instead: Self) -> Self {
        Self { over_cap: Some(Box::new(instead)), ..self }
    }

    /// Where no reply says whether it is written, that is asked again until a moment.
    #[must_use]
    pub fn asked_until(self, until: Moment) -> Self {
        Self { asks_until: Some(until), ..self }
    }
}

impl Store {
    /// Reads a job, and writes what `change` makes of it. If the job changed meanwhile, it is read again and `change`
    /// is asked again. Returns the job as it is then, and the change's answer.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such job, [`ApiError::Contended`] if it kept changing, and those of `change`.
    pub async fn change_job<T>(
        &self,
        org: OrgId,
        job: JobId,
        change: impl FnMut(&JobRecord) -> Result<Change<T>, ApiError>,
    ) -> Result<(JobRecord, T), ApiError> {
        let job = self.job(org, job).await?;
        self.change_job_as_read(job, change).await
    }

    /// The same for a job that was read before.
    ///
    /// # Errors
    /// As [`Store::change_job`].
    pub async fn change_job_as_read<T>(
        &self,
        mut job: JobRecord,
        mut change: impl FnMut(&JobRecord) -> Result<Change<T>, ApiError>,
    ) -> Result<(JobRecord, T), ApiError> {
        for _ in 0..CHANGE_ATTEMPTS {
            let mut next = Some(change(&job)?);
            while let Some(Change { write, over_budget, over_cap, asks_until, answer }) = next {
                let Some((after, delta)) = write else { return Ok((job, answer)) };
                next = match self.advance_job(&job, &after, &delta, asks_until).await? {
                    Advance::Done => return Ok((after, answer)),
                    Advance::OverBudget => over_budget.map(|instead| *instead),
                    Advance::OverCap => over_cap.map(|instead| *instead),
                    Advance::Changed => None,
                };
            }
            job = self.job(job.org_id, job.job_id).await?;
        }
        Err(ApiError::Contended)
    }

    /// Writes a job's next state if it is still as it was read, with what changes in the month's usage. What another run may cost is
    /// taken of the operator's cap before, and what was not spent goes back after it, as does all of it where nothing was written. So does a
    /// place in a backlog in which nobody is called any more. Where no reply says whether it is written, that is asked again until a moment.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn advance_job(
        &self,
        before: &JobRecord,
        after: &JobRecord,
        delta: &UsageDelta,
        asks_until: Option<Moment>,
    ) -> Result<Advance, ApiError> {
        let advance = self.advance_under_caps(before, after, delta, asks_until).await?;
        if advance == Advance::Done
            && let Some(place) = before.place_left(after, self.now())
        {
            Box::pin(self.leave_backlog(before, place)).await;
        }
        Ok(advance)
    }

    async fn advance_under_caps(
        &self,
        before: &JobRecord,
        after: &JobRecord,
        delta: &UsageDelta,
        asks_until: Option<Moment>,
    ) -> Result<Advance, ApiError> {
        let org = after.org_id;
        let more = match (before.owes_cap, after.owes_cap) {
            // What its last run cost is within what it took before; the next one's is not taken yet.
            (_, true) => 0,
            (true, false) if after.state == JobState::Running => after.reserved_nanos,
            _ => u64::try_from(delta.spent_nanos).unwrap_or(0),
        };
        let taken = match self.take_of_cap(Cap::Dollars, org, None, more).await {
            Err(ApiError::OperatorCapReached { .. }) => return Ok(Advance::OverCap),
            taken => taken?,
        };
        let advance = match self.try_advance(before, after, delta, asks_until).await {
            // Whoever writes it again takes again.
            Err(error) if is_contended(&error) => {
                self.give_back_to_cap(taken, more).await;
                return Err(error);
            }
            advance => advance?,
        };
        if advance != Advance::Done {
            self.give_back_to_cap(taken, more).await;
            return Ok(advance);
        }
        let less = u64::try_from(-delta.spent_nanos).unwrap_or(0);
        let day = before.cap_day.clone().unwrap_or_else(|| before.created_at.day());
        if let Some(taken) = self.taken_on(Cap::Dollars, org, day, less).filter(|_| !before.owes_cap) {
            self.give_back_to_cap(taken, less).await;
        }
        Ok(advance)
    }

    async fn try_advance(
        &self,
        before: &JobRecord,
        after: &JobRecord,
        delta: &UsageDelta,
        asks_until: Option<Moment>,
    ) -> Result<Advance, ApiError> {
        let writes = self.advance_writes(before, after)?;
        let settles = after.kind.is_counted() && !delta.is_empty();
        let mut advance = Advance::OverBudget;
        if !settles || after.job_id.partition().is_none() {
            let mut writes = writes.clone();
            if settles {
                writes.insert(1, self.update(usage::settle(after, delta))?);
            }
            let outcome = timed(Part::Db, self.transact_until(&writes, asks_until)).await?;
            advance = match &outcome {
                Transaction::Done => Advance::Done,
                _ if settles && outcome.refused(1) && !outcome.refused(0) => Advance::OverBudget,
                Transaction::Refused(_) => Advance::Changed,
            };
        }
        if settles && advance == Advance::OverBudget && self.counts_in_lanes(after).await? {
            advance = timed(Part::Db, self.advance_in_lanes(after, delta, writes, asks_until)).await?;
        }
        if advance == Advance::Done {
            count(before, after, delta);
        }
        Ok(advance)
    }

    /// Whether what a job uses is in lanes. That is so wherever the job lies: once lanes hold units, the month's record counts those as used.
    async fn counts_in_lanes(&self, job: &JobRecord) -> Result<bool, ApiError> {
        if job.job_id.partition().is_some() {
            return Ok(true);
        }
        let org: Option<OrgRecord> = timed(Part::Db, self.get(Key::org(job.org_id))).await?;
        Ok(org.is_some_and(|org| org.spreads_items(self.now())))
    }

    /// A job's next state on condition that it is as it was read, and its entries in the indexes. The first write is that of the job.
    pub(super) fn advance_writes(
        &self,
        before: &JobRecord,
        after: &JobRecord,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let update = changes(Key::job(after.org_id, after.job_id), before, after)?
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(before.version));
        let mut writes = vec![self.update(update)?];
        if before.due_at != after.due_at {
            let entry = before.due_at.map(|at| Key::due(shard_of(before), before.job_id, at));
            writes.extend(entry.map(|entry| self.delete_due(entry)).transpose()?);
            writes.extend(after.due_at.map(|at| self.put_due(after, at)).transpose()?);
        }
        writes.extend(self.move_failed(before, after)?);
        Ok(writes)
    }
}

impl Store {
    /// Writes a job's next state in an organization that is spread. The first write is that of the job.
    async fn advance_in_lanes(
        &self,
        job: &JobRecord,
        delta: &UsageDelta,
        job_writes: Vec<TransactWriteItem>,
        asks_until: Option<Moment>,
    ) -> Result<Advance, ApiError> {
        let mut reserving = usage::reserving(&self.kept, job, delta);
        let name = usage::settled_in(job);
        let mut lane = self.kept.pop(&name).unwrap_or_else(random_lane);
        for attempt in 0..LANE_ATTEMPTS {
            let mut writes = job_writes.clone();
            for update in usage::settle_in_lane(job, delta, lane) {
                writes.push(self.update(update)?);
            }
            let start = writes.len();
            for update in reserving.iter().flat_map(Reservation::writes) {
                writes.push(self.update(update)?);
            }
            match (self.transact_once_until(&writes, asks_until).await?, &mut reserving) {
                (Some(Transaction::Done), taken) => {
                    self.kept.push(&name, lane);
                    taken.iter().for_each(|taken| taken.keep(&self.kept));
                    return Ok(Advance::Done);
                }
                (Some(Transaction::Refused(reasons)), Some(taking)) if !condition_failed(&reasons[0]) => {
                    if !self.refill(taking, &reasons[start..]).await? {
                        return Ok(Advance::OverBudget);
                    }
                }
                (Some(Transaction::Refused(_)), _) => return Ok(Advance::Changed),
                (None, taking) => {
                    lane = random_lane();
                    taking.iter_mut().for_each(Reservation::try_another);
                    tokio::time::sleep(lane_backoff(attempt)).await;
                }
            }
        }
        Err(contended())
    }
}

/// Counts how a job ended and what was spent: alarms and the dashboard read it (docs/operations.md, "Metrics").
fn count(before: &JobRecord, after: &JobRecord, delta: &UsageDelta) {
    let ended = match after.state {
        JobState::Queued | JobState::Running => None,
        JobState::Succeeded => Some(Metric("Succeeded")),
        JobState::Failed => Some(Metric("Failed")),
        JobState::Cancelled => Some(Metric("Cancelled")),
        JobState::Unknown => Some(Metric("Unknown")),
    };
    let ended = ended.filter(|_| before.state != after.state).map(|name| (name, 1.into()));
    let given_up =
        after.error.as_ref().is_some_and(|error| matches!(error.code.as_str(), GAVE_UP | ATTEMPTS_EXHAUSTED));
    let given_up = ended.as_ref().filter(|_| given_up).map(|_| (Metric("GivenUp"), 1.into()));
    let spent = Some(delta.cost_nanos).filter(|nanos| *nanos > 0).and_then(|nanos| usd(nanos).parse().ok());
    let spent = spent.map(|dollars| (Metric("SpendingUsd"), dollars));
    let values: Vec<_> = ended.into_iter().chain(given_up).chain(spent).collect();
    metrics("CitizenApp/Jobs", None, &values);
}
