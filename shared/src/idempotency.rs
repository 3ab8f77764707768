//! `Idempotency-Key`: the key, what it was first sent with, and the reply that a repetition gets. Knows
//! nothing of what was created, nor of where the records lie.

use crate::hex;
use crate::request::Rejection;
use crate::response::Reply;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long a key is remembered, in milliseconds: 24 hours.
pub const LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// Who works on a key is mostly done long before its lease ends: it is worth asking again after this.
const RETRY_AFTER_SECONDS_MAX: u64 = 5;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request that is to take effect once: its key and its body, both as SHA-256 in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// The endpoint that the key belongs to.
    pub endpoint: &'static str,
    pub key_hash: String,
    pub fingerprint: String,
}

impl Once {
    /// Reads the header, if there is one, for a request with this body.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] for several headers or a key that is not 1–255 visible ASCII characters.
    pub fn of(endpoint: &'static str, headers: &HeaderMap, body: &[u8]) -> Result<Option<Self>, Rejection> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let refused = || Rejection::field("header/Idempotency-Key", "must be 1 to 255 visible ASCII characters, once");
        let key = value.as_bytes();
        let valid = (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        if !valid || values.next().is_some() {
            return Err(refused());
        }
        Ok(Some(Self { endpoint, key_hash: sha256(key), fingerprint: sha256(body) }))
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::digits(&Sha256::digest(bytes))
}

/// A reply as kept: a repetition gets its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl StoredReply {
    /// What a handler is about to answer, without what is added around every reply.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Self {
            status: reply.status().as_u16(),
            headers: reply.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: match reply.body() {
                Body::Text(text) => text.clone(),
                _ => String::new(),
            },
        }
    }

    /// The reply again, marked as a repetition.
    #[must_use]
    pub fn replayed(self) -> Reply {
        let mut reply = Response::new(Body::Text(self.body));
        *reply.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                reply.headers_mut().insert(name, value);
            }
        }
        reply.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        reply
    }
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub fingerprint: String,
    /// Epoch milliseconds; later, the key is as good as new, removed or not.
    pub expires_at: i64,
    /// Until when somebody works on it, in epoch milliseconds, while there is no reply. Who takes it over
    /// writes a later one: who finds it changed has lost the key.
    pub lease_until: i64,
    /// What was begun under the key and has no reply yet: who takes it over goes on with this, not anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<StoredReply>,
}

/// What a request with a known key gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// The first reply.
    Replay(StoredReply),
    /// The key came with another body before.
    Mismatch,
    /// Somebody works on it.
    InFlight { retry_after_seconds: u64 },
    /// Somebody began and died: this is to be gone on with.
    Abandoned(KeyRecord),
    /// The key has expired: it is as good as new.
    Free,
}

impl KeyRecord {
    /// A record with its reply.
    #[must_use]
    pub fn complete(once: &Once, reply: StoredReply, now_ms: i64) -> Self {
        Self { reply: Some(reply), ..Self::begun(once, None, Duration::ZERO, now_ms) }
    }

    /// A record of work whose reply is to follow within `lease`.
    #[must_use]
    pub fn begun(once: &Once, work: Option<String>, lease: Duration, now_ms: i64) -> Self {
        let fingerprint = once.fingerprint.clone();
        Self { fingerprint, expires_at: now_ms + LIFETIME_MS, lease_until: after(now_ms, lease), work, reply: None }
    }

    /// The same work in new hands.
    #[must_use]
    pub fn taken_over(&self, lease: Duration, now_ms: i64) -> Self {
        // Later than the old one in any case, or the two holders could not be told apart.
        Self { lease_until: after(now_ms, lease).max(self.lease_until + 1), ..self.clone() }
    }

    /// What `once` gets of this record now. Another body is refused before anything else is looked at.
    #[must_use]
    pub fn standing(self, once: &Once, now_ms: i64) -> Standing {
        if self.expires_at <= now_ms {
            return Standing::Free;
        }
        if self.fingerprint != once.fingerprint {
            return Standing::Mismatch;
        }
        match self.reply {
            Some(reply) => Standing::Replay(reply),
            None if self.lease_until > now_ms => {
                let left_ms = u64::try_from(self.lease_until - now_ms).unwrap_or_default();
                Standing::InFlight { retry_after_seconds: left_ms.div_ceil(1000).min(RETRY_AFTER_SECONDS_MAX) }
            }
            None => Standing::Abandoned(self),
        }
    }
}

fn after(now_ms: i64, lease: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(body: &[u8]) -> Once {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("key"));
        Once::of("e", &headers, body).expect("valid").expect("present")
    }

    #[test]
    fn keys_are_visible_ascii_and_single() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, HeaderValue::from_bytes(value).expect("a header value"));
            }
            Once::of("e", &headers, b"")
        };
        assert_eq!(of(&[]), Ok(None));
        assert!(matches!(of(&[b"a"]), Ok(Some(_))) && matches!(of(&[&[b'x'; 255]]), Ok(Some(_))));
        for wrong in [&[b"".as_slice()][..], &[b"a b"], &[&[b'x'; 256]], &[b"\xff"], &[b"a", b"a"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_known_key_replays_refuses_or_waits() {
        let reply = StoredReply { status: 201, headers: vec![], body: "{}".into() };
        let done = KeyRecord::complete(&once(b"a"), reply.clone(), 1_000);
        assert_eq!(done.clone().standing(&once(b"a"), 2_000), Standing::Replay(reply));
        assert_eq!(done.clone().standing(&once(b"b"), 2_000), Standing::Mismatch);
        assert_eq!(done.standing(&once(b"b"), 1_000 + LIFETIME_MS), Standing::Free);
        let claim = KeyRecord::begun(&once(b"a"), Some("half".into()), Duration::from_secs(4), 1_000);
        assert_eq!(claim.clone().standing(&once(b"b"), 2_000), Standing::Mismatch, "checked first");
        assert_eq!(claim.clone().standing(&once(b"a"), 3_500), Standing::InFlight { retry_after_seconds: 2 });
        let Standing::Abandoned(left) = claim.clone().standing(&once(b"a"), 5_000) else {
            panic!("nobody works on it")
        };
        assert_eq!(left.work.as_deref(), Some("half"));
        assert!(left.taken_over(Duration::ZERO, 0).lease_until > left.lease_until, "holders can be told apart");
        let longer = KeyRecord::begun(&once(b"a"), None, Duration::from_secs(60), 0);
        assert_eq!(
            longer.standing(&once(b"a"), 0),
            Standing::InFlight { retry_after_seconds: RETRY_AFTER_SECONDS_MAX }
        );
    }

    #[test]
    fn a_reply_comes_back_byte_for_byte() {
        let mut reply = crate::response::json(StatusCode::ACCEPTED, &serde_json::json!({"a": 1}));
        reply.headers_mut().insert("location", HeaderValue::from_static("/jobs/1"));
        let replayed = StoredReply::of(&reply).replayed();
        assert_eq!(
            (replayed.status(), replayed.headers()["location"].as_bytes()),
            (StatusCode::ACCEPTED, &b"/jobs/1"[..])
        );
        assert!(matches!(replayed.body(), Body::Text(text) if text == r#"{"a":1}"#));
        assert_eq!(replayed.headers()["idempotent-replayed"], "true");
    }
}
