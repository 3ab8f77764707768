//! A proxy before the embedded database that counts calls, bytes and capacity units.

use load::growth::Cost;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use testkit::aws;
use testkit::http::{Call, Cut, Origin, Reply, Server};

/// Operations that take read capacity; all others take write capacity.
const READS: [&str; 3] = ["GetItem", "BatchGetItem", "Query"];

#[derive(Clone)]
pub(crate) struct Meter {
    origin: Origin,
    cost: Arc<Mutex<Cost>>,
    pub(crate) url: String,
}

impl Meter {
    /// Starts before the database at `origin`.
    pub(crate) async fn before(origin: &str) -> Self {
        let server = Server::bind().await;
        let meter = Self { origin: Origin::at(origin), cost: Arc::default(), url: server.url.clone() };
        server.start(meter.clone(), answer);
        meter
    }

    /// What came since it was last asked.
    pub(crate) fn take(&self) -> Cost {
        std::mem::take(&mut *self.cost.lock().unwrap())
    }
}

async fn answer(meter: Meter, mut call: Call) -> Result<Reply, Cut> {
    let reads = READS.contains(&aws::operation(&call));
    let sent = call.body().len();
    let mut asked: Value = serde_json::from_slice(call.body()).unwrap();
    asked["ReturnConsumedCapacity"] = "TOTAL".into();
    *call.body_mut() = asked.to_string().into();
    let mut reply = meter.origin.pass(call).await;
    let mut answered: Value = serde_json::from_slice(reply.body()).unwrap();
    let consumed = answered.as_object_mut().and_then(|fields| fields.remove("ConsumedCapacity"));
    let text = answered.to_string();
    let units = consumed.as_ref().map_or(0.0, units);
    let mut cost = meter.cost.lock().unwrap();
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
