//! The gateway with the project's template and small handlers in place of the functions.

use std::{io::Write, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::connect_info::MockConnectInfo,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header},
};
use flate2::{Compression, write::GzEncoder};
use lambda_http::{RequestExt, tower::ServiceExt};
use serde_json::{Value as Json, json};

use shared::runtime::event::{PathParameters, RequestId};

use super::{Handler, body::MAX_BODY_BYTES, direct, router};
use crate::template::Template;

const ORIGINS: [&str; 2] = ["https://app.example.com", "https://admin.example.com"];

/// Tells what a function was given.
fn echo() -> Handler {
    Arc::new(|request| {
        Box::pin(async move {
            let request_id = request.extensions().get::<RequestId>().map(|id| id.0.to_str().unwrap_or_default());
            let headers: Vec<_> = request
                .headers()
                .iter()
                .map(|(name, value)| json!([name.as_str(), value.to_str().unwrap_or("?")]))
                .collect();
            let query = request.query_string_parameters();
            let mut names: Vec<_> = query.iter().collect();
            names.sort_unstable();
            let path_parameters = request.extensions().get::<PathParameters>().cloned().unwrap_or_default();
            let (kind, body) = match request.body() {
                lambda_http::Body::Text(text) => ("text", text.clone().into_bytes()),
                lambda_http::Body::Binary(bytes) => ("binary", bytes.clone()),
                _ => ("empty", Vec::new()),
            };
            let seen = json!({
                "method": request.method().as_str(),
                "path": request.uri().path(),
                "path_parameters": path_parameters.0,
                "query": names,
                "headers": headers,
                "body_kind": kind,
                "body": body,
                "request_id": request_id,
            });
            Response::new(lambda_http::Body::Text(seen.to_string()))
        })
    })
}

/// Replies with as many bytes as the query parameter `size` says.
fn sized() -> Handler {
    Arc::new(|request| {
        Box::pin(async move {
            let query = request.query_string_parameters();
            let size = query.first("size").and_then(|size| size.parse().ok());
            Response::new(lambda_http::Body::Text("x".repeat(size.unwrap_or(0))))
        })
    })
}

/// Replies with bytes.
fn binary() -> Handler {
    Arc::new(|_| Box::pin(async { Response::new(lambda_http::Body::Binary(vec![0, 255])) }))
}

fn api() -> Router {
    let template = Template::parse(include_str!("../../../template.yaml")).expect("whole template");
    let origins = ORIGINS.map(HeaderValue::from_static).to_vec();
    router(&template, origins, 3000, |route| {
        Some(direct(match route.function.as_str() {
            "get-model-pricing" => sized(),
            "health" => binary(),
            _ => echo(),
        }))
    })
    .expect("every function has a handler")
    .layer(MockConnectInfo(std::net::SocketAddr::from(([192, 0, 2, 7], 5555))))
}

async fn call(request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let response = api().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole body");
    (parts.status, parts.headers, body.to_vec())
}

fn request(method: Method, target: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a valid request")
}

/// What the echo handler saw.
async fn seen(request: Request<Body>) -> Json {
    let (status, _, body) = call(request).await;
    assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("the echo is JSON")
}

fn header_values<'a>(seen: &'a Json, name: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().expect("a list");
    headers.iter().filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect()
}

#[tokio::test]
async fn replies_are_compressed_from_the_templates_size_on() {
    for (size, accept, compressed) in [
        (999, Some("gzip"), false),
        (1000, Some("gzip"), true),
        (1000, Some("br;q=1, gzip;q=0.5"), true),
        (1000, Some("gzip;q=0"), false),
        (1000, Some("br"), false),
        (1000, None, false),
    ] {
        let headers: Vec<_> = accept.map(|accept| ("accept-encoding", accept)).into_iter().collect();
        let target = format!("/models/pricing?size={size}");
        let (status, headers, body) = call(request(Method::GET, &target, &headers, "")).await;
        assert_eq!(status, StatusCode::OK);
        let coding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        assert_eq!(coding == Some(b"gzip"), compressed, "{size} {accept:?}");
        assert_eq!(body.len() < size, compressed, "{size} {accept:?}");
    }
}

#[tokio::test]
async fn preflights_name_an_allowed_origin_exactly() {
    for (origin, allowed) in [
        (Some(ORIGINS[0]), true),
        (Some(ORIGINS[1]), true),
        (Some("https://evil.example"), false),
        (Some("https://app.example.com.evil.example"), false),
        (Some("https://app.example.com/"), false),
        (Some("null"), false),
        (None, false),
    ] {
        let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let (status, headers, body) = call(request(Method::OPTIONS, "/items", &headers, "")).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.is_empty());
        let answer = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(answer.and_then(|value| value.to_str().ok()), origin.filter(|_| allowed));
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert!(headers[header::ACCESS_CONTROL_ALLOW_METHODS].to_str().is_ok_and(|all| all.contains("PATCH")));
        assert!(headers.get_all(header::VARY).iter().any(|vary| vary == "Origin"));
    }
}

/// Browsers send none; others may send anything.
#[tokio::test]
async fn preflights_with_any_content_type_are_no_failures() {
    for (content_type, status) in [
        ("application/json", StatusCode::OK),
        ("Application/JSON; charset=utf-8", StatusCode::OK),
        ("application/x-www-form-urlencoded", StatusCode::OK),
        ("application/octet-stream", StatusCode::OK),
        ("multipart/form-data; boundary=x", StatusCode::OK),
        ("text/plain;charset=UTF-8", StatusCode::OK),
        ("image/png", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let headers = [("origin", ORIGINS[0]), ("content-type", content_type)];
        let (found, headers, body) = call(request(Method::OPTIONS, "/items", &headers, "x")).await;
        assert_eq!(found, status, "{content_type}");
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGINS[0]);
        if status != StatusCode::OK {
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
            let problem: Json = serde_json::from_slice(&body).expect("a problem");
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("Content-Type")), "{problem}");
        }
    }
}

#[tokio::test]
async fn what_has_no_route_is_the_gateways_own_404() {
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::GET, "/users"),
        (Method::GET, "/users/../items"),
        (Method::DELETE, "/items"),
        (Method::HEAD, "/analyze"),
        (Method::TRACE, "/items"),
        (Method::GET, "/"),
        (Method::GET, "//"),
        (Method::OPTIONS, "/nowhere"),
    ] {
        let anonymous = vec![("origin", ORIGINS[0])];
        let known = ["Bearer a.token", "Basic eA==", ""].map(|value| vec![anonymous[0], ("authorization", value)]);
        for sent in [anonymous].into_iter().chain(known) {
            let (status, headers, body) = call(request(method.clone(), path, &sent, "")).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path} {sent:?}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGINS[0]);
            assert_eq!(headers["x-request-id"].len(), 36);
            if method != Method::HEAD {
                let problem: Json = serde_json::from_slice(&body).expect("a problem");
                assert_eq!(problem["code"], "not_found");
            }
        }
    }
}

/// REST APIs look at the segments alone; the function sees the path as it came.
#[tokio::test]
async fn slashes_between_and_behind_segments_do_not_count() {
    for (path, parameters) in [
        ("/items/", json!([])),
        ("//items", json!([])),
        ("/items//?a=1", json!([])),
        ("/users//usr_1/", json!([["user_id", "usr_1"]])),
        ("/docs/", json!([])),
        ("/openapi.json/", json!([])),
    ] {
        let seen = seen(request(Method::GET, path, &[], "")).await;
        assert_eq!(seen["path"], path.split('?').next().expect("a path"));
        assert_eq!(seen["path_parameters"], parameters);
        assert_eq!(seen["query"].as_array().map(Vec::len), Some(path.matches('?').count()));
        let origin = [("origin", ORIGINS[0])];
        let (status, headers, _) = call(request(Method::OPTIONS, path, &origin, "")).await;
        assert_eq!(
            (status, &headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]),
            (StatusCode::OK, &HeaderValue::from_static(ORIGINS[0]))
        );
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    for (size, coding) in [(10, ""), (5000, ""), (5000, "gzip")] {
        let target = format!("/models/pricing?size={size}");
        let ask = |method| call(request(method, &target, &[("accept-encoding", coding)], ""));
        let ((get, mut headers, body), (head, bare, nothing)) = (ask(Method::GET).await, ask(Method::HEAD).await);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        assert_eq!((get, head, nothing.len()), (StatusCode::OK, StatusCode::OK, 0));
        for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            assert_eq!(bare.get(&name), headers.get(&name), "{size} {coding} {name}");
        }
    }
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let fits = vec![b'x'; MAX_BODY_BYTES];
    assert_eq!(seen(request(Method::POST, "/items", &[], fits)).await["body_kind"], "text");
    for size in [MAX_BODY_BYTES + 1, 10 * 1024 * 1024] {
        let (status, headers, body) = call(request(Method::POST, "/items", &[], vec![b'x'; size])).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
        let problem: Json = serde_json::from_slice(&body).expect("a problem");
        assert_eq!(problem["code"], "payload_too_large");
    }
}

#[tokio::test]
async fn heads_have_a_limit() {
    let long = "x".repeat(11_000);
    for request in [
        request(Method::GET, "/items", &[("x-long", &long)], ""),
        request(Method::GET, &format!("/items?cursor={long}"), &[], ""),
    ] {
        let (status, _, body) = call(request).await;
        assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let problem: Json = serde_json::from_slice(&body).expect("a problem");
        assert_eq!((&problem["code"], &problem["status"]), (&json!("headers_too_large"), &json!(431)));
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

#[tokio::test]
async fn compressed_bodies_reach_the_function_plain() {
    let headers = [("content-encoding", "gzip")];
    let seen = seen(request(Method::POST, "/items", &headers, gzip(b"{}"))).await;
    assert_eq!(seen["body"], json!(b"{}"));
    assert!(header_values(&seen, "content-encoding").is_empty());
    let members = [gzip(b"{"), gzip(b""), gzip(b"}")].concat();
    assert_eq!(self::seen(request(Method::POST, "/items", &headers, members)).await["body"], json!(b"{}"));
}

#[tokio::test]
async fn what_cannot_be_decompressed_is_refused() {
    let bomb = gzip(&vec![0; MAX_BODY_BYTES + 1]);
    for (coding, body, expected) in [
        ("gzip", b"{}".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("br", b"{}".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("gzip, gzip", gzip(&gzip(b"{}")), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("gzip", bomb, StatusCode::PAYLOAD_TOO_LARGE),
        ("gzip", [gzip(&vec![0; MAX_BODY_BYTES]), gzip(b"0")].concat(), StatusCode::PAYLOAD_TOO_LARGE),
        ("gzip", [gzip(b"{}"), b"no member".to_vec()].concat(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let headers = [("content-encoding", coding)];
        let (status, ..) = call(request(Method::POST, "/items", &headers, body)).await;
        assert_eq!(status, expected, "{coding}");
    }
}

#[tokio::test]
async fn path_parameters_are_decoded_once_and_never_walk_up() {
    for (sent, read) in [("%2e%2e", ".."), ("..%2fme", "../me"), ("%252e", "%2e"), ("%ff", "%ff"), ("a+%20b", "a+ b")] {
        let seen = seen(request(Method::GET, &format!("/users/{sent}"), &[], "")).await;
        assert_eq!(seen["path_parameters"], json!([["user_id", read]]), "{sent}");
        assert_eq!(seen["path"], format!("/users/{sent}"));
    }
    let seen = seen(request(Method::DELETE, "/orgs/org%5F1/members//usr_%31/", &[], "")).await;
    assert_eq!(seen["path_parameters"], json!([["org_id", "org_1"], ["user_id", "usr_1"]]));
}

#[tokio::test]
async fn bodies_that_are_no_utf8_arrive_as_bytes() {
    let seen = seen(request(Method::POST, "/items", &[], vec![b'{', 0xff])).await;
    assert_eq!(seen["body_kind"], "binary");
    assert_eq!(seen["body"], json!([b'{', 0xff]));
}

#[tokio::test]
async fn every_value_of_a_repeated_header_or_parameter_arrives() {
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b"), ("x-one", "1")];
    let seen = seen(request(Method::GET, "/items?a=1&a=2&b=%20%26", &twice, "")).await;
    assert_eq!(header_values(&seen, "authorization"), ["Bearer a", "Bearer b"]);
    assert_eq!(header_values(&seen, "x-one"), ["1"]);
    assert_eq!(seen["query"], json!([["a", "1"], ["a", "2"], ["b", " &"]]));
}

#[tokio::test]
async fn the_gateway_says_who_calls_and_where() {
    let forged = [
        ("host", "[evil"),
        ("x-forwarded-for", "203.0.113.99"),
        ("x-forwarded-proto", "gopher"),
        ("connection", "close"),
    ];
    let seen = seen(request(Method::GET, "/items", &forged, "")).await;
    assert_eq!(header_values(&seen, "host"), ["localhost:3000"]);
    assert_eq!(header_values(&seen, "x-forwarded-for"), ["203.0.113.99, 192.0.2.7"]);
    assert_eq!(header_values(&seen, "x-forwarded-proto"), ["http"]);
    assert!(header_values(&seen, "connection").is_empty());
    assert_eq!(seen["request_id"].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn binary_replies_stay_base64_as_in_api_gateway() {
    let (_, _, body) = call(request(Method::GET, "/health", &[], "")).await;
    assert_eq!(body, b"AP8=");
}

#[tokio::test]
async fn a_function_without_a_handler_is_named() {
    let template = Template::parse(include_str!("../../../template.yaml")).expect("whole template");
    let missing = router(&template, Vec::new(), 3000, |route| (route.function != "docs").then(echo).map(direct));
    assert_eq!(missing.err().as_deref(), Some("docs"));
}
