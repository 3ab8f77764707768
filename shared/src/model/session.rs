//! What a registration or a log-in gives: who one is, where, and the token.

use crate::device::DeviceCookie;
use crate::ids::{OrgId, SessionId};
use crate::model::org::{Org, OrgRecord};
use crate::model::time::{Moment, Rfc3339};
use crate::model::user::{User, UserRecord};
use crate::token::Token;
use deserr::Deserr;
use lambda_http::http::header::SET_COOKIE;
use lambda_http::http::{HeaderValue, StatusCode};
use platform::response::{self, Reply};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// The cookie that carries a token (`__Host-`: secure, whole site, no domain; RFC 6265bis).
pub const SESSION_COOKIE: &str = "__Host-session";
/// How long a session lives.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a session is fresh after its user has given the password.
pub const FRESH_FOR: Duration = Duration::from_secs(10 * 60);

/// Where a new session's token goes, if not into the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr, ToSchema)]
#[deserr(rename_all = lowercase)]
#[schema(rename_all = "snake_case")]
pub enum SessionCarrier {
    /// The cookie `__Host-session`, which no script can read.
    Cookie,
}

/// A session just begun. The token is shown this once.
#[derive(Serialize, ToSchema)]
pub struct Session {
    pub user: User,
    /// The organization that it is in; `null` for a user who belongs to no organization.
    pub org: Option<Org>,
    /// Send it as `Authorization: Bearer …`. Not there if the session is a cookie's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token: Option<String>,
    pub expires_at: Rfc3339,
}

impl Session {
    /// What is shown of a new session.
    #[must_use]
    pub fn new(user: UserRecord, org: Option<OrgRecord>, token: &Token, expires_at: Moment) -> Self {
        Self {
            user: user.into(),
            org: org.map(Org::from),
            token: Some(token.reveal().to_owned()),
            expires_at: expires_at.rfc3339(),
        }
    }

    /// The reply that begins it. The token is in its body or in its cookie, never in both (ASVS 5.0, 3.3.4). A cookie's session has a
    /// second cookie, by which the browser is known.
    #[must_use]
    pub fn reply(
        mut self,
        status: StatusCode,
        token: &Token,
        carrier: Option<SessionCarrier>,
        devices: Option<&DeviceCookie>,
    ) -> Reply {
        if carrier == Some(SessionCarrier::Cookie) {
            self.token = None;
        }
        let mut reply = response::live(response::json(status, &self));
        if self.token.is_none() {
            reply.headers_mut().insert(SET_COOKIE, cookie(token));
            if let Some(devices) = devices {
                reply.headers_mut().append(SET_COOKIE, devices.header());
            }
        }
        reply
    }
}

/// A session as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveSession {
    pub id: SessionId,
    /// The organization that it is in; `null` for one of whoever belonged to none.
    pub org_id: Option<OrgId>,
    /// Whether it is the one that asks.
    pub is_current: bool,
    pub created_at: Rfc3339,
    /// When it was used last; noted once a day at most. After 8 days without, it has ended.
    pub last_used_at: Rfc3339,
    pub expires_at: Rfc3339,
    /// Where it was begun: an IPv4 /24 or an IPv6 /48.
    pub network: Option<String>,
    /// What it was begun with, such as `Firefox on Linux`.
    pub agent: Option<String>,
}

/// The cookie with a token. `SameSite=None`: an allowed origin may be another site; its writes are
/// protected by their `Origin` (see [`crate::caller`]).
fn cookie(token: &Token) -> HeaderValue {
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
