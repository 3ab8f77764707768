//! Jobs that wait: refused by a provider at no cost, or until the next run, or in a backlog.

use super::transitions::UsageDelta;
use super::{CAP_REACHED, GAVE_UP, JobError, JobKind, JobRecord, JobState, UNSENT_AFTER};
use crate::model::analysis::Cost;
use crate::model::limiter::Provider;
use crate::model::time::Moment;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// A job whose message is surely on the queue is looked at again after this, in case it was lost all the same.
pub(super) const WAITING_AFTER: Duration = Duration::from_secs(900);
/// After that, it waits in a backlog: one message a day. A message stays four days on its queue.
const WAITING_LONG_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest wait for which a message is put on the queue at once, hidden until then (SQS hides one for 15 minutes at most).
const SENT_AHEAD_MAX: Duration = Duration::from_secs(890);
/// One that waits longer is looked at this much before its time: its message is hidden on the queue until then, so that a minute's jobs
/// do not come all at once.
const LOOKED_AT_BEFORE: Duration = Duration::from_secs(300);
/// A call that a job comes too late for is lost.
const CALL_KEPT: Duration = Duration::from_secs(120);
/// A message comes this much after its job's `not_before`: the queue's clock and a worker's differ, and whoever comes early does nothing.
const MARGIN: Duration = Duration::from_secs(1);

/// What a job has at its provider while it waits for its turn there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// A place in the backlog of its organization.
    Backlog,
    /// A call of its own.
    Call,
}

/// Where a job stands among those of its organization that wait for a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogPlace {
    /// When its turn comes if the provider serves nobody else.
    pub turn: Moment,
    /// The time from one call to the next by which it was given: its job takes that for each of its recipients.
    pub interval_ms: u64,
}

/// What a queued job waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingFor {
    /// Stable and `snake_case`: `turn` while its provider serves others, `next_run` after a run that failed, else what refused it, or
    /// others before it, at no cost: `mail_paused`, `provider_rate_limited`, `provider_billing`, `operator_cap_reached` and the like.
    pub code: String,
    /// For people.
    pub detail: String,
}

impl WaitingFor {
    /// A reason.
    #[must_use]
    pub fn new(code: &str, detail: &str) -> Self {
        Self { code: code.to_owned(), detail: detail.to_owned() }
    }
}

impl JobRecord {
    /// Back in the queue, because its run had no time to begin. Its message is there at once, also where a clock is a little behind.
    #[must_use]
    pub fn not_begun(&self, now: Moment) -> (Self, UsageDelta) {
        let job = Self {
            state: JobState::Queued,
            lease_until: None,
            sending: false,
            due_at: Some(now.plus(UNSENT_AFTER)),
            not_before: Some(now.minus(MARGIN)),
            version: self.version + 1,
            ..self.run_taken_back()
        };
        (job, UsageDelta::default())
    }

    /// Without the run that was claimed; only the claim's fence stays.
    #[must_use]
    pub fn run_taken_back(&self) -> Self {
        let attempts = self.attempts.saturating_sub(1);
        Self { attempts, started_at: self.started_at.filter(|_| attempts > 0), ..self.clone() }
    }

    /// Back in the queue after a refusal that cost nothing, until `delay` has passed: the run does not count, and only the claim's
    /// fence stays. After `give_up_at` a refusal ends the job; one more run is tried at that time.
    #[must_use]
    pub fn refused(&self, delay: Duration, why: WaitingFor, now: Moment) -> (Self, UsageDelta) {
        let back = self.run_taken_back();
        // A record of before has its day from its first refusal on.
        let give_up_at = self.give_up_at.unwrap_or_else(|| now.plus(self.kind.gives_up_after()));
        if now >= give_up_at {
            let detail = format!("Refused until its time was over, at last because: {}.", why.detail);
            return back.end(JobState::Failed, Err(Some(JobError::new(GAVE_UP, detail))), Cost::Nothing, now);
        }
        let not_before = now.plus(delay).min(give_up_at);
        let look = if is_sent_ahead(not_before, now) { not_before.plus(UNSENT_AFTER) } else { not_before };
        let job = Self {
            state: JobState::Queued,
            lease_until: None,
            sending: false,
            due_at: Some(look),
            not_before: Some(not_before),
            give_up_at: Some(give_up_at),
            waiting_for: Some(why),
            refusals: self.refusals.saturating_add(1),
            version: self.version + 1,
            ..back
        };
        (job, UsageDelta::default())
    }

    /// Back in the queue until the operator's cap is a new one: the day has no room for another run. What a run of it cost is charged; what
    /// the next one may cost is taken of the cap by whoever claims it.
    #[must_use]
    pub fn waits_for_cap(&self, cost: Cost, now: Moment) -> (Self, UsageDelta) {
        let why = WaitingFor::new(CAP_REACHED, "This service's analyses may cost no more today.");
        let (back, delta) = match self.state {
            JobState::Running => self.retry(Duration::ZERO, cost, &why.detail, now),
            _ => (Self { version: self.version + 1, ..self.clone() }, UsageDelta::default()),
        };
        let give_up_at = self.give_up_at.unwrap_or_else(|| now.plus(self.kind.gives_up_after()));
        if now >= give_up_at {
            let cost = if self.state == JobState::Running { cost } else { Cost::Nothing };
            let detail = format!("It waited until its time was over, at last because: {}", why.detail);
            return self.end(JobState::Failed, Err(Some(JobError::new(GAVE_UP, detail))), cost, now);
        }
        let not_before = now.end_of_day().min(give_up_at);
        let job = Self {
            due_at: Some(looked_at(not_before, now)),
            not_before: Some(not_before),
            give_up_at: Some(give_up_at),
            waiting_for: Some(why),
            turn: None,
            place: None,
            owes_cap: true,
            ..back
        };
        (job, delta)
    }

    /// Back in the queue, where its run died: that may have cost all that is held for it. One that is queued stays as it is.
    #[must_use]
    pub fn back_from_a_dead_run(&self, now: Moment) -> (Self, UsageDelta) {
        match self.state {
            JobState::Running => {
                self.retry(Duration::ZERO, Cost::Unknown, "Its last run ended without an outcome.", now)
            }
            _ => (self.clone(), UsageDelta::default()),
        }
    }

    /// The same job, which is queued, to come again at a time and with what it has then; at the end of its own time it comes in any case.
    #[must_use]
    pub fn waits_for_turn(&self, at: Moment, turn: Turn, why: WaitingFor, now: Moment) -> Self {
        let at = self.give_up_at.map_or(at, |give_up_at| at.min(give_up_at));
        Self {
            due_at: Some(looked_at(at, now)),
            // The margin is the other way round here: a message at this very time is not too early.
            not_before: Some(at.minus(MARGIN)),
            waiting_for: Some(why),
            turn: Some(turn),
            place: None,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// The same job, which waits for its turn in a place of a backlog.
    #[must_use]
    pub fn standing_at(self, place: Option<BacklogPlace>) -> Self {
        Self { place, ..self }
    }

    /// The place in a backlog that it has left for what it is `after`, if its turn had not come by now: nobody is called in it.
    pub(crate) fn place_left(&self, after: &Self, now: Moment) -> Option<BacklogPlace> {
        self.place.filter(|place| after.place != Some(*place) && place.turn > now.plus(MARGIN))
    }

    /// Whom it calls, and in whose backlog it waits.
    pub(crate) fn waits_for_provider(&self) -> Option<Provider> {
        match self.kind {
            JobKind::Analyze => self.model.as_deref().map(Provider::of_model),
            JobKind::SendEmail => Some(Provider::Mail),
            JobKind::AccountMail => Some(Provider::AccountMail),
        }
    }

    /// The same job, after it was held back by what refused others.
    #[must_use]
    pub fn held_back(self) -> Self {
        Self { refusals: self.refusals.saturating_add(1), ..self }
    }

    /// Whether it has a call of its own at its provider, now.
    #[must_use]
    pub fn has_call(&self, now: Moment) -> bool {
        let is_now = |at: Moment| at <= now && now <= at.plus(CALL_KEPT);
        self.state == JobState::Queued && self.turn == Some(Turn::Call) && self.not_before.is_some_and(is_now)
    }

    /// How long the message of a queued job is to be hidden that is sent now; none if the index of what is due sends it in time.
    #[must_use]
    pub fn sent_ahead_by(&self, now: Moment) -> Option<Duration> {
        let not_before = self.not_before.filter(|_| self.state == JobState::Queued)?;
        is_sent_ahead(not_before, now).then(|| now.until(not_before) + MARGIN)
    }

    /// The same job, whose message is on the queue: to be looked at when that has had time to be received. A backlog is not made longer
    /// by messages of what waits in it.
    #[must_use]
    pub fn sent_again(&self, now: Moment) -> Self {
        let from = if self.state == JobState::Running { self.lease_until } else { self.not_before };
        let accepted_at = self.give_up_at.map(|at| at.minus(self.kind.gives_up_after()));
        let waited = from.or(accepted_at).unwrap_or(self.created_at).until(now);
        self.due(now.plus(if waited < WAITING_AFTER { WAITING_AFTER } else { WAITING_LONG_AFTER }))
    }
}

/// When one that waits until a time is looked at: in case its message, which is on the queue, was lost; or to be sent one that is hidden.
fn looked_at(not_before: Moment, now: Moment) -> Moment {
    if is_sent_ahead(not_before, now) { not_before.plus(UNSENT_AFTER) } else { not_before.minus(LOOKED_AT_BEFORE) }
}

fn is_sent_ahead(not_before: Moment, now: Moment) -> bool {
    now.until(not_before) <= SENT_AHEAD_MAX
}
