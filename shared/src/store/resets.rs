//! Another password for whoever has forgotten it, or whose address was changed: a link's token, of which only the hash is stored, and its one
//! use, in the transaction that gives the password, ends all sessions and begins one. What that is conditional on is no more than what the
//! link is for: whoever is in an account that is not its own may write all else of it all the time.

use super::account_mail::MailLimit;
use super::authority::sort_key;
use super::email_changes::{EmailUndoRecord, readdressed};
use super::keys::{self, Key};
use super::marks::{as_read, remarked};
use super::sessions::SessionRecord;
use super::verification::proven;
use super::{Attributes, Store, Transaction, backoff, condition_failed, number, record, string};
use crate::account_mail::PendingMail;
use crate::device::Device;
use crate::error::ApiError;
use crate::ids::{OrgId, SessionId};
use crate::model::org::{MembershipRecord, OrgRecord};
use crate::model::proof::{LinkToken, Purpose};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::network::Origin;
use crate::store::accounts::LoginRecord;
use crate::token::Token;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a link gives another password.
pub const RESET_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// How often it is tried while the account changes.
const ATTEMPTS: u32 = 6;

/// What gives another password, as stored. A new one takes its place.
#[derive(Serialize, Deserialize)]
struct PasswordResetRecord {
    /// The address that it was sent to: with another one it is void.
    email: String,
    /// Of the password: with another one it is void.
    #[serde(default)]
    password_digest: String,
    token_hash: String,
    expires_at: Moment,
    ttl: i64,
}

/// An account that a link has opened, as it was read.
pub struct OpenedAccount {
    pub user: UserRecord,
    pub memberships: Vec<MembershipRecord>,
    /// The organization that its new session is in, if any.
    org: Option<OrgRecord>,
    login: LoginRecord,
    /// The same, with attributes that this version does not know.
    login_item: Attributes,
    token: LinkToken,
    by: OpenedBy,
}

/// What kind of link did.
enum OpenedBy {
    PasswordReset,
    /// One that gives the account back to an address, with what may be undone of its later changes.
    EmailUndo {
        link: Key,
        email: String,
        later: Vec<Key>,
        /// No earlier change may still be undone.
        is_first: bool,
    },
}

impl OpenedAccount {
    /// The address that the account has afterwards: whoever got the link has it.
    #[must_use]
    pub fn address(&self) -> &str {
        match &self.by {
            OpenedBy::PasswordReset => &self.user.email,
            OpenedBy::EmailUndo { email, .. } => email,
        }
    }

    /// Whether it is another than it has now.
    #[must_use]
    pub fn is_undone(&self) -> bool {
        matches!(self.by, OpenedBy::EmailUndo { .. })
    }

    /// The address that the account has until then, where it loses it and is told so: it is proven.
    #[must_use]
    pub fn loses(&self) -> Option<&str> {
        (self.is_undone() && self.user.is_verified()).then_some(self.user.email.as_str())
    }

    /// Whether nothing is left of the changes of the address that others may have made: the account may ask for as many then as a new one.
    /// While an earlier change may be undone it may not. Whoever took the account could undo its own last change again and again, and have
    /// more of them than the one transaction has room for that undoes the first and with it all of them.
    fn ends_changes(&self) -> bool {
        match &self.by {
            OpenedBy::PasswordReset => !self.user.is_verified(),
            OpenedBy::EmailUndo { is_first, .. } => *is_first,
        }
    }

    fn link(&self) -> Key {
        match &self.by {
            OpenedBy::PasswordReset => Key::password_reset(self.user.user_id),
            OpenedBy::EmailUndo { link, .. } => link.clone(),
        }
    }
}

/// What is stored in place of what there was.
pub struct PasswordReset<'a> {
    pub password_hash: String,
    pub origin: Origin,
    /// The only device that is known afterwards.
    pub device: Option<&'a Device>,
    /// Tells the account's address.
    pub notice: &'a PendingMail,
    /// Tells the address that it loses.
    pub loss: Option<&'a PendingMail>,
}

/// The one session of the account.
pub struct OnlySession {
    /// The account as it is then.
    pub user: UserRecord,
    /// [`OrgId::NONE`] for whoever belongs to none.
    pub org_id: OrgId,
    /// As it was before: what is done is answered without another call, which may fail, and the link is used up.
    pub org: Option<OrgRecord>,
    pub session_id: SessionId,
    pub token: Token,
    pub expires_at: Moment,
}

/// The organization that the new session is in: the one joined first, or [`OrgId::NONE`].
fn first_org(memberships: &[MembershipRecord]) -> OrgId {
    let orgs = memberships.iter().filter(|membership| !membership.is_outside());
    orgs.min_by_key(|membership| membership.joined_at).map_or(OrgId::NONE, |first| first.org_id)
}

impl Store {
    /// Makes a token that gives the account another password, and voids the one of before. None if the address is no longer the account's.
    ///
    /// # Errors
    /// When the database is away; [`ApiError::Contended`] if others make one each time.
    pub async fn new_password_reset(&self, user: &UserRecord) -> Result<Option<LinkToken>, ApiError> {
        let key = Key::password_reset(user.user_id);
        let Some((login, last)) = self.login_and_hash(user, &key).await? else { return Ok(None) };
        let token = LinkToken::generate(Purpose::PasswordReset, user.user_id).map_err(ApiError::internal)?;
        let expires_at = self.now().plus(RESET_LIFETIME);
        let made = PasswordResetRecord {
            email: user.email.clone(),
            password_digest: login.password_digest().as_str().to_owned(),
            token_hash: token.hash().as_str().to_owned(),
            expires_at,
            ttl: expires_at.as_ttl_seconds(),
        };
        let given = self.give_hash(key, &made, last, None).await?;
        Ok(given.then_some(token))
    }

    /// The account whose password a token may change.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] for one that is wrong, used, void or too old.
    pub async fn opened_by(&self, token: LinkToken) -> Result<OpenedAccount, ApiError> {
        let token_hash = token.hash();
        let made: Option<PasswordResetRecord> = timed(Part::Db, self.get(Key::password_reset(token.user_id))).await?;
        let is_good =
            |made: &PasswordResetRecord| made.token_hash == token_hash.as_str() && made.expires_at > self.now();
        let made = made.filter(is_good).ok_or(ApiError::InvalidLink)?;
        let (user, memberships) = self.user_with_memberships(token.user_id).await?.ok_or(ApiError::InvalidLink)?;
        let opened = self.opened(user, memberships, token, OpenedBy::PasswordReset).await?;
        let is_void = opened.login.password_digest().as_str() != made.password_digest;
        (opened.user.email == made.email && !is_void).then_some(opened).ok_or(ApiError::InvalidLink)
    }

    /// The account whose last changes of its address a token undoes.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] for one that is wrong, used, void or too old.
    pub async fn opened_for_undo(&self, token: LinkToken) -> Result<OpenedAccount, ApiError> {
        let (token_hash, now) = (token.hash(), self.now());
        let mut undos = self.email_undos(token.user_id).await?;
        let is_good =
            |undo: &EmailUndoRecord| undo.token_hash.as_deref() == Some(token_hash.as_str()) && undo.expires_at > now;
        let at = undos.iter().position(|(_, undo)| is_good(undo)).ok_or(ApiError::InvalidLink)?;
        let later = undos.split_off(at + 1).into_iter().map(|(key, _)| key).collect();
        let is_first = undos[..at].iter().all(|(_, undo)| undo.expires_at <= now);
        let (link, undo) = undos.swap_remove(at);
        let (user, memberships) = self.user_with_memberships(token.user_id).await?.ok_or(ApiError::InvalidLink)?;
        if user.email == undo.email {
            return Err(ApiError::InvalidLink);
        }
        let by = OpenedBy::EmailUndo { link, email: undo.email, later, is_first };
        self.opened(user, memberships, token, by).await
    }

    async fn opened(
        &self,
        user: UserRecord,
        memberships: Vec<MembershipRecord>,
        token: LinkToken,
        by: OpenedBy,
    ) -> Result<OpenedAccount, ApiError> {
        let org = Some(first_org(&memberships)).filter(|org| *org != OrgId::NONE);
        let wanted = [Some(Key::login(&user.email)), org.map(Key::org)].into_iter().flatten().map(Key::attributes);
        let (mut login_item, mut org) = (None, None);
        for found in timed(Part::Db, self.get_all(wanted.collect())).await? {
            match sort_key(&found) {
                keys::ORG => org = Some(record(found)?),
                _ => login_item = Some(found),
            }
        }
        let login_item = login_item.ok_or(ApiError::InvalidLink)?;
        let login: LoginRecord = record(login_item.clone())?;
        if login.user_id != user.user_id || login.has_ended(self.now()) {
            return Err(ApiError::InvalidLink);
        }
        Ok(OpenedAccount { user, memberships, org, login, login_item, token, by })
    }

    /// The account as it is now, if its link still opens it.
    async fn opened_again(&self, account: OpenedAccount) -> Result<OpenedAccount, ApiError> {
        match account.by {
            OpenedBy::PasswordReset => self.opened_by(account.token).await,
            OpenedBy::EmailUndo { .. } => self.opened_for_undo(account.token).await,
        }
    }

    /// Gives an account another password, by a link's token that is used with it. All its sessions and known devices end; one session
    /// begins, in the organization that it joined first, if any. Whoever got the link has the address.
    ///
    /// Where the password has changed since the account was read, or its address or memberships, it is read again, and judged by its link.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] if the token has been used, or does not open the account any more.
    pub async fn reset_password(
        &self,
        mut account: OpenedAccount,
        reset: &PasswordReset<'_>,
    ) -> Result<OnlySession, ApiError> {
        for attempt in 0..ATTEMPTS {
            if let Some(session) = self.reset_as_read(&account, reset).await? {
                return Ok(session);
            }
            tokio::time::sleep(backoff(attempt)).await;
            account = self.opened_again(account).await?;
        }
        Err(ApiError::Contended)
    }

    /// Does it, if all is as it was read; `None` if it is not, and the link is still there.
    async fn reset_as_read(
        &self,
        account: &OpenedAccount,
        reset: &PasswordReset<'_>,
    ) -> Result<Option<OnlySession>, ApiError> {
        let now = self.now();
        let (user, memberships) = (account.user.clone(), account.memberships.clone());
        let org_id = first_org(&memberships);
        if memberships.iter().all(|membership| membership.org_id != org_id) {
            // It counts as one that was made: the next attempt reads both.
            self.outside(user.user_id).await?;
            return Ok(None);
        }
        let token = Token::generate(user.user_id, org_id).map_err(ApiError::internal)?;
        let Some(memberships) = self.mark_beyond(memberships).await? else { return Ok(None) };
        let mut writes = vec![self.used(account, now)?];
        writes.extend(self.login_writes(account, &reset.password_hash, now)?);
        writes.push(self.user_write(account, &user, now)?);
        let mut session = None;
        for membership in memberships {
            let (marked, mark) = remarked(&membership)?;
            writes.push(self.update(marked)?);
            if membership.org_id == org_id {
                let membership = MembershipRecord { mark: Some(mark), ..membership };
                session = Some(SessionRecord::new(&membership, reset.origin.clone(), now));
            }
        }
        let session = session.ok_or_else(|| ApiError::internal("the first membership is not the last marked"))?;
        writes.push(self.put_new(session.stored(&token)?)?);
        if account.ends_changes()
            && self.take_of_user_for(user.user_id, MailLimit::CHANGES_GIVEN_BACK, &account.link()).await?
        {
            writes.push(self.forget_mail_of_user(user.user_id, MailLimit::EMAIL_CHANGES)?);
        }
        if let Some(device) = reset.device {
            let login = LoginRecord {
                user_id: user.user_id,
                password_hash: reset.password_hash.clone(),
                version: account.login.version + 1,
                unproven_until: None,
            };
            writes.push(self.put_over(self.first_device(account.address(), &login, device)?)?);
        }
        for mail in [Some(reset.notice), reset.loss].into_iter().flatten() {
            writes.extend(self.mail_writes(mail)?);
        }
        match timed(Part::Db, self.transact(writes)).await? {
            Transaction::Refused(reasons) if condition_failed(&reasons[0]) => Err(ApiError::InvalidLink),
            Transaction::Refused(_) => Ok(None),
            Transaction::Done => {
                let email = account.address().to_owned();
                let user = match (account.is_undone(), user.email_verified_at) {
                    (false, Some(_)) => user,
                    _ => UserRecord { email, email_verified_at: Some(now), version: user.version + 1, ..user },
                };
                let SessionRecord { session_id, expires_at, .. } = session;
                Ok(Some(OnlySession { user, org_id, org: account.org.clone(), session_id, token, expires_at }))
            }
        }
    }

    /// The password, and the log-in record's address where the account is given back.
    fn login_writes(
        &self,
        account: &OpenedAccount,
        password_hash: &str,
        now: Moment,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let OpenedAccount { user, login, login_item, by, .. } = account;
        match by {
            OpenedBy::PasswordReset => {
                let changed = Update::builder()
                    .set_key(Some(Key::login(&user.email).attributes()))
                    .update_expression("SET password_hash = :hash REMOVE unproven_until ADD #version :one")
                    .condition_expression("user_id = :user AND password_hash = :before")
                    .expression_attribute_names("#version", "version")
                    .expression_attribute_values(":user", string(user.user_id))
                    .expression_attribute_values(":before", string(&login.password_hash))
                    .expression_attribute_values(":hash", string(password_hash))
                    .expression_attribute_values(":one", number(1));
                Ok(vec![self.update(changed)?])
            }
            OpenedBy::EmailUndo { email, later, .. } => {
                let moved = self.moved_login(login_item, login.version, email, Some(password_hash))?;
                let mut writes = vec![self.delete_login(&user.email, user.user_id, None)?, self.put_login(moved, now)?];
                for key in later {
                    let void = Delete::builder().table_name(&self.table).set_key(Some(key.clone().attributes()));
                    let void = void.build().map_err(ApiError::internal)?;
                    writes.push(TransactWriteItem::builder().delete(void).build());
                }
                Ok(writes)
            }
        }
    }

    /// The account itself, which must be as it was read with its memberships: given back, proven, or as it is.
    fn user_write(
        &self,
        account: &OpenedAccount,
        user: &UserRecord,
        now: Moment,
    ) -> Result<TransactWriteItem, ApiError> {
        match &account.by {
            OpenedBy::EmailUndo { email, .. } => self.update(readdressed(user, email, now)),
            OpenedBy::PasswordReset if user.email_verified_at.is_none() => {
                let (condition, values) = as_read(user);
                let proven = proven(user, now).condition_expression(condition);
                self.update(
                    values
                        .into_iter()
                        .fold(proven, |proven, (name, value)| proven.expression_attribute_values(name, value)),
                )
            }
            OpenedBy::PasswordReset => self.is_as_read(user),
        }
    }

    /// The token's only use.
    fn used(&self, account: &OpenedAccount, now: Moment) -> Result<TransactWriteItem, ApiError> {
        let used = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(account.link().attributes()))
            .condition_expression("token_hash = :hash AND expires_at > :now")
            .expression_attribute_values(":hash", string(account.token.hash().as_str()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().delete(used).build())
    }
}
