//! Bodies: JSON objects, read in one way by every endpoint.

use super::fields::FieldErrors;
use super::json::Json;
use super::{Rejection, untagged};
use deserr::Deserr;
use lambda_http::http::Method;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request};
use std::borrow::Cow;

/// The largest body that is read, in bytes: a batch of 100 items with names of 200 and descriptions of 4,000 characters, each of
/// twelve bytes (`\ud83d\ude00`), has 5,043,000. Lambda takes events of 6,291,556 bytes, in which the body is a JSON text: there
/// such a character has fourteen, and the batch 5,885,000. API Gateway takes 10 MB.
pub(super) const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;

/// The JSON body, parsed into a type whose fields check themselves.
///
/// # Errors
/// [`Rejection`]: not JSON by type or by syntax, too large, or values the type refuses.
pub fn json<T: Deserr<FieldErrors>>(request: &Request) -> Result<T, Rejection> {
    if MediaType::of(request) != Some(MediaType::Json) {
        return Err(Rejection::NotJson);
    }
    let parsed = parse(bytes(request)?)?;
    // What is sent there makes something, or begins it: nothing of it has a tag yet.
    if request.method() == Method::POST {
        untagged(request)?;
    }
    Ok(parsed)
}

/// The body of a request that sends plain text in UTF-8; `None` for any other.
///
/// # Errors
/// [`Rejection::TooLarge`], or [`Rejection::Invalid`] for what is no UTF-8.
pub fn text(request: &Request) -> Result<Option<&str>, Rejection> {
    if MediaType::of(request) != Some(MediaType::Text) {
        return Ok(None);
    }
    std::str::from_utf8(bytes(request)?).map(Some).map_err(|_| Rejection::field("", "must be UTF-8"))
}

/// Checks that a request to change something has no body, for what takes none. `{}` and `null`, which clients send in its place,
/// say nothing either.
///
/// # Errors
/// [`Rejection::TooLarge`], or [`Rejection::Invalid`] for any other body.
pub fn no_body(request: &Request) -> Result<(), Rejection> {
    let says_nothing = match bytes(request)?.trim_ascii() {
        b"" | b"null" => true,
        [b'{', inner @ .., b'}'] => inner.trim_ascii().is_empty(),
        _ => false,
    };
    if says_nothing { Ok(()) } else { Err(Rejection::field("", "must be empty: no body is taken here")) }
}

/// Parses JSON bytes. What a type refuses is reported with a pointer to it, and all of it at once.
///
/// # Errors
/// [`Rejection::MalformedJson`] for what is no JSON, a repeated name included, or [`Rejection::Invalid`], also for more values than
/// are looked at.
pub fn parse<T: Deserr<FieldErrors>>(bytes: &[u8]) -> Result<T, Rejection> {
    let json = Json::parse(bytes)?;
    let too_deep = json.is_too_deep();
    let parsed = deserr::deserialize(json).map_err(|errors: FieldErrors| Rejection::Invalid(errors.into_vec()))?;
    if too_deep { Err(Rejection::field("", "is nested too deeply")) } else { Ok(parsed) }
}

/// The value of one field of a JSON body, by its pointer, whatever is wrong with the others; `None` if it is not there or not of its type.
/// For a check that needs more than the body, of which an error beside it would say nothing.
#[must_use]
pub fn field<T: Deserr<FieldErrors>>(request: &Request, pointer: &str) -> Option<T> {
    let mut value = match MediaType::of(request) {
        Some(MediaType::Json) => Json::parse(bytes(request).ok()?).ok()?,
        _ => return None,
    };
    for name in pointer.split('/').skip(1) {
        let Json::Object(mut members) = value else { return None };
        value = members.0.remove(name)?;
    }
    deserr::deserialize::<_, _, FieldErrors>(value).ok()
}

/// What two bodies are compared by.
pub(crate) struct Fingerprinted<'a> {
    /// The body, and in front of it its type of content where that is not JSON.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Its canonical JSON.
    pub(crate) canonical: Option<String>,
}

/// The body as it is compared with another one.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn fingerprinted(request: &Request) -> Result<Fingerprinted<'_>, Rejection> {
    let bytes = bytes(request)?;
    Ok(match MediaType::of(request) {
        Some(MediaType::Text) => Fingerprinted { bytes: [b"text/plain\0", bytes].concat().into(), canonical: None },
        _ => {
            Fingerprinted { bytes: bytes.into(), canonical: Json::parse(bytes).ok().and_then(|json| json.canonical()) }
        }
    })
}

/// The body's bytes, within [`MAX_BODY_BYTES`] and without a byte order mark, which RFC 8259 (8.1) lets us ignore.
fn bytes(request: &Request) -> Result<&[u8], Rejection> {
    let bytes = match request.body() {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        _ => &[],
    };
    if bytes.len() > MAX_BODY_BYTES {
        return Err(Rejection::TooLarge);
    }
    Ok(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes))
}

/// What a body is, by its `Content-Type`. Only UTF-8 is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MediaType {
    Json,
    Text,
}

impl MediaType {
    fn of(request: &Request) -> Option<Self> {
        let mut values = request.headers().get_all(CONTENT_TYPE).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let value = value.to_str().ok()?.to_ascii_lowercase();
        let mut parts = value.split(';').map(str::trim);
        let kind = match parts.next()? {
            "application/json" => Self::Json,
            // A list of changes (RFC 6902), not the object that is changed.
            "application/json-patch+json" => return None,
            // RFC 7396: what a PATCH here is anyway.
            "application/merge-patch+json" if request.method() != Method::PATCH => return None,
            kind if kind.strip_prefix("application/").is_some_and(|kind| kind.ends_with("+json")) => Self::Json,
            "text/plain" => Self::Text,
            _ => return None,
        };
        let is_utf_8 = |parameter: &str| match parameter.split_once('=') {
            Some((name, charset)) if name.trim() == "charset" => {
                matches!(charset.trim().trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
            }
            _ => true,
        };
        parts.all(is_utf_8).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::HeaderValue;

    #[derive(Debug, Deserr, PartialEq)]
    #[deserr(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[deserr(default)]
        list: Vec<u8>,
        #[deserr(default)]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserr, PartialEq)]
    #[deserr(rename_all = lowercase)]
    enum Kind {
        One,
        Two,
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
        let sent = |method: Method, kind: Option<&str>| {
            let mut request = request(kind, r#"{"name":"a"}"#);
            *request.method_mut() = method;
            json::<Sample>(&request)
        };
        for kind in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/vnd.api+json",
        ] {
            assert!(sent(Method::POST, Some(kind)).is_ok(), "{kind}");
        }
        let merge = Some("application/merge-patch+json");
        assert!(sent(Method::PATCH, merge).is_ok());
        assert_eq!(sent(Method::PUT, merge), Err(Rejection::NotJson));
        for kind in [
            None,
            Some("text/plain"),
            Some("application/json; charset=latin-1"),
            Some("multipart/form-data"),
            Some("image/svg+json"),
            Some("application/json-patch+json"),
        ] {
            assert_eq!(sent(Method::PATCH, kind), Err(Rejection::NotJson), "{kind:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored_in_front_only() {
        assert!(parsed("\u{feff}{\"name\":\"a\"}").is_ok());
        for body in ["\u{feff}\u{feff}{\"name\":\"a\"}", "{\"name\":\u{feff}\"a\"}"] {
            assert!(matches!(parsed(body), Err(Rejection::MalformedJson(_))), "{body}");
        }
    }

    #[test]
    fn plain_text_is_the_body() {
        let sent = |kind, body: &[u8]| text(&request(Some(kind), body.to_vec())).map(|text| text.map(str::to_owned));
        assert_eq!(sent("text/plain", "\u{feff}a\t\"é\"\n".as_bytes()), Ok(Some("a\t\"é\"\n".to_owned())));
        assert_eq!(sent("text/plain; charset=utf8", b"a"), Ok(Some("a".to_owned())));
        assert_eq!((sent("text/plain; charset=latin-1", b"a"), sent("application/json", b"a")), (Ok(None), Ok(None)));
        assert!(matches!(sent("text/plain", b"\xff"), Err(Rejection::Invalid(_))));
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let unended = "[".repeat(10_000);
        for body in
            ["", "{", "{\"name\":", "{} x", unended.as_str(), r#"{"name":"\ud800"}"#, r#"{"name":"a","name":"b"}"#]
        {
            assert!(matches!(parsed(body), Err(Rejection::MalformedJson(_))), "{body:.20}");
        }
        assert!(matches!(parsed(vec![b'{', 0xff, b'}']), Err(Rejection::MalformedJson(_))));
        assert!(matches!(parsed(b"{\"name\":\"\xff\"}".to_vec()), Err(Rejection::MalformedJson(_))));
    }

    /// Pointers and messages of what is wrong.
    fn wrong(body: &str) -> Vec<(String, String)> {
        match parsed(body) {
            Err(Rejection::Invalid(errors)) => errors.into_iter().map(|error| (error.pointer, error.message)).collect(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn wrong_values_are_pointed_at() {
        let deep = format!(r#"{{"name":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        for (body, pointer, message) in [
            (r#"{"name":1}"#, "/name", "must be a string"),
            (r#"{"name":null}"#, "/name", "must be a string"),
            (r#"{"name":1e400}"#, "/name", "must be a string"),
            (deep.as_str(), "/name", "must be a string"),
            (r#"{"name":"a","list":[1,"x"]}"#, "/list/1", "must be a whole number"),
            (r#"{"name":"a","list":{}}"#, "/list", "must be a list"),
            (r#"{"name":"a","kind":"three"}"#, "/kind", "must be one of: one, two"),
            (r#"{"name":"a","kind":{"one":null}}"#, "/kind", "must be a string"),
            (r#"{"name":"a","kind":["one"]}"#, "/kind", "must be a string"),
            (r#"{"name":"a","x~/y":1}"#, "/x~0~1y", "is not known here; known are: name, list, kind"),
            ("{}", "/name", "is required"),
            ("[]", "", "must be an object"),
            (r#"["a",[1]]"#, "", "must be an object"),
            ("null", "", "must be an object"),
            ("5", "", "must be an object"),
        ] {
            assert_eq!(wrong(body), [(pointer.to_owned(), message.to_owned())], "{body:.40}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once_within_a_bound() {
        let pointers: Vec<_> =
            wrong(r#"{"kind":5,"x":1,"list":[-1,2,null]}"#).into_iter().map(|error| error.0).collect();
        assert_eq!(pointers, ["/kind", "/list/0", "/list/2", "/x", "/name"]);
        let many = format!(r#"{{"list":[{}]}}"#, vec!["null"; 40_000].join(","));
        assert_eq!(wrong(&many).len(), 100);
        let long = format!(r#"{{"name":"a","{}":1}}"#, "x".repeat(1_000_000));
        assert!(wrong(&long)[0].0.is_empty(), "a name of a megabyte is not repeated");
    }

    #[test]
    fn a_field_is_read_whatever_is_wrong_beside_it() {
        let body = r#"{"name":1,"list":[1,2],"kind":{"of":"one"},"x":null}"#;
        let at = |pointer: &str| field::<Kind>(&request(Some("application/json"), body), pointer);
        assert_eq!((at("/kind/of"), at("/kind"), at("/name"), at("/kind/of/it")), (Some(Kind::One), None, None, None));
        assert_eq!(field::<Vec<u8>>(&request(Some("application/json"), body), "/list"), Some(vec![1, 2]));
        assert_eq!(field::<Kind>(&request(Some("text/plain"), body), "/kind/of"), None);
        assert_eq!(field::<Kind>(&request(Some("application/json"), "{"), "/kind"), None);
    }

    #[test]
    fn no_body_is_none_that_says_something() {
        let of = |kind: Option<&str>, body: &str| no_body(&request(kind, body));
        for body in ["", " \r\n", "{}", " {}\n", "{ }", "{\n}", "null", "\u{feff}{}"] {
            assert_eq!(of(Some("application/json"), body), Ok(()), "{body:?}");
        }
        assert_eq!((no_body(&Request::new(Body::Empty)), of(None, "{}")), (Ok(()), Ok(())));
        for body in ["[]", r#"{"x":1}"#, "{", "0", "\"\"", "x"] {
            for kind in [None, Some("application/json"), Some("text/plain")] {
                assert!(matches!(of(kind, body), Err(Rejection::Invalid(_))), "{body:?}");
            }
        }
        assert_eq!(of(None, &" ".repeat(MAX_BODY_BYTES + 1)), Err(Rejection::TooLarge));
    }

    #[test]
    fn bodies_have_a_bound() {
        assert_eq!(parsed(" ".repeat(MAX_BODY_BYTES + 1)), Err(Rejection::TooLarge));
    }
}
