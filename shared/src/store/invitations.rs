//! Invitations of an organization: made within its plan's room, listed, withdrawn, and the token that their mail gets.

use super::idempotency::{Begun, Keyed};
use super::keys::{self, Key};
use super::links::LastHash;
use super::rates::{Counted, Counter};
use super::role_check::RoleCheck;
use super::{Store, attributes, condition_failed, not_written, number, out_of_tries, record, string, wait_before};
use crate::account_mail::PendingMail;
use crate::error::ApiError;
use crate::ids::{InvitationId, OrgId};
use crate::model::invitation::{InvitationRecord, InvitationToken};
use crate::model::org::{MembershipRecord, OrgRecord, Role};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::authority::sort_key;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem, Update};
use platform::idempotency::KeyClaim;
use platform::telemetry::{Part, timed};
use std::time::Duration;

/// How often one is made while the organization's members or invitations change meanwhile.
const ATTEMPTS: u32 = 8;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// One that was taken of a day's number.
pub struct TakenInvitation(Counter);

impl Store {
    /// Takes one of the organization's invitations of the day (UTC).
    ///
    /// # Errors
    /// [`ApiError::RateLimited`] until midnight.
    pub async fn take_invitation(&self, org: OrgId, most: u64) -> Result<TakenInvitation, ApiError> {
        let (counter, ends) = self.invitations_of_day(org, most);
        match self.count(&counter).await? {
            Counted::Within => Ok(TakenInvitation(counter)),
            Counted::Over { .. } => {
                let left_ms = u64::try_from(ends.as_millis() - self.now().as_millis()).unwrap_or(0);
                let retry_after_seconds = left_ms.div_ceil(1000);
                Err(ApiError::RateLimited { what: "invitations", limit: most, retry_after_seconds })
            }
        }
    }

    /// Gives one back that was certainly not made, to its day. A failure is logged.
    pub async fn give_invitation_back(&self, taken: TakenInvitation) {
        self.count_back(&taken.0).await;
    }

    fn invitations_of_day(&self, org: OrgId, most: u64) -> (Counter, Moment) {
        let begins = Moment::from_millis(self.now().as_millis().div_euclid(DAY_MS) * DAY_MS);
        let ends = begins.plus(Duration::from_secs(24 * 60 * 60));
        (Counter::new("invitations", &org.to_string(), begins, ends, most), ends)
    }

    /// Stores an invitation with its mail and the request's key, if the plan has room for all who are members or may become so. Another
    /// one for the same address goes: there is one at most. Whoever may not withdraw that one may not replace it, unless
    /// nobody can accept it.
    ///
    /// # Errors
    /// [`ApiError::PlanLimitReached`], [`ApiError::ForbiddenRole`], those of the key; [`ApiError::InvalidToken`] for a caller that was
    /// removed meanwhile.
    pub async fn invite<'k>(
        &self,
        by: RoleCheck<'_>,
        new: &InvitationRecord,
        mail: Option<&PendingMail>,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Begun<'k>, ApiError> {
        timed(Part::Db, async {
            let (mut met_others, mut renewed): (_, Option<MembershipRecord>) = (false, None);
            for attempt in 0..ATTEMPTS {
                wait_before(attempt).await;
                let by = renewed.as_ref().map_or(by, |renewed| by.under(renewed));
                let (by, writes) = self.inviting(by, new, mail).await.map_err(not_written)?;
                let keyed = self.transact_once_with_key(by.org_id(), claim, writes).await?;
                met_others |= keyed.met_others();
                match keyed {
                    Keyed::Begun(begun) => return Ok(begun),
                    Keyed::Refused(reasons) if condition_failed(&reasons[0]) => {
                        renewed = Some(self.renewed(by).await.map_err(not_written)?);
                    }
                    _ => {}
                }
            }
            Err(out_of_tries(met_others))
        })
        .await
    }

    /// What makes an invitation, the check of its maker's role first: of the least that may.
    async fn inviting<'a>(
        &self,
        by: RoleCheck<'a>,
        new: &InvitationRecord,
        mail: Option<&PendingMail>,
    ) -> Result<(RoleCheck<'a>, Vec<TransactWriteItem>), ApiError> {
        let living = self.living_invitations(by.org_id()).await?;
        let by = by.needing(self.needed_to_replace(&living, new).await?)?;
        let org: OrgRecord = self.get(Key::org(by.org_id())).await?.ok_or(ApiError::NotFound)?;
        let (replaced, others): (Vec<_>, Vec<_>) = living.into_iter().partition(|one| one.email == new.email);
        let limit = org.plan.limits().members;
        let has_room = |others: u64| org.member_count + others < limit;
        // Whose makers have left is looked at only where that decides.
        if !has_room(others.len() as u64) && !has_room(self.acceptable(by.org_id(), &others).await?) {
            return Err(ApiError::PlanLimitReached { what: "members and invitations", limit });
        }
        let mut writes = vec![by.write(&self.table)?, self.update(one_more(&org))?];
        writes.push(self.put_new(attributes(Key::invitation(new.org_id, new.invitation_id), new)?)?);
        for one in replaced {
            writes.push(self.remove_invitation(&one)?);
        }
        writes.extend(mail.map(|mail| self.mail_writes(mail)).transpose()?.into_iter().flatten());
        Ok((by, writes))
    }

    /// The invitation that an address has, if it is for the same role as another one and can be accepted.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn living_invitation(&self, like: &InvitationRecord) -> Result<Option<InvitationRecord>, ApiError> {
        let living = self.living_invitations(like.org_id).await?;
        let one = living.into_iter().find(|one| one.email == like.email && one.role == like.role);
        let Some(one) = one else { return Ok(None) };
        Ok(self.inviter(&one).await?.map(|_| one))
    }

    /// The least role that may make an invitation and withdraw those that its address has. What nobody can accept is in nobody's way.
    async fn needed_to_replace(&self, living: &[InvitationRecord], new: &InvitationRecord) -> Result<Role, ApiError> {
        let needed = |role: Role| Role::needed_to_change(None, Some(role));
        let mut least = needed(new.role);
        for one in living.iter().filter(|one| one.email == new.email) {
            if needed(one.role) > least && self.inviter(one).await?.is_some() {
                least = needed(one.role);
            }
        }
        Ok(least)
    }

    /// How many of these can be accepted: their makers could still make them.
    async fn acceptable(&self, org: OrgId, invitations: &[InvitationRecord]) -> Result<u64, ApiError> {
        let mut makers: Vec<_> = invitations.iter().map(|one| one.invited_by).collect();
        makers.sort_unstable();
        makers.dedup();
        let mut count = 0;
        for some in makers.chunks(100) {
            let keys = some.iter().map(|maker| Key::membership(*maker, org).attributes()).collect();
            for found in self.get_all(keys).await? {
                let maker: MembershipRecord = record(found)?;
                count += invitations.iter().filter(|one| could_make(&maker, one)).count() as u64;
            }
        }
        Ok(count)
    }

    /// All that have not expired. A day's number bounds them: 8 days of it at most.
    pub(super) async fn living_invitations(&self, org: OrgId) -> Result<Vec<InvitationRecord>, ApiError> {
        let (mut living, mut after) = (Vec::new(), None);
        loop {
            let (some, next) = self.invitations(org, 100, after).await?;
            let now = self.now();
            living.extend(some.into_iter().filter(|one| one.expires_at > now));
            after = next;
            if after.is_none() {
                return Ok(living);
            }
        }
    }

    /// A page of invitations by their ids, the oldest first, and the id to go on after.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn invitations(
        &self,
        org: OrgId,
        limit: u8,
        after: Option<InvitationId>,
    ) -> Result<(Vec<InvitationRecord>, Option<InvitationId>), ApiError> {
        let after = after.map(|id| Key::invitation(org, id));
        let (found, more) = self.page_of_org::<InvitationRecord>(org, keys::INVITATION, limit, after).await?;
        let next = found.last().filter(|_| more).map(|last| last.invitation_id);
        Ok((found, next))
    }

    /// Withdraws an invitation: its link is worth nothing when this returns. Whoever may not make it may not withdraw it.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], [`ApiError::ForbiddenRole`], [`ApiError::InvalidToken`] for a caller that was removed meanwhile.
    pub async fn withdraw_invitation(
        &self,
        by: RoleCheck<'_>,
        invitation: InvitationId,
    ) -> Result<InvitationRecord, ApiError> {
        let found = self.invitation(by.org_id(), invitation).await?.ok_or(ApiError::NotFound)?;
        let by = by.needing(Role::needed_to_change(None, Some(found.role)))?;
        let removed = timed(Part::Db, self.transact_as(by, vec![self.remove_invitation(&found)?])).await?;
        removed.is_done().then_some(found).ok_or(ApiError::NotFound)
    }

    /// An invitation, expired or not.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn invitation(&self, org: OrgId, invitation: InvitationId) -> Result<Option<InvitationRecord>, ApiError> {
        timed(Part::Db, self.get(Key::invitation(org, invitation))).await
    }

    /// Who made an invitation, if it could still make it: its address is proven, and it is the member that it was, with a role that
    /// suffices.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn inviter(&self, of: &InvitationRecord) -> Result<Option<UserRecord>, ApiError> {
        let keys = [Key::user(of.invited_by), Key::membership(of.invited_by, of.org_id)].map(Key::attributes);
        let (mut user, mut membership) = (None, None);
        for found in timed(Part::Db, self.get_all(keys.into())).await? {
            match sort_key(&found) {
                keys::PROFILE => user = Some(record::<UserRecord>(found)?),
                _ => membership = Some(record::<MembershipRecord>(found)?),
            }
        }
        let may = membership.is_some_and(|membership| could_make(&membership, of));
        Ok(user.filter(|user| may && user.email_verified_at.is_some()))
    }

    /// Gives an invitation a token, in place of the one that it may have; none if it cannot be accepted any more.
    ///
    /// # Errors
    /// When the database is away; [`ApiError::Contended`] if others make one each time.
    pub async fn new_invitation_token(&self, of: &InvitationRecord) -> Result<Option<InvitationToken>, ApiError> {
        let token = InvitationToken::generate(of.org_id, of.invitation_id).map_err(ApiError::internal)?;
        let (key, last) = (Key::invitation(of.org_id, of.invitation_id), LastHash::new(of.token_hash.as_deref()));
        let given = self.give_token(key, &token.hash(), last).await?;
        Ok(given.then_some(token))
    }

    /// What removes the invitations that an address has, living ones: they would make its reader a member once more.
    pub(super) async fn removing_invitations(
        &self,
        org: OrgId,
        email: &str,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let living = self.living_invitations(org).await?;
        living.iter().filter(|one| one.email == email).map(|one| self.remove_invitation(one)).collect()
    }

    /// Removes one that is still there.
    fn remove_invitation(&self, one: &InvitationRecord) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::invitation(one.org_id, one.invitation_id).attributes()))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Whether this is the membership that an invitation was made in, with a role that suffices.
fn could_make(membership: &MembershipRecord, of: &InvitationRecord) -> bool {
    let needed = Role::needed_to_change(None, Some(of.role));
    membership.user_id == of.invited_by && membership.joined_at == of.inviter_joined_at && membership.role >= needed
}

/// Counts one more invitation, if neither members nor invitations were added to the organization since it was read.
fn one_more(org: &OrgRecord) -> UpdateBuilder {
    let update = Update::builder()
        .set_key(Some(Key::org(org.org_id).attributes()))
        .update_expression("ADD invitations_made :one")
        .expression_attribute_names("#plan", "plan")
        .expression_attribute_values(":plan", string(org.plan.as_str()))
        .expression_attribute_values(":members", number(org.member_count))
        .expression_attribute_values(":one", number(1));
    let same = "#plan = :plan AND member_count = :members";
    match org.invitations_made {
        0 => update.condition_expression(format!("{same} AND attribute_not_exists(invitations_made)")),
        made => update
            .condition_expression(format!("{same} AND invitations_made = :made"))
            .expression_attribute_values(":made", number(made)),
    }
}
