//! REST API proxy events to requests and back. `lambda_http`'s own conversion is not used: it lets the
//! single-value header map override the multi-value one (so a second `Authorization` goes unseen), parses
//! each event twice, and panics on a path that is no URI. Only what a request carries is read, straight
//! into its place; the rest of an event (about half of it) is skipped over.

use crate::response::Reply;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use lambda_http::{Body, Request, RequestExt};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The gateway's id of a request, as an extension of it.
#[derive(Clone, Debug)]
pub struct RequestId(pub HeaderValue);

/// A request as Lambda's Runtime API hands it over.
pub struct Incoming(pub Request);

/// A reply as Lambda's Runtime API takes it.
pub struct Outgoing(pub Reply);

/// What a request is made of.
struct Parts {
    method: Method,
    path: Option<String>,
    headers: HeaderMap,
    query: QueryMap,
    path_parameters: HashMap<String, String>,
    request_id: Option<HeaderValue>,
    body: Body,
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
    #[serde(borrow)]
    multi_value_headers: Option<&'a RawValue>,
    #[serde(borrow)]
    query_string_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    multi_value_query_string_parameters: Option<&'a RawValue>,
    path_parameters: Option<HashMap<String, String>>,
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
        let text = <&RawValue>::deserialize(deserializer)?;
        let event: Event<'_> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Parts::try_from(event).map(|parts| Self(parts.into_request())).map_err(D::Error::custom)
    }
}

impl TryFrom<Event<'_>> for Parts {
    type Error = serde_json::Error;

    fn try_from(event: Event<'_>) -> Result<Self, serde_json::Error> {
        let headers = event.multi_value_headers.or(event.headers);
        let query = event.multi_value_query_string_parameters.or(event.query_string_parameters);
        let request_id = event.request_context.request_id;
        Ok(Self {
            method: Method::from_bytes(event.http_method.as_bytes()).map_err(serde_json::Error::custom)?,
            path: event.path,
            headers: headers.map(|raw| serde_json::from_str::<Headers>(raw.get())).transpose()?.unwrap_or_default().0,
            query: query.map(|raw| serde_json::from_str(raw.get())).transpose()?.unwrap_or_default(),
            path_parameters: event.path_parameters.unwrap_or_default(),
            request_id: request_id.and_then(|id| HeaderValue::from_str(&id).ok()),
            body: event.body.map_or(Body::Empty, |text| decoded(event.is_base64_encoded, text)),
        })
    }
}

impl Parts {
    fn into_request(self) -> Request {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        // Routing is the gateway's; the path only tells apart the routes of one function.
        *request.uri_mut() = self.path.and_then(|path| Uri::try_from(path).ok()).unwrap_or_default();
        *request.headers_mut() = self.headers;
        if let Some(id) = self.request_id {
            request.extensions_mut().insert(RequestId(id));
        }
        if !self.query.is_empty() {
            request = request.with_query_string_parameters(self.query);
        }
        if !self.path_parameters.is_empty() {
            request = request.with_path_parameters(self.path_parameters);
        }
        request
    }
}

/// The request that a typed event carries: what [`Incoming`] makes of its JSON, without the JSON.
#[must_use]
pub fn into_request(event: ApiGatewayProxyRequest) -> Request {
    let multi = event.multi_value_query_string_parameters;
    Parts {
        method: event.http_method,
        path: event.path,
        headers: if event.multi_value_headers.is_empty() { event.headers } else { event.multi_value_headers },
        query: if multi.is_empty() { event.query_string_parameters } else { multi },
        path_parameters: event.path_parameters,
        request_id: event.request_context.request_id.and_then(|id| HeaderValue::try_from(id).ok()),
        body: event.body.map_or(Body::Empty, |text| decoded(event.is_base64_encoded, text)),
    }
    .into_request()
}

/// A body flagged as base64 that is none stays what it was: the handler refuses it as malformed.
fn decoded(is_base64: bool, text: String) -> Body {
    use base64::Engine as _;
    if !is_base64 {
        return Body::Text(text);
    }
    base64::engine::general_purpose::STANDARD.decode(&text).map_or(Body::Text(text), Body::Binary)
}

/// Headers from a map of names to a value or to a list of values. What is no header is left out: no caller
/// can send it, and no handler reads it.
#[derive(Default)]
struct Headers(HeaderMap);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values<'a> {
    #[serde(borrow)]
    One(Cow<'a, str>),
    Many(#[serde(borrow)] Vec<Cow<'a, str>>),
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = HeaderMap::with_capacity(24);
                while let Some((name, values)) = map.next_entry::<Cow<'de, str>, Values<'de>>()? {
                    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
                    let values = match values {
                        Values::One(value) => vec![value],
                        Values::Many(values) => values,
                    };
                    for value in values.iter().filter_map(|value| HeaderValue::from_str(value).ok()) {
                        headers.append(name.clone(), value);
                    }
                }
                Ok(Headers(headers))
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
        let texts = |name| self.0.get_all(name).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
        serializer.collect_map(self.0.keys().map(|name| (name.as_str(), texts(name).collect::<Vec<_>>())))
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

    /// The local system hands typed events over, Lambda JSON: handlers see the same.
    #[test]
    fn typed_events_and_their_json_give_the_same_request() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../events");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the project's events") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("an event");
            let Ok(typed) = serde_json::from_str::<ApiGatewayProxyRequest>(&text) else { continue };
            let typed = into_request(typed);
            let Incoming(parsed) = serde_json::from_str(&text).expect("a REST API event");
            let shape = |request: &Request| {
                let query: Vec<_> =
                    request.query_string_parameters_ref().into_iter().flat_map(QueryMap::iter).collect();
                let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
                format!("{:?} {} {query:?} {id:?} {:?}", request.method(), request.uri(), request.body())
            };
            assert_eq!(shape(&typed), shape(&parsed));
            assert_eq!(typed.headers(), parsed.headers());
            for name in ["org_id", "user_id", "item_id"] {
                assert_eq!(crate::request::path(&typed, name), crate::request::path(&parsed, name));
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
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
