//! Another address for an account: its move in one transaction with the end of the other sessions, and what is kept so
//! that the address before can undo it.

use super::email_requests::EmailChangeRecord;
use super::keys::{self, Key};
use super::links::LastHash;
use super::marks::as_read;
use super::session_ends::ActingSession;
use super::verification::Proof;
use super::{
    Attributes, Store, Transaction, attributes, classify, condition_failed, number, record, string, wait_before,
};
use crate::account_mail::PendingMail;
use crate::device::DeviceCookie;
use crate::error::ApiError;
use crate::ids::{SessionId, UserId};
use crate::model::proof::{LinkToken, Purpose, SecretHash};
use crate::model::text::Email;
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ConditionCheck, Delete, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the address before may undo it. Nobody else gets that address meanwhile.
pub const UNDO_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often it is tried while the account's memberships change.
const ATTEMPTS: u32 = 6;

/// What gives an account back to the address before, as stored.
#[derive(Serialize, Deserialize)]
pub(super) struct EmailUndoRecord {
    /// That address.
    pub(super) email: String,
    /// Of the link, once it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token_hash: Option<String>,
    pub(super) expires_at: Moment,
    ttl: i64,
}

/// An address that an account had until lately: it is nobody else's.
#[derive(Serialize, Deserialize)]
struct ReservedAddressRecord {
    user_id: UserId,
    until: Moment,
    ttl: i64,
}

/// An account's address that is about to change, as it was read.
pub struct EmailMove {
    user: UserRecord,
    to: String,
    /// The log-in record, with attributes that this version does not know.
    login: Attributes,
    /// The same, as this version reads it.
    record: LoginRecord,
    used: (&'static str, SecretHash),
}

impl EmailMove {
    /// The address that is told of it, and when: one that was proven.
    #[must_use]
    pub fn told(&self) -> Option<&str> {
        self.user.email_verified_at.map(|_| self.user.email.as_str())
    }
}

impl Store {
    /// What a proof moves an account's address to.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] for a proof that is wrong, used, void or too old, or of another session.
    pub async fn email_move(
        &self,
        user: UserRecord,
        session_id: SessionId,
        proof: &Proof,
    ) -> Result<EmailMove, ApiError> {
        let key = Key::email_change(user.user_id);
        let used = match proof {
            Proof::Token(token) if token.user_id != user.user_id => return Err(ApiError::InvalidLink),
            Proof::Token(token) => ("token_hash", token.hash()),
            Proof::Code(code) => {
                let hash = code.hash(user.user_id);
                if !self.code_is_right(key.clone(), &hash, self.now()).await? {
                    return Err(ApiError::InvalidLink);
                }
                ("code_hash", hash)
            }
        };
        let read = vec![key.clone().attributes(), Key::login(&user.email).attributes()];
        let (mut made, mut login) = (None, None);
        for found in timed(Part::Db, self.get_all(read)).await? {
            match super::authority::sort_key(&found) == key.sk {
                true => made = Some(record::<EmailChangeRecord>(found)?),
                false => login = Some(found),
            }
        }
        let is_good = |made: &EmailChangeRecord| {
            let hash = if used.0 == "code_hash" { &made.code_hash } else { &made.token_hash };
            hash == used.1.as_str()
                && made.session_id == session_id
                && made.from == user.email
                && made.expires_at > self.now()
        };
        let made = made.filter(is_good).ok_or(ApiError::InvalidLink)?;
        let login = login.ok_or(ApiError::InvalidLink)?;
        let record: LoginRecord = record(login.clone())?;
        let is_as_then = record.user_id == user.user_id && record.password_digest().as_str() == made.password_digest;
        if !is_as_then || record.has_ended(self.now()) {
            return Err(ApiError::InvalidLink);
        }
        Ok(EmailMove { user, to: made.email, login, record, used })
    }

    /// Moves an account to the address, in one transaction with the proof's only use; all its sessions but the acting one end with it. Where the
    /// address before was proven, it is kept for the account so that it can undo it, and the mail that tells it is stored. The device that
    /// acts stays known, if it is; no other does. Returns the account as it is then. The session itself may have ended its user's others
    /// since they were read: it goes on under the new mark, and with the log-in record that this gave the account.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] if the proof has been used, the account has changed since it was read, or another one has the address;
    /// [`ApiError::InvalidToken`] if the session has ended.
    pub async fn move_email(
        &self,
        acting: ActingSession<'_>,
        mut moved: EmailMove,
        at: Moment,
        notice: Option<&PendingMail>,
        devices: &DeviceCookie,
    ) -> Result<UserRecord, ApiError> {
        let mut known = self.still_known_at((&moved.user.email, &moved.to), &moved.record, devices).await?;
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let found = self.user_with_memberships(moved.user.user_id).await?;
            let (user, memberships) = found.ok_or(ApiError::InvalidToken)?;
            if user.email != moved.user.email {
                return Err(ApiError::InvalidLink);
            }
            if let Some(ends) = self.ending_writes(acting, memberships, None).await? {
                let mut writes = self.move_writes(&moved, at)?;
                writes.extend(ends);
                writes.push(self.update(readdressed(&user, &moved.to, at))?);
                if let Some(notice) = notice {
                    writes.extend(self.kept_for_undo(&moved, at)?);
                    writes.extend(self.mail_writes(notice)?);
                }
                writes.extend(known.clone());
                let Transaction::Refused(reasons) = timed(Part::Db, self.transact(writes)).await? else {
                    let version = user.version + 1;
                    return Ok(UserRecord { email: moved.to.clone(), email_verified_at: Some(at), version, ..user });
                };
                let [proof, login, to, reserved, own, membership, ..] = reasons.as_slice() else {
                    return Err(ApiError::internal("a transaction without its reasons"));
                };
                if [proof, to, reserved].into_iter().any(condition_failed) {
                    return Err(ApiError::InvalidLink);
                }
                if [login, own, membership].into_iter().any(condition_failed) {
                    self.acting_now(acting).await?;
                    moved = self.with_login_of_now(moved).await?;
                    known = self.still_known_at((&moved.user.email, &moved.to), &moved.record, devices).await?;
                }
            }
        }
        Err(ApiError::Contended)
    }

    /// The same move, of the log-in record as it is now.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] if that has another password, or is another account's.
    async fn with_login_of_now(&self, moved: EmailMove) -> Result<EmailMove, ApiError> {
        let found = timed(Part::Db, self.get_attributes(Key::login(&moved.user.email))).await?;
        let login = found.ok_or(ApiError::InvalidLink)?;
        let record: LoginRecord = record(login.clone())?;
        if !record.has_password_of(&moved.record) {
            return Err(ApiError::InvalidLink);
        }
        Ok(EmailMove { login, record, ..moved })
    }

    /// The writes of the proof, of the log-in record as it is and as it is to be, and a check that the address is not reserved.
    fn move_writes(&self, moved: &EmailMove, at: Moment) -> Result<Vec<TransactWriteItem>, ApiError> {
        let (what, hash) = &moved.used;
        let used = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::email_change(moved.user.user_id).attributes()))
            .condition_expression("#what = :hash AND email = :email AND expires_at > :now")
            .expression_attribute_names("#what", *what)
            .expression_attribute_values(":hash", string(hash.as_str()))
            .expression_attribute_values(":email", string(&moved.to))
            .expression_attribute_values(":now", number(at.as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        let login = self.moved_login(&moved.login, moved.record.version, &moved.to, None)?;
        Ok(vec![
            TransactWriteItem::builder().delete(used).build(),
            self.delete_login(&moved.user.email, moved.user.user_id, Some(moved.record.version))?,
            self.put_login(login, at)?,
            self.is_not_reserved(&moved.to, Some(moved.user.user_id))?,
        ])
    }

    /// A log-in record under another address, with its next version, and another password where one is given.
    pub(super) fn moved_login(
        &self,
        login: &Attributes,
        version: u64,
        to: &str,
        password_hash: Option<&str>,
    ) -> Result<Attributes, ApiError> {
        let mut login = login.clone();
        login.extend(Key::login(to).attributes());
        login.insert("version".to_owned(), number(version + 1));
        login.remove("unproven_until");
        if let Some(hash) = password_hash {
            login.insert("password_hash".to_owned(), string(hash));
        }
        Ok(login)
    }

    /// Takes an address away from its account, whose log-in record must have this version, if one is named.
    pub(super) fn delete_login(
        &self,
        email: &str,
        user: UserId,
        version: Option<u64>,
    ) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::login(email).attributes()))
            .expression_attribute_values(":user", string(user));
        let delete = match version {
            None => delete.condition_expression("user_id = :user"),
            Some(0) => delete
                .condition_expression("user_id = :user AND attribute_not_exists(#version)")
                .expression_attribute_names("#version", "version"),
            Some(version) => delete
                .condition_expression("user_id = :user AND #version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(version)),
        };
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(ApiError::internal)?).build())
    }

    /// Whose account had an address until lately, and since when it has another one, while that may still be undone.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn moved_from(&self, email: &Email) -> Result<Option<(UserId, Moment)>, ApiError> {
        let kept: Option<ReservedAddressRecord> =
            timed(Part::Db, self.get(Key::reserved_address(email.as_str()))).await?;
        let Some(kept) = kept.filter(|kept| kept.until > self.now()) else { return Ok(None) };
        // The two are made together, and another change from the same address replaces what it is kept by.
        let at = kept.until.minus(UNDO_FOR);
        let undo: Option<EmailUndoRecord> = timed(Part::Db, self.get(Key::email_undo(kept.user_id, at))).await?;
        let is_open = undo.is_some_and(|undo| undo.email == email.as_str() && undo.expires_at > self.now());
        Ok(is_open.then_some((kept.user_id, at)))
    }

    /// Whether another account has an address, or had it until lately and may undo that.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn is_anothers_address(&self, email: &Email, user: UserId) -> Result<bool, ApiError> {
        let has_it = self.user_of(email).await?.is_some_and(|of| of != user);
        let reserved = timed(Part::Db, self.get(Key::reserved_address(email.as_str()))).await?;
        let is_reserved = |found: ReservedAddressRecord| found.user_id != user && found.until > self.now();
        Ok(has_it || reserved.is_some_and(is_reserved))
    }

    /// Checks that an address is not kept for another account than this.
    pub(super) fn is_not_reserved(&self, email: &str, by: Option<UserId>) -> Result<TransactWriteItem, ApiError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::reserved_address(email).attributes()))
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":now", number(self.now().as_millis()));
        let check = match by {
            None => check.condition_expression("attribute_not_exists(pk) OR #until <= :now"),
            Some(user) => check
                .condition_expression("attribute_not_exists(pk) OR #until <= :now OR user_id = :user")
                .expression_attribute_values(":user", string(user)),
        };
        Ok(TransactWriteItem::builder().condition_check(check.build().map_err(ApiError::internal)?).build())
    }

    /// What is kept so that the address before can undo a change of this moment.
    fn kept_for_undo(&self, moved: &EmailMove, at: Moment) -> Result<[TransactWriteItem; 2], ApiError> {
        let (user_id, until) = (moved.user.user_id, at.plus(UNDO_FOR));
        let ttl = until.as_ttl_seconds();
        let undo = EmailUndoRecord { email: moved.user.email.clone(), token_hash: None, expires_at: until, ttl };
        let reserved = ReservedAddressRecord { user_id, until, ttl };
        Ok([
            self.put_over(attributes(Key::email_undo(user_id, at), &undo)?)?,
            self.put_over(attributes(Key::reserved_address(&moved.user.email), &reserved)?)?,
        ])
    }

    /// Makes the token of a link that undoes a change of this moment. None if it can no longer be undone: it was, or one before it.
    ///
    /// # Errors
    /// When the database is away; [`ApiError::Contended`] if others make one each time.
    pub async fn new_email_undo(&self, user: UserId, at: Moment) -> Result<Option<LinkToken>, ApiError> {
        let token = LinkToken::generate(Purpose::EmailUndo, user).map_err(ApiError::internal)?;
        // Mostly there was none before.
        let given = self.give_token(Key::email_undo(user, at), &token.hash(), LastHash::new(None)).await?;
        Ok(given.then_some(token))
    }

    /// What may still be undone of an account's changes of its address, the oldest first.
    pub(super) async fn email_undos(&self, user: UserId) -> Result<Vec<(Key, EmailUndoRecord)>, ApiError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND begins_with(sk, :undo)")
            .expression_attribute_values(":pk", string(keys::user_pk(user)))
            .expression_attribute_values(":undo", string(keys::EMAIL_UNDO))
            .send();
        let page = timed(Part::Db, query).await.map_err(classify)?;
        let read = |item: Attributes| {
            let key = Key { pk: keys::user_pk(user), sk: super::authority::sort_key(&item).to_owned() };
            record(item).map(|undo| (key, undo))
        };
        page.items.unwrap_or_default().into_iter().map(read).collect()
    }
}

/// Gives an account the address, which is proven by that, if it is as it was read with its memberships ([`as_read`]).
pub(super) fn readdressed(user: &UserRecord, to: &str, at: Moment) -> UpdateBuilder {
    let (condition, values) = as_read(user);
    Update::builder()
        .set_key(Some(Key::user(user.user_id).attributes()))
        .update_expression("SET email = :new, email_verified_at = :now ADD #version :one")
        .condition_expression(condition)
        .expression_attribute_names("#version", "version")
        .set_expression_attribute_values(Some(values))
        .expression_attribute_values(":new", string(to))
        .expression_attribute_values(":now", number(at.as_millis()))
        .expression_attribute_values(":one", number(1))
}
