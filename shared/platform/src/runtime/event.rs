//! REST API proxy events to requests and back. `lambda_http`'s own conversion is not used: it lets the
//! single-value header map override the multi-value one (so a second `Authorization` goes unseen), parses
//! each event twice, and panics on a path that is no URI. Only what a request carries is read, straight
//! into its place; the rest of an event (about half of it) is skipped over.

mod headers;

use crate::response::Reply;
use headers::Headers;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::{HeaderMap, HeaderValue, Method, Uri, header};
use lambda_http::{Body, Request, RequestExt as _};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// The gateway's id of a request, as an extension of it.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

/// The address that a request came from, as the gateway saw it (`identity.sourceIp`), as an extension of it. Never a header's.
#[derive(Clone, Copy, Debug)]
pub struct SourceIp(pub IpAddr);

/// The values of a route's parameters, decoded, as an extension of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathParameters(pub Vec<(String, String)>);

impl PathParameters {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request as Lambda's Runtime API hands it over.
pub struct Incoming(pub Request);

/// A reply as Lambda's Runtime API takes it.
pub struct Outgoing(pub Reply);

/// What a handler's request is made of.
#[derive(Default)]
pub struct Parts {
    pub method: Method,
    /// As the caller sent it.
    pub path: String,
    pub headers: HeaderMap,
    pub query: QueryMap,
    pub path_parameters: PathParameters,
    /// The gateway's id of the request.
    pub request_id: Option<HeaderValue>,
    /// The address that it came from.
    pub source_ip: Option<IpAddr>,
    pub body: Body,
}

/// The event, as far as it is read. Of headers and parameters the multi-value maps are read, and the
/// others only where those are missing (as in the console's test events).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    http_method: Cow<'a, str>,
    path: Option<String>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    multi_value_headers: Option<Headers>,
    #[serde(borrow)]
    query_string_parameters: Option<&'a RawValue>,
    multi_value_query_string_parameters: Option<QueryMap>,
    path_parameters: Option<PathParameters>,
    #[serde(borrow)]
    request_context: Context<'a>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    identity: Option<Identity<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(borrow)]
    source_ip: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Incoming {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The runtime's deserializer notes the path to each value; ours need not.
        let text = <&RawValue>::deserialize(deserializer)?;
        let event: Event<'_> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Parts::try_from(event).map(|parts| Self(parts.into_request())).map_err(D::Error::custom)
    }
}

impl TryFrom<Event<'_>> for Parts {
    type Error = serde_json::Error;

    fn try_from(event: Event<'_>) -> Result<Self, serde_json::Error> {
        let headers = match (event.multi_value_headers, event.headers) {
            (Some(headers), _) => headers,
            (None, Some(single)) => serde_json::from_str(single.get())?,
            (None, None) => Headers::default(),
        };
        let query = match (event.multi_value_query_string_parameters, event.query_string_parameters) {
            (Some(query), _) => query,
            (None, Some(single)) => serde_json::from_str(single.get())?,
            (None, None) => QueryMap::default(),
        };
        let Context { request_id, identity } = event.request_context;
        let source_ip = identity.and_then(|identity| identity.source_ip?.parse().ok());
        Ok(Self {
            method: Method::from_bytes(event.http_method.as_bytes()).map_err(serde_json::Error::custom)?,
            path: event.path.unwrap_or_default(),
            headers: headers.0,
            query,
            path_parameters: event.path_parameters.unwrap_or_default(),
            request_id: request_id.and_then(|id| HeaderValue::from_str(&id).ok()),
            source_ip,
            body: event.body.map_or(Body::Empty, |text| decoded(event.is_base64_encoded, text)),
        })
    }
}

impl Parts {
    /// The request that handlers get.
    #[must_use]
    pub fn into_request(self) -> Request {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        // Routing is the gateway's; the path only tells apart the routes of one function.
        *request.uri_mut() = Uri::try_from(self.path).unwrap_or_default();
        *request.headers_mut() = self.headers;
        if let Some(id) = self.request_id {
            request.extensions_mut().insert(RequestId(id));
        }
        if let Some(address) = self.source_ip {
            request.extensions_mut().insert(SourceIp(address));
        }
        if !self.path_parameters.0.is_empty() {
            request.extensions_mut().insert(self.path_parameters);
        }
        if !self.query.is_empty() {
            request = request.with_query_string_parameters(self.query);
        }
        request
    }
}

/// A body flagged as base64 that is none stays what it was: the handler refuses it as malformed.
fn decoded(is_base64: bool, text: String) -> Body {
    use base64::Engine as _;
    if !is_base64 {
        return Body::Text(text);
    }
    base64::engine::general_purpose::STANDARD.decode(&text).map_or(Body::Text(text), Body::Binary)
}

impl<'de> Deserialize<'de> for PathParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = PathParameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of path parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PathParameters, A::Error> {
                let mut parameters = Vec::with_capacity(2);
                while let Some(parameter) = map.next_entry()? {
                    parameters.push(parameter);
                }
                Ok(PathParameters(parameters))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

impl Serialize for Outgoing {
    /// The proxy response. Headers go into the multi-value map only: API Gateway merges both.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = self.0.body();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("statusCode", &self.0.status().as_u16())?;
        map.serialize_entry("multiValueHeaders", &HeaderLists(self.0.headers()))?;
        map.serialize_entry("isBase64Encoded", &matches!(body, Body::Binary(_)))?;
        if !matches!(body, Body::Empty) {
            map.serialize_entry("body", body)?;
        }
        map.end()
    }
}

struct HeaderLists<'a>(&'a HeaderMap);

impl Serialize for HeaderLists<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name.as_str(), Texts(self.0.get_all(name)))))
    }
}

struct Texts<'a>(header::GetAll<'a, HeaderValue>);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()))
    }
}

#[cfg(test)]
mod tests;
