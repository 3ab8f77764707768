//! Ending a user's sessions. All memberships get a new mark in one transaction, with the log-in record and the session that
//! acts, which is written anew; all other sessions, and the log-ins under way, are worth nothing when it is done. How many memberships the
//! user was ever given is checked there: one that is joined meanwhile is among them. The user's version is not: whoever is in an account that
//! is not its own could rename it all the time, and keep its owner from ending anything.

use super::keys::{self, Key};
use super::marks::{is_beyond, remarked, remarked_as_read};
use super::role_check::RoleCheck;
use super::sessions::SessionRecord;
use super::{
    Store, Transaction, backoff, certainly_nothing, classify, condition_failed, not_written, number, record, string,
    wait_before,
};
use crate::account_mail::PendingMail;
use crate::device::DeviceCookie;
use crate::error::ApiError;
use crate::guesses::Account;
use crate::ids::{OrgId, SessionId, UserId};
use crate::model::mark::MembershipMark;
use crate::model::org::{MembershipRecord, Role};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use crate::store::authority::sort_key;
use crate::token::TokenHash;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ConditionCheck, Delete, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};

/// How often sessions are ended whose memberships change meanwhile.
const ATTEMPTS: u32 = 6;
/// Most records of a user's sessions that are read to list them or to find one, dead ones too: they go after 30 days, and nothing bounds how
/// often somebody logs in to an own account. It is some 110 read units at most. Which ones are read is by chance where there are more; the
/// acting session is always among them.
const READ_MAX: usize = 1_000;

/// The session that acts. It stays when its user's other sessions end.
#[derive(Debug, Clone, Copy)]
pub struct ActingSession<'a> {
    user_id: UserId,
    org_id: OrgId,
    token: &'a TokenHash,
    mark: Option<&'a MembershipMark>,
}

/// A session whose user has given the password within the last minutes. Made by
/// [`Caller::fresh_session`](crate::caller::Caller::fresh_session) only.
#[derive(Debug, Clone, Copy)]
pub struct FreshSession<'a>(ActingSession<'a>);

impl<'a> ActingSession<'a> {
    pub(crate) fn new(user_id: UserId, org_id: OrgId, token: &'a TokenHash, mark: Option<&'a MembershipMark>) -> Self {
        Self { user_id, org_id, token, mark }
    }

    /// The same session, under the mark that it has by now.
    pub(super) fn under(self, mark: Option<&'a MembershipMark>) -> Self {
        Self { mark, ..self }
    }

    /// The write that notes when the password was given, or a new mark, or both: on condition that the session is there and has not been
    /// written anew by another change.
    pub(crate) fn rewritten(
        self,
        mark: Option<&MembershipMark>,
        password_at: Option<Moment>,
    ) -> Result<UpdateBuilder, ApiError> {
        let mut update = Update::builder()
            .set_key(Some(Key::session(self.user_id, self.token).attributes()))
            .expression_attribute_names("#mark", "mark");
        let mut set = Vec::new();
        if let Some(at) = password_at {
            set.push("password_at = :now");
            update = update.expression_attribute_values(":now", number(at.as_millis()));
        }
        if let Some(mark) = mark {
            set.push("#mark = :new");
            update = update.expression_attribute_values(":new", string(mark.as_str()));
        }
        let update = update.update_expression(format!("SET {}", set.join(", ")));
        Ok(match self.mark {
            None => update.condition_expression("attribute_exists(pk) AND attribute_not_exists(#mark)"),
            Some(mark) => {
                update.condition_expression("#mark = :mark").expression_attribute_values(":mark", string(mark.as_str()))
            }
        })
    }
}

impl<'a> FreshSession<'a> {
    pub(crate) fn new(acting: ActingSession<'a>) -> Self {
        Self(acting)
    }
}

impl Store {
    /// Gives an account another password, and stores the mail that tells it, if any. All its sessions but the acting one end with it. Before
    /// its address is proven, that takes one of the day's changes.
    ///
    /// # Errors
    /// [`ApiError::WrongCredentials`] if the account has another password than the one that was compared;
    /// [`ApiError::InvalidToken`] if the session has ended; [`ApiError::RateLimited`] until midnight.
    pub async fn change_password(
        &self,
        acting: ActingSession<'_>,
        account: Account,
        password_hash: &str,
        notice: Option<&PendingMail>,
    ) -> Result<(), ApiError> {
        let taken = match account.user.is_verified() {
            true => None,
            false => Some(self.take_unproven_password(&account.user.email).await?),
        };
        let changed = self.replace_password(acting, account, password_hash, notice).await;
        // Nothing is void then, which is what there is a number for.
        if let Some(taken) = taken.filter(|_| changed.as_ref().is_err_and(certainly_nothing)) {
            self.count_back(&taken).await;
        }
        changed
    }

    async fn replace_password(
        &self,
        acting: ActingSession<'_>,
        account: Account,
        password_hash: &str,
        notice: Option<&PendingMail>,
    ) -> Result<(), ApiError> {
        let Account { mut login, user, memberships, .. } = account;
        let email = user.email.clone();
        let mut read = (user, memberships);
        let beside = notice.map_or_else(|| Ok(Vec::new()), |notice| self.mail_writes(notice))?;
        let set = |update: UpdateBuilder| {
            update
                .update_expression("SET #version = :next, password_hash = :hash")
                .expression_attribute_values(":hash", string(password_hash))
        };
        for attempt in 0..ATTEMPTS {
            let given_at = Some(self.now());
            match self.end_sessions_as_read(acting, given_at, (&email, &login), read, set, &beside).await? {
                EndAttempt::Done => return Ok(()),
                EndAttempt::Changed => {}
            }
            tokio::time::sleep(backoff(attempt)).await;
            let found = self.user_with_memberships(acting.user_id).await.map_err(not_written)?;
            read = found.ok_or(ApiError::InvalidToken)?;
            // The session itself may have ended its user's others meanwhile: the password that was given is right if it is the account's still.
            let now: Option<LoginRecord> = timed(Part::Db, self.get(Key::login(&email))).await.map_err(not_written)?;
            login = now.filter(|now| now.has_password_of(&login)).ok_or(ApiError::WrongCredentials)?;
        }
        Err(ApiError::Contended)
    }

    /// Ends all sessions of a user but the acting one. The device that acts stays known, if it is; no other does.
    ///
    /// # Errors
    /// [`ApiError::InvalidToken`] if the session has ended.
    pub async fn end_other_sessions(&self, by: FreshSession<'_>, devices: &DeviceCookie) -> Result<(), ApiError> {
        let FreshSession(acting) = by;
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let found = self.user_with_memberships(acting.user_id).await?;
            let read = found.ok_or(ApiError::InvalidToken)?;
            let email = read.0.email.clone();
            let login: LoginRecord =
                timed(Part::Db, self.get(Key::login(&email))).await?.ok_or(ApiError::InvalidToken)?;
            let known = self.still_known(&email, &login, devices).await?;
            let set = |update: UpdateBuilder| update.update_expression("SET #version = :next");
            let ended = self.end_sessions_as_read(acting, None, (&email, &login), read, set, known.as_slice()).await?;
            if ended == EndAttempt::Done {
                return Ok(());
            }
        }
        Err(ApiError::Contended)
    }

    /// Ends all sessions of a user, and the log-ins under way, on an operator's word. Its devices are known no more. What is written meanwhile
    /// to the log-in record, or as marks, is not asked for: the account may be in hands that write all the time.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when there is no such user.
    pub async fn end_all_sessions(&self, user: UserId) -> Result<(), ApiError> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let (user, memberships) = self.user_with_memberships(user).await?.ok_or(ApiError::NotFound)?;
            let login: Option<LoginRecord> = timed(Part::Db, self.get(Key::login(&user.email))).await?;
            login.filter(|login| login.user_id == user.user_id).ok_or(ApiError::NotFound)?;
            if let Some(memberships) = self.mark_beyond(memberships).await? {
                let version = Update::builder()
                    .set_key(Some(Key::login(&user.email).attributes()))
                    .update_expression("ADD #version :one")
                    .condition_expression("user_id = :user")
                    .expression_attribute_names("#version", "version")
                    .expression_attribute_values(":user", string(user.user_id))
                    .expression_attribute_values(":one", number(1));
                let mut writes = vec![self.update(version)?, self.is_as_read(&user)?];
                for membership in &memberships {
                    writes.push(self.update(remarked(membership)?.0)?);
                }
                if timed(Part::Db, self.transact(writes)).await?.is_done() {
                    return Ok(());
                }
            }
        }
        Err(ApiError::Contended)
    }

    /// Ends one session of the user, by its id, in one transaction with the check that the acting one has not ended.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if the user has no such session, or so many that it was not read; [`ApiError::InvalidToken`] if the acting
    /// session has ended since it was verified.
    pub async fn end_session_by_id(&self, by: FreshSession<'_>, session: SessionId) -> Result<(), ApiError> {
        let FreshSession(acting) = by;
        let (sessions, memberships) = self.sessions_and_memberships(acting).await?;
        let (own, now) = (Key::session(acting.user_id, acting.token), self.now());
        let counts = sessions.iter().any(|(key, session)| *key == own && is_on(session, &memberships, now));
        let membership = memberships.into_iter().find(|membership| counts && membership.org_id == acting.org_id);
        let membership = match membership {
            Some(membership) => membership,
            None => self.acting_now(acting).await?.1,
        };
        let found = sessions.into_iter().find(|(_, of)| of.session_id == session);
        let (key, _) = found.ok_or(ApiError::NotFound)?;
        if key == own {
            return self.end_session(acting.user_id, acting.token).await;
        }
        let by = RoleCheck::new(&membership, acting.token, Role::Member)?;
        // A session gets another mark with its membership only: while that has the one that was read, whatever session is there counts.
        let is_there = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(own.attributes()))
            .condition_expression("attribute_exists(pk)")
            .build()
            .map_err(ApiError::internal)?;
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key.attributes()));
        let delete = delete.build().map_err(ApiError::internal)?;
        let writes = vec![
            TransactWriteItem::builder().condition_check(is_there).build(),
            TransactWriteItem::builder().delete(delete).build(),
        ];
        let ended = timed(Part::Db, self.transact_as(by, writes)).await?;
        if ended.is_done() { Ok(()) } else { Err(ApiError::InvalidToken) }
    }

    /// The acting session, and its membership, as they are now. It may itself have ended its user's others since it was verified, and
    /// goes on under the new mark.
    ///
    /// # Errors
    /// [`ApiError::InvalidToken`] if it has ended.
    pub(super) async fn acting_now(
        &self,
        acting: ActingSession<'_>,
    ) -> Result<(SessionRecord, MembershipRecord), ApiError> {
        timed(Part::Db, self.counts_still(acting.user_id, acting.org_id, acting.token)).await
    }

    /// A page of the sessions of the acting one's user that count, the newest first, and the id to go on after. Sessions lie by the hashes
    /// of their tokens: each page reads what [`READ_MAX`] allows.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn active_sessions(
        &self,
        acting: ActingSession<'_>,
        limit: u8,
        after: Option<SessionId>,
    ) -> Result<(Vec<SessionRecord>, Option<SessionId>), ApiError> {
        let (sessions, memberships) = self.sessions_and_memberships(acting).await?;
        let now = self.now();
        let is_of_page = |session: &SessionRecord| {
            after.is_none_or(|after| session.session_id < after) && is_on(session, &memberships, now)
        };
        let mut page: Vec<_> = sessions.into_iter().map(|(_, session)| session).filter(is_of_page).collect();
        page.sort_unstable_by_key(|session| std::cmp::Reverse(session.session_id));
        let more = page.len() > usize::from(limit);
        page.truncate(usize::from(limit));
        let next = page.last().filter(|_| more).map(|last| last.session_id);
        Ok((page, next))
    }

    /// Up to [`READ_MAX`] of the sessions of the acting one's user, and that one, with the memberships, which come before them.
    async fn sessions_and_memberships(
        &self,
        acting: ActingSession<'_>,
    ) -> Result<(Vec<(Key, SessionRecord)>, Vec<MembershipRecord>), ApiError> {
        let user = acting.user_id;
        let (mut sessions, mut memberships) = (Vec::new(), Vec::new());
        let mut start = None;
        while sessions.len() < READ_MAX {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .limit(i32::try_from(READ_MAX - sessions.len()).map_err(ApiError::internal)?)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", string(keys::user_pk(user)))
                .expression_attribute_values(":from", string(keys::MEMBERSHIP))
                .expression_attribute_values(":to", string(format!("{}~", keys::SESSION)))
                .set_exclusive_start_key(start)
                .send();
            let page = timed(Part::Db, query).await.map_err(classify)?;
            for item in page.items.unwrap_or_default() {
                let sk = sort_key(&item).to_owned();
                if sk.starts_with(keys::SESSION) {
                    sessions.push((Key { pk: keys::user_pk(user), sk }, record(item)?));
                } else if sk.starts_with(keys::MEMBERSHIP) {
                    memberships.push(record(item)?);
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let own = Key::session(user, acting.token);
        if start.is_some()
            && !sessions.iter().any(|(key, _)| *key == own)
            && let Some(session) = timed(Part::Db, self.get(own.clone())).await?
        {
            sessions.push((own, session));
        }
        Ok((sessions, memberships))
    }

    /// The writes that end all sessions but the acting one, the first two of which are its own and that of its membership; `None` if
    /// memberships that one transaction has no room for have ended. Notes when the password was given, if it was.
    ///
    /// The acting session must have the mark that its membership has by now. One that has ended the others itself since it was verified has
    /// it, in another tab; one that another has ended has the mark of before, and would come back with the new one.
    ///
    /// # Errors
    /// [`ApiError::InvalidToken`] if the membership has ended.
    pub(super) async fn ending_writes(
        &self,
        acting: ActingSession<'_>,
        mut memberships: Vec<MembershipRecord>,
        password_at: Option<Moment>,
    ) -> Result<Option<Vec<TransactWriteItem>>, ApiError> {
        let own = memberships.iter().position(|membership| membership.org_id == acting.org_id);
        let own = memberships.remove(own.ok_or(ApiError::InvalidToken)?);
        // What is marked before the transaction is marked by a session that counts.
        if own.mark.as_ref() != acting.mark && is_beyond(&memberships) {
            self.acting_now(acting).await?;
        }
        let acting = acting.under(own.mark.as_ref());
        let Some(others) = self.mark_beyond(memberships).await? else { return Ok(None) };
        let (of_own, mark) = remarked_as_read(&own)?;
        let mut writes = vec![self.update(acting.rewritten(Some(&mark), password_at)?)?, self.update(of_own)?];
        for membership in &others {
            writes.push(self.update(remarked(membership)?.0)?);
        }
        Ok(Some(writes))
    }

    /// Gives the memberships new marks, the log-in record its next version and what `set` says, and the acting session the mark
    /// of its membership, if all of them and the user are as they were read; with what is written beside. The session is fresh from then on
    /// only where the password was given with it, at `password_at`.
    async fn end_sessions_as_read(
        &self,
        acting: ActingSession<'_>,
        password_at: Option<Moment>,
        (email, login): (&str, &LoginRecord),
        (user, memberships): (UserRecord, Vec<MembershipRecord>),
        set: impl Fn(UpdateBuilder) -> UpdateBuilder,
        beside: &[TransactWriteItem],
    ) -> Result<EndAttempt, ApiError> {
        let Some(ends) = self.ending_writes(acting, memberships, password_at).await? else {
            return Ok(EndAttempt::Changed);
        };
        let mut writes = vec![self.update(set(next_version(email, login)))?];
        writes.extend(ends);
        writes.push(self.is_as_read(&user)?);
        writes.extend(beside.iter().cloned());
        let Transaction::Refused(reasons) = timed(Part::Db, self.transact(writes)).await? else {
            return Ok(EndAttempt::Done);
        };
        let [login, own, membership, ..] = reasons.as_slice() else {
            return Err(ApiError::internal("a transaction without its reasons"));
        };
        // Where the log-in record is another one, whether the session counts is asked with that.
        if !condition_failed(login) && [own, membership].into_iter().any(condition_failed) {
            return Err(ApiError::InvalidToken);
        }
        Ok(EndAttempt::Changed)
    }
}

/// Whether a session counts for the membership that it is of, among those that were read with it.
fn is_on(session: &SessionRecord, memberships: &[MembershipRecord], now: Moment) -> bool {
    let of = memberships.iter().find(|membership| membership.org_id == session.org_id);
    of.is_some_and(|of| session.counts(of, now))
}

/// How an attempt to end sessions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndAttempt {
    Done,
    /// Something is not as it was read: the log-in record, the user, or one of its memberships.
    Changed,
}

/// A write of a log-in record that must be as it was read, without what is set. `:next` is the version that follows.
fn next_version(email: &str, login: &LoginRecord) -> UpdateBuilder {
    let update = Update::builder()
        .set_key(Some(Key::login(email).attributes()))
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":user", string(login.user_id))
        .expression_attribute_values(":next", number(login.version + 1));
    match login.version {
        0 => update.condition_expression("user_id = :user AND attribute_not_exists(#version)"),
        version => update
            .condition_expression("user_id = :user AND #version = :version")
            .expression_attribute_values(":version", number(version)),
    }
}
