use super::*;
use lambda_http::http::StatusCode;
use proptest::prelude::*;
use serde_json::json;

fn request(event: &serde_json::Value) -> Request {
    Incoming::read(&event.to_string()).0.expect("a REST API event")
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

/// As a REST API passes them on: percent-encoded.
#[test]
fn path_parameters_are_decoded_once() {
    for (sent, read) in [
        ("usr_1", "usr_1"),
        ("usr%5f1", "usr_1"),
        ("a+b", "a+b"),
        ("%C3%A9", "é"),
        ("%2541", "%41"),
        ("%ff", "%ff"),
        ("100%", "100%"),
    ] {
        let request = request(&json!({"httpMethod": "GET", "path": "/users/x", "pathParameters": {"user_id": sent}}));
        assert_eq!(crate::request::path(&request, "user_id"), read, "{sent}");
    }
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
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("an event");
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

/// What a gateway sends null or leaves out where there is nothing.
#[test]
fn null_and_nothing_are_the_same() {
    for event in [
        json!({"httpMethod": "GET"}),
        json!({"httpMethod": "GET", "path": null, "headers": null, "multiValueHeaders": null, "queryStringParameters": null,
            "multiValueQueryStringParameters": null, "pathParameters": null, "requestContext": null, "body": null,
            "isBase64Encoded": null}),
        json!({"httpMethod": "GET", "headers": {"A": null}, "multiValueQueryStringParameters": {"a": null, "b": [null], "c": []},
            "pathParameters": {"id": null}, "requestContext": {"requestId": null, "http": null, "elb": null}}),
    ] {
        let request = request(&event);
        assert_eq!((request.headers().len(), request.query_string_parameters().is_empty()), (0, true), "{event}");
        assert_eq!(crate::request::path(&request, "id"), "");
    }
    let lists = request(&json!({"httpMethod": "GET", "multiValueHeaders": {"A": [null, "1", null, "2"]},
        "multiValueQueryStringParameters": {"a": ["1", null, "2"]}}));
    assert_eq!(lists.headers().get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(lists.query_string_parameters().all("a"), Some(vec!["1", "2"]));
}

#[test]
fn each_refusal_says_why() {
    let refusal = |event: serde_json::Value| Incoming::read(&event.to_string()).0.err();
    assert_eq!(refusal(json!({"source": "serverless-plugin-warmup"})), Some(NoRequest::NoMethod));
    assert_eq!(refusal(json!({"requestContext": {"http": {"method": "GET"}}})), Some(NoRequest::OtherGateway));
    assert_eq!(refusal(json!({"httpMethod": "GET", "requestContext": {"elb": {}}})), Some(NoRequest::OtherGateway));
    for wrong in [
        json!(null),
        json!([]),
        json!(["GET", "/", null, null, null, null, null, null, null, null]),
        json!({"httpMethod": 5}),
        json!({"httpMethod": "G T"}),
        json!({"httpMethod": "GET", "headers": []}),
        json!({"httpMethod": "GET", "body": {}}),
    ] {
        assert_eq!(refusal(wrong.clone()), Some(NoRequest::WrongForm), "{wrong}");
    }
    let reply = NoRequest::OtherGateway.into_reply();
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    let text = serde_json::to_string(&Outgoing(reply)).expect("JSON");
    assert!(text.contains("unsupported_event") && text.contains("a REST API's"), "{text}");
}

/// JSON of any shape, as text: what a parser of ours has no type for too (deep nesting, broken surrogates, huge numbers).
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1e999999".to_owned()),
        Just("-0.5".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just(format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))),
        any::<String>().prop_map(|text| json!(text).to_string()),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "httpMethod",
            "path",
            "headers",
            "multiValueHeaders",
            "queryStringParameters",
            "pathParameters",
            "requestContext",
            "multiValueQueryStringParameters",
            "requestId",
            "body",
            "isBase64Encoded",
            "http",
            "Records",
            "messageId",
            "attributes",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|fields| {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    /// An error here would be a failed invocation.
    #[test]
    fn any_json_is_an_event(json in any_json()) {
        let Payload(Incoming(read)) = serde_json::from_str(&json).expect("an event");
        if let Err(reason) = read {
            prop_assert_eq!(reason.into_reply().status(), StatusCode::BAD_REQUEST);
        }
        let Payload(_batch): Payload<crate::queue::batch::Batch> = serde_json::from_str(&json).expect("an event");
    }
}
