//! REST API proxy events to requests and back. `lambda_http`'s own conversion is not used: it lets the
//! single-value header map override the multi-value one (so a second `Authorization` goes unseen), parses
//! each event twice, and panics on a path that is no URI. Only what a request carries is read, straight
//! into its place; the rest of an event (about half of it) is skipped over.
//!
//! Whatever is invoked with a test event, a warm-up or another service's event gets one too: see [`Event`].

mod headers;
mod pairs;
mod records;
mod values;

use crate::percent;
use crate::response::{Problem, Reply};
use headers::Headers;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use lambda_http::{Body, Request, RequestExt as _};
use pairs::Pairs;
pub use records::{NoRecords, readable, records};
use serde::de::IgnoredAny;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

/// What a function is invoked with. Any JSON becomes one: what cannot be read is for the function to refuse in its own words. An
/// event that only fails to parse is a failed invocation: a caller gets the gateway's `502`, a whole batch of messages comes again,
/// and the log says nothing of which part was wrong.
pub trait Event: Send + Sized + 'static {
    /// Reads an event's JSON text.
    fn read(json: &str) -> Self;
}

/// An event as the Runtime API's client deserializes it.
pub(super) struct Payload<E>(pub(super) E);

impl<'de, E: Event> Deserialize<'de> for Payload<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The client's deserializer notes the path to each value; ours need not.
        <&RawValue>::deserialize(deserializer).map(|json| Self(E::read(json.get())))
    }
}

/// Reads a JSON object; `None` if it is none, or lacks or has otherwise what `T` needs. (A derived struct alone would also take an
/// array of its fields' values.)
#[must_use]
pub fn object<'de, T: Deserialize<'de>>(json: &'de str) -> Option<T> {
    let is_object = json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    is_object.then(|| serde_json::from_str(json).ok()).flatten()
}

/// The gateway's id of a request, as an extension of it.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

/// The address that a request came from, as the gateway saw it (`identity.sourceIp`), as an extension of it. Never a header's.
#[derive(Clone, Copy, Debug)]
pub struct SourceIp(pub IpAddr);

/// The values of a route's parameters. As an extension of a request they are decoded, in an event they are as the caller sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathParameters(pub Vec<(String, String)>);

impl PathParameters {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A REST API hands them over percent-encoded. What encodes no text stays as it is: with its `%` it is no id.
    fn decoded(mut self) -> Self {
        for (_, value) in &mut self.0 {
            if value.contains('%')
                && let Some(text) = percent::decode(value)
            {
                *value = text;
            }
        }
        self
    }
}

/// A request as Lambda's Runtime API hands it over, or why the event is none.
pub struct Incoming(pub Result<Request, NoRequest>);

/// Why an event is not answered by a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    /// A warm-up, a schedule, a message, the console's first test event.
    #[error("it names no HTTP method")]
    NoMethod,
    /// An HTTP API's format 2.0, a function URL, a load balancer. Parameters and replies have another form there.
    #[error("it is a request of another kind than a REST API's")]
    OtherGateway,
    /// No gateway makes it so.
    #[error("a part of it is not of the form that a REST API gives it")]
    WrongForm,
}

impl NoRequest {
    /// The reply: the fault is the caller's, whoever invoked the function so.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        let detail = format!("This function answers a REST API's proxy events. This event is none: {self}.");
        Problem::new(StatusCode::BAD_REQUEST, "unsupported_event", detail).into_reply()
    }
}

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
    /// As the caller sent them.
    pub path_parameters: PathParameters,
    /// The gateway's id of the request.
    pub request_id: Option<HeaderValue>,
    /// The address that it came from.
    pub source_ip: Option<IpAddr>,
    pub body: Body,
}

/// The event, as far as it is read. Of headers and parameters the multi-value maps are read, and the
/// others only where those are missing (as in the console's test events). What has no value may be null or left out.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Proxy<'a> {
    #[serde(borrow)]
    http_method: Option<Cow<'a, str>>,
    path: Option<String>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    multi_value_headers: Option<Headers>,
    #[serde(borrow)]
    query_string_parameters: Option<&'a RawValue>,
    multi_value_query_string_parameters: Option<Pairs>,
    path_parameters: Option<Pairs>,
    #[serde(borrow)]
    request_context: Option<Context<'a>>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    identity: Option<Identity<'a>>,
    /// Only in the format 2.0.
    http: Option<IgnoredAny>,
    /// Only from a load balancer.
    elb: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(borrow)]
    source_ip: Option<Cow<'a, str>>,
}

impl Event for Incoming {
    fn read(json: &str) -> Self {
        Self(object::<Proxy<'_>>(json).ok_or(NoRequest::WrongForm).and_then(Parts::try_from).map(Parts::into_request))
    }
}

impl TryFrom<Proxy<'_>> for Parts {
    type Error = NoRequest;

    fn try_from(event: Proxy<'_>) -> Result<Self, NoRequest> {
        let context = event.request_context.unwrap_or_default();
        if context.http.is_some() || context.elb.is_some() {
            return Err(NoRequest::OtherGateway);
        }
        let method = event.http_method.ok_or(NoRequest::NoMethod)?;
        let headers = match (event.multi_value_headers, event.headers) {
            (Some(headers), _) => headers,
            (None, Some(single)) => object(single.get()).ok_or(NoRequest::WrongForm)?,
            (None, None) => Headers::default(),
        };
        let query = match (event.multi_value_query_string_parameters, event.query_string_parameters) {
            (Some(query), _) => query,
            (None, Some(single)) => object(single.get()).ok_or(NoRequest::WrongForm)?,
            (None, None) => Pairs::default(),
        };
        let source_ip = context.identity.and_then(|identity| identity.source_ip?.parse().ok());
        let mut lists: HashMap<String, Vec<String>> = HashMap::with_capacity(query.0.len());
        for (name, value) in query.0 {
            lists.entry(name).or_default().push(value);
        }
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| NoRequest::WrongForm)?,
            path: event.path.unwrap_or_default(),
            headers: headers.0,
            query: lists.into(),
            path_parameters: PathParameters(event.path_parameters.unwrap_or_default().0),
            request_id: context.request_id.and_then(|id| HeaderValue::from_str(&id).ok()),
            source_ip,
            body: event.body.map_or(Body::Empty, |text| decoded(event.is_base64_encoded == Some(true), text)),
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
            request.extensions_mut().insert(self.path_parameters.decoded());
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
