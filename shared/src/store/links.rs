//! How a link gets its hash: in place of the one that its record had. A write whose reply was lost may land late, when the link of a newer
//! mail is there, or codes were tried: it finds another hash than it was made for, and does nothing.

use super::authority::sort_key;
use super::keys::Key;
use super::single::SingleWrite as _;
use super::{Attributes, Store, classify, number, record, string, wait_before};
use crate::error::ApiError;
use crate::model::proof::SecretHash;
use crate::model::user::UserRecord;
use crate::store::accounts::LoginRecord;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use platform::telemetry::{Part, timed};
use serde::Serialize;
use std::collections::HashMap;

/// What a link's token is known by, in the record of each kind.
const TOKEN_HASH: &str = "token_hash";
/// How often it is tried while others give the record theirs.
const ATTEMPTS: u32 = 6;

/// The `token_hash` that a record had when it was last seen.
pub(super) struct LastHash(Option<AttributeValue>);

impl LastHash {
    pub(super) fn new(hash: Option<&str>) -> Self {
        Self(hash.map(string))
    }
}

impl Store {
    /// The log-in record of an account's address, while that is the account's, and the hash in the record of a link of its.
    ///
    /// # Errors
    /// When the database is away.
    pub(super) async fn login_and_hash(
        &self,
        user: &UserRecord,
        link: &Key,
    ) -> Result<Option<(LoginRecord, LastHash)>, ApiError> {
        let keys = vec![Key::login(&user.email).attributes(), link.clone().attributes()];
        let (mut login, mut hash) = (None, None);
        for mut found in timed(Part::Db, self.get_all(keys)).await? {
            if sort_key(&found) == link.sk {
                hash = found.remove(TOKEN_HASH);
            } else {
                login = Some(record::<LoginRecord>(found)?);
            }
        }
        let login = login.filter(|login| login.user_id == user.user_id);
        Ok(login.map(|login| (login, LastHash(hash))))
    }

    /// Gives the record that a link is for the hash of its token, in place of the last. False if the record is no longer there, or is too old.
    pub(super) async fn give_token(&self, key: Key, hash: &SecretHash, last: LastHash) -> Result<bool, ApiError> {
        let link = HashMap::from([(TOKEN_HASH, hash.as_str())]);
        let is_open = ("expires_at > :now", ":now", number(self.now().as_millis()));
        self.give_hash(key, &link, last, Some(is_open)).await
    }

    /// Sets the attributes of a link in its record, with its `token_hash` in place of the last, while what else is asked of the record holds:
    /// a condition, and the value that it names. False if that does not hold. Where the hash is another than the last, somebody has given it
    /// one meanwhile, and that one is the last: the refusal shows the record, as it is. Our own is there where the SDK repeats what was done.
    ///
    /// # Errors
    /// [`ApiError::Contended`] if others give it theirs each time.
    pub(super) async fn give_hash(
        &self,
        key: Key,
        link: &impl Serialize,
        LastHash(mut last): LastHash,
        still: Option<(&str, &str, AttributeValue)>,
    ) -> Result<bool, ApiError> {
        let link: Attributes = serde_dynamo::to_item(link).map_err(ApiError::internal)?;
        let (ours, mut set) = (link.get(TOKEN_HASH).cloned(), Vec::with_capacity(link.len()));
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        for (at, (name, value)) in link.into_iter().enumerate() {
            set.push(format!("#set{at} = :set{at}"));
            update = update
                .expression_attribute_names(format!("#set{at}"), name)
                .expression_attribute_values(format!(":set{at}"), value);
        }
        let mut also = String::new();
        if let Some((condition, name, value)) = still {
            also = format!(" AND {condition}");
            update = update.expression_attribute_values(name, value);
        }
        let update = update.update_expression(format!("SET {}", set.join(", ")));
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let given = match &last {
                None => update.clone().condition_expression(format!("attribute_not_exists(token_hash){also}")),
                Some(last) => update
                    .clone()
                    .condition_expression(format!("token_hash = :last{also}"))
                    .expression_attribute_values(":last", last.clone()),
            };
            let Err(error) = timed(Part::Db, given.send_unless_held()).await else { return Ok(true) };
            let Some(UpdateItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
                return Err(classify(error));
            };
            let found = refused.item.as_ref().and_then(|item| item.get(TOKEN_HASH)).cloned();
            if found == ours {
                return Ok(true);
            }
            if found == last {
                return Ok(false);
            }
            last = found;
        }
        Err(ApiError::Contended)
    }
}
