//! One line for each request, when it is answered: what API Gateway's access log says of it, the function and the problem's code.
//! The path is the route's, with its parameters' names: what a caller writes into a path is not logged.

use std::time::Instant;

use axum::body::Body;
use axum::http::{Method, Response, response::Parts};
use serde_json::Value;
use tracing::Level;
use uuid::Uuid;

/// The `code` of a problem, beside the response that has it in its body.
#[derive(Clone)]
struct Code(String);

/// Keeps the code of a problem at hand.
pub(super) fn keep_code(parts: &mut Parts, body: &str) {
    let is_problem = parts.status.is_client_error() || parts.status.is_server_error();
    if is_problem
        && tracing::enabled!(Level::INFO)
        && let Ok(problem) = serde_json::from_str::<Value>(body)
        && let Some(code) = problem["code"].as_str()
    {
        parts.extensions.insert(Code(code.to_owned()));
    }
}

/// Logs that a request, of a trace maybe, of a method and a route (none for an unknown path) has been answered.
pub(super) fn answered(
    (request_id, trace_id): (Uuid, Option<&str>),
    function: Option<&str>,
    (method, path): (&Method, Option<&str>),
    response: &Response<Body>,
    begun: Instant,
) {
    let ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let (status, code) = (response.status().as_u16(), response.extensions().get::<Code>().map(|code| code.0.as_str()));
    let request_id = request_id.hyphenated();
    tracing::info!(%request_id, trace_id, function, method = known(method), path, status, code, ms, "answered");
}

/// A method's name if HTTP defines it: a caller may send any word.
fn known(method: &Method) -> Option<&str> {
    let defined = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::CONNECT,
        Method::TRACE,
    ];
    defined.contains(method).then(|| method.as_str())
}
