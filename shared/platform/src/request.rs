//! Reading a request strictly: bodies, query parameters, path parameters.

use crate::response::FieldError;
use crate::runtime::event::PathParameters;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request, RequestExt as _};
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// The largest body that is read, in bytes. Lambda itself takes events of 6 MB.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Why a request was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("The body is not valid JSON: {0}.")]
    MalformedJson(String),
    #[error("The body must be JSON: send Content-Type: application/json.")]
    NotJson,
    #[error("The body is larger than {MAX_BODY_BYTES} bytes.")]
    TooLarge,
    #[error("The request has invalid values.")]
    Invalid(Vec<FieldError>),
}

impl Rejection {
    /// One invalid value.
    #[must_use]
    pub fn field(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), message: message.into() }])
    }
}

/// The JSON body, parsed into a type whose fields check themselves.
///
/// # Errors
/// [`Rejection`]: not JSON by type or by syntax, too large, or values the type refuses.
pub fn json<T: DeserializeOwned>(request: &Request) -> Result<T, Rejection> {
    if !is_json(request) {
        return Err(Rejection::NotJson);
    }
    parse(body_bytes(request)?)
}

/// The body's bytes, within [`MAX_BODY_BYTES`].
///
/// # Errors
/// [`Rejection::TooLarge`].
pub fn body_bytes(request: &Request) -> Result<&[u8], Rejection> {
    let bytes = match request.body() {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        _ => &[],
    };
    if bytes.len() > MAX_BODY_BYTES { Err(Rejection::TooLarge) } else { Ok(bytes) }
}

fn is_json(request: &Request) -> bool {
    let mut values = request.headers().get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| {
        parameter.is_empty()
            || parameter.split_once('=').is_none_or(|(name, charset)| {
                !name.trim().eq_ignore_ascii_case("charset")
                    || charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
    })
}

/// Parses JSON bytes; an invalid value is reported with a pointer to it.
///
/// # Errors
/// [`Rejection::MalformedJson`] or [`Rejection::Invalid`].
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Rejection> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(error.path());
        rejection(pointer, &error.into_inner())
    })?;
    json.end().map_err(|error| rejection(String::new(), &error))?;
    Ok(value)
}

fn rejection(pointer: String, error: &serde_json::Error) -> Rejection {
    let text = error.to_string();
    // The position stands at the end of the text of serde_json's errors; a pointer serves callers better.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    match error.classify() {
        serde_json::error::Category::Data => Rejection::field(pointer + &named_field(message), message),
        _ => Rejection::MalformedJson(text),
    }
}

/// serde stops at the object where a field is missing or stands twice, and names the field in its text only.
fn named_field(message: &str) -> String {
    ["missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.strip_suffix('`'))
        .map(|field| format!("/{field}"))
        .unwrap_or_default()
}

/// A JSON pointer (RFC 6901) to where serde stopped.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// The query parameters, parsed into a type that refuses unknown ones. Each may be given once.
///
/// # Errors
/// [`Rejection::Invalid`] with the pointer `query/name`.
pub fn query<T: DeserializeOwned>(request: &Request) -> Result<T, Rejection> {
    let Some(map) = request.query_string_parameters_ref() else { return parse_query(&QueryMap::default()) };
    parse_query(map)
}

fn parse_query<T: DeserializeOwned>(map: &QueryMap) -> Result<T, Rejection> {
    // As JSON strings: serde's own string deserializers refuse an `Option`.
    let mut values = serde_json::Map::new();
    for (name, value) in map.iter() {
        if values.insert(name.to_owned(), value.into()).is_some() {
            return Err(Rejection::field(format!("query/{name}"), "given more than once"));
        }
    }
    serde_path_to_error::deserialize(serde_json::Value::Object(values)).map_err(|error| {
        let name = error.path().iter().next().map(ToString::to_string).unwrap_or_default();
        Rejection::field(format!("query/{name}"), error.into_inner().to_string())
    })
}

/// The longest that a caller may ask to be kept waiting, in seconds; API Gateway gives up after 29.
pub const WAIT_MAX_SECONDS: u64 = 20;

/// The seconds of `Prefer: wait=N` (RFC 7240), at most [`WAIT_MAX_SECONDS`]. A preference that makes no sense
/// is ignored, as the RFC has it.
#[must_use]
pub fn preferred_wait(request: &Request) -> Option<u64> {
    let preferences = request.headers().get_all("prefer").iter();
    let mut parts = preferences.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    let wait = parts.find_map(|part| {
        // One that is no text is not ours; the others count.
        let (name, value) = std::str::from_utf8(part).ok()?.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    let digits = !wait.is_empty() && wait.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| wait.parse().unwrap_or(u64::MAX).min(WAIT_MAX_SECONDS))
}

/// A path parameter as the gateway decoded it; empty when the route has none of that name.
#[must_use]
pub fn path<'a>(request: &'a Request, name: &str) -> &'a str {
    request.extensions().get::<PathParameters>().and_then(|parameters| parameters.get(name)).unwrap_or_default()
}

/// A path parameter that is no id of the wanted kind: there is nothing of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id")]
pub struct NotAnId;

/// The id in a path parameter.
///
/// # Errors
/// [`NotAnId`].
pub fn id<T: FromStr>(request: &Request, name: &str) -> Result<T, NotAnId> {
    path(request, name).parse().map_err(|_| NotAnId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::HeaderValue;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        list: Vec<u8>,
    }

    fn request(kind: Option<&str>, body: impl Into<Body>) -> Request {
        let mut request = Request::new(body.into());
        if let Some(kind) = kind {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(kind).expect("valid"));
        }
        request
    }

    fn parsed(body: impl Into<Body>) -> Result<Sample, Rejection> {
        json(&request(Some("application/json"), body))
    }

    #[test]
    fn content_type_must_be_json_in_utf_8() {
        for kind in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert!(json::<Sample>(&request(Some(kind), r#"{"name":"a"}"#)).is_ok(), "{kind}");
        }
        for kind in [None, Some("text/plain"), Some("application/json; charset=latin-1"), Some("multipart/form-data")] {
            assert_eq!(json::<Sample>(&request(kind, r#"{"name":"a"}"#)), Err(Rejection::NotJson), "{kind:?}");
        }
    }

    #[test]
    fn broken_syntax_is_malformed() {
        let nested = "[".repeat(10_000);
        for body in ["", "{", "{\"name\":", "{} x", "\u{feff}{}", nested.as_str(), r#"{"name":"\ud800"}"#] {
            assert!(matches!(parsed(body), Err(Rejection::MalformedJson(_) | Rejection::Invalid(_))), "{body:.20}");
        }
        assert!(matches!(parsed(vec![b'{', 0xff, b'}']), Err(Rejection::MalformedJson(_))));
        assert!(matches!(parsed(r#"{"name":"\ud800"}"#), Err(Rejection::MalformedJson(_))));
    }

    #[test]
    fn wrong_values_are_pointed_at() {
        let at = |body: &str| match parsed(body) {
            Err(Rejection::Invalid(errors)) => errors[0].pointer.clone(),
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(at(r#"{"name":1}"#), "/name");
        assert_eq!(at(r#"{"name":"a","list":[1,300]}"#), "/list/1");
        assert_eq!(at(r#"{"name":"a","x~/y":1}"#), "/x~0~1y");
        assert_eq!(at(r#"{"name":"a","name":"b"}"#), "/name");
        assert_eq!(at("{}"), "/name");
        assert_eq!(at("[]"), "");
    }

    #[test]
    fn bodies_have_a_bound() {
        assert_eq!(parsed(" ".repeat(MAX_BODY_BYTES + 1)), Err(Rejection::TooLarge));
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        provider: Option<String>,
    }

    #[test]
    fn query_parameters_are_known_and_single() {
        let asking = |query: &str| {
            let map: QueryMap = query.parse().expect("a query");
            self::query::<Filter>(&Request::new(Body::Empty).with_query_string_parameters(map))
        };
        assert_eq!(asking("provider=x").expect("valid"), Filter { provider: Some("x".into()) });
        assert_eq!(asking("").expect("valid"), Filter { provider: None });
        for query in ["provider=x&provider=y", "other=1"] {
            let Err(Rejection::Invalid(errors)) = asking(query) else { panic!("{query}") };
            assert!(errors[0].pointer.starts_with("query/"), "{errors:?}");
        }
    }

    #[test]
    fn a_preferred_wait_is_bounded_and_nonsense_ignored() {
        let of = |prefer: &str| {
            let mut request = Request::new(Body::Empty);
            request.headers_mut().insert("prefer", HeaderValue::from_bytes(prefer.as_bytes()).expect("valid"));
            preferred_wait(&request)
        };
        for (prefer, wait) in
            [("wait=5", 5), ("é, wait=6", 6), ("respond-async, Wait = \"7\"", 7), ("wait=99999999999999999999", 20)]
        {
            assert_eq!(of(prefer), Some(wait), "{prefer}");
        }
        for prefer in ["wait", "wait=", "wait=-1", "wait=x", "await=3"] {
            assert_eq!(of(prefer), None, "{prefer}");
        }
    }
}
