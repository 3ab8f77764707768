//! Members of organizations. A membership stands twice (with the user, where authority is read, and with
//! the organization, where it is listed); both change in one transaction with the counters.

use super::keys::{self, Key};
use super::{ROOM_RETRY_SECONDS, Store, attributes, classify, number, record, string};
use crate::error::ApiError;
use crate::ids::{OrgId, UserId};
use crate::model::org::{MembershipRecord, NamedMembership, OrgRecord, Role};
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use crate::store::authority::sort_key;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ConditionCheck, Delete, TransactWriteItem, Update};
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
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .limit(i32::from(limit))
            .key_condition_expression("pk = :pk AND begins_with(sk, :member)")
            .expression_attribute_values(":pk", string(keys::org_pk(org)))
            .expression_attribute_values(":member", string(keys::MEMBER))
            .set_exclusive_start_key(after.map(|user| Key::member(org, user).attributes()))
            .send();
        timed(Part::Db, async {
            let page = query.await.map_err(classify)?;
            let more = page.last_evaluated_key.is_some();
            let records: Vec<MembershipRecord> =
                page.items.unwrap_or_default().into_iter().map(record).collect::<Result<_, _>>()?;
            let next = records.last().filter(|_| more).map(|last| last.user_id);
            Ok((self.named(records).await?, next))
        })
        .await
    }

    /// Which of these addresses are those of the organization's members, in order.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn are_members(&self, org: OrgId, emails: &[&str]) -> Result<Vec<bool>, ApiError> {
        let logins = emails.iter().map(|email| Key::login(email).attributes()).collect();
        let mut users: HashMap<String, UserId> = HashMap::new();
        for login in timed(Part::Db, self.get_all(logins)).await? {
            let pk = login.get(keys::PK).and_then(|pk| pk.as_s().ok()).cloned().unwrap_or_default();
            users.insert(pk, record::<LoginRecord>(login)?.user_id);
        }
        let mut members = HashSet::new();
        if !users.is_empty() {
            let memberships = users.values().map(|user| Key::membership(*user, org).attributes()).collect();
            for membership in timed(Part::Db, self.get_all(memberships)).await? {
                members.insert(record::<MembershipRecord>(membership)?.user_id);
            }
        }
        let user = |email: &&str| users.get(&Key::login(email).pk);
        Ok(emails.iter().map(|email| user(email).is_some_and(|user| members.contains(user))).collect())
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

    /// Adds a registered user to an organization, or changes a member's role, if one with the role `by` may
    /// ([`Role::may_change`]). Returns the member, and whether it is new.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such user, [`ApiError::ForbiddenRole`], [`ApiError::LastOwner`],
    /// [`ApiError::QuotaExceeded`] when the plan has no room for another member.
    pub async fn put_member(
        &self,
        org: OrgId,
        by: Role,
        user: UserId,
        role: Role,
    ) -> Result<(NamedMembership, bool), ApiError> {
        timed(Part::Db, async {
            for _ in 0..ATTEMPTS {
                let snapshot = self.snapshot(org, user).await?;
                let was = snapshot.membership.as_ref().map(|membership| membership.role);
                if !by.may_change(was, Some(role)) {
                    return Err(ApiError::ForbiddenRole);
                }
                let membership = MembershipRecord {
                    user_id: user,
                    org_id: org,
                    org_name: snapshot.org.name.clone(),
                    role,
                    joined_at: snapshot
                        .membership
                        .as_ref()
                        .map_or_else(|| self.now(), |membership| membership.joined_at),
                };
                let writes = match was {
                    None => self.adding(&snapshot, &membership)?,
                    Some(was) if was != role => self.changing(&snapshot, was, role)?,
                    Some(_) => Vec::new(),
                };
                if writes.is_empty() || self.transact(writes).await?.is_done() {
                    return Ok((NamedMembership { membership, name: snapshot.user.name }, was.is_none()));
                }
            }
            Err(ApiError::Contended)
        })
        .await
    }

    /// Removes a member, if one with the role `by` may ([`Role::may_change`]); its sessions in the organization are
    /// worth nothing from then on.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such member, [`ApiError::ForbiddenRole`], [`ApiError::LastOwner`].
    pub async fn delete_member(&self, org: OrgId, by: Role, user: UserId) -> Result<(), ApiError> {
        timed(Part::Db, async {
            for _ in 0..ATTEMPTS {
                let snapshot = self.snapshot(org, user).await?;
                let was = snapshot.membership.as_ref().ok_or(ApiError::NotFound)?.role;
                if !by.may_change(Some(was), None) {
                    return Err(ApiError::ForbiddenRole);
                }
                let writes = vec![
                    self.delete_as(Key::membership(user, org), was)?,
                    self.delete_as(Key::member(org, user), was)?,
                    self.update(counting(&snapshot.org, -1, if was == Role::Owner { -1 } else { 0 })?)?,
                ];
                if self.transact(writes).await?.is_done() {
                    return Ok(());
                }
            }
            Err(ApiError::Contended)
        })
        .await
    }

    /// Reads organization, user and membership together.
    async fn snapshot(&self, org: OrgId, user: UserId) -> Result<MembershipSnapshot, ApiError> {
        let keys = [Key::org(org), Key::user(user), Key::membership(user, org)];
        let (mut found_org, mut found_user, mut membership) = (None, None, None);
        for found in self.get_all(keys.map(Key::attributes).into()).await? {
            match sort_key(&found) {
                "ORG" => found_org = Some(record(found)?),
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

    fn adding(
        &self,
        snapshot: &MembershipSnapshot,
        new: &MembershipRecord,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let limit = snapshot.org.plan.limits().members;
        if snapshot.org.member_count >= limit {
            return Err(ApiError::QuotaExceeded { what: "members", limit, retry_after_seconds: ROOM_RETRY_SECONDS });
        }
        let exists = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(new.user_id).attributes()))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(ApiError::internal)?;
        Ok(vec![
            TransactWriteItem::builder().condition_check(exists).build(),
            self.put_new(attributes(Key::membership(new.user_id, new.org_id), new)?)?,
            self.put_new(attributes(Key::member(new.org_id, new.user_id), new)?)?,
            self.update(counting(&snapshot.org, 1, i64::from(new.role == Role::Owner))?)?,
        ])
    }

    fn changing(
        &self,
        snapshot: &MembershipSnapshot,
        was: Role,
        role: Role,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let (user, org) = (snapshot.user.user_id, snapshot.org.org_id);
        let set = |key: Key| {
            Update::builder()
                .set_key(Some(key.attributes()))
                .update_expression("SET #role = :role")
                .condition_expression("#role = :was")
                .expression_attribute_names("#role", "role")
                .expression_attribute_values(":role", string(role.as_str()))
                .expression_attribute_values(":was", string(was.as_str()))
        };
        let owners = i64::from(role == Role::Owner) - i64::from(was == Role::Owner);
        let mut writes = vec![self.update(set(Key::membership(user, org)))?, self.update(set(Key::member(org, user)))?];
        if owners != 0 {
            writes.push(self.update(counting(&snapshot.org, 0, owners)?)?);
        }
        Ok(writes)
    }

    fn delete_as(&self, key: Key, role: Role) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .condition_expression("#role = :role")
            .expression_attribute_names("#role", "role")
            .expression_attribute_values(":role", string(role.as_str()))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Changes the counters, on condition that there is room for a new member on the plan as read, and that
/// the last owner stays.
fn counting(org: &OrgRecord, members: i64, owners: i64) -> Result<UpdateBuilder, ApiError> {
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
