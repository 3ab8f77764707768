//! Sessions: begun under a membership and a log-in record as read, ended at once.

use super::keys::Key;
use super::single::SingleWrite as _;
use super::{Attributes, Store, attributes, classify, number, string};
use crate::error::{ApiError, chain};
use crate::ids::{OrgId, SessionId, UserId};
use crate::model::mark::MembershipMark;
use crate::model::org::MembershipRecord;
use crate::model::session::SESSION_LIFETIME;
use crate::model::text::Email;
use crate::model::time::Moment;
use crate::network::Origin;
use crate::store::accounts::LoginRecord;
use crate::store::session_ends::ActingSession;
use crate::token::{Token, TokenHash};
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long after its last noted use a session ends. As that is noted once a day, it has then been idle for 7 to 8 days.
const IDLE: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// How often its use is noted at most.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// A session as stored, under the hash of its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) session_id: SessionId,
    pub(crate) org_id: OrgId,
    pub(crate) created_at: Moment,
    pub(crate) expires_at: Moment,
    /// That of the membership it was made under ([`MembershipRecord::covers`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<MembershipMark>,
    /// When its user gave the password last. Sessions from before it was noted have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_at: Option<Moment>,
    /// When it was used last, to the day. Sessions from before it was noted have none until they are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_used_at: Option<Moment>,
    #[serde(flatten)]
    pub(crate) origin: Origin,
    ttl: i64,
}

impl SessionRecord {
    /// A session that begins now.
    pub(crate) fn new(membership: &MembershipRecord, origin: Origin, now: Moment) -> Self {
        let expires_at = now.plus(SESSION_LIFETIME);
        Self {
            session_id: SessionId::new(),
            org_id: membership.org_id,
            created_at: now,
            expires_at,
            mark: membership.mark.clone(),
            password_at: Some(now),
            last_used_at: Some(now),
            origin,
            ttl: expires_at.as_ttl_seconds(),
        }
    }

    /// The same, which ends then at the latest.
    pub(crate) fn until(self, latest: Option<Moment>) -> Self {
        let expires_at = latest.map_or(self.expires_at, |latest| latest.min(self.expires_at));
        Self { expires_at, ttl: expires_at.as_ttl_seconds(), ..self }
    }

    /// When it was used last, as far as that is known.
    pub(crate) fn last_used(&self) -> Moment {
        self.last_used_at.unwrap_or(self.created_at)
    }

    /// Whether it opens what its membership may do: it has not ended, was not idle for too long, and was made under that membership.
    pub(crate) fn counts(&self, of: &MembershipRecord, now: Moment) -> bool {
        self.expires_at > now && self.last_used().plus(IDLE) > now && of.covers(self.mark.as_ref(), self.created_at)
    }

    /// Whether its use is to be noted again.
    pub(crate) fn is_to_be_noted(&self, now: Moment) -> bool {
        self.last_used().plus(NOTED_EVERY) <= now
    }

    pub(crate) fn stored(&self, token: &Token) -> Result<Attributes, ApiError> {
        attributes(Key::session(token.user_id, &token.hash()), self)
    }
}

impl Store {
    /// Stores the session of a log-in, if what the password was compared with is still the account's log-in record.
    /// Returns its id, and when it ends. If the membership has ended meanwhile, the session is worth nothing.
    ///
    /// # Errors
    /// [`ApiError::WrongCredentials`] if the log-in record has changed: the password may no longer be right.
    pub async fn start_session(
        &self,
        email: &Email,
        login: &LoginRecord,
        membership: &MembershipRecord,
        token: &Token,
        origin: Origin,
    ) -> Result<(SessionId, Moment), ApiError> {
        let session = SessionRecord::new(membership, origin, self.now()).until(login.unproven_until);
        let writes = vec![self.unchanged(email.as_str(), login)?, self.put_new(session.stored(token)?)?];
        let outcome = timed(Part::Db, self.transact(writes)).await?;
        if outcome.refused(0) {
            return Err(ApiError::WrongCredentials);
        }
        let collided = || ApiError::internal("a new token's hash exists already");
        outcome.is_done().then_some((session.session_id, session.expires_at)).ok_or_else(collided)
    }

    /// Notes that the session's user has just given the password, if what it was compared with is still the account's. The session itself may
    /// have ended its user's others meanwhile, or given the account another address.
    ///
    /// # Errors
    /// [`ApiError::WrongCredentials`] if the account has another password; [`ApiError::InvalidToken`] if the session has ended.
    pub async fn refresh_session(
        &self,
        acting: ActingSession<'_>,
        email: &str,
        login: &LoginRecord,
    ) -> Result<(), ApiError> {
        let refreshed = self.refresh_as_read(acting, email, login).await;
        let Err(ApiError::WrongCredentials | ApiError::InvalidToken) = refreshed else { return refreshed };
        let (session, membership) = self.acting_now(acting).await?;
        let user = self.user(membership.user_id).await?.ok_or(ApiError::InvalidToken)?;
        let now: Option<LoginRecord> = timed(Part::Db, self.get(Key::login(&user.email))).await?;
        let now = now.filter(|now| now.has_password_of(login)).ok_or(ApiError::WrongCredentials)?;
        self.refresh_as_read(acting.under(session.mark.as_ref()), &user.email, &now).await
    }

    async fn refresh_as_read(
        &self,
        acting: ActingSession<'_>,
        email: &str,
        login: &LoginRecord,
    ) -> Result<(), ApiError> {
        let refreshed = acting.rewritten(None, Some(self.now()))?;
        let outcome =
            timed(Part::Db, self.transact(vec![self.unchanged(email, login)?, self.update(refreshed)?])).await?;
        if outcome.refused(0) {
            return Err(ApiError::WrongCredentials);
        }
        if outcome.is_done() { Ok(()) } else { Err(ApiError::InvalidToken) }
    }

    /// Checks that a log-in record is as it was read.
    pub(crate) fn unchanged(&self, email: &str, login: &LoginRecord) -> Result<TransactWriteItem, ApiError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::login(email).attributes()))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":user", string(login.user_id));
        let check = match login.version {
            0 => check.condition_expression("user_id = :user AND attribute_not_exists(#version)"),
            version => check
                .condition_expression("user_id = :user AND #version = :version")
                .expression_attribute_values(":version", number(version)),
        };
        let check = check.build().map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// Notes that a session is used, unless another request has within a day. Nothing comes of a failure: the next request tries again.
    /// Least privilege: the template's grant for this names the attributes.
    pub(crate) async fn note_use(self, user: UserId, token: TokenHash) {
        let now = self.now();
        let before = now.as_millis().saturating_sub(i64::try_from(NOTED_EVERY.as_millis()).unwrap_or(i64::MAX));
        let noted = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::session(user, &token).attributes()))
            .update_expression("SET last_used_at = :now")
            .condition_expression(
                "attribute_exists(pk) AND (attribute_not_exists(last_used_at) OR last_used_at <= :before)",
            )
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":before", number(before))
            .send_unless_held();
        if let Err(error) = noted.await {
            tracing::debug!(cause = chain(&error), "the use of a session was not noted");
        }
    }

    /// Ends a session: its token is dead when this returns.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_session(&self, user: UserId, token: &TokenHash) -> Result<(), ApiError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(Key::session(user, token).attributes()))
            .send_unless_held();
        timed(Part::Db, delete).await.map_err(classify)?;
        Ok(())
    }
}
