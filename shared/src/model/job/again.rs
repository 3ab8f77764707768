//! A job that failed and is accepted once more.

use super::{JobRecord, JobState, UNSENT_AFTER};
use crate::model::time::Moment;
use crate::model::usage::month_of;

/// What a job is accepted under once more: as things stand now, not as they stood at its first acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryTerms {
    /// The organization's budget, in nano-dollars.
    pub budget_nanos: Option<u64>,
    /// The version of the settings that say so.
    pub budget_version: u64,
    /// Whether it takes another place in the month's limit. Without, it keeps the one that it had.
    pub takes_unit: bool,
}

impl JobRecord {
    /// A failed job in the queue again, with all its runs and its whole time before it, in the month of now; `None` if it did not fail.
    /// What it holds is to be taken in that month, and what it may cost of a day's cap (`taking_of_cap`).
    #[must_use]
    pub fn accepted_again(&self, terms: RetryTerms, now: Moment) -> Option<Self> {
        let RetryTerms { budget_nanos, budget_version, takes_unit } = terms;
        (self.state == JobState::Failed).then(|| Self {
            state: JobState::Queued,
            attempts: 0,
            lease_until: None,
            sending: false,
            cancel_requested: false,
            started_at: None,
            finished_at: None,
            due_at: Some(now.plus(UNSENT_AFTER)),
            not_before: None,
            give_up_at: Some(now.plus(self.kind.gives_up_after())),
            waiting_for: None,
            turn: None,
            place: None,
            refusals: 0,
            month: month_of(now).0,
            budget_nanos,
            budget_version,
            unit_is_used: !takes_unit,
            cap_day: None,
            owes_cap: false,
            error: None,
            version: self.version + 1,
            ..self.clone()
        })
    }
}
