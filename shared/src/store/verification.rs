//! Proof of an account's address: a code and a token, of which only hashes are stored, and their one use.

use super::keys::Key;
use super::session_ends::ActingSession;
use super::single::SingleWrite as _;
use super::{Store, classify, number, request_token, string};
use crate::error::ApiError;
use crate::ids::UserId;
use crate::model::proof::{Code, LinkToken, Purpose, SecretHash};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Delete, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};
use serde::Serialize;
use std::time::Duration;

/// How long a code and a link prove an address.
pub const VERIFICATION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Codes that may be tried before it is void.
const TRIES_MAX: u32 = 5;
/// How often a proof is tried whose account's log-in record changes meanwhile.
const ATTEMPTS: u32 = 6;

/// That a log-in record is the account's, which has not ended.
const KEPT: &str = "user_id = :user AND (attribute_not_exists(unproven_until) OR unproven_until > :now)";

/// What proves an address, as stored. A new one takes its place.
#[derive(Serialize)]
struct VerificationRecord {
    /// The address that it was sent to.
    email: String,
    /// Of the password: with another one it is void. Those from before it was noted have none.
    password_digest: String,
    code_hash: String,
    token_hash: String,
    /// Codes that were compared.
    tries: u32,
    expires_at: Moment,
    ttl: i64,
}

/// What a caller proves its address with.
#[derive(Debug)]
pub enum Proof {
    Code(Code),
    Token(LinkToken),
}

impl Store {
    /// Makes a code and a token that prove the address, and voids those of before. None if the address is no longer the account's.
    ///
    /// # Errors
    /// When the database is away; [`ApiError::Contended`] if others make one each time.
    pub async fn new_verification(&self, user: &UserRecord) -> Result<Option<(Code, LinkToken)>, ApiError> {
        let key = Key::verification(user.user_id);
        let Some((login, last)) = self.login_and_hash(user, &key).await? else { return Ok(None) };
        let code = Code::generate().map_err(ApiError::internal)?;
        let token = LinkToken::generate(Purpose::Verification, user.user_id).map_err(ApiError::internal)?;
        let expires_at = self.now().plus(VERIFICATION_LIFETIME);
        let made = VerificationRecord {
            email: user.email.clone(),
            password_digest: login.password_digest().as_str().to_owned(),
            code_hash: code.hash(user.user_id).as_str().to_owned(),
            token_hash: token.hash().as_str().to_owned(),
            tries: 0,
            expires_at,
            ttl: expires_at.as_ttl_seconds(),
        };
        let given = self.give_hash(key, &made, last, None).await?;
        Ok(given.then_some((code, token)))
    }

    /// Notes that an account's address is proven, in one transaction with the proof's only use. Returns the account as it is then. The session
    /// itself may have ended its user's others meanwhile: the log-in record has another version then, and the password that the proof is of.
    ///
    /// # Errors
    /// [`ApiError::InvalidLink`] for a proof that is wrong, used, void or too old, or of another address or password;
    /// [`ApiError::InvalidToken`] if the session has ended since the log-in record was read: before that nobody asks, for the proof is its
    /// address's and not the session's.
    pub async fn verify_email(
        &self,
        acting: ActingSession<'_>,
        user: UserRecord,
        proof: &Proof,
    ) -> Result<UserRecord, ApiError> {
        let now = self.now();
        let (what, hash) = match proof {
            Proof::Token(token) if token.user_id != user.user_id => return Err(ApiError::InvalidLink),
            Proof::Token(token) => ("token_hash", token.hash()),
            Proof::Code(code) => {
                let hash = code.hash(user.user_id);
                if !self.code_is_right(Key::verification(user.user_id), &hash, now).await? {
                    return Err(ApiError::InvalidLink);
                }
                ("code_hash", hash)
            }
        };
        for _ in 0..ATTEMPTS {
            let login: Option<LoginRecord> = timed(Part::Db, self.get(Key::login(&user.email))).await?;
            let login = login.filter(|login| login.user_id == user.user_id && !login.has_ended(now));
            let writes = self.proof_writes(&user, &login.ok_or(ApiError::InvalidLink)?, (what, &hash), now)?;
            let outcome = timed(Part::Db, self.transact(writes)).await?;
            if outcome.is_done() {
                return Ok(UserRecord { email_verified_at: Some(now), version: user.version + 1, ..user });
            }
            if outcome.refused(0) || outcome.refused(1) {
                return Err(ApiError::InvalidLink);
            }
            self.acting_now(acting).await?;
        }
        Err(ApiError::Contended)
    }

    /// The writes of the proof, of the account, and of its log-in record as it was read.
    fn proof_writes(
        &self,
        user: &UserRecord,
        login: &LoginRecord,
        (what, hash): (&str, &SecretHash),
        now: Moment,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let used = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::verification(user.user_id).attributes()))
            .condition_expression(
                "#what = :hash AND email = :email AND expires_at > :now \
                    AND (attribute_not_exists(password_digest) OR password_digest = :digest)",
            )
            .expression_attribute_names("#what", what)
            .expression_attribute_values(":hash", string(hash.as_str()))
            .expression_attribute_values(":email", string(&user.email))
            .expression_attribute_values(":digest", string(login.password_digest().as_str()))
            .expression_attribute_values(":now", number(now.as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        Ok(vec![
            TransactWriteItem::builder().delete(used).build(),
            self.update(proven(user, now))?,
            self.update(kept_as_read(user, login.version, now))?,
        ])
    }

    /// Whether a code is the account's. A try is taken before it is compared, so that no number of simultaneous guesses gets more
    /// of them compared. It leaves an id: where its reply is lost, the SDK's repetition takes no other.
    pub(super) async fn code_is_right(&self, key: Key, hash: &SecretHash, now: Moment) -> Result<bool, ApiError> {
        let id = string(request_token());
        let take = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .update_expression("SET last_try = :id ADD tries :one")
            .condition_expression(
                "tries < :most AND expires_at > :now AND (attribute_not_exists(last_try) OR last_try <> :id)",
            )
            .expression_attribute_values(":id", id.clone())
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":most", number(TRIES_MAX))
            .expression_attribute_values(":now", number(now.as_millis()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send_unless_held();
        let taken = match timed(Part::Db, take).await {
            Ok(taken) => taken.attributes,
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    refused.item.clone().filter(|found| found.get("last_try") == Some(&id))
                }
                _ => return Err(classify(error)),
            },
        };
        let right = taken.as_ref().and_then(|taken| taken.get("code_hash")?.as_s().ok());
        Ok(right.is_some_and(|right| right == hash.as_str()))
    }

    /// Notes that an account's address is proven: an operator says so.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if the account is gone.
    pub async fn note_verified(&self, user: UserId) -> Result<(), ApiError> {
        let (now, user) = (self.now(), self.user(user).await?.ok_or(ApiError::NotFound)?);
        let writes = vec![self.update(proven(&user, now))?, self.update(kept(&user, now))?];
        let outcome = timed(Part::Db, self.transact(writes)).await?;
        outcome.is_done().then_some(()).ok_or(ApiError::NotFound)
    }
}

/// Notes that an account does not end, if it has not.
fn kept(user: &UserRecord, now: Moment) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(Key::login(&user.email).attributes()))
        .update_expression("REMOVE unproven_until")
        .condition_expression(KEPT)
        .expression_attribute_values(":user", string(user.user_id))
        .expression_attribute_values(":now", number(now.as_millis()))
}

/// The same, while the log-in record has the version that was read.
fn kept_as_read(user: &UserRecord, version: u64, now: Moment) -> UpdateBuilder {
    let kept = kept(user, now).expression_attribute_names("#version", "version");
    match version {
        0 => kept.condition_expression(format!("{KEPT} AND attribute_not_exists(#version)")),
        version => kept
            .condition_expression(format!("{KEPT} AND #version = :version"))
            .expression_attribute_values(":version", number(version)),
    }
}

/// Notes that the address is proven, while it is the account's.
pub(super) fn proven(user: &UserRecord, now: Moment) -> UpdateBuilder {
    Update::builder()
        .set_key(Some(Key::user(user.user_id).attributes()))
        .update_expression("SET email_verified_at = :now ADD #version :one")
        .condition_expression("email = :email")
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":email", string(&user.email))
        .expression_attribute_values(":now", number(now.as_millis()))
        .expression_attribute_values(":one", number(1))
}
