//! Asks a system through its gateway, in this process and in its time.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use lambda_http::http::{Method, Request};
use lambda_http::tower::ServiceExt as _;
use serde_json::Value;
use std::net::SocketAddr;

/// What everybody who logs in registers with.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) token: String,
    pub(crate) org_id: String,
}

/// One request.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Option<Value>,
    /// Under which it is repeated.
    pub(crate) key: Option<String>,
}

impl Ask {
    /// Without a key.
    pub(crate) fn new(method: Method, path: &str, token: Option<&Actor>, body: Option<Value>) -> Self {
        Self { method, path: path.to_owned(), token: token.map(|actor| actor.token.clone()), body, key: None }
    }
}

/// Asks for what must succeed.
pub(crate) async fn must(router: &Router, ask: Ask) -> Value {
    let what = format!("{} {}", ask.method, ask.path);
    let (status, body) = send(router.clone(), ask).await;
    assert!((200..300).contains(&status), "{what}: {status} {body}");
    body
}

pub(crate) async fn send(router: Router, ask: Ask) -> (u16, Value) {
    let mut request = Request::builder().method(ask.method).uri(ask.path).header("host", "localhost");
    if let Some(key) = ask.key {
        request = request.header("idempotency-key", key);
    }
    if let Some(token) = ask.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = match ask.body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    // Everybody has a network of their own, on which there are limits.
    let peer = ConnectInfo(SocketAddr::from((testkit::sources::address(), 1)));
    let request = request.extension(peer).body(body).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
