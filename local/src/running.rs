//! The system that runs on this machine, for the operator's commands: it says itself where its parts are.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lambda_http::http::Uri;

use crate::local_routes::ENDPOINTS;

/// How long a system may take to say it. Another program that has the port may say nothing for ever.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let asked = tokio::time::timeout(PATIENCE, ask(port)).await;
    let asked = asked.unwrap_or_else(|_| Err(format!("no answer in {} seconds", PATIENCE.as_secs())));
    asked.map_err(|reason| NotRunning { port, reason })
}

async fn ask(port: u16) -> Result<BTreeMap<String, String>, String> {
    let uri: Uri = format!("http://127.0.0.1:{port}{ENDPOINTS}").parse().map_err(|_| "no port".to_owned())?;
    let client: Client<_, Empty<&[u8]>> = Client::builder(TokioExecutor::new()).build_http();
    let reply = client.get(uri).await.map_err(|error| error.to_string())?;
    let body = reply.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&body).map_err(|_| "something else answers there".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In virtual time, which goes on as soon as all wait.
    #[tokio::test(start_paused = true)]
    async fn a_program_that_says_nothing_is_not_waited_for() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = mute.local_addr().expect("it is bound").port();
        let asked = tokio::time::timeout(PATIENCE * 100, variables(port)).await.expect("it ends");
        let error = asked.expect_err("nobody answers").to_string();
        assert!(error.contains("no answer"), "{error}");
    }
}
