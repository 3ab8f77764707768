//! REST API proxy events to requests and back. `lambda_http`'s own conversion is not used: it lets the
//! single-value header map override the multi-value one (so a second `Authorization` goes unseen), parses
//! each event twice, and panics on a path that is no URI. Only what a request carries is read, straight
//! into its place; the rest of an event (about half of it) is skipped over.

use crate::response::Reply;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use lambda_http::{Body, Request, RequestExt as _};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The gateway's id of a request, as an extension of it.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

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
        let request_id = event.request_context.request_id;
        Ok(Self {
            method: Method::from_bytes(event.http_method.as_bytes()).map_err(serde_json::Error::custom)?,
            path: event.path.unwrap_or_default(),
            headers: headers.0,
            query,
            path_parameters: event.path_parameters.unwrap_or_default(),
            request_id: request_id.and_then(|id| HeaderValue::from_str(&id).ok()),
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

/// Headers from a map of names to a value or to a list of values. What is no header is left out: no caller
/// can send it, and no handler reads it.
#[derive(Default)]
struct Headers(HeaderMap);

/// How many headers there is room for before the map grows.
const HEADERS: usize = 24;

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = HeaderMap::with_capacity(HEADERS);
                while let Some(name) = map.next_key_seed(Name)? {
                    map.next_value_seed(Values { name, headers: &mut headers })?;
                }
                Ok(Headers(headers))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

/// Reads a header's name; `None` is none.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<HeaderName>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<HeaderName>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(HeaderName::from_bytes(name.as_bytes()).ok())
    }
}

/// Reads a header's value.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<HeaderValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = Option<HeaderValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(HeaderValue::from_str(value).ok())
    }
}

/// Reads what one name has, a value or a list of them, into the map.
struct Values<'a> {
    name: Option<HeaderName>,
    headers: &'a mut HeaderMap,
}

impl Values<'_> {
    fn add(self, value: Option<HeaderValue>) {
        if let (Some(name), Some(value)) = (self.name, value) {
            self.headers.append(name, value);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's value or a list of values")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.add(HeaderValue::from_str(value).ok());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        // Nearly always there is one, which the name goes with; another needs a copy of it.
        let mut last = None;
        while let Some(value) = values.next_element_seed(Text)? {
            let Some(value) = value else { continue };
            if let (Some(name), Some(before)) = (&self.name, last.replace(value)) {
                self.headers.append(name, before);
            }
        }
        self.add(last);
        Ok(())
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
        serializer.collect_seq(self.0.iter().filter_map(|value| value.to_str().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::StatusCode;
    use serde_json::json;

    fn request(event: &serde_json::Value) -> Request {
        let Incoming(request) = serde_json::from_str(&event.to_string()).expect("a REST API event");
        request
    }

    #[test]
    fn every_value_of_a_header_is_seen() {
        let request = request(&json!({
            "httpMethod": "GET", "path": "/me",
            "headers": {"Authorization": "b"},
            "multiValueHeaders": {"Authorization": ["a", "b"]},
            "requestContext": {"requestId": "r"}
        }));
        assert_eq!(request.headers().get_all("authorization").iter().count(), 2);
        assert_eq!(request.extensions().get::<RequestId>().expect("an id").0, "r");
    }

    #[test]
    fn single_values_serve_where_lists_are_missing() {
        let request = request(&json!({
            "httpMethod": "GET", "path": "/items", "headers": {"Accept": "a\"b"}, "multiValueHeaders": null,
            "queryStringParameters": {"limit": "5"}, "requestContext": {}
        }));
        assert_eq!(request.headers()["accept"], "a\"b");
        assert_eq!(request.query_string_parameters().first("limit"), Some("5"));
    }

    #[test]
    fn a_path_that_is_no_uri_is_no_panic() {
        let request = request(&json!({
            "httpMethod": "GET", "path": "/users/a b\u{0}<>", "pathParameters": {"user_id": "a b"},
            "requestContext": {}
        }));
        assert_eq!(crate::request::path(&request, "user_id"), "a b");
    }

    #[test]
    fn bodies_may_be_base64() {
        for (body, flag, bytes) in [("eA==", true, b"x".as_slice()), ("x", false, b"x"), ("%", true, b"%")] {
            let request = request(&json!({
                "httpMethod": "POST", "path": "/", "body": body, "isBase64Encoded": flag, "requestContext": {}
            }));
            assert_eq!(crate::request::body_bytes(&request).expect("small"), bytes);
        }
    }

    /// The events that the project's tools send: nothing that a handler reads is lost.
    #[test]
    fn the_projects_events_are_read_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the project's events") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("an event");
            let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            if event["httpMethod"].is_null() {
                continue;
            }
            let request = request(&event);
            assert_eq!(event["httpMethod"], request.method().as_str());
            assert_eq!(event["path"], request.uri().path());
            for (name, value) in event["headers"].as_object().into_iter().flatten() {
                assert_eq!(request.headers()[name.as_str()], value.as_str().expect("text"), "{name}");
            }
            for (name, value) in event["pathParameters"].as_object().into_iter().flatten() {
                assert_eq!(crate::request::path(&request, name), value.as_str().expect("text"), "{name}");
            }
            for (name, value) in event["queryStringParameters"].as_object().into_iter().flatten() {
                assert_eq!(request.query_string_parameters().first(name), value.as_str(), "{name}");
            }
            let body = event["body"].as_str().unwrap_or_default();
            assert_eq!(crate::request::body_bytes(&request).expect("small"), body.as_bytes());
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn repeated_headers_keep_their_order_and_what_is_no_header_is_left_out() {
        let request = request(&json!({
            "httpMethod": "GET", "path": "/", "requestContext": {},
            "multiValueHeaders": {"X-Many": ["1", "2", "a\nb", "3"], "X-None": [], "X-Null": null, "no name": ["x"]}
        }));
        let many: Vec<_> = request.headers().get_all("x-many").iter().collect();
        assert_eq!(many, ["1", "2", "3"]);
        assert_eq!(request.headers().len(), 3);
    }

    #[test]
    fn replies_are_proxy_responses() {
        let mut reply = Reply::new(Body::Text("{}".into()));
        *reply.status_mut() = StatusCode::CREATED;
        reply.headers_mut().append("set-cookie", HeaderValue::from_static("a=1"));
        reply.headers_mut().append("set-cookie", HeaderValue::from_static("b=2"));
        assert_eq!(
            serde_json::to_value(Outgoing(reply)).expect("JSON"),
            json!({"statusCode": 201, "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]}, "isBase64Encoded": false,
                "body": "{}"})
        );
        let empty = serde_json::to_value(Outgoing(Reply::new(Body::Empty))).expect("JSON");
        assert!(empty.get("body").is_none());
    }
}
