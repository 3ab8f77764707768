//! Before a job calls its provider: whether there is a call for it now, under the rate and the breaker that all environments share. A job
//! without one waits in the index of what is due, at the cost of no run.

use crate::run::{budget_of_now, delay, over_budget, over_cap};
use crate::{RunOutcome, TimeLeft};
use futures_util::lock::Mutex as AsyncMutex;
use shared::ids::{JobId, OrgId};
use shared::model::analysis::Cost;
use shared::model::job::{BacklogPlace, Claim, JobRecord, JobState, Turn, WaitingFor};
use shared::model::limiter::{Fault, Lease, LimiterRecord, Provider, Rate};
use shared::model::time::Moment;
use shared::store::jobs::Change;
use shared::{ApiError, Context};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A call that comes within this time, or that of one call, comes soon.
const SOON: Duration = Duration::from_secs(1);
/// A job whose turn has come lets the calls of other organizations pass for so many times [`SOON`], or the time of its own call if that is longer.
/// If no job of its organization got a call in that time, it gets the next one, however late.
const PATIENCE: u32 = 8;
/// How long an environment goes by what it has read of a breaker, before a call that it leased earlier.
const SEEN_FOR: Duration = Duration::from_secs(1);
/// The longest that one answer stops everybody: more than that is asked again, and opens the breaker.
const EMPTY_MAX: Duration = Duration::from_secs(300);
/// The codes of a refusal that says that the bucket is empty.
const RATE_LIMITED: [&str; 3] = [MAY_BE_ITS_OWN, "provider_rate_limited", "mail_rate_limited"];
/// That of a refusal which may be for the length of its job's own text.
const MAY_BE_ITS_OWN: &str = "provider_limited";
/// How many jobs that were refused for the rate an environment remembers.
const LIMITED_MAX: usize = 1_000;

/// What an environment knows of the rates and breakers of the providers that it calls.
#[derive(Debug)]
pub struct Limiter {
    configured: Rate,
    known: Mutex<HashMap<Provider, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    record: LimiterRecord,
    read_at: Option<Moment>,
    refused_in_a_row: u32,
    said: Option<RateLimits>,
    /// Calls that were answered well.
    answered: u64,
    /// How many were by the time that a job was refused for the rate first.
    limited: HashMap<JobId, u64>,
}

impl Known {
    /// Notes that a job was refused for the rate. Whether it is so again though others were answered meanwhile: then the model has room, and the
    /// job's own text is too large for it.
    fn is_its_own(&mut self, job: JobId) -> bool {
        if self.limited.len() >= LIMITED_MAX {
            self.limited.clear();
        }
        *self.limited.entry(job).or_insert(self.answered) < self.answered
    }
}

/// What a provider says of its rate along with an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Calls that it takes in a minute.
    pub per_minute: Option<u64>,
    /// So long it takes no more.
    pub empty_for: Option<Duration>,
}

/// The calls of an invocation, leased one by one: which of a batch's jobs call a provider, and which one, is known only when each is looked at.
pub(crate) struct Calls<'w> {
    limiter: &'w Limiter,
    /// One asks at a time: what the record said to it is good for the next.
    asks: AsyncMutex<()>,
}

/// What comes of asking for a call.
pub(crate) enum Admission {
    /// It may be made; whether it probes a breaker that opened so often in a row.
    Call(Option<u32>),
    /// The job waits for its turn, and another message is to be sent; none if it went on meanwhile.
    Waits(Option<Box<JobRecord>>),
}

/// Until when a job waits, with what, and why.
struct Wait {
    until: Moment,
    turn: Turn,
    /// What refused others, where the breaker is open.
    refused: Option<WaitingFor>,
    /// Its place in the backlog of its organization, where it has one.
    place: Option<BacklogPlace>,
}

impl Limiter {
    /// With the rate that is in force until the provider says another one.
    #[must_use]
    pub fn new(configured: Rate) -> Self {
        Self { configured, known: Mutex::default() }
    }

    /// Notes what a provider said of its rate.
    pub fn heard(&self, provider: &Provider, said: RateLimits) {
        self.with(provider, |known| known.said = Some(said));
    }

    fn with<T>(&self, provider: &Provider, change: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(known.entry(provider.clone()).or_default())
    }

    /// Leases a call of a provider, which counts it for `units`, or else one that the lender of its calls has over now.
    async fn lease(
        &self,
        context: &Context,
        provider: &Provider,
        units: u64,
        ahead: Option<Duration>,
    ) -> Result<(Lease, Rate), ApiError> {
        // Boxed, as the whole way to the database would stand in each of a batch's runs twice.
        let (lease, rate) = Box::pin(self.lease_own(context, provider, units, ahead)).await?;
        let (Lease::Nothing(_), Some(lender)) = (&lease, provider.lender()) else { return Ok((lease, rate)) };
        Ok(match Box::pin(self.lease_own(context, &lender, units, Some(Duration::ZERO))).await? {
            (Lease::Nothing(_), _) => (lease, rate),
            (lent, _) => (lent, rate),
        })
    }

    async fn lease_own(
        &self,
        context: &Context,
        provider: &Provider,
        units: u64,
        ahead: Option<Duration>,
    ) -> Result<(Lease, Rate), ApiError> {
        let mut record = self.with(provider, |known| known.record.clone());
        let lease = context.store().lease_call(provider, self.configured, &mut record, units, ahead).await?;
        let rate = provider.share(record.rate(self.configured));
        self.know(provider, record, context.now());
        Ok((lease, rate))
    }

    fn know(&self, provider: &Provider, record: LimiterRecord, now: Moment) {
        self.with(provider, |known| (known.record, known.read_at) = (record, Some(now)));
    }

    /// Whether calls that were leased before are not to be made. What was read within a second is good for that.
    async fn is_stopped(&self, context: &Context, provider: &Provider) -> Result<bool, ApiError> {
        let now = context.now();
        let is_old = |read_at: Option<Moment>| read_at.is_none_or(|at| at > now || at.plus(SEEN_FOR) < now);
        if self.with(provider, |known| is_old(known.read_at)) {
            let record = context.store().limiter_record(provider).await?;
            self.know(provider, record, now);
        }
        Ok(self.with(provider, |known| known.record.is_stopped(now)))
    }

    /// Tells all environments what a job's run says of its provider. `probe` is what its call was let through with.
    pub(crate) async fn note(
        &self,
        context: &Context,
        provider: &Provider,
        job: JobId,
        probe: Option<u32>,
        ended: &RunOutcome,
    ) -> Result<(), ApiError> {
        let (store, now) = (context.store(), context.now());
        let (rate, said) = self.with(provider, |known| (known.record.rate(self.configured), known.said.take()));
        let RateLimits { per_minute, mut empty_for } = said.unwrap_or_default();
        if let Some(said) =
            per_minute.map(|calls| Rate::of(calls, Duration::from_secs(60))).filter(|said| *said != rate)
        {
            store.note_rate(provider, said).await?;
        }
        let fault = match ended {
            RunOutcome::Refused { code, .. } if self.is_its_own(provider, job, code) => None,
            RunOutcome::Refused { code, retry_after, .. } => {
                if RATE_LIMITED.contains(code) {
                    empty_for = empty_for.max(Some(retry_after.unwrap_or(rate.interval())));
                }
                Fault::of(code)
            }
            RunOutcome::Final(..) | RunOutcome::Retry { .. } | RunOutcome::NoTime => None,
        };
        if let Some(empty_for) = empty_for {
            store.empty_bucket(provider, rate, now.plus(empty_for.min(EMPTY_MAX))).await?;
        }
        match (fault, ended) {
            (Some(fault), RunOutcome::Refused { code, detail, .. }) => {
                let in_a_row = self.with(provider, |known| {
                    known.refused_in_a_row = known.refused_in_a_row.saturating_add(1);
                    known.refused_in_a_row
                });
                if probe.is_none() && in_a_row < fault.opens_after() {
                    return Ok(());
                }
                let failures = probe.unwrap_or(0).saturating_add(1);
                let until = now.plus(fault.opens_for(failures));
                if store.open_breaker(provider, failures, until, &WaitingFor::new(code, detail)).await? {
                    tracing::warn!(
                        provider = provider.name(),
                        code,
                        failures,
                        "a provider is called by one probe at a time"
                    );
                }
                Ok(())
            }
            (_, RunOutcome::Final(JobState::Succeeded, ..)) => {
                self.with(provider, |known| {
                    known.refused_in_a_row = 0;
                    known.answered = known.answered.saturating_add(1);
                });
                if probe.is_some() {
                    tracing::info!(provider = provider.name(), "a provider answers again");
                    store.close_breaker(provider).await?;
                }
                Ok(())
            }
            // Nobody knows whether it answered: the next job asks.
            _ if probe.is_some() => store.give_probe_back(provider).await,
            _ => Ok(()),
        }
    }

    /// Whether a refusal is its job's own affair: one that may be is so from the second time on, if others were answered meanwhile.
    fn is_its_own(&self, provider: &Provider, job: JobId, code: &str) -> bool {
        code == MAY_BE_ITS_OWN && self.with(provider, |known| known.is_its_own(job))
    }
}

impl<'w> Calls<'w> {
    /// None yet.
    pub(crate) fn for_batch(limiter: &'w Limiter) -> Self {
        Self { limiter, asks: AsyncMutex::default() }
    }

    /// Whether a job may call its provider now. At the end of its time it may in any case: that is its last try.
    pub(crate) async fn admit(
        &self,
        context: &Context,
        job: &JobRecord,
        provider: &Provider,
        time: &TimeLeft<'_>,
    ) -> Result<Admission, ApiError> {
        let now = context.now();
        let is_last_try = job.give_up_at.is_some_and(|at| at <= now);
        if is_last_try || (job.has_call(now) && !self.limiter.is_stopped(context, provider).await?) {
            return Ok(Admission::Call(None));
        }
        let recipients = u64::from(job.recipients.max(1));
        // Whoever has waited in a backlog may take one that comes soon. Others leave that to them.
        let soon = if job.turn.is_some() { self.limiter.soon(provider) } else { Duration::ZERO };
        let (lease, rate) = {
            let _alone = self.asks.lock().await;
            self.limiter.lease(context, provider, recipients, Some(soon)).await?
        };
        let takes = rate.time_of(recipients);
        let patience = job.turn.map(|_| soon.max(takes).saturating_mul(PATIENCE));
        let (lease, place) = match lease {
            Lease::Nothing(next) => {
                let place =
                    context.store().join_backlog(job.org_id, provider, next, (rate, recipients), patience).await?;
                match place {
                    Some(place) => (Lease::Nothing(place.turn), Some(place)),
                    // Nobody of its own is before it, or others have passed it for too long: the next call is its.
                    None => (self.limiter.next_call(context, job.org_id, provider, recipients, next).await?, None),
                }
            }
            lease => (lease, None),
        };
        let waits = match lease {
            Lease::Now => return Ok(Admission::Call(None)),
            Lease::Probe(failures) => return Ok(Admission::Call(Some(failures))),
            Lease::At(until) => Wait { until, turn: Turn::Call, refused: None, place: None },
            Lease::Nothing(until) => Wait { until, turn: Turn::Backlog, refused: None, place },
            Lease::Open(until, why) => {
                let place = context.store().join_backlog(job.org_id, provider, now, (rate, recipients), None).await?;
                let turn = place.map_or(now, |place| place.turn);
                let until = until.max(turn).max(now.plus(delay(job.refusals.saturating_add(1))));
                Wait { until, turn: Turn::Backlog, refused: Some(why), place }
            }
        };
        let place = waits.place;
        let admission = wait(context, job, waits, time.last_call()).await?;
        let is_kept = matches!(&admission, Admission::Waits(Some(waits)) if waits.place == place);
        if let Some(place) = place.filter(|_| !is_kept) {
            // Another message of the job was faster, or the job has ended.
            Box::pin(context.store().leave_backlog(job, place)).await;
        }
        Ok(admission)
    }
}

impl Limiter {
    /// Leases the next call for an organization that has no job waiting, or was passed over too long. Its other jobs come after that call, so it
    /// holds one call ahead of others at a time, however late that is.
    async fn next_call(
        &self,
        context: &Context,
        org: OrgId,
        provider: &Provider,
        recipients: u64,
        expected: Moment,
    ) -> Result<Lease, ApiError> {
        let (lease, rate) = self.lease(context, provider, recipients, None).await?;
        if let Lease::At(at) = lease
            && at > expected
        {
            // Others were faster, and its backlog would end before the call.
            context.store().extend_backlog(org, provider, at, rate.time_of(recipients)).await?;
        }
        Ok(lease)
    }

    fn soon(&self, provider: &Provider) -> Duration {
        provider.share(self.with(provider, |known| known.record.rate(self.configured))).interval().max(SOON)
    }
}

/// Has a job wait, unless it went on meanwhile. One whose run died is queued again, and charged with what that may have cost: so it is asked
/// until a moment whether that is written, as of a claim.
async fn wait(context: &Context, job: &JobRecord, wait: Wait, until: Moment) -> Result<Admission, ApiError> {
    let detail = "Its provider takes so many calls in a time, and others come before it.";
    let why = wait.refused.clone().unwrap_or_else(|| WaitingFor::new("turn", detail));
    let budget = budget_of_now(context, job, job.takeover_charge().cost_nanos).await?;
    let waits = context.store().change_job_as_read(job.clone(), |job| {
        let (now, job) = (context.now(), &budget.judges(job));
        if !matches!(job.claim(now), Claim::Run(_)) {
            return Ok(Change::none(false));
        }
        let (back, charged) = job.back_from_a_dead_run(now);
        let waits = back.waits_for_turn(wait.until, wait.turn, why.clone(), now).standing_at(wait.place);
        let waits = if wait.refused.is_some() { waits.held_back() } else { waits };
        Ok(Change::to((waits, charged), true)
            .asked_until(until)
            .or_over_budget(Change::to(over_budget(job, Cost::Unknown, now), true))
            .or_over_cap(over_cap(job, Cost::Unknown, now, true)))
    });
    let (job, is_written) = waits.await?;
    Ok(Admission::Waits(is_written.then(|| Box::new(job))))
}
