//! The system that runs on this machine, for the operator's commands: it says itself where its parts are.

use std::collections::BTreeMap;

use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lambda_http::http::Uri;

use crate::local_routes::ENDPOINTS;

/// Why a system on this machine cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("no system answers on port {port} of this machine ({reason}): start one with `cargo run`, or name a --table")]
pub struct NotRunning {
    /// Where it was asked.
    pub port: u16,
    /// What came instead.
    pub reason: String,
}

/// The variables with which an operator's commands work on the system at this port.
///
/// # Errors
/// [`NotRunning`].
pub async fn variables(port: u16) -> Result<BTreeMap<String, String>, NotRunning> {
    let failed = |reason: String| NotRunning { port, reason };
    let uri: Uri = format!("http://127.0.0.1:{port}{ENDPOINTS}").parse().map_err(|_| failed("no port".to_owned()))?;
    let client: Client<_, Empty<&[u8]>> = Client::builder(TokioExecutor::new()).build_http();
    let reply = client.get(uri).await.map_err(|error| failed(error.to_string()))?;
    let body = reply.into_body().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| failed("something else answers there".to_owned()))
}
