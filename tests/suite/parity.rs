//! The same request has the same answer, whether it comes through the local gateway or as the event that Lambda hands over:
//! whatever bytes its headers hold.

use crate::api::{Actor, Api, Reply, redacted, send};
use local::{Options, System, functions};
use proptest::prelude::*;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use shared::runtime::event::{Event as _, Incoming, Outgoing};
use std::sync::LazyLock;
use tokio::runtime::Runtime;

/// A system, one user in it, and an item.
struct World {
    runtime: Runtime,
    system: System,
    api: Api,
    actor: Actor,
    item: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (system, api, actor, item) = runtime.block_on(async {
        let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
        let api = Api::of(&system);
        let actor = api.register().await;
        let item = api.item(&actor).await;
        (system, api, actor, item)
    });
    World { runtime, system, api, actor, item }
});

/// The operations that are tried: function, method, path, its parameters, body.
fn operations(world: &World) -> Vec<(&'static str, Method, String, Value, &'static str)> {
    let org = &world.actor.org_id;
    let item = json!({"item_id": world.item});
    vec![
        ("get-me", Method::GET, "/me".to_owned(), json!(null), ""),
        ("get-item", Method::GET, format!("/items/{}", world.item), item.clone(), ""),
        ("get-org-settings", Method::GET, format!("/orgs/{org}/settings"), json!({"org_id": org}), ""),
        ("update-item", Method::PATCH, format!("/items/{}", world.item), item, r#"{"name":"another"}"#),
        ("create-item", Method::POST, "/items".to_owned(), json!(null), r#"{"name":" "}"#),
    ]
}

const NAMES: [&str; 10] = [
    "cookie",
    "authorization",
    "if-match",
    "if-none-match",
    "prefer",
    "origin",
    "content-type",
    "idempotency-key",
    "x-amzn-trace-id",
    "x-other",
];

/// What values are made of; the token stands for that of the user.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let texts = [
        "é",
        "n=",
        "; ",
        "__Host-session=TOKEN",
        "Bearer TOKEN",
        ", ",
        "*",
        "\"",
        "W/\"1\"",
        "wait=0",
        "a",
        "application/json",
        "http://localhost:5173",
    ];
    let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    prop_oneof![6 => prop::sample::select(texts), 1 => Just(b"\xe9".to_vec()), 1 => prop::collection::vec(0x80u8.., 1..4)]
}

fn fields() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let value = prop::collection::vec(piece(), 0..5).prop_map(|pieces| pieces.concat().trim_ascii().to_vec());
    prop::collection::vec((prop::sample::select(NAMES.to_vec()), value), 0..6)
}

/// A header's bytes as text in JSON: what is no UTF-8 is read as Latin-1.
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect())
}

/// The event that API Gateway makes of a request.
fn event(method: &Method, path: &str, parameters: &Value, fields: &[(&str, Vec<u8>)], body: &str) -> Value {
    let mut lists = serde_json::Map::new();
    for (name, value) in fields {
        let list = lists.entry(*name).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(json!(text(value)));
    }
    let last = |list: &Value| list.as_array().unwrap().last().unwrap().clone();
    let single: serde_json::Map<_, _> = lists.iter().map(|(name, list)| (name.clone(), last(list))).collect();
    json!({"httpMethod": method.as_str(), "path": path, "resource": path, "headers": single, "multiValueHeaders": lists,
        "queryStringParameters": null, "multiValueQueryStringParameters": null, "pathParameters": parameters,
        "stageVariables": null, "requestContext": {"requestId": "r", "identity": {"sourceIp": "127.0.0.1"}},
        "body": if body.is_empty() { json!(null) } else { json!(body) }, "isBase64Encoded": false})
}

/// What must agree of an answer: all but ids, times and versions.
fn answer(status: u16, body: &Value, header: impl Fn(&str) -> String) -> Value {
    let mut body = redacted(body);
    if let Some(map) = body.as_object_mut() {
        map.remove("version");
    }
    let headers = ["content-type", "cache-control", "vary", "access-control-allow-origin", "location"].map(&header);
    // The gateway gives it another name.
    let challenge = header("www-authenticate") + &header("x-amzn-remapped-www-authenticate");
    json!({"status": status, "body": body, "headers": headers, "challenge": challenge})
}

async fn by_event(world: &World, function: &str, event: &Value) -> Value {
    let handler = functions::handler(function, world.system.contexts().get(function).unwrap(), None).unwrap();
    let request = Incoming::read(&event.to_string()).0.unwrap();
    let reply = serde_json::to_value(Outgoing(handler(request).await)).unwrap();
    let body = reply["body"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    answer(u16::try_from(reply["statusCode"].as_u64().unwrap()).unwrap(), &body, |name| {
        reply["multiValueHeaders"][name][0].as_str().unwrap_or_default().to_owned()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_and_the_gateway_answer_alike(which in 0..5usize, fields in fields()) {
        let world = &*WORLD;
        let (function, method, path, parameters, body) = operations(world).swap_remove(which);
        let fields: Vec<(&str, Vec<u8>)> = fields
            .into_iter()
            .map(|(name, value)| match String::from_utf8(value.clone()) {
                Ok(text) => (name, text.replace("TOKEN", &world.actor.token).into_bytes()),
                Err(_) => (name, value),
            })
            .collect();
        let (gateway, event) = world.runtime.block_on(async {
            let mut request = world.api.request(method.clone(), &path);
            for (name, value) in &fields {
                request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
            }
            let reply: Reply = send(request.body(body)).await;
            let gateway = answer(reply.status, &reply.body, |name| reply.header(name).to_owned());
            (gateway, by_event(world, function, &event(&method, &path, &parameters, &fields, body)).await)
        });
        prop_assert_eq!(gateway, event);
    }
}

/// C3: the two cases that were found.
#[tokio::test]
async fn a_byte_above_ascii_neither_logs_out_nor_lifts_a_condition() {
    let api = Api::new();
    let actor = api.register().await;
    let path = format!("/items/{}", api.item(&actor).await);
    let cookie = [b"n=\xe9; __Host-session=", actor.token.as_bytes(), b"; m=\xc3\xa9"].concat();
    let with = |method: Method, path: &str, name: &str, value: &[u8]| {
        api.request(method, path).header(name, HeaderValue::from_bytes(value).unwrap())
    };
    assert_eq!(send(with(Method::GET, "/me", "Cookie", &cookie)).await.status, 200);
    let refused = with(Method::PATCH, &path, "If-Match", b"\"\xe9\"").bearer_auth(&actor.token);
    send(refused.json(&json!({"name": "another"}))).await.is_problem(412, "precondition_failed");
    let second = with(Method::GET, "/me", "Authorization", b"\xe9").bearer_auth(&actor.token);
    send(second).await.is_problem(400, "ambiguous_credentials");
}
