use super::*;
use lambda_http::http::StatusCode;
use serde_json::json;

fn request(event: &serde_json::Value) -> Request {
    let Incoming(request) = serde_json::from_str(&event.to_string()).expect("a REST API event");
    request
}

fn body_of(request: Request) -> Vec<u8> {
    request.into_body().to_vec()
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
        assert_eq!(body_of(request), bytes);
    }
}

/// The events that the project's tools send: nothing that a handler reads is lost.
#[test]
fn the_projects_events_are_read_whole() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events");
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
        assert_eq!(body_of(request), body.as_bytes());
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
