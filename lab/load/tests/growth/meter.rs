//! A proxy before the embedded database that counts calls, bytes and capacity units.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use load::growth::Cost;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// Operations that take read capacity; all others take write capacity.
const READS: [&str; 3] = ["GetItem", "BatchGetItem", "Query"];

#[derive(Clone)]
pub(crate) struct Meter {
    origin: String,
    client: reqwest::Client,
    cost: Arc<Mutex<Cost>>,
    pub(crate) url: String,
}

impl Meter {
    /// Starts before the database at `origin`.
    pub(crate) async fn before(origin: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let meter = Self { origin, client: reqwest::Client::new(), cost: Arc::default(), url };
        let router = Router::new().fallback(answer).with_state(meter.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        meter
    }

    /// What came since it was last asked.
    pub(crate) fn take(&self) -> Cost {
        std::mem::take(&mut *self.cost.lock().unwrap())
    }
}

async fn answer(State(meter): State<Meter>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    asked["ReturnConsumedCapacity"] = "TOTAL".into();
    let mut request = meter.client.post(&meter.origin).body(asked.to_string());
    for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let reply = request.send().await.unwrap();
    let status = reply.status();
    let mut answered: Value = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
    let consumed = answered.as_object_mut().and_then(|fields| fields.remove("ConsumedCapacity"));
    let text = answered.to_string();
    let units = consumed.as_ref().map_or(0.0, units);
    let mut cost = meter.cost.lock().unwrap();
    cost.calls += 1;
    cost.bytes_sent += body.len() as u64;
    cost.bytes_read += text.len() as u64;
    if READS.contains(&operation) {
        cost.read_units += units;
    } else {
        cost.write_units += units;
    }
    drop(cost);
    (status, [("content-type", "application/x-amz-json-1.0")], text).into_response()
}

/// Of one table, or of a list of them.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => table["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}
