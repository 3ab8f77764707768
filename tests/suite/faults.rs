//! A database that counts, refuses and leaves work undone: a proxy before the embedded one.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does with calls of one operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `BatchWriteItem`: so many times, all but the first write of each call stay unprocessed.
    LeaveUnprocessed(u32),
    /// So many times, `ProvisionedThroughputExceededException`.
    Throttle(u32),
    /// So many times, done, but answered with an internal error.
    LoseReply(u32),
    /// `TransactWriteItems`: so many times, cancelled for a conflict with another transaction.
    Conflict(u32),
    /// So many times, done so much later.
    Delay(u32, Duration),
}

#[derive(Clone)]
pub(crate) struct FaultyDatabase {
    origin: String,
    client: reqwest::Client,
    calls: Arc<Mutex<HashMap<String, u32>>>,
    callers: Arc<Mutex<Vec<String>>>,
    faults: Arc<Mutex<HashMap<String, Fault>>>,
    pub(crate) url: String,
}

impl FaultyDatabase {
    /// Starts a proxy before the database at `origin`.
    pub(crate) async fn before(origin: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self {
            origin,
            client: reqwest::Client::new(),
            calls: Arc::default(),
            callers: Arc::default(),
            faults: Arc::default(),
            url,
        };
        let router = Router::new().fallback(answer).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        proxy
    }

    /// From now on.
    pub(crate) fn inject(&self, operation: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(operation.to_owned(), fault);
    }

    /// How many calls of an operation arrived.
    pub(crate) fn calls(&self, operation: &str) -> u32 {
        self.calls.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    /// The access keys of who has called, in order.
    pub(crate) fn callers(&self) -> Vec<String> {
        self.callers.lock().unwrap().clone()
    }

    /// All calls so far.
    pub(crate) fn total(&self) -> u32 {
        self.calls.lock().unwrap().values().sum()
    }

    /// Calls the database itself, past the faults.
    pub(crate) async fn call(&self, operation: &str, body: &Value) {
        let credential = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
                          SignedHeaders=host, Signature=0";
        let request = self
            .client
            .post(&self.origin)
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", credential)
            .header("x-amz-date", "20260101T000000Z");
        let reply = request.body(body.to_string()).send().await.unwrap();
        assert!(reply.status().is_success(), "{}", reply.text().await.unwrap());
    }

    /// The fault that applies to this call, counted down.
    fn due(&self, operation: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let fault = faults.get_mut(operation)?;
        let left = match fault {
            Fault::LeaveUnprocessed(left)
            | Fault::Throttle(left)
            | Fault::Conflict(left)
            | Fault::LoseReply(left)
            | Fault::Delay(left, _) => left,
        };
        *left = left.checked_sub(1)?;
        Some(*fault)
    }

    async fn forward(&self, headers: &HeaderMap, body: Vec<u8>) -> Response {
        let mut request = self.client.post(&self.origin).body(body);
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date", "x-amz-security-token"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let reply = request.send().await.unwrap();
        let status = reply.status();
        (status, [("content-type", "application/x-amz-json-1.0")], reply.bytes().await.unwrap()).into_response()
    }
}

async fn answer(State(proxy): State<FaultyDatabase>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    *proxy.calls.lock().unwrap().entry(operation.clone()).or_default() += 1;
    let signature = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = signature.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    proxy.callers.lock().unwrap().push(key.to_owned());
    match proxy.due(&operation) {
        Some(Fault::Delay(_, delay)) => {
            tokio::time::sleep(delay).await;
            proxy.forward(&headers, body.to_vec()).await
        }
        None => proxy.forward(&headers, body.to_vec()).await,
        Some(Fault::LoseReply(_)) => {
            proxy.forward(&headers, body.to_vec()).await;
            let lost = error("InternalServerError", json!({"message": "lost"}));
            (StatusCode::INTERNAL_SERVER_ERROR, lost).into_response()
        }
        Some(Fault::Throttle(_)) => error("ProvisionedThroughputExceededException", json!({"message": "slow down"})),
        Some(Fault::Conflict(_)) => {
            let request: Value = serde_json::from_slice(&body).unwrap();
            let writes = request["TransactItems"].as_array().unwrap().len();
            let reasons: Vec<Value> =
                (0..writes).map(|at| json!({"Code": if at == 0 { "TransactionConflict" } else { "None" }})).collect();
            error("TransactionCanceledException", json!({"Message": "conflict", "CancellationReasons": reasons}))
        }
        Some(Fault::LeaveUnprocessed(_)) => {
            let mut request: Value = serde_json::from_slice(&body).unwrap();
            let (table, writes) = request["RequestItems"].as_object().unwrap().iter().next().unwrap();
            let (table, writes) = (table.clone(), writes.as_array().unwrap().clone());
            request["RequestItems"][&table] = json!(writes[..1]);
            let reply = proxy.forward(&headers, request.to_string().into_bytes()).await;
            if reply.status() != StatusCode::OK {
                return reply;
            }
            let rest = json!({"UnprocessedItems": {table: writes[1..]}});
            ([("content-type", "application/x-amz-json-1.0")], rest.to_string()).into_response()
        }
    }
}

fn error(kind: &str, mut body: Value) -> Response {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    (StatusCode::BAD_REQUEST, [("content-type", "application/x-amz-json-1.0")], body.to_string()).into_response()
}
