//! The authority read: session, membership and, where wanted, the organization, in one strongly
//! consistent round trip.

use super::keys::{Key, MEMBERSHIP, SK};
use super::{Attributes, Store, backoff, classify, record};
use crate::error::ApiError;
use crate::ids::SessionId;
use crate::model::org::{OrgRecord, Role};
use crate::model::settings::SettingsRecord;
use crate::model::time::Moment;
use crate::token::Token;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use serde::Deserialize;
use std::collections::HashMap;

/// How often keys that DynamoDB left unread are asked for again.
const ATTEMPTS: u32 = 5;

/// What the database says about a token, now.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    pub(crate) session_id: Option<SessionId>,
    pub(crate) role: Option<Role>,
    pub(crate) org: Option<OrgRecord>,
    pub(crate) settings: Option<SettingsRecord>,
}

/// What is read beside session and membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Include {
    Nothing,
    Org,
    OrgAndSettings,
}

#[derive(Deserialize)]
struct Session {
    session_id: SessionId,
    expires_at: Moment,
}

#[derive(Deserialize)]
struct Membership {
    role: Role,
}

impl Store {
    /// Reads what a token may do. An expired session is none, whether or not it was removed yet.
    pub(crate) async fn authority(&self, token: &Token, include: Include) -> Result<Authority, ApiError> {
        let mut keys = vec![
            Key::session(token.user_id, &token.hash()).attributes(),
            Key::membership(token.user_id, token.org_id).attributes(),
        ];
        if include >= Include::Org {
            keys.push(Key::org(token.org_id).attributes());
        }
        if include >= Include::OrgAndSettings {
            keys.push(Key::settings(token.org_id).attributes());
        }
        let mut authority = Authority::default();
        for found in self.get_all(keys).await? {
            match sort_key(&found) {
                "SETTINGS" => authority.settings = Some(record(found)?),
                "ORG" => authority.org = Some(record(found)?),
                sk if sk.starts_with(MEMBERSHIP) => authority.role = Some(record::<Membership>(found)?.role),
                _ => {
                    let session: Session = record(found)?;
                    authority.session_id = (session.expires_at > self.now()).then_some(session.session_id);
                }
            }
        }
        Ok(authority)
    }

    /// Reads up to 100 records, consistently; what DynamoDB leaves unread is asked for again.
    pub(crate) async fn get_all(&self, keys: Vec<Attributes>) -> Result<Vec<Attributes>, ApiError> {
        let mut found = Vec::with_capacity(keys.len());
        let mut pending = keys;
        for attempt in 0..ATTEMPTS {
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
            tokio::time::sleep(backoff(attempt)).await;
        }
        Err(ApiError::Unavailable("keys stayed unprocessed".into()))
    }
}

/// A record's sort key.
pub(crate) fn sort_key(attributes: &Attributes) -> &str {
    attributes.get(SK).and_then(|value| value.as_s().ok()).map(String::as_str).unwrap_or_default()
}
