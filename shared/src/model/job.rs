//! Jobs: slow work that was accepted. Every change of state is a pure function of the record that was read;
//! the store writes it only if the record is still that one.

mod again;
mod kind;
mod transitions;
mod waiting;

pub use again::RetryTerms;
pub use kind::JobKind;
pub use transitions::{Claim, EmailOutcome, UsageDelta};
pub use waiting::{BacklogPlace, Turn, WaitingFor};

use crate::ids::{JobId, OrgId, UserId};
use crate::model::analysis::Analysis;
use crate::model::price::Rates;
use crate::model::time::{Moment, Rfc3339};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// Runs of a job at most, not counting those that were refused at no cost; a worker that gets its message after as many receives sends it anew.
pub const ATTEMPTS_MAX: u32 = 5;
/// How long a run may hold a job. Longer than the worker's time limit, shorter than the queue's visibility
/// timeout: whoever lives never loses it, and a message that comes back finds it free.
pub const LEASE: Duration = Duration::from_secs(75);
/// The code of a job whose last run failed.
pub const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";
/// What a job waits for that the operator's cap of the day has no room for.
pub const CAP_REACHED: &str = "operator_cap_reached";
/// The code of a job that was refused until its time was over.
pub const GAVE_UP: &str = "gave_up";
/// A job that was stored but is not running after this is looked at by the sweeper.
pub const UNSENT_AFTER: Duration = Duration::from_secs(30);

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// An e-mail that the provider may or may not have taken. It is never sent again.
    Unknown,
}

impl JobState {
    /// Whether nothing more happens.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobError {
    /// Stable and `snake_case`.
    pub code: String,
    /// For people.
    pub detail: String,
}

impl JobError {
    /// An error.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }
}

/// What a job gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum JobResult {
    #[schema(title = "AnalysisResult")]
    Analysis { analysis: Analysis, usage: JobUsage },
    #[schema(title = "EmailResult")]
    Email { message_id: String },
}

/// What an analysis took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobUsage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// A decimal text in US dollars.
    #[schema(examples("0.00123"))]
    pub cost_usd: String,
}

/// A job as stored. Its input lies beside it, in pieces: a record holds 400 KB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub job_id: JobId,
    pub org_id: OrgId,
    pub user_id: UserId,
    pub kind: JobKind,
    pub state: JobState,
    /// Runs so far, without those that were refused at no cost.
    pub attempts: u32,
    /// Counts claims: whoever holds an older one writes nothing more.
    pub fence: u64,
    /// Set while running.
    pub lease_until: Option<Moment>,
    /// An e-mail may be under way to the provider.
    pub sending: bool,
    /// Somebody wants the running job to take no effect.
    pub cancel_requested: bool,
    pub created_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    /// When the sweeper looks at it; none when it has ended.
    pub due_at: Option<Moment>,
    /// The partition of the index of what is due that it has its entry in. This and the next four are not in records of 0.1.
    #[serde(default)]
    pub due_shard: Option<u8>,
    /// No run begins before it; none where it may run at once.
    #[serde(default)]
    pub not_before: Option<Moment>,
    /// A refusal after this ends it.
    #[serde(default)]
    pub give_up_at: Option<Moment>,
    /// Why it waits until `not_before`.
    #[serde(default)]
    pub waiting_for: Option<WaitingFor>,
    /// Whether it waits in a backlog until `not_before`, or has leased a call at that time; none if it waits for neither.
    #[serde(default)]
    pub turn: Option<Turn>,
    /// Its place in a backlog, where it waits in one; none in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<BacklogPlace>,
    /// Runs that were refused at no cost, since it was last accepted: the next wait grows with them.
    #[serde(default)]
    pub refusals: u32,
    /// The month (UTC) whose usage it counts in: `2026-11`.
    pub month: String,
    /// The model that analyses, or `builtin`.
    pub model: Option<String>,
    /// What the model's tokens cost; none if nothing.
    pub rates: Option<Rates>,
    /// What one run may cost at most and the month's spending holds for it, in nano-dollars.
    pub reserved_nanos: u64,
    /// What runs that gave nothing cost so far, in nano-dollars; settled already.
    pub charged_nanos: u64,
    /// The organization's budget at acceptance, in nano-dollars.
    pub budget_nanos: Option<u64>,
    /// The version of the settings that said so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub budget_version: u64,
    /// Runs before its last acceptance used its place in the month's limit up: cancelling does not give that back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unit_is_used: bool,
    /// The day (UTC) of whose cap of dollars it took what a run may cost; none where it took nothing, and in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_day: Option<String>,
    /// That day's cap had no room for another run: the worker that claims the job takes it of the cap of its own day.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owes_cap: bool,
    /// Whom it writes to: so many calls the mail service counts it for. 1 for what is no e-mail, and in records of before.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub recipients: u32,
    /// E-mails of it that the mail service took and threw away, by the ids that it gave them: what it says of these is no news of the one that
    /// a retry sends. None in records of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thrown_away: Vec<String>,
    /// Pieces of the input.
    pub input_pieces: u32,
    /// JSON of a [`JobResult`].
    pub result: Option<String>,
    pub error: Option<JobError>,
    /// `X-Amzn-Trace-Id` of the request.
    pub trace: Option<String>,
    pub version: u64,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A job as its organization's members see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Job {
    pub id: JobId,
    pub org_id: OrgId,
    pub kind: JobKind,
    pub state: JobState,
    /// Runs so far, without those that a provider refused at no cost.
    pub attempts: u32,
    pub created_at: Rfc3339,
    pub started_at: Option<Rfc3339>,
    pub finished_at: Option<Rfc3339>,
    /// When its next run may begin, if that is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub not_before: Option<Rfc3339>,
    /// Until when it is tried while a provider refuses it; none when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub give_up_at: Option<Rfc3339>,
    /// What it waits for until `not_before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waiting_for: Option<WaitingFor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub result: Option<JobResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<JobError>,
}

impl From<&JobRecord> for Job {
    fn from(job: &JobRecord) -> Self {
        let &JobRecord {
            job_id: id,
            org_id,
            user_id: _,
            kind,
            state,
            attempts,
            fence: _,
            lease_until: _,
            sending: _,
            cancel_requested: _,
            created_at,
            started_at,
            finished_at,
            due_at: _,
            due_shard: _,
            not_before,
            give_up_at,
            ref waiting_for,
            turn: _,
            place: _,
            refusals: _,
            month: _,
            model: _,
            rates: _,
            reserved_nanos: _,
            charged_nanos: _,
            budget_nanos: _,
            budget_version: _,
            unit_is_used: _,
            cap_day: _,
            owes_cap: _,
            recipients: _,
            thrown_away: _,
            input_pieces: _,
            result: _,
            ref error,
            trace: _,
            version: _,
        } = job;
        Self {
            id,
            org_id,
            kind,
            state,
            attempts,
            created_at: created_at.rfc3339(),
            started_at: started_at.map(Moment::rfc3339),
            finished_at: finished_at.map(Moment::rfc3339),
            not_before: not_before.map(Moment::rfc3339),
            give_up_at: give_up_at.filter(|_| !state.has_ended()).map(Moment::rfc3339),
            waiting_for: waiting_for.clone(),
            result: job.result(),
            error: error.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
