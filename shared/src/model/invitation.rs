//! Invitations to organizations: what is stored of one, what admins see of it, and the token that the mail's link carries.

use crate::ids::{InvitationId, OrgId, UserId};
use crate::model::org::Role;
use crate::model::proof::SecretHash;
use crate::model::text::Email;
use crate::model::time::{Moment, Rfc3339};
use crate::token;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

/// How long one can be accepted.
pub const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How tokens begin, so that secret scanners find leaked ones.
const PREFIX: &str = "citi_";

/// An invitation as stored. It goes when it is accepted or withdrawn, or another takes its place; an expired one soon after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InvitationRecord {
    pub invitation_id: InvitationId,
    pub org_id: OrgId,
    /// Whom it is for, and nobody else.
    pub email: String,
    pub role: Role,
    pub invited_by: UserId,
    /// Since when that user is a member. Whoever has left has invited nobody, also when it comes back.
    pub inviter_joined_at: Moment,
    pub expires_at: Moment,
    /// The SHA-256 of its token. None until its mail is written: before that nobody can accept it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_hash: Option<String>,
    pub(crate) ttl: i64,
}

impl InvitationRecord {
    /// One that is made now.
    #[must_use]
    pub fn new(org_id: OrgId, email: &Email, role: Role, (invited_by, since): (UserId, Moment), now: Moment) -> Self {
        let expires_at = now.plus(INVITATION_LIFETIME);
        Self {
            invitation_id: InvitationId::new(),
            org_id,
            email: email.as_str().to_owned(),
            role,
            invited_by,
            inviter_joined_at: since,
            expires_at,
            token_hash: None,
            ttl: expires_at.as_ttl_seconds(),
        }
    }

    /// As admins see it.
    #[must_use]
    pub fn view(self, now: Moment) -> Invitation {
        let Self {
            invitation_id: id,
            org_id: _,
            email,
            role,
            invited_by: _,
            inviter_joined_at: _,
            expires_at,
            token_hash: _,
            ttl: _,
        } = self;
        let state = if expires_at > now { InvitationState::Pending } else { InvitationState::Expired };
        Invitation { id, email, role, state, expires_at: expires_at.rfc3339() }
    }
}

/// How an invitation stands. One that was accepted, withdrawn or replaced is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    Pending,
    /// It is removed soon.
    Expired,
}

/// An invitation as the organization's admins see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invitation {
    pub id: InvitationId,
    #[schema(format = "email")]
    pub email: String,
    /// What whoever accepts it becomes.
    pub role: Role,
    pub state: InvitationState,
    pub expires_at: Rfc3339,
}

/// A link's token, with the ids of organization and invitation, which only say where to look. Its `Debug` shows nothing.
pub struct InvitationToken {
    text: String,
    pub org_id: OrgId,
    pub invitation_id: InvitationId,
}

impl InvitationToken {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(org_id: OrgId, invitation_id: InvitationId) -> Result<Self, getrandom::Error> {
        Ok(Self { text: token::write(PREFIX, PREFIX, [org_id.into(), invitation_id.into()])?, org_id, invitation_id })
    }

    /// Reads what a caller sent; `None` if it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let [org, invitation] = token::read(PREFIX, PREFIX, text)?;
        Some(Self { text: text.to_owned(), org_id: org.into(), invitation_id: invitation.into() })
    }

    /// What the mail's link carries.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&[self.text.as_bytes()])
    }
}

impl fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_character_of_a_token_is_noticed() {
        let token = InvitationToken::generate(OrgId::new(), InvitationId::new()).expect("randomness");
        let text = token.reveal();
        let read = InvitationToken::parse(text).expect("a token");
        assert_eq!((read.org_id, read.invitation_id), (token.org_id, token.invitation_id));
        assert!(read.hash() == token.hash());
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, other);
            assert!(InvitationToken::parse(&changed).is_none(), "position {at}");
        }
        assert_eq!(format!("{token:?}"), "InvitationToken(…)");
    }
}
