//! `Idempotency-Key`: the key, what it was first sent with, and the reply that a repetition gets. Knows
//! nothing of what was created, nor of where the records lie.

use crate::cache::{Invalidation, WriteOutcome};
use crate::hex;
use crate::request::{self, Rejection};
use crate::response::Reply;
use lambda_http::http::{HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long a key is remembered, in milliseconds: 24 hours.
pub const LIFETIME_MS: i64 = 24 * 60 * 60 * 1000;

/// Work on a key is mostly done long before its lease ends: it is worth asking again after this.
const RETRY_AFTER_SECONDS_MAX: u64 = 5;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The key of a request that is to take effect once. Key and body are kept as SHA-256 in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The endpoint that the key belongs to.
    pub endpoint: &'static str,
    pub key_hash: String,
    /// Of the body's bytes.
    pub fingerprint: String,
    /// Of the body's canonical JSON (RFC 8785); `None` for what has none.
    pub canonical_fingerprint: Option<String>,
}

impl IdempotencyKey {
    /// Reads the header of a request, if there is one, together with its body.
    ///
    /// # Errors
    /// [`Rejection::Invalid`] for several headers or a key that is not 1–255 visible ASCII characters;
    /// [`Rejection::TooLarge`].
    pub fn of(endpoint: &'static str, request: &Request) -> Result<Option<Self>, Rejection> {
        let mut values = request.headers().get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let refused = || Rejection::field("header/Idempotency-Key", "must be 1 to 255 visible ASCII characters, once");
        let key = value.as_bytes();
        let valid = (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        if !valid || values.next().is_some() {
            return Err(refused());
        }
        let body = request::fingerprinted(request)?;
        Ok(Some(Self {
            endpoint,
            key_hash: sha256(key),
            fingerprint: sha256(&body.bytes),
            canonical_fingerprint: body.canonical.map(|json| sha256(json.as_bytes())),
        }))
    }

    /// The same key bound to the resource in the path, for endpoints without a body: with another resource it is another request. An empty body
    /// and `{}` are the same.
    #[must_use]
    pub fn about(self, resource: &str) -> Self {
        // As of an empty body, which counted once: keys from then are still theirs, but for those that came with `{}`.
        let fingerprint = sha256(format!("{resource}\n{}", sha256(b"")).as_bytes());
        Self { fingerprint, canonical_fingerprint: None, ..self }
    }

    /// A claim on the key, together with its reply.
    #[must_use]
    pub fn complete(&self, reply: StoredReply, now_ms: i64) -> KeyClaim<'_> {
        let mut claim = self.begin(None, Duration::ZERO, now_ms);
        claim.record.reply = Some(reply);
        claim
    }

    /// A claim on the key for work whose reply is to follow within `lease`.
    #[must_use]
    pub fn begin(&self, work: Option<String>, lease: Duration, now_ms: i64) -> KeyClaim<'_> {
        let record = KeyRecord {
            fingerprint: self.fingerprint.clone(),
            canonical_fingerprint: self.canonical_fingerprint.clone(),
            expires_at: now_ms + LIFETIME_MS,
            lease_until: after(now_ms, lease),
            work,
            reply: None,
            reply_pieces: 0,
        };
        KeyClaim { key: self, record }
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

    /// The reply again, marked as a repetition of a write of what is cached as `written`
    /// ([`Uncached`](crate::cache::Uncached) if nothing is). The cache is told once more: the first request may have died
    /// between its write and telling it, or not have come that far yet.
    pub fn replayed<N, E>(self, written: N) -> Invalidation<N, Reply, E> {
        Invalidation::new(written, WriteOutcome::Written(self.into_replay()))
    }

    fn into_replay(self) -> Reply {
        let Self { status, headers, body } = self;
        let mut reply = Response::new(Body::Text(body));
        *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        for (name, value) in headers {
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
    /// Of the body's bytes. It decides where there is no other: for a body that is not JSON, and for a record from
    /// before canonical JSON was compared.
    pub fingerprint: String,
    /// Of the body's canonical JSON (RFC 8785): where it is there, it decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_fingerprint: Option<String>,
    /// Epoch milliseconds; later, the key is as good as new, removed or not.
    pub expires_at: i64,
    /// Until when somebody works on it, in epoch milliseconds, while there is no reply. Taking the key over
    /// writes a later time: a holder that finds another time than its own has lost the key.
    pub lease_until: i64,
    /// What was begun under the key and has no reply yet. Taking the key over means going on with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<StoredReply>,
    /// In how many records of its own the reply's body lies, where it is too long for this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reply_pieces: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A key with the record that claims it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyClaim<'k> {
    pub key: &'k IdempotencyKey,
    pub record: KeyRecord,
}

impl KeyClaim<'_> {
    /// The same work in new hands.
    #[must_use]
    pub fn taken_over(&self, lease: Duration, now_ms: i64) -> Self {
        let mut mine = self.clone();
        // Later than the old one in any case, or the two holders could not be told apart.
        mine.record.lease_until = after(now_ms, lease).max(self.record.lease_until + 1);
        mine
    }

    /// The record once its work is done.
    #[must_use]
    pub fn completed(&self, reply: StoredReply) -> KeyRecord {
        KeyRecord { reply: Some(reply), work: None, ..self.record.clone() }
    }
}

/// What a request is to its idempotency key. A request without a key is always the first.
#[derive(Debug)]
pub enum Begin<F, R> {
    /// It is the first one, and has taken effect.
    First(F),
    /// It repeats an earlier one: this was the reply.
    Replay(StoredReply),
    /// It repeats an earlier one that died before it replied: this is to be gone on with.
    Resume(R),
}

/// What a record says to a request with its key.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyState {
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
    /// What it says to a request with `key` now. Another body is refused before anything else is looked at.
    #[must_use]
    pub fn state(self, key: &IdempotencyKey, now_ms: i64) -> KeyState {
        if self.expires_at <= now_ms {
            return KeyState::Free;
        }
        let same = match &self.canonical_fingerprint {
            Some(_) => self.canonical_fingerprint == key.canonical_fingerprint,
            None => self.fingerprint == key.fingerprint,
        };
        if !same {
            return KeyState::Mismatch;
        }
        match self.reply {
            Some(reply) => KeyState::Replay(reply),
            None if self.lease_until > now_ms => {
                let left_ms = u64::try_from(self.lease_until - now_ms).unwrap_or_default();
                KeyState::InFlight { retry_after_seconds: left_ms.div_ceil(1000).min(RETRY_AFTER_SECONDS_MAX) }
            }
            None => KeyState::Abandoned(self),
        }
    }
}

fn after(now_ms: i64, lease: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(lease.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::header::CONTENT_TYPE;

    fn key(body: &str) -> IdempotencyKey {
        sent(body, "application/json")
    }

    fn sent(body: &str, kind: &'static str) -> IdempotencyKey {
        let mut request = Request::new(Body::Text(body.to_owned()));
        request.headers_mut().insert(HEADER, HeaderValue::from_static("key"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        IdempotencyKey::of("e", &request).expect("valid").expect("present")
    }

    #[test]
    fn keys_are_visible_ascii_and_single() {
        let of = |values: &[&[u8]]| {
            let mut request = Request::new(Body::Empty);
            for value in values {
                request.headers_mut().append(HEADER, HeaderValue::from_bytes(value).expect("a header value"));
            }
            IdempotencyKey::of("e", &request)
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
        let (a, b) = (key("a"), key("b"));
        let done = a.complete(reply.clone(), 1_000).record;
        assert_eq!(done.clone().state(&a, 2_000), KeyState::Replay(reply));
        assert_eq!(done.clone().state(&b, 2_000), KeyState::Mismatch);
        assert_eq!(done.state(&b, 1_000 + LIFETIME_MS), KeyState::Free);
        let claim = a.begin(Some("half".into()), Duration::from_secs(4), 1_000);
        let state = |key, now_ms| claim.record.clone().state(key, now_ms);
        assert_eq!(state(&b, 2_000), KeyState::Mismatch, "checked first");
        assert_eq!(state(&a, 3_500), KeyState::InFlight { retry_after_seconds: 2 });
        let KeyState::Abandoned(left) = state(&a, 5_000) else { panic!("nobody works on it") };
        assert_eq!(left.work.as_deref(), Some("half"));
        let taken = claim.taken_over(Duration::ZERO, 0).record;
        assert!(taken.lease_until > left.lease_until, "holders can be told apart");
        let longer = a.begin(None, Duration::from_secs(60), 0).record;
        assert_eq!(longer.state(&a, 0), KeyState::InFlight { retry_after_seconds: RETRY_AFTER_SECONDS_MAX });
    }

    #[test]
    fn bodies_are_compared_as_canonical_json() {
        let first = key(r#"{"name":"é","list":[1.0,{"b":2,"a":null}]}"#).begin(None, Duration::ZERO, 0).record;
        let says = |record: &KeyRecord, key: &IdempotencyKey| record.clone().state(key, 0);
        let spelt_otherwise = " {\"list\": [1e0, {\"a\": null, \"b\": 2}],\r\n\"name\": \"\\u00e9\"}";
        assert!(matches!(says(&first, &key(spelt_otherwise)), KeyState::Abandoned(_)));
        for other in
            [r#"{"name":"e","list":[1.0,{"b":2,"a":null}]}"#, r#"{"list":[{"b":2,"a":null},1],"name":"é"}"#, "é"]
        {
            assert_eq!(says(&first, &key(other)), KeyState::Mismatch, "{other}");
        }
        let before =
            KeyRecord { canonical_fingerprint: None, ..key(r#"{"a":1}"#).begin(None, Duration::ZERO, 0).record };
        assert!(matches!(says(&before, &key(r#"{"a":1}"#)), KeyState::Abandoned(_)));
        assert_eq!(says(&before, &key(r#"{"a": 1}"#)), KeyState::Mismatch, "as it was compared then");
        let read: KeyRecord =
            serde_json::from_str(r#"{"fingerprint":"x","expires_at":1,"lease_until":0}"#).expect("old");
        assert_eq!(read.canonical_fingerprint, None);
        let text = sent(r#"{"a":1}"#, "text/plain").begin(None, Duration::ZERO, 0).record;
        assert_eq!(says(&text, &key(r#"{"a":1}"#)), KeyState::Mismatch, "another type of content");
        assert_eq!(says(&text, &sent(r#"{"a": 1}"#, "text/plain")), KeyState::Mismatch);
    }

    #[test]
    fn a_key_about_a_resource_leaves_the_body_out() {
        let of = |body: &str, resource: &str| key(body).about(resource);
        assert_eq!(of("", "job_1"), of("{}", "job_1"));
        let first = of("", "job_1").begin(None, Duration::ZERO, 0).record;
        assert!(matches!(first.clone().state(&of("{}", "job_1"), 0), KeyState::Abandoned(_)));
        assert_eq!(first.state(&of("", "job_2"), 0), KeyState::Mismatch);
    }

    #[test]
    fn a_reply_comes_back_byte_for_byte() {
        let mut reply = crate::response::json(StatusCode::ACCEPTED, &serde_json::json!({"a": 1}));
        reply.headers_mut().insert("location", HeaderValue::from_static("/jobs/1"));
        let replayed = StoredReply::of(&reply).into_replay();
        assert_eq!(
            (replayed.status(), replayed.headers()["location"].as_bytes()),
            (StatusCode::ACCEPTED, &b"/jobs/1"[..])
        );
        assert!(matches!(replayed.body(), Body::Text(text) if text == r#"{"a":1}"#));
        assert_eq!(replayed.headers()["idempotent-replayed"], "true");
    }
}
