//! Replies: JSON, problem+json (RFC 9457), conditional requests (RFC 9110).

use crate::etag::{Conditions, EntityTag, Read};
use crate::rate_limit::RateLimit;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What every handler replies with.
pub type Reply = Response<Body>;

/// How many headers there is room for before the map grows: a handler's, and what the runtime adds.
const HEADERS: usize = 16;

/// A reply with a JSON body.
#[must_use]
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    json_text(status, text_of(value))
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
    empty(StatusCode::NO_CONTENT)
}

/// `202` without a body.
#[must_use]
pub fn accepted() -> Reply {
    empty(StatusCode::ACCEPTED)
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Empty);
    *reply.status_mut() = status;
    reply
}

/// A cacheable `200` with its validators, `304` without a body when the caller holds it already, or `412` for an `If-Match`
/// that names something else. `text` is only called for a `200`.
#[must_use]
pub fn cacheable(
    request: &Request,
    etag: &EntityTag,
    cache_control: &'static str,
    text: impl FnOnce() -> String,
) -> Reply {
    let mut reply = match Conditions::of(request.headers()).of_read(etag) {
        Read::Whole => json_text(StatusCode::OK, text()),
        Read::NotModified => {
            let mut reply = Response::new(Body::Empty);
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            reply
        }
        Read::Failed => return precondition_failed().into_reply(),
    };
    reply.headers_mut().insert(ETAG, etag.header());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
    reply
}

/// The same for a value, under the tag of its JSON.
#[must_use]
pub fn representation<T: Serialize>(request: &Request, cache_control: &'static str, value: &T) -> Reply {
    representation_text(request, cache_control, text_of(value))
}

/// The same for what is JSON already.
#[must_use]
pub fn representation_text(request: &Request, cache_control: &'static str, text: String) -> Reply {
    cacheable(request, &EntityTag::of_body(text.as_bytes()), cache_control, || text)
}

/// A resource as it has just been written, with the tag under which it is read.
#[must_use]
pub fn written<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    let text = text_of(value);
    let etag = EntityTag::of_body(text.as_bytes()).header();
    let mut reply = json_text(status, text);
    reply.headers_mut().insert(ETAG, etag);
    reply
}

/// A condition that does not hold.
#[must_use]
pub fn precondition_failed() -> Problem {
    let detail = "The resource is not as If-Match or If-None-Match demands.";
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
}

fn text_of<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("reply types have string keys and cannot fail to serialize")
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
    /// What the caller may not do, for a log of that; never shown.
    pub denied: Option<&'static str>,
}

/// One thing wrong with one part of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, or `query/name` or `header/name`.
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
        Self { status, code, detail: detail.into(), errors: Vec::new(), headers: Vec::new(), denied: None }
    }

    /// Adds `Retry-After`, in whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.push((RETRY_AFTER, HeaderValue::from(seconds.max(1))));
        self
    }

    /// A limit that is used up: says so in `RateLimit`, and in `Retry-After` when its window ends.
    #[must_use]
    pub fn limited(mut self, name: &'static str, quota: u64, reset_seconds: u64) -> Self {
        let mut headers = HeaderMap::new();
        RateLimit { name, quota, remaining: 0, reset_seconds: reset_seconds.max(1) }.add_to(&mut headers);
        self.headers.extend(headers.into_iter().filter_map(|(name, value)| Some((name?, value))));
        self.retry_after(reset_seconds)
    }

    /// The reply that carries it.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let body = ProblemBody {
            kind: format!("urn:problem:{}", self.code),
            title: title(self.status),
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

/// A status in the words of RFC 9110, which renamed two of them.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: &'static str, tags: &str) -> Request {
        let mut request = Request::new(Body::Empty);
        request.headers_mut().insert(name, HeaderValue::from_str(tags).expect("valid"));
        request
    }

    #[test]
    fn a_304_has_the_headers_of_its_200_and_no_body() {
        let whole = representation(&Request::new(Body::Empty), PRIVATE, &1);
        let tag = whole.headers()[ETAG].to_str().expect("ASCII").to_owned();
        let reply = representation(&asking("if-none-match", &tag), PRIVATE, &1);
        assert_eq!((whole.status(), reply.status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
        assert!(matches!(reply.body(), Body::Empty));
        for name in [ETAG, CACHE_CONTROL] {
            assert_eq!(reply.headers()[&name], whole.headers()[&name]);
        }
        assert_eq!(written(StatusCode::OK, &1).headers()[ETAG], tag);
        assert_eq!(representation(&asking("if-none-match", &tag), PRIVATE, &2).status(), StatusCode::OK);
        let refused = representation(&asking("if-match", "\"1\""), PRIVATE, &1);
        assert_eq!(refused.status(), StatusCode::PRECONDITION_FAILED);
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
