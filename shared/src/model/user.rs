//! Users: what is stored, what their owner sees, what everybody sees.

use crate::ids::UserId;
use crate::model::org::{Membership, MembershipRecord};
use crate::model::time::{Moment, Rfc3339};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user as stored. The password's hash is not here but with the log-in record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserRecord {
    pub user_id: UserId,
    pub name: String,
    pub email: String,
    /// When its user proved that the address is its own. Accounts from before that was asked have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified_at: Option<Moment>,
    pub created_at: Moment,
    /// Until when its address may be proven, if it is not yet: then the account ends. Accounts from before this was kept have none, and keep
    /// their profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven_until: Option<Moment>,
    pub version: u64,
    /// How often it became a member of an organization since it was registered, or got its place outside: whoever is about to end all sessions
    /// of the memberships that were read before sees that there is one more, and nothing else that changes in the account.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memberships_made: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl UserRecord {
    /// Whether its address is proven. Whoever has not done so does everything inside its organizations and nothing outside.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.email_verified_at.is_some()
    }

    /// Whether the account has ended, because nobody proved its address in time.
    #[must_use]
    pub fn has_ended(&self, now: Moment) -> bool {
        !self.is_verified() && self.unproven_until.is_some_and(|until| until <= now)
    }
}

/// A user as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub email: String,
    /// Whether its user has proven that the address is its own (`POST /auth/verify-email`).
    pub email_verified: bool,
    pub created_at: Rfc3339,
}

/// A user's own account, with the organizations it is a member of.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    #[serde(flatten)]
    pub user: User,
    pub orgs: Vec<Membership>,
}

impl Me {
    /// What is shown of an account, in the order of joining.
    #[must_use]
    pub fn new(user: UserRecord, mut memberships: Vec<MembershipRecord>) -> Self {
        memberships.retain(|membership| !membership.is_outside());
        memberships.sort_by_key(|membership| membership.joined_at);
        Self { user: user.into(), orgs: memberships.into_iter().map(Membership::from).collect() }
    }
}

/// A user as everybody sees it: no e-mail address.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicProfile {
    pub id: UserId,
    pub name: String,
    pub created_at: Rfc3339,
}

/// The public profile as cached: a public record, renewed on update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub user_id: UserId,
    pub name: String,
    pub created_at: Moment,
    pub version: u64,
}

impl From<UserRecord> for User {
    fn from(user: UserRecord) -> Self {
        let UserRecord {
            user_id: id,
            name,
            email,
            email_verified_at,
            created_at,
            unproven_until: _,
            version: _,
            memberships_made: _,
        } = user;
        Self { id, name, email, email_verified: email_verified_at.is_some(), created_at: created_at.rfc3339() }
    }
}

impl From<UserRecord> for Profile {
    fn from(user: UserRecord) -> Self {
        let UserRecord {
            user_id,
            name,
            email: _,
            email_verified_at: _,
            created_at,
            unproven_until: _,
            version,
            memberships_made: _,
        } = user;
        Self { user_id, name, created_at, version }
    }
}

impl From<Profile> for PublicProfile {
    fn from(profile: Profile) -> Self {
        let Profile { user_id: id, name, created_at, version: _ } = profile;
        Self { id, name, created_at: created_at.rfc3339() }
    }
}
