//! Members of organizations. A membership stands twice (with the user, where authority is read, and with
//! the organization, where it is listed); both change in one transaction with the counters.

use super::keys::{self, Key};
use super::{Store, number, record, string, wait_before};
use crate::error::ApiError;
use crate::ids::{OrgId, UserId};
use crate::model::org::{MembershipRecord, NamedMembership, OrgRecord, Role};
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use crate::store::authority::sort_key;
use crate::store::role_check::{RoleCheck, RoleCondition};
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};
use std::collections::{HashMap, HashSet};

/// How often a change is tried when the membership or its organization changed meanwhile.
const ATTEMPTS: u32 = 6;

/// What a change of members starts from, and is conditional on.
struct MembershipSnapshot {
    org: OrgRecord,
    user: UserRecord,
    membership: Option<MembershipRecord>,
}

impl Store {
    /// A page of members by user id, and the id to go on after.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn list_members(
        &self,
        org: OrgId,
        limit: u8,
        after: Option<UserId>,
    ) -> Result<(Vec<NamedMembership>, Option<UserId>), ApiError> {
        let after = after.map(|user| Key::member(org, user));
        let (records, more) = self.page_of_org::<MembershipRecord>(org, keys::MEMBER, limit, after).await?;
        let next = records.last().filter(|_| more).map(|last| last.user_id);
        Ok((timed(Part::Db, self.named(records)).await?, next))
    }

    /// The organization's member with each of these addresses, in order. Addresses of nobody, of others and of members cost the same.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn members_with(&self, org: OrgId, emails: &[&str]) -> Result<Vec<Option<UserRecord>>, ApiError> {
        let logins = emails.iter().map(|email| Key::login(email).attributes()).collect();
        let mut users: HashMap<String, UserId> = HashMap::new();
        for login in timed(Part::Db, self.get_all(logins)).await? {
            let pk = login.get(keys::PK).and_then(|pk| pk.as_s().ok()).cloned().unwrap_or_default();
            let login: LoginRecord = record(login)?;
            if !login.has_ended(self.now()) {
                users.insert(pk, login.user_id);
            }
        }
        let nobody = UserId::from(uuid::Uuid::nil());
        let asked: HashSet<UserId> = users.values().copied().chain([nobody]).collect();
        let keys = asked.iter().flat_map(|user| [Key::membership(*user, org), Key::user(*user)]);
        let (mut members, mut found) = (HashSet::new(), HashMap::new());
        for item in timed(Part::Db, self.get_all(keys.map(Key::attributes).collect())).await? {
            if sort_key(&item) == keys::PROFILE {
                let user: UserRecord = record(item)?;
                found.insert(user.user_id, user);
            } else {
                members.insert(record::<MembershipRecord>(item)?.user_id);
            }
        }
        let member = |email: &&str| {
            let user = users.get(&Key::login(email).pk).filter(|user| members.contains(user))?;
            found.get(user).cloned()
        };
        Ok(emails.iter().map(member).collect())
    }

    /// Memberships with their users' names.
    async fn named(&self, records: Vec<MembershipRecord>) -> Result<Vec<NamedMembership>, ApiError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let users = self.get_all(records.iter().map(|record| Key::user(record.user_id).attributes()).collect()).await?;
        let mut names: HashMap<UserId, String> = HashMap::with_capacity(users.len());
        for user in users {
            let user: UserRecord = record(user)?;
            names.insert(user.user_id, user.name);
        }
        Ok(records
            .into_iter()
            .map(|membership| NamedMembership {
                name: names.remove(&membership.user_id).unwrap_or_default(),
                membership,
            })
            .collect())
    }

    /// Changes a member's role, if the caller's own role suffices ([`Role::needed_to_change`]) when it is written. Returns the member, and
    /// the role that it had.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such member, [`ApiError::ForbiddenRole`], [`ApiError::LastOwner`],
    /// [`ApiError::InvalidToken`] for a caller that was removed meanwhile.
    pub async fn change_role(
        &self,
        by: RoleCheck<'_>,
        user: UserId,
        role: Role,
    ) -> Result<(NamedMembership, Role), ApiError> {
        timed(Part::Db, async {
            for attempt in 0..ATTEMPTS {
                wait_before(attempt).await;
                let snapshot = self.snapshot(by.org_id(), user).await?;
                let old = snapshot.membership.as_ref().ok_or(ApiError::NotFound)?;
                let by = by.needing(Role::needed_to_change(Some(old.role), Some(role)))?;
                let was = old.role;
                let membership = MembershipRecord { role, ..old.clone() };
                let writes = if was == role { Vec::new() } else { self.changing(by, &snapshot, old, role)? };
                if writes.is_empty() || self.change_member(by, &snapshot, writes).await? {
                    return Ok((NamedMembership { membership, name: snapshot.user.name }, was));
                }
            }
            Err(ApiError::Contended)
        })
        .await
    }

    /// Removes a member from the caller's organization, if the caller's own role suffices ([`Role::needed_to_change`])
    /// when it is written; its sessions in the organization are worth nothing from then on, and so is an invitation that its address has: it
    /// would make it a member again. Oneself everybody may remove. Returns the role that the member had.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such member, [`ApiError::ForbiddenRole`], [`ApiError::LastOwner`],
    /// [`ApiError::InvalidToken`] for a caller that was removed meanwhile.
    pub async fn delete_member(&self, by: RoleCheck<'_>, user: UserId) -> Result<Role, ApiError> {
        timed(Part::Db, async {
            for attempt in 0..ATTEMPTS {
                wait_before(attempt).await;
                let snapshot = self.snapshot(by.org_id(), user).await?;
                let old = snapshot.membership.as_ref().ok_or(ApiError::NotFound)?;
                let itself = user == by.user_id();
                let needed = if itself { Role::Member } else { Role::needed_to_change(Some(old.role), None) };
                let by = by.needing(needed)?;
                let owners = if old.role == Role::Owner { -1 } else { 0 };
                let mut writes = vec![
                    self.delete_if(Key::membership(user, by.org_id()), still(by, old))?,
                    self.delete_if(Key::member(by.org_id(), user), RoleCondition::listed(old.role))?,
                    self.update(counting(&snapshot.org, -1, owners)?)?,
                ];
                writes.extend(self.removing_invitations(by.org_id(), &snapshot.user.email).await?);
                if self.change_member(by, &snapshot, writes).await? {
                    return Ok(old.role);
                }
            }
            Err(ApiError::Contended)
        })
        .await
    }

    /// Runs the writes of a change, on condition that the caller still has the role. Returns whether they were done:
    /// otherwise what the snapshot says has changed.
    async fn change_member(
        &self,
        by: RoleCheck<'_>,
        snapshot: &MembershipSnapshot,
        writes: Vec<TransactWriteItem>,
    ) -> Result<bool, ApiError> {
        // A transaction takes a record once. The writes to the caller's own are conditional on what the snapshot says.
        if snapshot.user.user_id == by.user_id() {
            let read = snapshot.membership.as_ref();
            match by.allows(read) {
                Err(ApiError::InvalidToken) => {
                    let membership = self.renewed(by).await?;
                    match by.under(&membership).allows(read) {
                        // It was read before that.
                        Err(ApiError::InvalidToken) => return Ok(false),
                        allowed => allowed?,
                    }
                }
                allowed => allowed?,
            }
            return Ok(self.transact(writes).await?.is_done());
        }
        Ok(self.transact_as(by, writes).await?.is_done())
    }

    /// Reads organization, user and membership together.
    async fn snapshot(&self, org: OrgId, user: UserId) -> Result<MembershipSnapshot, ApiError> {
        let keys = [Key::org(org), Key::user(user), Key::membership(user, org)];
        let (mut found_org, mut found_user, mut membership) = (None, None, None);
        for found in self.get_all(keys.map(Key::attributes).into()).await? {
            match sort_key(&found) {
                keys::ORG => found_org = Some(record(found)?),
                keys::PROFILE => found_user = Some(record(found)?),
                _ => membership = Some(record(found)?),
            }
        }
        Ok(MembershipSnapshot {
            org: found_org.ok_or(ApiError::NotFound)?,
            user: found_user.ok_or(ApiError::NotFound)?,
            membership,
        })
    }

    fn changing(
        &self,
        by: RoleCheck<'_>,
        snapshot: &MembershipSnapshot,
        old: &MembershipRecord,
        role: Role,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let set = |key: Key, mut still: RoleCondition| {
            still.values.insert(":new".to_owned(), string(role.as_str()));
            Update::builder()
                .set_key(Some(key.attributes()))
                .update_expression("SET #role = :new")
                .condition_expression(still.condition)
                .set_expression_attribute_names(Some(still.names))
                .set_expression_attribute_values(Some(still.values))
        };
        let owners = i64::from(role == Role::Owner) - i64::from(old.role == Role::Owner);
        let mut writes = vec![
            self.update(set(Key::membership(old.user_id, old.org_id), still(by, old)))?,
            self.update(set(Key::member(old.org_id, old.user_id), RoleCondition::listed(old.role)))?,
        ];
        if owners != 0 {
            writes.push(self.update(counting(&snapshot.org, 0, owners)?)?);
        }
        Ok(writes)
    }

    fn delete_if(&self, key: Key, still: RoleCondition) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .condition_expression(still.condition)
            .set_expression_attribute_names(Some(still.names))
            .set_expression_attribute_values(Some(still.values))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// What is asked of a member's own record: that it is the membership that was read, with its role. Another's may have got another mark since,
/// which its user could give it all the time and so stay, or keep its role; the caller's own must be the one that its session counts for.
fn still(by: RoleCheck<'_>, old: &MembershipRecord) -> RoleCondition {
    if old.user_id == by.user_id() {
        RoleCondition::one_of(old, &[old.role])
    } else {
        RoleCondition::joined(old, &[old.role])
    }
}

/// Changes the counters, on condition that there is room for a new member on the plan as read, and that
/// the last owner stays.
pub(super) fn counting(org: &OrgRecord, members: i64, owners: i64) -> Result<UpdateBuilder, ApiError> {
    if owners < 0 && org.owner_count <= 1 {
        return Err(ApiError::LastOwner);
    }
    let mut update = Update::builder()
        .set_key(Some(Key::org(org.org_id).attributes()))
        .update_expression("ADD member_count :members, owner_count :owners")
        .expression_attribute_values(":members", number(members))
        .expression_attribute_values(":owners", number(owners));
    let mut conditions = vec!["attribute_exists(pk)"];
    if members > 0 {
        conditions.push("#plan = :plan AND member_count < :limit");
        update = update
            .expression_attribute_names("#plan", "plan")
            .expression_attribute_values(":plan", string(org.plan.as_str()))
            .expression_attribute_values(":limit", number(org.plan.limits().members));
    }
    if owners < 0 {
        conditions.push("owner_count > :one");
        update = update.expression_attribute_values(":one", number(1));
    }
    Ok(update.condition_expression(conditions.join(" AND ")))
}
