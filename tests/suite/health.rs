//! What `GET /health?deep=1` says of a database that is down, and of a cache that has a name.

use crate::api::Api;
use crate::environment::config;
use crate::faults::{Fault, FaultyDatabase};
use lambda_http::{Body, Request};
use local::{Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::Context;
use shared::clock::Clock;
use shared::runtime::respond;
use testkit::http::{self, Server, StatusCode};

#[tokio::test]
async fn who_finds_it_down_is_told_when_to_look_again() {
    let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&origin.database_url()).await;
    let system = database.system().await;
    database.inject("GetItem", Fault::Throttle(3));
    let reply = Api::at(system.url()).call(None, Method::GET, "/health?deep=1", None).await;
    assert_eq!((reply.status, &reply.body["status"]), (503, &json!("down")), "{}", reply.text);
    assert_eq!(reply.header("retry-after"), "5");
}

/// A control plane that answers all with one document; gives its address.
async fn control_plane(status: StatusCode, document: &'static str) -> String {
    let server = Server::bind().await;
    let url = server.url.clone();
    server.start((), move |(), _| async move { Ok(http::empty(status).map(|_| document.into())) });
    url
}

/// What the function says where `CACHE_URL` and the control plane are these.
async fn deep(system: &System, cache_url: &str, control_plane: &str) -> (u16, Value) {
    let database = system.database_url();
    let variables = [
        ("CACHE_URL", cache_url),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", database.as_str()),
        ("AWS_ENDPOINT_URL_ELASTICACHE", control_plane),
    ];
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = "https://api.example.com/health?deep=1".parse().unwrap();
    let request = lambda_http::RequestExt::with_query_string_parameters(
        request,
        std::collections::HashMap::from([("deep".to_owned(), vec!["1".to_owned()])]),
    );
    let reply = respond(&Context::new(config(&variables), Clock::system()), request, health::handle).await;
    let Body::Text(text) = reply.body() else { panic!("a text") };
    (reply.status().as_u16(), serde_json::from_str(text).unwrap())
}

fn dependencies(cache: &str, control_plane: Value) -> Value {
    json!([{"name": "database", "state": "up"}, {"name": "cache", "state": cache}, control_plane])
}

const MODIFYING: &str = "<DescribeServerlessCachesResponse xmlns=\"http://elasticache.amazonaws.com/doc/2015-02-02/\">\
    <DescribeServerlessCachesResult><ServerlessCaches><member><ServerlessCacheName>prod</ServerlessCacheName>\
    <Status>modifying</Status></member></ServerlessCaches></DescribeServerlessCachesResult>\
    </DescribeServerlessCachesResponse>";

#[tokio::test]
#[ignore = "needs a build with shared/discovery: just planted-bugs cache 134"]
async fn the_control_plane_is_named_with_what_it_says() {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let well = control_plane(StatusCode::OK, MODIFYING).await;
    let (status, body) = deep(&system, "redis://127.0.0.1:1?name=prod", &well).await;
    assert_eq!((status, &body["status"]), (200, &json!("degraded")));
    let says = json!({"name": "cache_control_plane", "state": "up", "detail": "modifying"});
    assert_eq!(body["dependencies"], dependencies("down", says));

    let refusing = control_plane(StatusCode::FORBIDDEN, "<ErrorResponse/>").await;
    let (_, body) = deep(&system, "redis://?name=prod", &refusing).await;
    assert_eq!(body["dependencies"], dependencies("down", json!({"name": "cache_control_plane", "state": "down"})));

    // Not asked where the cache has no name.
    let (status, body) = deep(&system, "memory:", "http://127.0.0.1:1").await;
    assert_eq!((status, &body["status"]), (200, &json!("ok")));
    assert_eq!(body["dependencies"], dependencies("up", json!({"name": "cache_control_plane", "state": "off"})));
}
