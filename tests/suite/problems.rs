//! Each error that any test sees, the gateway's among them, is a problem as the published document has it.

use crate::api::{Api, ORIGIN, Reply, send};
use crate::documented::DOCUMENT;
use crate::faults::FaultyDatabase;
use crate::jobs::rig::Rig;
use lambda_http::Body;
use local::template::Template;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, header};
use serde_json::{Value, json};
use shared::StatusCode;
use shared::response::Problem;
use shared::runtime::{EXPOSED_HEADERS, SECURITY_HEADERS};
use shared::store::keys::Key;
use std::collections::HashMap;
use std::sync::Mutex;

/// The title that each code has been seen with.
static TITLES: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// Fails unless a reply is a problem by the document's schema, says its own status, and has its code's one title.
#[track_caller]
pub(crate) fn fits(reply: &Reply) {
    assert_eq!(reply.header("content-type"), "application/problem+json", "{}", reply.text);
    let schema = &DOCUMENT["components"]["schemas"]["Problem"];
    if let Err(why) = check(schema, &reply.body) {
        panic!("{}: {why}: {}", reply.url, reply.text);
    }
    assert_eq!(reply.body["status"], reply.status, "{}", reply.text);
    for error in reply.body["errors"].as_array().into_iter().flatten() {
        let pointer = error["pointer"].as_str().unwrap();
        // A parameter with a very long name is not repeated.
        let is_known = ["", "query"].contains(&pointer)
            || ["/", "query/", "header/"].iter().any(|place| pointer.starts_with(place));
        assert!(is_known, "{pointer} is no place that the document knows: {}", reply.text);
    }
    let text = |member: &str| reply.body[member].as_str().unwrap().to_owned();
    // The gateway's own says how long to wait, and knows no limit.
    if reply.status == 429 && text("code") != "throttled" {
        let limit = (reply.header("ratelimit-policy"), reply.header("ratelimit"), reply.header("retry-after"));
        let seconds = limit.2.parse::<u64>().unwrap_or_else(|_| panic!("when to come again: {limit:?}"));
        let (policy, left) = (limit.0.split_once(";q="), limit.1.strip_suffix(&format!(";r=0;t={seconds}")));
        assert!(seconds > 0 && left.is_some() && policy.map(|(name, _)| name) == left, "{limit:?}: {}", reply.text);
    }
    assert_eq!(text("type"), format!("urn:problem:{}", text("code")));
    let mut titles = TITLES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let known = titles.get_or_insert_default().entry(text("code")).or_insert_with(|| text("title")).clone();
    assert_eq!(text("title"), known, "two titles of {}", text("code"));
}

/// What of JSON Schema the document says of a problem: types, members, items.
fn check(schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return check(&DOCUMENT["components"]["schemas"][name.rsplit('/').next().unwrap()], value);
    }
    let is = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        _ => return Err(format!("a schema that is not known here: {schema}")),
    };
    if !schema["enum"].is_null() && !schema["enum"].as_array().unwrap().contains(value) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    if !is {
        return Err(format!("{value} is no {}", schema["type"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name).ok_or_else(|| format!("{name} is not in the schema"))?;
        check(known, member).map_err(|why| format!("{name}: {why}"))?;
    }
    value.as_array().into_iter().flatten().try_for_each(|one| check(&schema["items"], one))
}

#[tokio::test]
async fn what_the_gateway_refuses_is_a_problem_too() {
    let api = Api::new();
    let long = "x".repeat(11_000);
    for (request, status, code) in [
        (api.request(Method::GET, "/users/%ff/x"), 404, "not_found"),
        (api.request(Method::GET, "/nowhere"), 404, "not_found"),
        (api.request(Method::TRACE, "/items"), 404, "not_found"),
        (api.request(Method::GET, "/nowhere").bearer_auth("a.token"), 404, "not_found"),
        (api.request(Method::PUT, "/items").bearer_auth("a.token"), 404, "not_found"),
        (api.request(Method::GET, "/items").header("X-Long", &long), 431, "headers_too_large"),
        (api.request(Method::POST, "/items").body(vec![b' '; 7 * 1024 * 1024]), 413, "payload_too_large"),
        (
            api.request(Method::POST, "/items").header("Content-Encoding", "br").body("x"),
            415,
            "unsupported_content_encoding",
        ),
    ] {
        let reply = send(request).await;
        reply.is_problem(status, code);
        assert_eq!(reply.header("cache-control"), "no-store", "as a function's {code}");
    }
}

/// The gateway reads the body of any request, also where the operation takes none.
#[tokio::test]
async fn a_body_that_no_operation_takes_is_read_all_the_same() {
    let api = Api::new();
    let owner = api.register().await;
    let retry = format!("/jobs/job_{}/retry", "0".repeat(32));
    for path in ["/auth/logout", &retry] {
        let asked = || api.request(Method::POST, path).bearer_auth(&owner.token);
        let coded = send(asked().header("Content-Encoding", "br").body("x")).await;
        coded.is_problem(415, "unsupported_content_encoding");
        send(asked().body(vec![b' '; 7 * 1024 * 1024])).await.is_problem(413, "payload_too_large");
    }
}

/// Somebody else changes them before each attempt.
#[tokio::test]
async fn settings_that_keep_changing_are_a_conflict() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let busy = database.system().await;
    let owner = rig.api.register().await;
    database.keep_changing(Key::settings(owner.org_id.parse().unwrap()));
    let path = format!("/orgs/{}/settings", owner.org_id);
    let reply = Api::at(busy.url()).put(&owner, &path, json!({"settings": {}})).await;
    reply.is_problem(409, "concurrent_change");
}

/// The template's own answers, those among them that only AWS can give, as a page at an allowed origin gets them.
#[test]
fn every_gateway_response_of_the_template_is_a_problem() {
    let template = Template::read(&local::system::project_folder().join("template.yaml")).unwrap();
    let request = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(ORIGIN))]);
    let (mut titles, mut seen) = (HashMap::new(), 0);
    for (name, response) in template.gateway_responses.all() {
        let answer = response.answer(&request, "an id");
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        check(&DOCUMENT["components"]["schemas"]["Problem"], &body).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(body["status"], answer.status().as_u16(), "{name}");
        let known = titles.entry(body["code"].to_string()).or_insert_with(|| body["title"].clone());
        assert_eq!(body["title"], *known, "{name}");
        // A function's problem of this status has the same words.
        let Body::Text(ours) = Problem::new(answer.status(), "code", "detail").into_reply().into_body() else {
            panic!("a text")
        };
        assert_eq!(serde_json::from_str::<Value>(&ours).unwrap()["title"], body["title"], "{name}");
        let said = |header: &str| answer.headers().get(header).map(|value| value.to_str().unwrap());
        for (header, value) in SECURITY_HEADERS.into_iter().chain([
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
            (header::VARY, "Origin"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN),
            (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (HeaderName::from_static("x-request-id"), "an id"),
        ]) {
            assert_eq!(said(header.as_str()), Some(value), "{name}: {header}");
        }
        let exposed: Vec<&str> = said("access-control-expose-headers").unwrap_or_default().split(',').collect();
        assert!(exposed.iter().all(|one| EXPOSED_HEADERS.split(", ").any(|ours| ours == *one)), "{name}: {exposed:?}");
        let is_limit = answer.status() == StatusCode::TOO_MANY_REQUESTS;
        for limit in ["retry-after", "ratelimit", "ratelimit-policy"] {
            assert_eq!(said(limit).is_some(), is_limit, "{name}: {limit}");
        }
        for readable in ["x-request-id", "retry-after", "ratelimit", "ratelimit-policy"] {
            assert!(exposed.iter().any(|one| one.eq_ignore_ascii_case(readable)), "{name}: {readable}");
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}
