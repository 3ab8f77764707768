//! What a job does, and all that differs by it.

use crate::model::org::Plan;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What a job does. Each kind has a queue and a worker of its own, so that a slow provider holds up no other's jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Done by `analysis-worker`.
    Analyze,
    /// Done by `email-worker`.
    SendEmail,
    /// Done by `account-mail-worker`. It belongs to no organization: an id of its own stands in its place, so that no caller sees it.
    AccountMail,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Analyze, Self::SendEmail, Self::AccountMail];

    /// The environment variable with its queue's URL, wherever such jobs are accepted, run or swept.
    #[must_use]
    pub const fn queue_variable(self) -> &'static str {
        match self {
            Self::Analyze => "ANALYSES_QUEUE_URL",
            Self::SendEmail => "EMAILS_QUEUE_URL",
            Self::AccountMail => "ACCOUNT_MAIL_QUEUE_URL",
        }
    }

    /// How long a job is tried whose provider refuses it: what was accepted is done if the world comes back by then.
    #[must_use]
    pub const fn gives_up_after(self) -> Duration {
        match self {
            Self::Analyze | Self::SendEmail => Duration::from_secs(24 * 60 * 60),
            // As long as an account waits for the proof of its address.
            Self::AccountMail => Duration::from_secs(7 * 24 * 60 * 60),
        }
    }

    /// How long its input is kept, and what no organization could ever remove: its job. Most are kept for longer than any message of
    /// theirs lives, dead-letter queue included; addresses of strangers only as long as mail to them may be sent, and a day more.
    #[must_use]
    pub const fn input_kept_for(self) -> Duration {
        match self {
            Self::Analyze | Self::SendEmail => Duration::from_secs(30 * 24 * 60 * 60),
            Self::AccountMail => Duration::from_secs(8 * 24 * 60 * 60),
        }
    }

    /// The month's counter of it.
    #[must_use]
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Analyze => "analyses",
            Self::SendEmail => "emails",
            Self::AccountMail => "account_mails",
        }
    }

    /// How many a plan allows in a month.
    #[must_use]
    pub const fn limit(self, plan: Plan) -> u64 {
        match self {
            Self::Analyze => plan.limits().analyses_per_month,
            Self::SendEmail => plan.limits().emails_per_month,
            Self::AccountMail => u64::MAX,
        }
    }

    /// Whether it counts in an organization's month.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::AccountMail)
    }
}

/// By hand: what no organization has, no caller sees.
impl PartialSchema for JobKind {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.into_iter().filter(|kind| kind.is_counted()).map(|kind| serde_json::json!(kind));
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "What a job does. Each kind has a queue and a worker of its own, so that a slow provider holds up no other's jobs.",
            ))
            .enum_values(Some(words))
            .into()
    }
}

impl ToSchema for JobKind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_kept_as_long_as_it_is_tried_and_a_strangers_address_no_longer_than_a_week_and_a_day() {
        for kind in JobKind::ALL {
            assert!(kind.input_kept_for() > kind.gives_up_after(), "{kind:?}");
        }
        assert_eq!(JobKind::AccountMail.input_kept_for(), Duration::from_secs(8 * 24 * 60 * 60));
    }
}
