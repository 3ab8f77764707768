//! Users, their log-in records and sessions.

use super::keys::{self, Key};
use super::{Attributes, Store, attributes, classify, number, record, string};
use crate::conditional::Expected;
use crate::error::ApiError;
use crate::ids::UserId;
use crate::model::cached::ProfileKey;
use crate::model::org::{MembershipRecord, OrgRecord};
use crate::model::settings::SettingsRecord;
use crate::model::text::{Email, Name};
use crate::model::time::Moment;
use crate::model::user::{Profile, UserRecord};
use crate::store::authority::sort_key;
use crate::store::sessions::SessionRecord;
use crate::token::Token;
use aws_sdk_dynamodb::types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use platform::cache::Renewal;
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many failed log-ins an account may have in a window.
pub const MAX_ATTEMPTS: u64 = 10;
/// How long a window of failed log-ins lasts, from the first of them.
pub const ATTEMPTS_WINDOW: Duration = Duration::from_secs(15 * 60);

/// What a log-in needs, stored under the e-mail address: its uniqueness is the record's.
#[derive(Serialize, Deserialize)]
pub struct LoginRecord {
    pub user_id: UserId,
    pub password_hash: String,
    /// Grows with each change. Records from before it was counted have none, which is 0.
    #[serde(default)]
    pub version: u64,
}

/// All that a registration writes.
pub struct Registration<'a> {
    pub user: &'a UserRecord,
    pub password_hash: String,
    pub org: &'a OrgRecord,
    pub membership: &'a MembershipRecord,
    pub settings: &'a SettingsRecord,
    pub token: &'a Token,
}

impl Store {
    /// Stores a registration as a whole or not at all. Returns when its session ends.
    ///
    /// # Errors
    /// [`ApiError::EmailTaken`] if an account has the address.
    pub async fn register(&self, new: Registration<'_>) -> Result<Moment, ApiError> {
        let (user_id, org_id) = (new.user.user_id, new.org.org_id);
        let login = LoginRecord { user_id, password_hash: new.password_hash, version: 1 };
        let session = SessionRecord::new(new.membership, self.now());
        let member = Key::member(org_id, user_id);
        let writes = vec![
            self.put_new(attributes(Key::login(&new.user.email), &login)?)?,
            self.put_new(attributes(Key::user(user_id), new.user)?)?,
            self.put_new(attributes(Key::org(org_id), new.org)?)?,
            self.put_new(attributes(Key::settings(org_id), new.settings)?)?,
            self.put_new(attributes(Key::membership(user_id, org_id), new.membership)?)?,
            self.put_new(attributes(member, &new.membership.listed())?)?,
            self.put_new(session.stored(new.token)?)?,
        ];
        let outcome = timed(Part::Db, self.transact(writes)).await?;
        if outcome.refused(0) {
            return Err(ApiError::EmailTaken);
        }
        if outcome.is_done() { Ok(session.expires_at) } else { Err(ApiError::internal("a new id exists already")) }
    }

    /// Takes one of the account's attempts and reads its log-in record, in parallel. The attempt is taken
    /// before the password is compared, so that no number of simultaneous guesses gets more than
    /// [`MAX_ATTEMPTS`] of them compared; [`Store::start_session`] gives it back.
    ///
    /// # Errors
    /// [`ApiError::TooManyAttempts`] until the window ends.
    pub async fn begin_login(&self, email: &Email) -> Result<Option<LoginRecord>, ApiError> {
        // Boxed: the SDK's futures are large, and unoptimised builds copy them about on the stack.
        let login = Box::pin(self.get::<LoginRecord>(Key::login(email.as_str())));
        let attempt = Box::pin(self.take_attempt(email));
        let (login, attempt) = timed(Part::Db, async { tokio::join!(login, attempt) }).await;
        attempt?;
        login
    }

    /// Counts an attempt in the running window, or opens a new window; if another attempt has opened one
    /// meanwhile, counts in that.
    async fn take_attempt(&self, email: &Email) -> Result<(), ApiError> {
        loop {
            let now = self.now();
            if let Some(window_ends) = self.count_attempt(email, now).await? {
                if window_ends > now.as_millis() {
                    return Err(too_many(window_ends - now.as_millis()));
                }
                if self.open_window(email, now).await? {
                    return Ok(());
                }
            } else {
                return Ok(());
            }
        }
    }

    /// Counts an attempt in the running window. If there is none, or it is full, returns when the last one
    /// ends: the epoch if there never was one.
    async fn count_attempt(&self, email: &Email, now: Moment) -> Result<Option<i64>, ApiError> {
        let counted = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::attempts(email.as_str()).attributes()))
            .update_expression("ADD attempts :one")
            .condition_expression("window_ends > :now AND attempts < :max")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":max", number(MAX_ATTEMPTS))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = counted else { return Ok(None) };
        let Some(window) = refused(&error) else { return Err(classify(error)) };
        let ends = window.as_ref().and_then(|item| item.get("window_ends")?.as_n().ok()?.parse().ok());
        Ok(Some(ends.unwrap_or(0)))
    }

    /// Opens a window with one attempt in it, unless one is open.
    async fn open_window(&self, email: &Email, now: Moment) -> Result<bool, ApiError> {
        let ends = now.plus(ATTEMPTS_WINDOW);
        let opened = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::attempts(email.as_str()).attributes()))
            .update_expression("SET attempts = :one, window_ends = :ends, #ttl = :ttl")
            .condition_expression("attribute_not_exists(pk) OR window_ends <= :now")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(now.as_millis()))
            .expression_attribute_values(":ends", number(ends.as_millis()))
            .expression_attribute_values(":ttl", number(ends.as_ttl_seconds()))
            .send()
            .await;
        match opened {
            Ok(_) => Ok(true),
            Err(error) if refused(&error).is_some() => Ok(false),
            Err(error) => Err(classify(error)),
        }
    }

    /// Gives the attempt of a right password back.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_login(&self, email: &Email) -> Result<(), ApiError> {
        let give_back = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::attempts(email.as_str()).attributes()))
            .update_expression("ADD attempts :minus")
            .condition_expression("attempts > :zero")
            .expression_attribute_values(":minus", number(-1))
            .expression_attribute_values(":zero", number(0))
            .send();
        match Box::pin(timed(Part::Db, give_back)).await {
            Err(error) if refused(&error).is_none() => Err(classify(error)),
            _ => Ok(()),
        }
    }

    /// A user by id.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn user(&self, user: UserId) -> Result<Option<UserRecord>, ApiError> {
        timed(Part::Db, self.get(Key::user(user))).await
    }

    /// A user with the organizations it is a member of, in the order of their founding, in one read.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn user_with_memberships(
        &self,
        user: UserId,
    ) -> Result<Option<(UserRecord, Vec<MembershipRecord>)>, ApiError> {
        let mut found = None;
        let mut memberships = Vec::new();
        let mut start = None;
        loop {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
                .expression_attribute_values(":pk", string(keys::user_pk(user)))
                .expression_attribute_values(":from", string(keys::MEMBERSHIP))
                .expression_attribute_values(":to", string(keys::PROFILE))
                .set_exclusive_start_key(start)
                .send();
            let page = timed(Part::Db, query).await.map_err(classify)?;
            for item in page.items.unwrap_or_default() {
                if sort_key(&item) == keys::PROFILE {
                    found = Some(record(item)?);
                } else {
                    memberships.push(record(item)?);
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(found.map(|user| (user, memberships)));
            }
        }
    }

    /// Renames a user. Returns the public profile as it is then.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`] if it has another version.
    pub async fn rename_user(
        &self,
        user: UserId,
        name: &Name,
        expected: Expected,
    ) -> Result<Renewal<ProfileKey>, ApiError> {
        let precondition = super::Precondition::from(expected);
        let update = precondition
            .apply(
                self.client
                    .update_item()
                    .table_name(&self.table)
                    .set_key(Some(Key::user(user).attributes()))
                    .update_expression("SET #name = :name, #version = #version + :one")
                    .expression_attribute_names("#name", "name")
                    .expression_attribute_names("#version", "version")
                    .expression_attribute_values(":name", string(name.as_str()))
                    .expression_attribute_values(":one", number(1)),
            )
            .return_values(ReturnValue::AllNew)
            .send();
        let reply = timed(Part::Db, update).await.map_err(super::update_failed)?;
        let renamed: UserRecord = record(reply.attributes.unwrap_or_default())?;
        Ok(Renewal::new(ProfileKey(user), Profile::from(renamed)))
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

fn too_many(remaining_ms: i64) -> ApiError {
    ApiError::TooManyAttempts { retry_after_seconds: u64::try_from(remaining_ms).unwrap_or(0).div_ceil(1000) }
}

/// The record that made the condition of an update fail, if that is what happened.
fn refused(
    error: &aws_sdk_dynamodb::error::SdkError<aws_sdk_dynamodb::operation::update_item::UpdateItemError>,
) -> Option<&Option<Attributes>> {
    use aws_sdk_dynamodb::operation::update_item::UpdateItemError as E;
    match error.as_service_error()? {
        E::ConditionalCheckFailedException(failed) => Some(&failed.item),
        _ => None,
    }
}
