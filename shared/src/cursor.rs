//! Cursors of lists: where the next page starts, sealed with a key of the organization and bound to the
//! list and its filter. One that was altered, or comes from elsewhere, is refused.

use crate::error::ApiError;
use crate::token::TokenHash;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deserr::Deserr;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lambda_http::Request;
use platform::request::{self, FieldErrors, Rejection};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt::Display;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// 128 bits of the HMAC-SHA-256 are kept (RFC 2104, section 5).
const TAG_BYTES: usize = 16;

/// An organization's key for its cursors; kept with its record, read with the membership.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CursorKey(String);

impl CursorKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// That of lists which belong to a user and to no organization: a cursor is its session's. Whoever holds the session's token can tell the
    /// key and seal any position with it: an id only starts its own list elsewhere, and all else is refused.
    pub(crate) fn of_session(token: &TokenHash) -> Self {
        Self(token.as_str().to_owned())
    }

    /// As it is stored.
    pub(crate) fn as_stored(&self) -> &str {
        &self.0
    }

    /// Seals a position of a list; `list` names the list and its filter.
    #[must_use]
    pub fn seal(&self, list: &str, position: &str) -> String {
        let mut bytes = self.tag(list, position).to_vec();
        bytes.extend_from_slice(position.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position in a cursor.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] if it was not sealed with this key for this list.
    fn open(&self, list: &str, cursor: &str) -> Result<String, Rejection> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
        let (tag, position) = bytes.split_at_checked(TAG_BYTES).ok_or_else(refused)?;
        let position = std::str::from_utf8(position).map_err(|_| refused())?;
        self.mac(list, position).verify_truncated_left(tag).map_err(|_| refused())?;
        Ok(position.to_owned())
    }

    /// What the query of a list asks for: how many at most, and the id that they start after, none for the first page.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] with all that is wrong with it, a cursor that was not sealed with this key for this list too.
    pub fn asked<T: FromStr>(&self, list: &str, request: &Request) -> Result<(u8, Option<T>), ApiError> {
        let query: PageQuery = request::query(request).map_err(|wrong| self.and_cursor(list, request, wrong))?;
        Ok((query.limit.get(), self.start(list, query.cursor.as_deref())?))
    }

    /// What is wrong with a list's query, and its cursor, if that was not sealed with this key for this list.
    #[must_use]
    pub fn and_cursor(&self, list: &str, request: &Request, wrong: Rejection) -> Rejection {
        match request::parameter(request, "cursor").map(|cursor| self.open(list, cursor)) {
            Some(Err(of_cursor)) => wrong.and(of_cursor),
            _ => wrong,
        }
    }

    /// The id that a page of a list starts after: none for the first page.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] for a cursor that was not sealed with this key for this list, or around no id.
    pub fn start<T: FromStr>(&self, list: &str, cursor: Option<&str>) -> Result<Option<T>, ApiError> {
        let Some(cursor) = cursor else { return Ok(None) };
        Ok(Some(self.open(list, cursor)?.parse().map_err(|_| refused())?))
    }

    /// A page of a list; `next` is the id that the next page starts after.
    #[must_use]
    pub fn page<T>(&self, list: &str, data: Vec<T>, next: Option<impl Display>) -> Page<T> {
        Page { data, next_cursor: next.map(|id| self.seal(list, &id.to_string())) }
    }

    fn tag(&self, list: &str, position: &str) -> [u8; TAG_BYTES] {
        let full = self.mac(list, position).finalize().into_bytes();
        full[..TAG_BYTES].try_into().expect("a SHA-256 is longer than the tag")
    }

    fn mac(&self, list: &str, position: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(list.as_bytes());
        mac.update(&[0]); // no list name contains it, so the two parts cannot run into each other
        mac.update(position.as_bytes());
        mac
    }
}

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

fn refused() -> Rejection {
    Rejection::field("query/cursor", "not a cursor of this list")
}

/// The query parameters of every list.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many at most.
    #[deserr(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 50)]
    pub limit: PageLimit,
    /// `next_cursor` of the page before; left out for the first page, never empty.
    #[param(min_length = 1)]
    #[deserr(default)]
    pub cursor: Option<String>,
}

/// How many entries a page has at most: 1–100, 50 unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
pub struct PageLimit(u8);

impl Default for PageLimit {
    fn default() -> Self {
        Self(50)
    }
}

impl PageLimit {
    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<String> for PageLimit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(limit @ 1..=100) if digits => Ok(Self(limit)),
            _ => Err("must be a whole number from 1 to 100"),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Opaque; `null` on the last page.
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;

    #[test]
    fn a_cursor_opens_only_where_it_was_sealed() {
        let (key, foreign) = (CursorKey::generate().expect("key"), CursorKey::generate().expect("key"));
        let cursor = key.seal("items", "itm_1");
        assert_eq!(key.open("items", &cursor).expect("opened"), "itm_1");
        assert!(key.open("members", &cursor).is_err());
        assert!(foreign.open("items", &cursor).is_err());
        for wrong in ["", "A", "%%%", &cursor[1..], &format!("{cursor}A")] {
            assert!(key.open("items", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_around_no_id_is_refused_whoever_sealed_it() {
        let key = CursorKey::generate().expect("key");
        let start = |position: &str| key.start::<SessionId>("sessions", Some(&key.seal("sessions", position)));
        let id = SessionId::new();
        assert_eq!(start(&id.to_string()).expect("opened"), Some(id));
        for position in ["", "x", "itm_1", "é"] {
            assert!(matches!(start(position), Err(ApiError::Rejected(_))), "{position}");
        }
    }

    #[test]
    fn limits_are_whole_numbers_from_1_to_100() {
        for (text, limit) in [("1", 1), ("100", 100), ("050", 50)] {
            assert_eq!(PageLimit::try_from(text.to_owned()).expect("valid").get(), limit);
        }
        for text in ["0", "-1", "101", "1000000000", "", "+5", "1.0", "ten"] {
            assert!(PageLimit::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
