//! Another address that an account asks for: its mail, and the code and the token in it.

use super::account_mail::MailLimit;
use super::keys::Key;
use super::verification::VERIFICATION_LIFETIME;
use super::{Store, attributes, string};
use crate::account_mail::PendingMail;
use crate::error::ApiError;
use crate::ids::{JobId, SessionId, UserId};
use crate::model::proof::{Code, LinkToken, Purpose};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};

/// What confirms a new address, as stored. A new one takes its place, from the request on that asks for it: before its mail is written it
/// has neither code nor token.
#[derive(Serialize, Deserialize)]
pub(super) struct EmailChangeRecord {
    /// The address that it was sent to.
    pub(super) email: String,
    /// The account's address then, and of its password: with others it is void.
    pub(super) from: String,
    #[serde(default)]
    pub(super) password_digest: String,
    /// The session that asked: no other may confirm it.
    pub(super) session_id: SessionId,
    pub(super) code_hash: String,
    pub(super) token_hash: String,
    /// Codes that were compared.
    tries: u32,
    pub(super) expires_at: Moment,
    ttl: i64,
    /// The job of its mail. Those from before it was noted have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
}

impl Store {
    /// Stores the mail that is to confirm a new address, if the user has one left, and voids the code and the link of the request before. If the
    /// mail voided them, a caller could tell that an address is taken: it gets no mail, so the code of before would still count. Returns whether
    /// there was one left.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn ask_for_email_change(
        &self,
        user: UserId,
        session_id: SessionId,
        mail: &PendingMail,
    ) -> Result<bool, ApiError> {
        let limit = MailLimit::EMAIL_CHANGES;
        let asked = self.replace_email_change(user, session_id, mail);
        self.within(&Key::mails_of(user, limit.purpose), limit, mail.job_id(), asked).await
    }

    async fn replace_email_change(
        &self,
        user: UserId,
        session_id: SessionId,
        mail: &PendingMail,
    ) -> Result<(), ApiError> {
        let expires_at = self.now().plus(VERIFICATION_LIFETIME);
        let asked = EmailChangeRecord {
            email: String::new(),
            from: String::new(),
            password_digest: String::new(),
            session_id,
            // Nothing has this for its hash.
            code_hash: String::new(),
            token_hash: String::new(),
            tries: 0,
            expires_at,
            ttl: expires_at.as_ttl_seconds(),
            job_id: Some(mail.job_id()),
        };
        let mut writes = self.mail_writes(mail)?;
        writes.push(self.put_over(attributes(Key::email_change(user), &asked)?)?);
        let outcome = timed(Part::Db, self.transact(writes)).await?;
        outcome.is_done().then_some(()).ok_or_else(|| ApiError::internal("a job's id was not new"))
    }

    /// Whether an account has asked for no other address since it asked for the one whose mail a job is, nor confirmed one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn is_asked_last(&self, user: UserId, job: JobId) -> Result<bool, ApiError> {
        let asked: Option<EmailChangeRecord> = timed(Part::Db, self.get(Key::email_change(user))).await?;
        Ok(asked.is_some_and(|asked| asked.job_id.is_none_or(|last| last == job)))
    }

    /// Makes a code and a token that confirm a new address, for the mail that a job is. None if the account has changed, or has asked for
    /// another address since: also where it has confirmed that one, which leaves no record.
    ///
    /// # Errors
    /// When the database is away; [`ApiError::Contended`] if others make one each time.
    pub async fn new_email_change(
        &self,
        user: &UserRecord,
        session_id: SessionId,
        to: &str,
        job: JobId,
    ) -> Result<Option<(Code, LinkToken)>, ApiError> {
        let key = Key::email_change(user.user_id);
        let Some((login, last)) = self.login_and_hash(user, &key).await? else { return Ok(None) };
        let code = Code::generate().map_err(ApiError::internal)?;
        let token = LinkToken::generate(Purpose::EmailChange, user.user_id).map_err(ApiError::internal)?;
        let expires_at = self.now().plus(VERIFICATION_LIFETIME);
        let made = EmailChangeRecord {
            email: to.to_owned(),
            from: user.email.clone(),
            password_digest: login.password_digest().as_str().to_owned(),
            session_id,
            code_hash: code.hash(user.user_id).as_str().to_owned(),
            token_hash: token.hash().as_str().to_owned(),
            tries: 0,
            expires_at,
            ttl: expires_at.as_ttl_seconds(),
            job_id: Some(job),
        };
        let is_asked_last = "attribute_exists(pk) AND (attribute_not_exists(job_id) OR job_id = :job)";
        let given = self.give_hash(key, &made, last, Some((is_asked_last, ":job", string(job)))).await?;
        Ok(given.then_some((code, token)))
    }
}
