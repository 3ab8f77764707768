//! Organizations, their plans and their members.

use crate::cursor::CursorKey;
use crate::ids::{ItemId, JobId, OrgId, UserId};
use crate::model::mark::MembershipMark;
use crate::model::time::{Moment, Rfc3339};
use deserr::Deserr;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// A plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(rename_all = "snake_case")]
#[deserr(rename_all = lowercase)]
pub enum Plan {
    Free,
    Pro,
    Enterprise,
}

/// What a plan allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlanLimits)]
pub struct Limits {
    /// Items an organization may hold.
    pub items: u64,
    /// Members an organization may have.
    pub members: u64,
    /// Analyses in a calendar month (UTC).
    pub analyses_per_month: u64,
    /// E-mails in a calendar month (UTC).
    pub emails_per_month: u64,
    /// Bytes of text in one analysis.
    pub input_bytes: u64,
}

impl Plan {
    /// What it allows.
    #[must_use]
    pub const fn limits(self) -> Limits {
        match self {
            Self::Free => {
                Limits { items: 1_000, members: 5, analyses_per_month: 100, emails_per_month: 200, input_bytes: 20_000 }
            }
            Self::Pro => Limits {
                items: 100_000,
                members: 100,
                analyses_per_month: 10_000,
                emails_per_month: 10_000,
                input_bytes: 200_000,
            },
            Self::Enterprise => Limits {
                items: 10_000_000,
                members: 10_000,
                analyses_per_month: 1_000_000,
                emails_per_month: 1_000_000,
                input_bytes: 1_000_000,
            },
        }
    }

    /// What is said where it has no models that cost something.
    pub const BUILTIN_ONLY: &str = "Your plan has the builtin analysis only.";
    /// What is said where e-mails go to members only.
    pub const MEMBERS_ONLY: &str =
        "On your plan your organization writes to its members only, at addresses that are proven.";

    /// Whether e-mails may go to others than members.
    #[must_use]
    pub const fn writes_to_anyone(self) -> bool {
        !matches!(self, Self::Free)
    }

    /// Whether analyses may use models that cost something.
    #[must_use]
    pub const fn has_paid_models(self) -> bool {
        !matches!(self, Self::Free)
    }

    /// As callers and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

/// A role in an organization; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(rename_all = "snake_case")]
#[deserr(rename_all = lowercase)]
pub enum Role {
    Member,
    Admin,
    Owner,
}

impl Role {
    /// As callers and the database spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// The least role that may change another member's role from `was` to `to`; `None` is no member. Only owners make
    /// owners, change them or remove them.
    #[must_use]
    pub fn needed_to_change(was: Option<Self>, to: Option<Self>) -> Self {
        if [was, to].contains(&Some(Self::Owner)) { Self::Owner } else { Self::Admin }
    }
}

/// An organization as stored. Its counters never fall short of what they count, and match it but while a batch
/// of items is being written, or after a crash in the midst of one: it takes its room first. Where items are spread, the count of
/// items includes the room that lies in lanes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrgRecord {
    pub org_id: OrgId,
    pub name: String,
    pub plan: Plan,
    pub plan_version: u64,
    /// When an operator gave it; none for the plan from the beginning, or one that its owner took before version 0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_given_at: Option<Moment>,
    /// When its turn to be spread comes. From before on its lists look into partitions, and lanes give room. None: its items lie
    /// together and are counted here, as those of most organizations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread_from: Option<Moment>,
    /// Whether it has copies (`store::org_copies`), or is one. Where they were made, every version that serves looks into partitions.
    /// The counters of a copy are those of when it was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
    #[serde(deserialize_with = "at_least_none")]
    pub item_count: u64,
    pub member_count: u64,
    pub owner_count: u64,
    /// Invitations that were ever made, so that two that are made at once see each other.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub invitations_made: u64,
    pub cursor_key: CursorKey,
    pub created_at: Moment,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A count that fell short, by whatever fault, shuts nobody out of the organization: it is none.
fn at_least_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    i64::deserialize(deserializer).map(|count| u64::try_from(count).unwrap_or(0))
}

impl OrgRecord {
    /// Whether items that are created now are spread.
    #[must_use]
    pub fn spreads_items(&self, now: Moment) -> bool {
        self.copied && self.is_due(now)
    }

    /// Whether its turn to be spread has come, and only its copies are missing.
    #[must_use]
    pub(crate) fn lacks_copies(&self, now: Moment) -> bool {
        !self.copied && self.is_due(now)
    }

    fn is_due(&self, now: Moment) -> bool {
        self.spread_from.is_some_and(|from| from <= now)
    }

    /// An id for a new job of it, which says where the job will lie.
    #[must_use]
    pub fn new_job_id(&self, now: Moment) -> JobId {
        if self.spreads_items(now) { JobId::new_spread() } else { JobId::new() }
    }

    /// An id for a new item of it, which says where the item will lie, and whether it is created with others.
    #[must_use]
    pub fn new_item_id(&self, in_batch: bool, now: Moment) -> ItemId {
        let id = if self.spreads_items(now) { ItemId::new_spread() } else { ItemId::new() };
        id.created(in_batch)
    }
}

/// An organization as its members see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Org {
    pub id: OrgId,
    pub name: String,
    pub plan: Plan,
}

/// An organization's plan as cached: renewed on update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgPlan {
    pub plan: Plan,
    pub version: u64,
}

/// An organization's plan as its members see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrgPlan)]
pub struct OrgPlanView {
    pub org_id: OrgId,
    pub plan: Plan,
    pub limits: Limits,
    pub version: u64,
}

impl OrgRecord {
    /// What is shown of it, field by field: a new one is shown, or left out here.
    fn shown(self) -> (Org, OrgPlan) {
        let Self {
            org_id: id,
            name,
            plan,
            plan_version: version,
            plan_given_at: _,
            spread_from: _,
            copied: _,
            item_count: _,
            member_count: _,
            owner_count: _,
            invitations_made: _,
            cursor_key: _,
            created_at: _,
        } = self;
        (Org { id, name, plan }, OrgPlan { plan, version })
    }
}

impl From<OrgRecord> for Org {
    fn from(org: OrgRecord) -> Self {
        org.shown().0
    }
}

impl From<OrgRecord> for OrgPlan {
    fn from(org: OrgRecord) -> Self {
        org.shown().1
    }
}

impl OrgPlan {
    /// As the organization's members see it.
    #[must_use]
    pub fn view(self, org_id: OrgId) -> OrgPlanView {
        let Self { plan, version } = self;
        OrgPlanView { org_id, plan, limits: plan.limits(), version }
    }
}

/// A membership as stored (twice, in one transaction: with the user and with the organization).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MembershipRecord {
    pub user_id: UserId,
    pub org_id: OrgId,
    pub org_name: String,
    pub role: Role,
    pub joined_at: Moment,
    /// Only with the user, where authority is read. Memberships from before there were marks have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MembershipMark>,
}

impl MembershipRecord {
    /// Whether this is the user's place outside of all organizations (`store::outside`), and no membership of one.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.org_id == OrgId::NONE
    }

    /// The copy that stands with the organization.
    #[must_use]
    pub(crate) fn listed(&self) -> Self {
        Self { mark: None, ..self.clone() }
    }

    /// Whether a session counts that was made under `mark`, at `created_at`. Where neither has a mark, both are from
    /// before there were any, and the session must not be older than the membership.
    #[must_use]
    pub(crate) fn covers(&self, mark: Option<&MembershipMark>, created_at: Moment) -> bool {
        self.mark.as_ref() == mark && (mark.is_some() || created_at >= self.joined_at)
    }

    /// Whether this is the same membership, whatever its role is now, and not one made after it ended.
    #[must_use]
    pub(crate) fn is_still(&self, other: &Self) -> bool {
        (self.user_id, self.org_id) == (other.user_id, other.org_id)
            && self.covers(other.mark.as_ref(), other.joined_at)
            && other.covers(self.mark.as_ref(), self.joined_at)
    }
}

/// A membership with its user's name.
#[derive(Debug)]
pub struct NamedMembership {
    pub membership: MembershipRecord,
    pub name: String,
}

/// A member as the organization's members see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Member {
    pub user_id: UserId,
    pub name: String,
    pub role: Role,
    pub joined_at: Rfc3339,
}

impl From<NamedMembership> for Member {
    fn from(NamedMembership { membership, name }: NamedMembership) -> Self {
        let MembershipRecord { user_id, org_id: _, org_name: _, role, joined_at, mark: _ } = membership;
        Self { user_id, name, role, joined_at: joined_at.rfc3339() }
    }
}

/// An organization as one of its members sees it in `/me`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Membership {
    pub id: OrgId,
    pub name: String,
    pub role: Role,
    pub joined_at: Rfc3339,
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Self {
        let MembershipRecord { user_id: _, org_id: id, org_name: name, role, joined_at, mark: _ } = record;
        Self { id, name, role, joined_at: joined_at.rfc3339() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered() {
        assert!(Role::Owner > Role::Admin && Role::Admin > Role::Member);
    }

    #[test]
    fn only_owners_make_change_and_remove_owners() {
        let (owner, admin, member) = (Some(Role::Owner), Some(Role::Admin), Some(Role::Member));
        for (was, to) in [(None, owner), (member, owner), (owner, admin), (owner, None)] {
            assert_eq!(Role::needed_to_change(was, to), Role::Owner, "{was:?} {to:?}");
        }
        for (was, to) in [(None, admin), (None, member), (admin, member), (member, None)] {
            assert_eq!(Role::needed_to_change(was, to), Role::Admin, "{was:?} {to:?}");
        }
    }

    #[test]
    fn a_session_counts_for_the_membership_that_it_was_made_under() {
        let membership = |mark: Option<&MembershipMark>, joined_at| MembershipRecord {
            user_id: UserId::from(uuid::Uuid::nil()),
            org_id: OrgId::from(uuid::Uuid::nil()),
            org_name: "Analytical Engines".into(),
            role: Role::Member,
            joined_at: Moment::from_millis(joined_at),
            mark: mark.cloned(),
        };
        let (first, second) =
            (MembershipMark::generate().expect("random"), MembershipMark::generate().expect("random"));
        // What the membership has, when it was made; what the session has, when it was made.
        for (of_membership, joined_at, of_session, created_at, counts) in [
            (Some(&first), 5, Some(&first), 5, true),
            (Some(&first), 5, Some(&first), 4, true),
            (Some(&second), 5, Some(&first), 9, false),
            (Some(&first), 5, None, 9, false),
            (None, 5, Some(&first), 9, false),
            (None, 5, None, 5, true),
            (None, 5, None, 4, false),
        ] {
            let membership = membership(of_membership, joined_at);
            let covers = membership.covers(of_session, Moment::from_millis(created_at));
            assert_eq!(covers, counts, "{membership:?} {of_session:?} {created_at}");
        }
        assert!(membership(Some(&first), 5).is_still(&membership(Some(&first), 5)));
        assert!(!membership(Some(&second), 5).is_still(&membership(Some(&first), 5)));
        assert!(membership(None, 5).is_still(&membership(None, 5)));
        for (then, now) in [(4, 5), (5, 4)] {
            assert!(!membership(None, now).is_still(&membership(None, then)));
        }
    }

    /// A deployment that changes a plan's limits changes what a `GET` shows, and its tag.
    #[test]
    fn a_tag_is_of_what_is_shown_and_not_of_the_version() {
        let shown = OrgPlan { plan: Plan::Free, version: 1 }.view(OrgId::new());
        let tag = platform::etag::EntityTag::of(&shown);
        let limits = Limits { items: shown.limits.items + 1, ..shown.limits };
        assert_ne!(platform::etag::EntityTag::of(&OrgPlanView { limits, ..shown }), tag);
    }

    #[test]
    fn spellings_agree() {
        for plan in [Plan::Free, Plan::Pro, Plan::Enterprise] {
            assert_eq!(serde_json::json!(plan), plan.as_str());
        }
        for role in [Role::Member, Role::Admin, Role::Owner] {
            assert_eq!(serde_json::json!(role), role.as_str());
        }
    }
}
