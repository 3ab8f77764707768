//! A database that refuses as DynamoDB does: what meets a record that a transaction holds is refused at once, whether it writes or
//! checks it. Transactions hold their records for a fixed time.

use serde_json::{Value, json};
use shared::store::keys::Key;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::aws;
use testkit::http::{self, Call, Cut, Origin, Reply, Server, StatusCode};

#[derive(Clone)]
pub(crate) struct Conflicts {
    origin: Origin,
    hold: Duration,
    held: Arc<Mutex<HashSet<String>>>,
    met: Arc<Mutex<BTreeMap<String, u32>>>,
    read: Arc<Mutex<BTreeMap<String, u32>>>,
    written: Arc<Mutex<BTreeMap<String, u32>>>,
    pub(crate) url: String,
}

impl Conflicts {
    /// Starts before the database at `origin`.
    pub(crate) async fn before(origin: &str, hold: Duration) -> Self {
        let server = Server::bind().await;
        let url = server.url.clone();
        let proxy = Self {
            origin: Origin::at(origin),
            hold,
            held: Arc::default(),
            met: Arc::default(),
            read: Arc::default(),
            written: Arc::default(),
            url,
        };
        server.start(proxy.clone(), answer);
        proxy
    }

    /// How often a record was found held, by what its partition's key starts with.
    pub(crate) fn met(&self, kind: &str) -> u32 {
        self.met.lock().unwrap().get(kind).copied().unwrap_or(0)
    }

    /// How often records with a sort key were read in batches.
    pub(crate) fn read(&self, sk: &str) -> u32 {
        self.read.lock().unwrap().get(sk).copied().unwrap_or(0)
    }

    /// How often transactions wrote or checked a record.
    pub(crate) fn written(&self, Key { pk, sk }: &Key) -> u32 {
        self.written.lock().unwrap().get(&format!("{pk} {sk}")).copied().unwrap_or(0)
    }

    /// Takes hold of all records, or says which are held.
    fn hold(&self, keys: &[String]) -> Result<(), Vec<bool>> {
        let mut held = self.held.lock().unwrap();
        let taken: Vec<bool> = keys.iter().map(|key| held.contains(key)).collect();
        if taken.contains(&true) {
            let mut met = self.met.lock().unwrap();
            for (key, _) in keys.iter().zip(&taken).filter(|(_, taken)| **taken) {
                *met.entry(key.split('#').next().unwrap().to_owned()).or_default() += 1;
            }
            return Err(taken);
        }
        held.extend(keys.iter().cloned());
        Ok(())
    }
}

fn key(record: &Value) -> String {
    format!("{} {}", record["pk"]["S"].as_str().unwrap(), record["sk"]["S"].as_str().unwrap())
}

async fn answer(proxy: Conflicts, call: Call) -> Result<Reply, Cut> {
    let operation = aws::operation(&call).to_owned();
    let request: Value = serde_json::from_slice(call.body()).unwrap();
    match operation.as_str() {
        "PutItem" | "UpdateItem" | "DeleteItem" => {
            let key = key(if operation == "PutItem" { &request["Item"] } else { &request["Key"] });
            if proxy.held.lock().unwrap().contains(&key) {
                return Ok(error("TransactionConflictException", json!({"message": "held"})));
            }
            Ok(proxy.origin.pass(call).await)
        }
        "TransactWriteItems" => {
            let keys: Vec<String> = request["TransactItems"]
                .as_array()
                .unwrap()
                .iter()
                .map(|write| {
                    let (kind, write) = write.as_object().unwrap().iter().next().unwrap();
                    key(if kind == "Put" { &write["Item"] } else { &write["Key"] })
                })
                .collect();
            if let Err(taken) = proxy.hold(&keys) {
                let code = |taken: &bool| json!({"Code": if *taken { "TransactionConflict" } else { "None" }});
                let reasons: Vec<Value> = taken.iter().map(code).collect();
                let body = json!({"Message": "conflict", "CancellationReasons": reasons});
                return Ok(error("TransactionCanceledException", body));
            }
            let reply = proxy.origin.pass(call).await;
            if reply.status() == StatusCode::OK {
                keys.iter().for_each(|key| *proxy.written.lock().unwrap().entry(key.clone()).or_default() += 1);
                tokio::time::sleep(proxy.hold).await;
            }
            proxy.held.lock().unwrap().retain(|held| !keys.contains(held));
            Ok(reply)
        }
        "BatchGetItem" => {
            let keys = request["RequestItems"][local::names::TABLE_NAME]["Keys"].as_array().unwrap();
            let sks = keys.iter().map(|key| key["sk"]["S"].as_str().unwrap().to_owned());
            sks.for_each(|sk| *proxy.read.lock().unwrap().entry(sk).or_default() += 1);
            Ok(proxy.origin.pass(call).await)
        }
        _ => Ok(proxy.origin.pass(call).await),
    }
}

fn error(kind: &str, mut body: Value) -> Reply {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    http::json(StatusCode::BAD_REQUEST, body)
}
