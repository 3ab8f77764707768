//! What a registration or a log-in gives: who one is, where, and the token.

use crate::model::org::{Org, OrgRecord};
use crate::model::time::{Moment, Rfc3339};
use crate::model::user::{User, UserRecord};
use crate::token::Token;
use lambda_http::http::HeaderValue;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// The cookie that carries a token (`__Host-`: secure, whole site, no domain; RFC 6265bis).
pub const SESSION_COOKIE: &str = "__Host-session";
/// How long a session lives.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A session just begun. The token is shown this once.
#[derive(Serialize, ToSchema)]
pub struct Session {
    pub user: User,
    pub org: Org,
    /// Send it as `Authorization: Bearer …`.
    pub token: String,
    pub expires_at: Rfc3339,
}

impl Session {
    /// What is shown of a new session.
    #[must_use]
    pub fn new(user: UserRecord, org: OrgRecord, token: &Token, expires_at: Moment) -> Self {
        Self {
            user: user.into(),
            org: Org::from(org),
            token: token.reveal().to_owned(),
            expires_at: expires_at.rfc3339(),
        }
    }
}

/// The cookie with a token. `SameSite=None`: an allowed origin may be another site; its writes are
/// protected by their `Origin` (see [`crate::caller`]).
#[must_use]
pub fn cookie(token: &Token) -> HeaderValue {
    let seconds = SESSION_LIFETIME.as_secs();
    set_cookie(token.reveal(), seconds)
}

/// The cookie that removes it.
#[must_use]
pub fn removed_cookie() -> HeaderValue {
    set_cookie("", 0)
}

fn set_cookie(value: &str, max_age_seconds: u64) -> HeaderValue {
    let text = format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={max_age_seconds}; Secure; HttpOnly; SameSite=None");
    HeaderValue::try_from(text).expect("tokens are base64url")
}
