//! Replies: JSON, problem+json (RFC 9457), conditional requests (RFC 9110).

use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What every handler replies with.
pub type Reply = Response<Body>;

/// How many headers there is room for before the map grows: a handler's, and what the runtime adds.
const HEADERS: usize = 12;

/// A reply with a JSON body.
#[must_use]
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    json_text(status, serde_json::to_string(value).expect("reply types have string keys and cannot fail to serialize"))
}

/// A reply whose body is JSON already.
#[must_use]
pub fn json_text(status: StatusCode, text: String) -> Reply {
    let mut reply = Response::new(Body::Text(text));
    *reply.status_mut() = status;
    *reply.headers_mut() = HeaderMap::with_capacity(HEADERS);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// `204`.
#[must_use]
pub fn no_content() -> Reply {
    let mut reply = Response::new(Body::Empty);
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// The weak entity tag of a version.
#[must_use]
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("W/\"{version}\"")).expect("digits are a valid header value")
}

/// The weak entity tag of a body without a version of its own. It tells apart, it does not protect.
#[must_use]
pub fn body_etag(body: &[u8]) -> HeaderValue {
    let sum = crc32fast::hash(body);
    HeaderValue::try_from(format!("W/\"{sum:08x}-{:x}\"", body.len())).expect("hex digits are a valid header value")
}

/// A cacheable `200` with its validators, or `304` without a body when the caller holds it already.
/// `text` is only called for a `200`.
#[must_use]
pub fn cacheable(
    request: &Request,
    etag: HeaderValue,
    cache_control: &'static str,
    text: impl FnOnce() -> String,
) -> Reply {
    let mut reply = if holds(request.headers(), &etag) {
        let mut reply = Response::new(Body::Empty);
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply
    } else {
        json_text(StatusCode::OK, text())
    };
    reply.headers_mut().insert(ETAG, etag);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
    reply
}

/// The same for a versioned value.
#[must_use]
pub fn versioned<T: Serialize>(request: &Request, version: u64, cache_control: &'static str, value: &T) -> Reply {
    cacheable(request, etag(version), cache_control, || {
        serde_json::to_string(value).expect("reply types have string keys and cannot fail to serialize")
    })
}

/// Adds the tag of the version just written to a reply.
#[must_use]
pub fn with_etag(mut reply: Reply, version: u64) -> Reply {
    reply.headers_mut().insert(ETAG, etag(version));
    reply
}

/// What may change at any moment: nobody keeps a copy.
#[must_use]
pub fn live(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Private to its caller, revalidated each time.
pub const PRIVATE: &str = "private, no-cache";
/// For anyone, revalidated each time.
pub const PUBLIC: &str = "public, no-cache";

/// Whether `If-None-Match` names the tag (weak comparison, RFC 9110, 13.1.2).
fn holds(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || opaque(tag).as_bytes() == opaque_bytes(etag.as_bytes()))
    })
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn opaque_bytes(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// An error as callers see it (RFC 9457), with the headers that go with it.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable and `snake_case`, for programs.
    pub code: &'static str,
    /// For people; never an internal cause.
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// One thing wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, or `query/name`, `header/name`, `path/name`.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

/// The members of a problem document.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// A URI reference that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'a str,
    pub status: u16,
    pub detail: &'a str,
    /// Stable and `snake_case`.
    pub code: &'a str,
    /// For `422`: what is wrong, part by part.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    pub errors: &'a [FieldError],
}

impl Problem {
    /// A problem without headers or field errors.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), headers: Vec::new() }
    }

    /// Adds `Retry-After`, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.push((RETRY_AFTER, HeaderValue::from(seconds.max(1))));
        self
    }

    /// The reply that carries it.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let body = ProblemBody {
            kind: format!("urn:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            errors: &self.errors,
        };
        let mut reply = json(self.status, &body);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(tags: &str) -> Request {
        let mut request = Request::new(Body::Empty);
        request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_str(tags).expect("valid"));
        request
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for tags in ["W/\"3\"", "\"3\"", "\"1\", W/\"3\"", "*"] {
            assert_eq!(versioned(&asking(tags), 3, PRIVATE, &1).status(), StatusCode::NOT_MODIFIED, "{tags}");
        }
        for tags in ["W/\"4\"", "3", ""] {
            assert_eq!(versioned(&asking(tags), 3, PRIVATE, &1).status(), StatusCode::OK, "{tags}");
        }
    }

    #[test]
    fn a_304_has_validators_and_no_body() {
        let reply = versioned(&asking("*"), 3, PRIVATE, &1);
        assert!(matches!(reply.body(), Body::Empty));
        assert_eq!(reply.headers()[ETAG], "W/\"3\"");
        assert_eq!(reply.headers()[CACHE_CONTROL], PRIVATE);
    }

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let reply = Problem::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", "Wait.").retry_after(0).into_reply();
        assert_eq!(reply.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(reply.headers()[RETRY_AFTER], "1");
        let Body::Text(text) = reply.body() else { panic!("a text body") };
        let body: serde_json::Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(
            body,
            serde_json::json!({"type": "urn:problem:slow_down", "title": "Too Many Requests", "status": 429,
                "detail": "Wait.", "code": "slow_down"})
        );
    }
}
