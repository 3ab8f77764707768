//! Users, their log-in records and sessions.

use super::keys::{self, Key};
use super::{
    Attributes, Store, Transaction, attributes, condition_failed, contended, number, record, string, versioned,
};
use crate::account_mail::PendingMail;
use crate::conditional::Expected;
use crate::device::Device;
use crate::error::ApiError;
use crate::ids::{SessionId, UserId};
use crate::model::cached::ProfileKey;
use crate::model::org::{MembershipRecord, OrgRecord, Role};
use crate::model::proof::SecretHash;
use crate::model::settings::SettingsRecord;
use crate::model::text::{Email, Name};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::network::Origin;
use crate::store::authority::sort_key;
use crate::store::joining::{self, Invited};
use crate::store::sessions::SessionRecord;
use crate::token::Token;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use platform::cache::Renewal;
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a log-in needs, stored under the e-mail address: its uniqueness is the record's.
#[derive(Serialize, Deserialize)]
pub struct LoginRecord {
    pub user_id: UserId,
    pub password_hash: String,
    /// Grows with each change. Records from before it was counted have none, which is 0.
    #[serde(default)]
    pub version: u64,
    /// Where the address is not proven: until when it may be. Then the account ends and the address is free. Accounts from before that was
    /// asked have none, and do not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven_until: Option<Moment>,
}

/// How long an account lives whose address nobody proves.
pub const UNPROVEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl LoginRecord {
    /// Says of two log-in records of an account whether their password is the same: each has a salt of its own.
    pub(super) fn password_digest(&self) -> SecretHash {
        SecretHash::of(&[b"password", self.password_hash.as_bytes()])
    }

    /// Whether the account has ended, because nobody proved its address in time: there is none then.
    pub(super) fn has_ended(&self, now: Moment) -> bool {
        self.unproven_until.is_some_and(|until| until <= now)
    }

    /// Whether this is a later one of the same account, whose password is what it was. Its version grows without that, too, as where the
    /// account's other sessions are ended.
    pub(super) fn has_password_of(&self, before: &Self) -> bool {
        (self.user_id, &self.password_hash) == (before.user_id, &before.password_hash)
    }
}

/// All that a registration writes.
pub struct Registration<'a> {
    pub user: &'a UserRecord,
    pub password_hash: String,
    pub place: &'a AccountOrg,
    pub membership: &'a MembershipRecord,
    pub token: &'a Token,
    pub origin: Origin,
    /// The device that it knows from the start.
    pub device: Option<&'a Device>,
    /// What proves the address, if that is still to be done.
    pub mail: Option<&'a PendingMail>,
}

/// The organization that a new account belongs to.
pub enum AccountOrg {
    /// A new one.
    Founded(Box<OrgRecord>, SettingsRecord),
    /// One that it is invited to.
    Invited(Invited),
}

impl AccountOrg {
    /// The organization.
    #[must_use]
    pub fn org(&self) -> &OrgRecord {
        match self {
            Self::Founded(org, _) => org,
            Self::Invited(invited) => &invited.org,
        }
    }

    /// The same, owned.
    #[must_use]
    pub fn into_org(self) -> OrgRecord {
        match self {
            Self::Founded(org, _) => *org,
            Self::Invited(invited) => invited.org,
        }
    }

    /// The membership that a new account gets.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn membership(&self, user: UserId, now: Moment) -> Result<MembershipRecord, ApiError> {
        match self {
            Self::Founded(org, _) => joining::membership(org, user, Role::Owner, now),
            Self::Invited(invited) => invited.membership(user, now),
        }
    }
}

impl Store {
    /// Stores a registration as a whole or not at all. Returns its session's id, and when that ends.
    ///
    /// # Errors
    /// [`ApiError::EmailTaken`] if an account has the address, or had it until lately; [`ApiError::InvalidLink`] if the invitation was
    /// used or withdrawn meanwhile; [`ApiError::Contended`] if the organization that it is for changed.
    pub async fn register(&self, new: Registration<'_>) -> Result<(SessionId, Moment), ApiError> {
        let Registration { user, password_hash, place, membership, token, origin, device, mail } = new;
        let user_id = user.user_id;
        let now = self.now();
        let unproven_until = user.unproven_until;
        let login = LoginRecord { user_id, password_hash, version: 1, unproven_until };
        let session = SessionRecord::new(membership, origin, now).until(unproven_until);
        let mut writes = vec![self.put_login(attributes(Key::login(&user.email), &login)?, now)?];
        match place {
            AccountOrg::Founded(org, settings) => writes.extend([
                self.put_new(attributes(Key::org(org.org_id), org)?)?,
                self.put_new(attributes(Key::settings(org.org_id), settings)?)?,
                self.put_new(attributes(Key::membership(user_id, org.org_id), membership)?)?,
                self.put_new(attributes(Key::member(org.org_id, user_id), &membership.listed())?)?,
            ]),
            AccountOrg::Invited(invited) => {
                writes.extend(self.using(invited)?);
                writes.extend(self.adding(&invited.org, membership)?);
            }
        }
        writes.extend([self.put_new(attributes(Key::user(user_id), user)?)?, self.put_new(session.stored(token)?)?]);
        let reserved = writes.len();
        writes.push(self.is_not_reserved(&user.email, None)?);
        if let Some(device) = device {
            // There may be one of an account that had the address before.
            writes.push(self.put_over(self.first_device(&user.email, &login, device)?)?);
        }
        if let Some(mail) = mail {
            writes.extend(self.mail_writes(mail)?);
        }
        let is_founded = matches!(place, AccountOrg::Founded(..));
        let outcome = match is_founded {
            true => timed(Part::Db, self.transact(writes)).await?,
            false => timed(Part::Db, self.transact_once(writes)).await?.ok_or_else(contended)?,
        };
        if outcome.refused(0) || outcome.refused(reserved) {
            return Err(ApiError::EmailTaken);
        }
        match outcome {
            Transaction::Done => Ok((session.session_id, session.expires_at)),
            Transaction::Refused(_) if is_founded => Err(ApiError::internal("a new id exists already")),
            Transaction::Refused(reasons) if reasons[1..=joining::USING].iter().any(condition_failed) => {
                Err(ApiError::InvalidLink)
            }
            Transaction::Refused(_) => Err(ApiError::Contended),
        }
    }

    /// A user by id.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn user(&self, user: UserId) -> Result<Option<UserRecord>, ApiError> {
        timed(Part::Db, self.get(Key::user(user))).await
    }

    /// Whose address this is.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn user_of(&self, email: &Email) -> Result<Option<UserId>, ApiError> {
        let login: Option<LoginRecord> = timed(Part::Db, self.get(Key::login(email.as_str()))).await?;
        Ok(login.filter(|login| !login.has_ended(self.now())).map(|login| login.user_id))
    }

    /// A user with the organizations it is a member of, in the order of their founding, in one query.
    ///
    /// The user comes first. A query is no snapshot: what is joined while it runs may be missing, and then the user's count of memberships that
    /// were made is one of before. A transaction that checks that count is refused.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn user_with_memberships(
        &self,
        user: UserId,
    ) -> Result<Option<(UserRecord, Vec<MembershipRecord>)>, ApiError> {
        let query = self
            .client
            .query()
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", string(keys::user_pk(user)))
            .expression_attribute_values(":from", string(keys::MEMBERSHIP))
            .expression_attribute_values(":to", string(keys::PROFILE))
            .scan_index_forward(false);
        let (mut found, mut memberships) = (None, Vec::new());
        for item in timed(Part::Db, self.all(query)).await? {
            if sort_key(&item) == keys::PROFILE {
                found = Some(record(item)?);
            } else {
                memberships.push(record(item)?);
            }
        }
        memberships.reverse();
        Ok(found.map(|user| (user, memberships)))
    }

    /// Renames a user, whose public profile is cached. Returns the user as it is then.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] if it has another version.
    pub async fn rename_user(
        &self,
        user: UserId,
        name: &Name,
        expected: Expected,
    ) -> Renewal<ProfileKey, ApiError, UserRecord> {
        let set = vec![("name", string(name.as_str()))];
        let outcome = self.change_versioned(Key::user(user), &versioned::RECORD, set, expected).await;
        Renewal::new(ProfileKey(user), outcome)
    }

    /// Gives an address to the account of a log-in record, if it is free: no account has it, or one that has ended.
    pub(super) fn put_login(&self, login: Attributes, now: Moment) -> Result<TransactWriteItem, ApiError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(login))
            .condition_expression("attribute_not_exists(pk) OR unproven_until <= :now")
            .expression_attribute_values(":now", number(now.as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// A put, in place of what there may be.
    pub(super) fn put_over(&self, item: Attributes) -> Result<TransactWriteItem, ApiError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build().map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// A put that fails where a record is already.
    pub(crate) fn put_new(&self, item: Attributes) -> Result<TransactWriteItem, ApiError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// An update within a transaction.
    pub(crate) fn update(
        &self,
        update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
    ) -> Result<TransactWriteItem, ApiError> {
        let update: Update = update.table_name(&self.table).build().map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
