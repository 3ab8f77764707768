//! Becoming a member: by an invitation, which is used up in the same transaction, or by an operator's word. Nobody is added without
//! consent.

use super::keys::{self, Key};
use super::members::counting;
use super::{Store, Transaction, attributes, condition_failed, number, out_of_tries, record, string, wait_before};
use crate::error::ApiError;
use crate::ids::{OrgId, UserId};
use crate::model::invitation::{InvitationRecord, InvitationToken};
use crate::model::mark::MembershipMark;
use crate::model::org::{MembershipRecord, OrgRecord, Role};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::authority::sort_key;
use aws_sdk_dynamodb::types::{ConditionCheck, Delete, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};
use std::collections::HashMap;

/// Organizations that a user may belong to.
pub const MEMBERSHIPS_MAX: usize = 50;
/// How often it is tried when something of it changed meanwhile.
pub(crate) const ATTEMPTS: u32 = 8;

/// By whose word a user becomes a member.
#[derive(Debug, Clone, Copy)]
pub enum JoinsBy<'a> {
    /// That of an admin, which its mail carried to the user's proven address.
    Invitation(&'a InvitationToken),
    /// An operator's.
    Operator(OrgId, Role),
}

/// An invitation that can be accepted now, with its organization.
pub struct Invited {
    invitation: InvitationRecord,
    pub org: OrgRecord,
}

impl Invited {
    /// The membership that it gives.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn membership(&self, user: UserId, now: Moment) -> Result<MembershipRecord, ApiError> {
        membership(&self.org, user, self.invitation.role, now)
    }
}

/// How many of the first writes of a transaction use an invitation up.
pub(crate) const USING: usize = 2;

impl Store {
    /// Makes a user a member. Its sessions go on as they are; it logs in to the organization for one there. It is counted with the user: whoever
    /// is about to end all sessions of the memberships that were read before sees that there is one more. By an operator's word, an
    /// invitation that its address has goes, as an accepted one does: by it, it could come back once it is removed.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] for an invitation that is none, was used or withdrawn, is too old, or is for another address;
    /// [`ApiError::EmailUnverified`], [`ApiError::AlreadyMember`], [`ApiError::TooManyOrganizations`], [`ApiError::PlanLimitReached`].
    pub async fn join(&self, user: UserId, by: JoinsBy<'_>) -> Result<MembershipRecord, ApiError> {
        timed(Part::Db, async {
            let mut met_others = false;
            for attempt in 0..ATTEMPTS {
                wait_before(attempt).await;
                let found = self.user_with_memberships(user).await?;
                let (user, memberships) = found.ok_or(ApiError::InvalidToken)?;
                let (new, org, mut writes) = match by {
                    JoinsBy::Operator(org, role) => {
                        let org: OrgRecord = self.get(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
                        (membership(&org, user.user_id, role, self.now())?, org, Vec::new())
                    }
                    JoinsBy::Invitation(_) if user.email_verified_at.is_none() => {
                        return Err(ApiError::EmailUnverified);
                    }
                    JoinsBy::Invitation(token) => {
                        let invited = self.invited(token, &user.email).await?;
                        let new = invited.membership(user.user_id, self.now())?;
                        let writes = self.using(&invited)?;
                        (new, invited.org, writes)
                    }
                };
                if memberships.iter().any(|one| one.org_id == org.org_id) {
                    return Err(ApiError::AlreadyMember);
                }
                if memberships.iter().filter(|one| !one.is_outside()).count() >= MEMBERSHIPS_MAX {
                    return Err(ApiError::TooManyOrganizations { limit: MEMBERSHIPS_MAX });
                }
                let using = writes.len();
                writes.push(self.unchanged_user(&user)?);
                writes.extend(self.adding(&org, &new)?);
                if matches!(by, JoinsBy::Operator(..)) {
                    writes.extend(self.removing_invitations(org.org_id, &user.email).await?);
                }
                match self.transact_once(writes).await? {
                    Some(Transaction::Done) => return Ok(new),
                    Some(Transaction::Refused(reasons)) if reasons[..using].iter().any(condition_failed) => {
                        return Err(ApiError::InvalidLink);
                    }
                    Some(Transaction::Refused(_)) => {}
                    None => met_others = true,
                }
            }
            Err(out_of_tries(met_others))
        })
        .await
    }

    /// The invitation that a token opens to whoever has an address.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] if it opens none: which of the reasons it is, nobody is told.
    pub async fn invited(&self, token: &InvitationToken, email: &str) -> Result<Invited, ApiError> {
        let keys = [Key::invitation(token.org_id, token.invitation_id), Key::org(token.org_id)].map(Key::attributes);
        let (mut invitation, mut org) = (None, None);
        for found in timed(Part::Db, self.get_all(keys.into())).await? {
            match sort_key(&found) {
                keys::ORG => org = Some(record(found)?),
                _ => invitation = Some(record::<InvitationRecord>(found)?),
            }
        }
        let (invitation, org) = invitation.zip(org).ok_or(ApiError::InvalidLink)?;
        let is_open = invitation.token_hash.as_deref() == Some(token.hash().as_str())
            && invitation.email == email
            && invitation.expires_at > self.now();
        if !is_open || self.inviter(&invitation).await?.is_none() {
            return Err(ApiError::InvalidLink);
        }
        Ok(Invited { invitation, org })
    }

    /// Uses an invitation up, if it is as it was read, and if its maker still could: [`USING`] writes.
    pub(super) fn using(&self, Invited { invitation, .. }: &Invited) -> Result<Vec<TransactWriteItem>, ApiError> {
        let used = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::invitation(invitation.org_id, invitation.invitation_id).attributes()))
            .condition_expression("token_hash = :hash AND expires_at > :now")
            .expression_attribute_values(":hash", string(invitation.token_hash.as_deref().unwrap_or_default()))
            .expression_attribute_values(":now", number(self.now().as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        let needed = Role::needed_to_change(None, Some(invitation.role));
        let roles = [Role::Admin, Role::Owner].into_iter().filter(|role| *role >= needed);
        let values: HashMap<_, _> =
            roles.enumerate().map(|(at, role)| (format!(":role{at}"), string(role.as_str()))).collect();
        let mut operands: Vec<String> = values.keys().cloned().collect();
        operands.sort_unstable();
        let still = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::membership(invitation.invited_by, invitation.org_id).attributes()))
            .condition_expression(format!("joined_at = :joined_at AND #role IN ({})", operands.join(", ")))
            .expression_attribute_names("#role", "role")
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":joined_at", number(invitation.inviter_joined_at.as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        Ok(vec![
            TransactWriteItem::builder().delete(used).build(),
            TransactWriteItem::builder().condition_check(still).build(),
        ])
    }

    /// Counts one more membership of a user, if the user is as it was read: so two that join at once count each other.
    fn unchanged_user(&self, user: &UserRecord) -> Result<TransactWriteItem, ApiError> {
        self.update(
            Update::builder()
                .set_key(Some(Key::user(user.user_id).attributes()))
                .update_expression("ADD #version :one, memberships_made :one")
                .condition_expression("#version = :version AND email = :email")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(user.version))
                .expression_attribute_values(":email", string(&user.email))
                .expression_attribute_values(":one", number(1)),
        )
    }

    /// The writes of a new member, if the plan has room for it.
    pub(super) fn adding(&self, org: &OrgRecord, new: &MembershipRecord) -> Result<Vec<TransactWriteItem>, ApiError> {
        let limit = org.plan.limits().members;
        if org.member_count >= limit {
            return Err(ApiError::PlanLimitReached { what: "members", limit });
        }
        Ok(vec![
            self.put_new(attributes(Key::membership(new.user_id, new.org_id), new)?)?,
            self.put_new(attributes(Key::member(new.org_id, new.user_id), &new.listed())?)?,
            self.update(counting(org, 1, i64::from(new.role == Role::Owner))?)?,
        ])
    }
}

/// A new membership, with a mark of its own.
pub(super) fn membership(org: &OrgRecord, user: UserId, role: Role, now: Moment) -> Result<MembershipRecord, ApiError> {
    Ok(MembershipRecord {
        user_id: user,
        org_id: org.org_id,
        org_name: org.name.clone(),
        role,
        joined_at: now,
        mark: Some(MembershipMark::generate().map_err(ApiError::internal)?),
    })
}
