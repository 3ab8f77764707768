//! Mail about accounts: to prove an address, to come back in, to be told. What a job of it carries names no secret: the worker makes
//! codes and tokens when it writes the mail.

use crate::ids::{InvitationId, OrgId, SessionId, UserId};
use crate::model::time::Moment;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mail", rename_all = "snake_case")]
pub enum AccountMail {
    /// A code and a link that prove the account's address.
    Verification { user_id: UserId },
    /// A link by which whoever has the address chooses another password, if an account has it: somebody has asked for one.
    PasswordReset { email: String },
    /// Says that the account of this address has another password.
    PasswordChanged { email: String },
    /// A link that makes whoever gets it a member.
    Invitation { org_id: OrgId, invitation_id: InvitationId },
    /// A code and a link that confirm another address of the account, in the session that asked for it.
    EmailChange { user_id: UserId, session_id: SessionId, email: String },
    /// Says to the address that the account had before that it has another one since, with a link that undoes it.
    EmailChanged { user_id: UserId, email: String, changed_at: Moment },
    /// Says to the address that the account had until then that it has the one of before again.
    EmailUndone { email: String },
}

impl AccountMail {
    /// How long after its cause it is still of use. What waits longer (the day's mail is full) is not sent any more.
    #[must_use]
    pub const fn useful_for(&self) -> Duration {
        match self {
            Self::Verification { .. }
            | Self::PasswordChanged { .. }
            | Self::EmailChanged { .. }
            | Self::EmailUndone { .. }
            | Self::Invitation { .. } => Duration::from_secs(7 * 24 * 60 * 60),
            Self::PasswordReset { .. } | Self::EmailChange { .. } => Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// Account mail of a day (UTC).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailDay {
    /// Handed to the mail service, or about to be.
    #[serde(default)]
    pub handed_over: u64,
    /// Addresses that the mail service called lasting failures.
    #[serde(default)]
    pub bounced: u64,
}

impl MailDay {
    /// Fewer bounces than this are chance.
    const BOUNCES_MIN: u64 = 5;

    /// Whether so many addresses of today's and yesterday's mail were none that the mail service would soon take no more:
    /// `percent` of them. SES looks into an account at 5 % and may pause it at 10 %
    /// (<https://docs.aws.amazon.com/ses/latest/dg/reputationdashboardmessages.html>).
    #[must_use]
    pub fn is_paused(today: Self, yesterday: Self, percent: u64) -> bool {
        let bounced = today.bounced + yesterday.bounced;
        bounced >= Self::BOUNCES_MIN && bounced * 100 >= percent * (today.handed_over + yesterday.handed_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounces_pause_from_their_part_on() {
        let day = |handed_over, bounced| MailDay { handed_over, bounced };
        assert!(!MailDay::is_paused(day(4, 4), day(0, 0), 4), "chance");
        assert!(MailDay::is_paused(day(100, 3), day(25, 2), 4));
        assert!(!MailDay::is_paused(day(100, 3), day(26, 2), 4));
    }
}
