//! REST API proxy events to requests and back. `lambda_http`'s own conversion is not used: it lets the
//! single-value header map override the multi-value one (so a second `Authorization` goes unseen), parses
//! each event twice, and panics on a path that is no URI.

use crate::response::Reply;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayProxyResponse};
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::Uri;
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt};

/// What API Gateway (REST) sends.
pub type Event = ApiGatewayProxyRequest;

/// The request that an event carries: all values of its headers and query parameters, path parameters as
/// decoded by the gateway, its context.
#[must_use]
pub fn into_request(event: Event) -> Request {
    let body = match event.body {
        Some(text) => decoded(event.is_base64_encoded, text),
        None => Body::Empty,
    };
    let mut request = Request::new(body);
    *request.method_mut() = event.http_method;
    // Routing is the gateway's; the path only tells apart the routes of one function.
    *request.uri_mut() = event.path.and_then(|path| Uri::try_from(path).ok()).unwrap_or_default();
    let multi = event.multi_value_headers;
    *request.headers_mut() = if multi.is_empty() { event.headers } else { multi };
    let query = event.multi_value_query_string_parameters;
    let query = if query.is_empty() { event.query_string_parameters } else { query };
    request
        .with_query_string_parameters(query)
        .with_path_parameters(QueryMap::from(event.path_parameters))
        .with_request_context(RequestContext::ApiGatewayV1(event.request_context))
}

/// A body flagged as base64 that is none stays what it was: the handler refuses it as malformed.
fn decoded(is_base64: bool, text: String) -> Body {
    use base64::Engine as _;
    if !is_base64 {
        return Body::Text(text);
    }
    base64::engine::general_purpose::STANDARD.decode(&text).map_or(Body::Text(text), Body::Binary)
}

/// The proxy response for a reply. Headers go into the multi-value map only: API Gateway merges both.
#[must_use]
pub fn into_response(reply: Reply) -> ApiGatewayProxyResponse {
    let (parts, body) = reply.into_parts();
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = i64::from(parts.status.as_u16());
    response.multi_value_headers = parts.headers;
    response.is_base64_encoded = matches!(body, Body::Binary(_));
    response.body = match body {
        Body::Empty => None,
        body => Some(body),
    };
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(value: serde_json::Value) -> Event {
        serde_json::from_str(&value.to_string()).expect("a REST API event")
    }

    #[test]
    fn every_value_of_a_header_is_seen() {
        let request = into_request(event(json!({
            "httpMethod": "GET", "path": "/me",
            "headers": {"Authorization": "b"},
            "multiValueHeaders": {"Authorization": ["a", "b"]},
            "requestContext": {"requestId": "r", "httpMethod": "GET"}
        })));
        assert_eq!(request.headers().get_all("authorization").iter().count(), 2);
    }

    #[test]
    fn a_path_that_is_no_uri_is_no_panic() {
        let request = into_request(event(json!({
            "httpMethod": "GET", "path": "/users/a b\u{0}<>", "pathParameters": {"user_id": "a b"},
            "requestContext": {"httpMethod": "GET"}
        })));
        assert_eq!(crate::request::path(&request, "user_id"), "a b");
    }

    #[test]
    fn bodies_may_be_base64() {
        for (body, flag, bytes) in [("eA==", true, b"x".as_slice()), ("x", false, b"x"), ("%", true, b"%")] {
            let request = into_request(event(json!({
                "httpMethod": "POST", "path": "/", "body": body, "isBase64Encoded": flag, "requestContext": {"httpMethod": "GET"}
            })));
            assert_eq!(crate::request::body_bytes(&request).expect("small"), bytes);
        }
    }
}
