//! Reading a request strictly: bodies, query parameters, path parameters.

mod body;
mod fields;
mod json;

pub(crate) use body::fingerprinted;
pub use body::{field, json, no_body, parse, text};
pub use fields::{FieldErrors, REQUIRED, member, members, optional};

use crate::etag::Conditions;
use crate::response::FieldError;
use crate::runtime::event::PathParameters;
use deserr::{Deserr, ValuePointerRef};
use json::{Json, Members};
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::{Request, RequestExt as _};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Why a request was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("The body is not valid JSON: {0}.")]
    MalformedJson(String),
    #[error("The body must be JSON: send Content-Type: application/json.")]
    NotJson,
    #[error("The body is larger than {} bytes.", body::MAX_BODY_BYTES)]
    TooLarge,
    #[error("The resource is not as If-Match or If-None-Match demands.")]
    PreconditionFailed,
    #[error("The request has invalid values.")]
    Invalid(Vec<FieldError>),
}

/// Checks the conditions of a request to change what has no entity tag: whoever names one gets no write without it.
///
/// # Errors
/// [`Rejection::PreconditionFailed`].
pub fn untagged(request: &Request) -> Result<(), Rejection> {
    if Conditions::of(request.headers()).allow_untagged() { Ok(()) } else { Err(Rejection::PreconditionFailed) }
}

impl Rejection {
    /// One invalid value.
    #[must_use]
    pub fn field(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), message: message.into() }])
    }

    /// The invalid values of both, at most 100; where one is no list of those, the first.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Invalid(mut errors), Self::Invalid(more)) => {
                errors.extend(more);
                errors.truncate(fields::MOST);
                Self::Invalid(errors)
            }
            (first, _) => first,
        }
    }

    /// With what is wrong beside it, if anything is.
    #[must_use]
    pub fn beside<T>(self, other: Result<T, Self>) -> Self {
        match other {
            Ok(_) => self,
            Err(other) => self.and(other),
        }
    }
}

/// The query parameters, parsed into a type that refuses unknown ones. Each may be given once.
///
/// # Errors
/// [`Rejection::Invalid`] with the pointer `query/name` of each that is wrong.
pub fn query<T: Deserr<FieldErrors>>(request: &Request) -> Result<T, Rejection> {
    let Some(map) = request.query_string_parameters_ref() else { return parse_query(&QueryMap::default()) };
    parse_query(map)
}

/// The value of one query parameter, if it is given once, whatever is wrong with the others.
#[must_use]
pub fn parameter<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let values = request.query_string_parameters_ref()?.all(name)?;
    if let [value] = values[..] { Some(value) } else { None }
}

fn parse_query<T: Deserr<FieldErrors>>(map: &QueryMap) -> Result<T, Rejection> {
    let (mut values, mut errors) = (Members::default(), FieldErrors::default());
    for (name, value) in map.iter() {
        if values.0.insert(name.to_owned(), Json::Text(value.to_owned())).is_some() {
            let error = FieldErrors::at(ValuePointerRef::Origin.push_key(name), "is given more than once");
            errors.note::<()>(Err(error));
        }
    }
    let parsed = errors.note(deserr::deserialize(Json::Object(values)));
    errors.unless_noted(parsed).map_err(|errors| {
        let mut told = BTreeSet::new();
        let errors = errors.into_vec().into_iter().filter(|error| told.insert(error.pointer.clone()));
        Rejection::Invalid(
            errors.map(|error| FieldError { pointer: format!("query{}", error.pointer), ..error }).collect(),
        )
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

/// A path parameter, decoded; empty when the route has none of that name.
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
    use lambda_http::Body;
    use lambda_http::http::HeaderValue;

    #[derive(Debug, Deserr, PartialEq)]
    #[deserr(deny_unknown_fields)]
    struct Filter {
        #[deserr(default)]
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
        let Err(Rejection::Invalid(errors)) = asking("other=1&provider=x&provider=y&provider=z&more=1&more=2") else {
            panic!("taken")
        };
        let mut pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["query/more", "query/other", "query/provider"]);
    }

    #[test]
    fn invalid_values_are_told_together() {
        let (one, other) = (Rejection::field("/a", "wrong"), Rejection::field("/b", "wrong"));
        let Rejection::Invalid(both) = one.clone().and(other) else { panic!("values") };
        assert_eq!(both.iter().map(|error| error.pointer.as_str()).collect::<Vec<_>>(), ["/a", "/b"]);
        assert_eq!(Rejection::NotJson.and(one.clone()), Rejection::NotJson);
        assert_eq!(one.clone().and(Rejection::TooLarge), one);
        assert_eq!(one.clone().beside(Ok(1)), one);
        assert_eq!(one.clone().beside::<()>(Err(Rejection::field("/b", "wrong"))), Rejection::Invalid(both));
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
