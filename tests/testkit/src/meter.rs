//! A proxy before the embedded database that counts calls, bytes and capacity units.

use crate::aws;
use crate::http::{Call, Cut, Origin, Reply, Server};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What something cost the database; exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub calls: u64,
    /// Of the bodies of requests to the database and of its replies.
    pub bytes_sent: u64,
    pub bytes_read: u64,
    /// Capacity units, as the database tells them (`ReturnConsumedCapacity`).
    pub read_units: f64,
    pub write_units: f64,
}

/// Operations that take read capacity; all others take write capacity.
const READS: [&str; 3] = ["GetItem", "BatchGetItem", "Query"];

/// The proxy.
#[derive(Clone)]
pub struct Meter {
    origin: Origin,
    cost: Arc<Mutex<Cost>>,
    pub url: String,
}

impl Meter {
    /// Starts before the database at `origin`.
    pub async fn before(origin: &str) -> Self {
        let server = Server::bind().await;
        let meter = Self { origin: Origin::at(origin), cost: Arc::default(), url: server.url.clone() };
        server.start(meter.clone(), answer);
        meter
    }

    /// What came since it was last asked.
    pub fn take(&self) -> Cost {
        std::mem::take(&mut *self.cost())
    }

    fn cost(&self) -> MutexGuard<'_, Cost> {
        self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(meter: Meter, mut call: Call) -> Result<Reply, Cut> {
    let reads = READS.contains(&aws::operation(&call));
    let sent = call.body().len();
    let mut asked: Value = serde_json::from_slice(call.body()).expect("a call in JSON");
    asked["ReturnConsumedCapacity"] = "TOTAL".into();
    *call.body_mut() = asked.to_string().into();
    let mut reply = meter.origin.pass(call).await;
    let mut answered: Value = serde_json::from_slice(reply.body()).expect("a reply in JSON");
    let consumed = answered.as_object_mut().and_then(|fields| fields.remove("ConsumedCapacity"));
    let text = answered.to_string();
    let units = consumed.as_ref().map_or(0.0, units);
    let mut cost = meter.cost();
    cost.calls += 1;
    cost.bytes_sent += sent as u64;
    cost.bytes_read += text.len() as u64;
    if reads {
        cost.read_units += units;
    } else {
        cost.write_units += units;
    }
    drop(cost);
    *reply.body_mut() = text.into();
    Ok(reply)
}

/// Of one table, or of a list of them.
fn units(consumed: &Value) -> f64 {
    match consumed {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => table["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}
