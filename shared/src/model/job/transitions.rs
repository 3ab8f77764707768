//! From one state to the next: each a pure function of the record that was read, with what it changes in the month's usage.

use super::{
    ATTEMPTS_EXHAUSTED, ATTEMPTS_MAX, JobError, JobKind, JobRecord, JobResult, JobState, LEASE, UNSENT_AFTER,
    WaitingFor,
};
use crate::model::analysis::{Cost, TokenUsage};
use crate::model::time::Moment;
use std::time::Duration;

/// The code of an e-mail that the mail service took and threw away, and of no other: one that it did not take may have been taken before.
pub(super) const EMAIL_REJECTED: &str = "email_rejected";

/// What a worker that asks for a job is to do with it.
#[derive(Debug, PartialEq)]
pub enum Claim {
    /// Write this record; the job is then this worker's to run.
    Run(Box<JobRecord>),
    /// Write this record: the job ends without a run.
    End(Box<JobRecord>, UsageDelta),
    /// Nothing: the job has ended, a living worker runs it, or its time has not come.
    Leave,
}

/// What became of an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailOutcome {
    /// The provider took it.
    Sent { message_id: String },
    /// The provider's own report says that it took it. That is proof, whatever state the job is in.
    Reported { message_id: String },
    /// The provider's own report says that it took it and threw it away.
    ThrownAway { message_id: String },
    /// The provider did not take it.
    NotSent { code: &'static str, detail: &'static str },
}

/// What an end or a run without a result changes in the month's usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageDelta {
    /// Change of what is spent or held, in nano-dollars.
    pub spent_nanos: i128,
    /// What was spent for good, in nano-dollars.
    pub cost_nanos: u64,
    pub tokens: TokenUsage,
    /// Whether the unit of the month's limit is given back.
    pub give_unit_back: bool,
    /// Refuse if the month's spending would pass the budget by it.
    pub within_nanos: Option<u64>,
}

impl UsageDelta {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl JobRecord {
    /// The job's result, if it has one that can be read.
    #[must_use]
    pub fn result(&self) -> Option<JobResult> {
        serde_json::from_str(self.result.as_deref()?).ok()
    }

    /// Whether a worker may run the job at this time.
    #[must_use]
    pub fn claim(&self, now: Moment) -> Claim {
        match self.state {
            JobState::Queued if self.not_before.is_none_or(|from| from <= now) => Claim::Run(Box::new(self.run(now))),
            JobState::Running if self.lease_until.is_none_or(|until| until <= now) => self.take_over(now),
            _ => Claim::Leave,
        }
    }

    /// The same of a job whose worker died during a run.
    fn take_over(&self, now: Moment) -> Claim {
        if self.sending {
            let error =
                JobError::new("outcome_unknown", "The provider may have taken the e-mail. It is not sent again.");
            let (job, delta) = self.end(JobState::Unknown, Err(Some(error)), Cost::Nothing, now);
            return Claim::End(Box::new(job), delta);
        }
        if self.cancel_requested {
            let (job, delta) = self.end(JobState::Cancelled, Err(None), Cost::Unknown, now);
            return Claim::End(Box::new(job), delta);
        }
        if self.attempts >= ATTEMPTS_MAX {
            let error = JobError::new(ATTEMPTS_EXHAUSTED, "Each run ended without an outcome.");
            let (job, delta) = self.end(JobState::Failed, Err(Some(error)), Cost::Unknown, now);
            return Claim::End(Box::new(job), delta);
        }
        Claim::Run(Box::new(self.run(now)))
    }

    fn run(&self, now: Moment) -> Self {
        let until = now.plus(LEASE);
        Self {
            state: JobState::Running,
            attempts: self.attempts + 1,
            fence: self.fence + 1,
            lease_until: Some(until),
            started_at: self.started_at.or(Some(now)),
            due_at: Some(until),
            not_before: None,
            waiting_for: None,
            turn: None,
            place: None,
            charged_nanos: self.charged_nanos + self.takeover_charge().cost_nanos,
            cap_day: self.cap_day_after(self.owes_cap || self.takeover_charge().cost_nanos > 0, now),
            owes_cap: false,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// The same job, for which what it may cost was taken of a day's cap: what it does not cost goes back there.
    pub(crate) fn taking_of_cap(self, day: &str) -> Self {
        Self { cap_day: self.cap_day_of(day.to_owned()), ..self }
    }

    /// A day, if a run takes of its cap what it may cost; none if it costs nothing.
    fn cap_day_of(&self, day: String) -> Option<String> {
        Some(day).filter(|_| self.reserved_nanos > 0)
    }

    fn cap_day_after(&self, takes: bool, now: Moment) -> Option<String> {
        if takes { self.cap_day_of(now.day()) } else { self.cap_day.clone() }
    }

    /// What the takeover of a dead run adds to what is held: the dead run may have cost its whole reservation.
    #[must_use]
    pub fn takeover_charge(&self) -> UsageDelta {
        match self.state {
            JobState::Running => self.charge(self.reserved_nanos, TokenUsage::default()),
            _ => UsageDelta::default(),
        }
    }

    fn charge(&self, nanos: u64, tokens: TokenUsage) -> UsageDelta {
        let within_nanos = if nanos > 0 { self.budget_nanos } else { None };
        UsageDelta { spent_nanos: i128::from(nanos), cost_nanos: nanos, tokens, give_unit_back: false, within_nanos }
    }

    /// The same job, about to hand its e-mail over.
    #[must_use]
    pub fn sending(&self) -> Self {
        Self { sending: true, version: self.version + 1, ..self.clone() }
    }

    /// The job in the queue again: its run gave no result and may be repeated after `delay`. What the run cost is charged, and the
    /// next run needs its reservation too. `why` is shown to whoever asks what the job waits for.
    #[must_use]
    pub fn retry(&self, delay: Duration, cost: Cost, why: &str, now: Moment) -> (Self, UsageDelta) {
        let (nanos, tokens) = self.price(cost);
        let not_before = now.plus(delay);
        // At the end of its time it comes in any case.
        let not_before = self.give_up_at.filter(|at| *at > now).map_or(not_before, |at| not_before.min(at));
        let job = Self {
            state: JobState::Queued,
            lease_until: None,
            sending: false,
            due_at: Some(not_before.plus(UNSENT_AFTER)),
            not_before: Some(not_before),
            waiting_for: Some(WaitingFor::new("next_run", why)),
            charged_nanos: self.charged_nanos + nanos,
            // What it holds is of the day that all of it was taken on. A part that is taken on another day is spent.
            cap_day: self.cap_day_after(nanos > 0 && nanos == self.reserved_nanos, now),
            version: self.version + 1,
            ..self.clone()
        };
        (job, self.charge(nanos, tokens))
    }

    /// The end of the job.
    #[must_use]
    pub fn end(
        &self,
        state: JobState,
        outcome: Result<JobResult, Option<JobError>>,
        cost: Cost,
        now: Moment,
    ) -> (Self, UsageDelta) {
        let (nanos, tokens) = self.price(cost);
        let (result, error) = match outcome {
            Ok(result) => (serde_json::to_string(&result).ok(), None),
            Err(error) => (None, error),
        };
        let delta = UsageDelta {
            spent_nanos: i128::from(nanos) - i128::from(self.reserved_nanos),
            cost_nanos: nanos,
            tokens,
            give_unit_back: state == JobState::Cancelled && self.attempts == 0 && !self.unit_is_used,
            within_nanos: None,
        };
        let job = Self {
            state,
            lease_until: None,
            finished_at: Some(now),
            due_at: None,
            not_before: None,
            waiting_for: None,
            turn: None,
            place: None,
            charged_nanos: self.charged_nanos + nanos,
            owes_cap: false,
            result,
            error,
            version: self.version + 1,
            ..self.clone()
        };
        (job, delta)
    }

    /// What a run cost, never more than was held for it.
    #[must_use]
    pub fn price(&self, cost: Cost) -> (u64, TokenUsage) {
        match (cost, &self.rates) {
            (Cost::Nothing, _) => (0, TokenUsage::default()),
            (Cost::Tokens(tokens), None) => (0, tokens),
            (Cost::Tokens(tokens), Some(rates)) => (rates.cost_nanos(tokens).min(self.reserved_nanos), tokens),
            (Cost::Unknown, _) => (self.reserved_nanos, TokenUsage::default()),
        }
    }

    /// Cancels the job: a queued one ends, and one whose run died; a running one is asked to stop before it takes effect. `None` when it is
    /// too late.
    #[must_use]
    pub fn cancel(&self, now: Moment) -> Option<(Self, UsageDelta)> {
        match self.state {
            JobState::Queued => Some(self.end(JobState::Cancelled, Err(None), Cost::Nothing, now)),
            JobState::Running if !self.sending && self.lease_until.is_none_or(|until| until <= now) => {
                Some(self.end(JobState::Cancelled, Err(None), Cost::Unknown, now))
            }
            JobState::Running if !self.sending => {
                let job = Self { cancel_requested: true, version: self.version + 1, ..self.clone() };
                Some((job, UsageDelta::default()))
            }
            _ => None,
        }
    }

    /// The job after somebody who knows said what became of its e-mail; `None` if that is no open question. It is one while the
    /// outcome is unknown, and while a run hands the e-mail over: what the provider says is what happened. The provider's report
    /// that it took the e-mail also settles a job that waits for another run, which would send the e-mail again, and one that failed, as a
    /// retry would. What it took and threw away stays so, whenever it reports that it took that: a job that succeeded with that e-mail has failed
    /// then, and one that failed for something else says so.
    #[must_use]
    pub fn settled(&self, outcome: EmailOutcome, now: Moment) -> Option<(Self, UsageDelta)> {
        let is_email = self.kind != JobKind::Analyze;
        let is_proof = is_email && matches!(outcome, EmailOutcome::Reported { .. });
        let is_thrown_away = is_email && matches!(outcome, EmailOutcome::ThrownAway { .. });
        // A record of before does not say which of its e-mails was thrown away.
        let is_of_before =
            self.thrown_away.is_empty() && self.error.as_ref().is_some_and(|error| error.code == EMAIL_REJECTED);
        let open = match self.state {
            JobState::Unknown => true,
            JobState::Running => self.sending || is_proof,
            JobState::Queued => is_proof,
            JobState::Failed => (is_proof || is_thrown_away) && !is_of_before,
            // The provider looks into an e-mail after it took it.
            JobState::Succeeded => matches!(&outcome, EmailOutcome::ThrownAway { message_id } if self.sent(message_id)),
            JobState::Cancelled => false,
        };
        let mut thrown_away = self.thrown_away.clone();
        let (state, ended) = match outcome {
            EmailOutcome::Reported { message_id } | EmailOutcome::ThrownAway { message_id }
                if thrown_away.contains(&message_id) =>
            {
                return None;
            }
            EmailOutcome::Sent { message_id } | EmailOutcome::Reported { message_id } => {
                (JobState::Succeeded, Ok(JobResult::Email { message_id }))
            }
            EmailOutcome::ThrownAway { message_id } => {
                thrown_away.push(message_id);
                let error = JobError::new(EMAIL_REJECTED, "The mail service took the e-mail and threw it away.");
                (JobState::Failed, Err(Some(error)))
            }
            EmailOutcome::NotSent { code, detail } => (JobState::Failed, Err(Some(JobError::new(code, detail)))),
        };
        if open {
            let (ended, delta) = self.end(state, ended, Cost::Nothing, now);
            // What was held is settled already where the job had ended.
            let delta = if self.state.has_ended() { UsageDelta::default() } else { delta };
            return Some((Self { thrown_away, ..ended }, delta));
        }
        // It sends another one. The report that the one before was taken may come later.
        let is_noted = is_thrown_away && !self.state.has_ended();
        is_noted.then(|| (Self { thrown_away, version: self.version + 1, ..self.clone() }, UsageDelta::default()))
    }

    /// Whether its result is the e-mail that has this id at the provider.
    fn sent(&self, message_id: &str) -> bool {
        matches!(self.result(), Some(JobResult::Email { message_id: sent }) if sent == message_id)
    }

    /// The same job, to be looked at later.
    #[must_use]
    pub fn due(&self, at: Moment) -> Self {
        Self { due_at: Some(at), version: self.version + 1, ..self.clone() }
    }
}
