//! From one state to the next: each a pure function of the record that was read, with what it changes in the month's usage.

use super::{
    ATTEMPTS_EXHAUSTED, ATTEMPTS_MAX, JobError, JobKind, JobRecord, JobResult, JobState, LEASE, UNSENT_AFTER,
    WaitingFor,
};
use crate::model::analysis::{Cost, TokenUsage};
use crate::model::time::Moment;
use std::time::Duration;

/// Why a job is not to be claimed.
#[derive(Debug, PartialEq)]
pub enum Claim {
    /// To be written; then it is ours to run.
    Run(Box<JobRecord>),
    /// To be written: it ends here, without a run.
    End(Box<JobRecord>, Settlement),
    /// It has ended, somebody alive runs it, or it is too early.
    Leave,
}

/// What became of an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailOutcome {
    /// The provider took it.
    Sent { message_id: String },
    /// The provider itself reports that it took it, which is proof whatever we believe.
    Reported { message_id: String },
    /// The provider did not take it, or threw it away.
    NotSent { code: &'static str, detail: &'static str },
}

/// What an end or a run without a result changes in the month's usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settlement {
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

impl Settlement {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl JobRecord {
    /// What it gave.
    #[must_use]
    pub fn result(&self) -> Option<JobResult> {
        serde_json::from_str(self.result.as_deref()?).ok()
    }

    /// Who wants to run it, now.
    #[must_use]
    pub fn claim(&self, now: Moment) -> Claim {
        match self.state {
            JobState::Queued if self.not_before.is_none_or(|from| from <= now) => Claim::Run(Box::new(self.run(now))),
            JobState::Running if self.lease_until.is_none_or(|until| until <= now) => self.take_over(now),
            _ => Claim::Leave,
        }
    }

    /// What becomes of a run whose worker died.
    fn take_over(&self, now: Moment) -> Claim {
        if self.sending {
            let error =
                JobError::new("outcome_unknown", "The provider may have taken the e-mail. It is not sent again.");
            let (job, settlement) = self.end(JobState::Unknown, Err(Some(error)), Cost::Nothing, now);
            return Claim::End(Box::new(job), settlement);
        }
        if self.cancel_requested {
            let (job, settlement) = self.end(JobState::Cancelled, Err(None), Cost::Unknown, now);
            return Claim::End(Box::new(job), settlement);
        }
        if self.attempts >= ATTEMPTS_MAX {
            let error = JobError::new(ATTEMPTS_EXHAUSTED, "Each run ended without an outcome.");
            let (job, settlement) = self.end(JobState::Failed, Err(Some(error)), Cost::Unknown, now);
            return Claim::End(Box::new(job), settlement);
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
            charged_nanos: self.charged_nanos + self.takeover_charge().cost_nanos,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// What the takeover of a dead run must hold anew: that run may have cost all it could.
    #[must_use]
    pub fn takeover_charge(&self) -> Settlement {
        match self.state {
            JobState::Running => self.charge(self.reserved_nanos, TokenUsage::default()),
            _ => Settlement::default(),
        }
    }

    fn charge(&self, nanos: u64, tokens: TokenUsage) -> Settlement {
        let within_nanos = if nanos > 0 { self.budget_nanos } else { None };
        Settlement { spent_nanos: i128::from(nanos), cost_nanos: nanos, tokens, give_unit_back: false, within_nanos }
    }

    /// The same job, about to hand its e-mail over.
    #[must_use]
    pub fn sending(&self) -> Self {
        Self { sending: true, version: self.version + 1, ..self.clone() }
    }

    /// Back in the queue after a run that may be tried again after `delay`, with what it cost and why; the next run
    /// needs its reservation too.
    #[must_use]
    pub fn retry(&self, delay: Duration, cost: Cost, why: &str, now: Moment) -> (Self, Settlement) {
        let (nanos, tokens) = self.price(cost);
        let not_before = now.plus(delay);
        let job = Self {
            state: JobState::Queued,
            lease_until: None,
            sending: false,
            due_at: Some(not_before.plus(UNSENT_AFTER)),
            not_before: Some(not_before),
            waiting_for: Some(WaitingFor::new("next_run", why)),
            charged_nanos: self.charged_nanos + nanos,
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
    ) -> (Self, Settlement) {
        let (nanos, tokens) = self.price(cost);
        let (result, error) = match outcome {
            Ok(result) => (serde_json::to_string(&result).ok(), None),
            Err(error) => (None, error),
        };
        let settlement = Settlement {
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
            charged_nanos: self.charged_nanos + nanos,
            result,
            error,
            version: self.version + 1,
            ..self.clone()
        };
        (job, settlement)
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

    /// Ends it if it waits, else asks its run to take no effect. `None` when it is too late.
    #[must_use]
    pub fn cancel(&self, now: Moment) -> Option<(Self, Settlement)> {
        match self.state {
            JobState::Queued => Some(self.end(JobState::Cancelled, Err(None), Cost::Nothing, now)),
            JobState::Running if !self.sending => {
                let job = Self { cancel_requested: true, version: self.version + 1, ..self.clone() };
                Some((job, Settlement::default()))
            }
            _ => None,
        }
    }

    /// An e-mail of unknown fate after somebody who knows said what became of it; `None` if nobody asks. A run
    /// that is just handing it over counts as unknown too: what the provider says is what happened. Its report that it took the e-mail
    /// settles one that waits for another run as well: a refusal was none, and the run would send it again.
    #[must_use]
    pub fn settled(&self, outcome: EmailOutcome, now: Moment) -> Option<(Self, Settlement)> {
        let is_proof = matches!(outcome, EmailOutcome::Reported { .. }) && self.kind == JobKind::SendEmail;
        let open = match self.state {
            JobState::Unknown => true,
            JobState::Running => self.sending || is_proof,
            JobState::Queued => is_proof,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => false,
        };
        let (state, outcome) = match outcome {
            EmailOutcome::Sent { message_id } | EmailOutcome::Reported { message_id } => {
                (JobState::Succeeded, Ok(JobResult::Email { message_id }))
            }
            EmailOutcome::NotSent { code, detail } => (JobState::Failed, Err(Some(JobError::new(code, detail)))),
        };
        open.then(|| {
            let (ended, settlement) = self.end(state, outcome, Cost::Nothing, now);
            // What was held is settled already where the job had ended.
            if self.state == JobState::Unknown { (ended, Settlement::default()) } else { (ended, settlement) }
        })
    }

    /// The same job, to be looked at later.
    #[must_use]
    pub fn due(&self, at: Moment) -> Self {
        Self { due_at: Some(at), version: self.version + 1, ..self.clone() }
    }
}
