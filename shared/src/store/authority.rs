//! The authority read: session, membership and, where wanted, the organization, in one strongly
//! consistent round trip.

use super::keys::{self, Key, MEMBERSHIP, SK};
use super::{Attributes, Store, classify, record, wait_before};
use crate::error::ApiError;
use crate::ids::{OrgId, UserId};
use crate::model::org::{MembershipRecord, OrgRecord, Plan};
use crate::model::settings::SettingsRecord;
use crate::model::user::UserRecord;
use crate::store::sessions::SessionRecord;
use crate::token::{Token, TokenHash};
use aws_sdk_dynamodb::types::KeysAndAttributes;
use platform::telemetry::{Part, timed};
use std::collections::HashMap;
use std::time::Duration;

/// How often keys that DynamoDB left unread are asked for again.
const ATTEMPTS: u32 = 5;
/// How long the writes of one transaction may be seen apart: a batch reads each record as it was committed last, and not all of them as of
/// one moment.
const APART: Duration = Duration::from_millis(10);

/// What the database says about a token, now.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    /// The session that lives, and the membership that it was made under: both or neither.
    pub(crate) session: Option<(SessionRecord, MembershipRecord)>,
    pub(crate) org: Option<OrgRecord>,
    pub(crate) settings: Option<SettingsRecord>,
    pub(crate) user: Option<UserRecord>,
}

/// What is read beside session and membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Include {
    Nothing,
    Org,
    OrgAndSettings,
    /// The user's own record too, which says whether its address is proven.
    OrgSettingsAndUser,
}

impl Store {
    /// Reads what a token may do. An expired session is none, whether or not it was removed yet; nor is one that was made
    /// under another membership than the one that is there now. Where only that speaks against it, both are read once more.
    pub(crate) async fn authority(&self, token: &Token, include: Include) -> Result<Authority, ApiError> {
        let mut keys = vec![
            Key::session(token.user_id, &token.hash()).attributes(),
            Key::membership(token.user_id, token.org_id).attributes(),
        ];
        let (place, is_copy) = self.copied.place(token.org_id);
        if include >= Include::Org {
            keys.push(place.attributes());
        }
        if include >= Include::OrgAndSettings {
            keys.push(Key::settings(token.org_id).attributes());
        }
        if include >= Include::OrgSettingsAndUser {
            keys.push(Key::user(token.user_id).attributes());
        }
        let mut authority = Authority::default();
        let (mut session, mut membership) = (None, None);
        for found in self.get_all(keys).await? {
            match sort_key(&found) {
                keys::PROFILE => authority.user = Some(record(found)?),
                keys::SETTINGS => authority.settings = Some(record(found)?),
                keys::ORG | keys::COPY => authority.org = Some(record(found)?),
                sk if sk.starts_with(MEMBERSHIP) => membership = Some(record::<MembershipRecord>(found)?),
                _ => session = Some(record::<SessionRecord>(found)?),
            }
        }
        if is_copy && include >= Include::Org && authority.org.is_none() {
            // By the same call: whoever reads here is granted no other.
            let found = self.get_all(vec![Key::org(token.org_id).attributes()]).await?.pop();
            authority.org = found.map(record).transpose()?;
        }
        if let Some(org) = &authority.org {
            self.copied.note(org);
        }
        let now = self.now();
        authority.session = match session.zip(membership) {
            // Read apart, perhaps, while the session itself ended its user's others: one before that, the other after it.
            Some((session, membership))
                if session.expires_at > now && !membership.covers(session.mark.as_ref(), session.created_at) =>
            {
                tokio::time::sleep(APART).await;
                Box::pin(self.session_that_counts(token.user_id, token.org_id, &token.hash())).await?
            }
            both => both.filter(|(session, membership)| session.counts(membership, now)),
        };
        Ok(authority)
    }

    /// A session that counts, with the membership that it was made under, as they are now.
    async fn session_that_counts(
        &self,
        user: UserId,
        org: OrgId,
        token: &TokenHash,
    ) -> Result<Option<(SessionRecord, MembershipRecord)>, ApiError> {
        let keys = [Key::session(user, token), Key::membership(user, org)];
        let (mut session, mut membership) = (None, None);
        for found in self.get_all(keys.map(Key::attributes).into()).await? {
            if sort_key(&found).starts_with(MEMBERSHIP) {
                membership = Some(record::<MembershipRecord>(found)?);
            } else {
                session = Some(record::<SessionRecord>(found)?);
            }
        }
        let now = self.now();
        Ok(session.zip(membership).filter(|(session, membership)| session.counts(membership, now)))
    }

    /// A session, and the membership that it counts for, whose mark was another one when it was read: the session itself may have ended its user's
    /// others meanwhile, and goes on under the mark that it gave itself. One that was ended has the mark of before.
    ///
    /// # Errors
    /// [`ApiError::InvalidToken`] if it has ended.
    pub(super) async fn counts_still(
        &self,
        user: UserId,
        org: OrgId,
        token: &TokenHash,
    ) -> Result<(SessionRecord, MembershipRecord), ApiError> {
        tokio::time::sleep(APART).await;
        Box::pin(self.session_that_counts(user, org, token)).await?.ok_or(ApiError::InvalidToken)
    }

    /// An organization's plan, for its rate.
    pub(crate) async fn plan_of(&self, org: OrgId) -> Result<Plan, ApiError> {
        let (place, _) = self.copied.place(org);
        let found = timed(Part::Auth, self.get_all(vec![place.attributes()])).await?.pop();
        let found: Option<OrgRecord> = found.map(record).transpose()?;
        // Its copies are new, or it is just gone.
        Ok(found.map_or(Plan::Free, |org| org.plan))
    }

    /// Reads up to 100 records, consistently; what DynamoDB leaves unread is asked for again.
    pub(crate) async fn get_all(&self, keys: Vec<Attributes>) -> Result<Vec<Attributes>, ApiError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut pending = keys;
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(pending))
                .consistent_read(true)
                .build()
                .map_err(ApiError::internal)?;
            let reply = self
                .client
                .batch_get_item()
                .set_request_items(Some(HashMap::from([(self.table.clone(), wanted)])))
                .send()
                .await
                .map_err(classify)?;
            found.extend(reply.responses.unwrap_or_default().into_values().flatten());
            pending = reply.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys).collect();
            if pending.is_empty() {
                return Ok(found);
            }
        }
        Err(ApiError::Unavailable("keys stayed unprocessed".into()))
    }
}

/// A record's sort key.
pub(crate) fn sort_key(attributes: &Attributes) -> &str {
    attributes.get(SK).and_then(|value| value.as_s().ok()).map(String::as_str).unwrap_or_default()
}
