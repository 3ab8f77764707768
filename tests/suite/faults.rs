//! A database that counts, refuses and leaves work undone: a proxy before the embedded one.

use local::names::TABLE_NAME;
use local::{Options, System};
use serde_json::{Value, json};
use shared::store::keys::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::aws;
use testkit::http::{self, Call, Cut, Origin, Reply, Server, StatusCode};
use tokio::sync::Notify;

/// What the proxy does with calls of one operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `BatchWriteItem`: so many times, all but the first write of each call stay unprocessed.
    LeaveUnprocessed(u32),
    /// `BatchWriteItem`: so many times, all but the first write of each call stay unprocessed; after that, all do.
    LeaveAfter(u32),
    /// So many times, `ProvisionedThroughputExceededException`.
    Throttle(u32),
    /// So many times, an internal error, and nothing done.
    Fail(u32),
    /// So many times, done, but answered with an internal error.
    LoseReply(u32),
    /// So many times, done, but answered with an internal error, and only after [`FaultyDatabase::release`].
    HoldLostReply(u32),
    /// `TransactWriteItems`: so many times, cancelled for a conflict with another transaction on the first write.
    Conflict(u32),
    /// The same for a conflict on the write of this number, from 0.
    ConflictOn(u32, usize),
    /// `TransactWriteItems`: so many times, cancelled for want of units.
    Starve(u32),
    /// `TransactWriteItems`: so many times, done, but answered with an internal error; once more, cancelled for want of units.
    StarveAfterLostReplies(u32),
    /// `PutItem`, `UpdateItem`, `DeleteItem`: so many times, refused because a transaction holds the record.
    Held(u32),
    /// So many times, done so much later.
    Delay(u32, Duration),
    /// So many times, done only after [`FaultyDatabase::release`], however long ago the caller gave up.
    HoldOnTheWay(u32),
    /// All, until [`FaultyDatabase::release`].
    Hold,
    /// `Query`: each page has one record, and all but the first wait for [`FaultyDatabase::release`]. A page ends where DynamoDB likes.
    HoldNextPage,
}

/// What is counted of an operation when it is done and its reply is held, or it was held on the way.
const DONE: &str = ", done";
/// What queries are counted as that go on with another page.
const NEXT_PAGE: &str = "Query, next page";

/// What the `UpdateItem`s of one record are called, to have faults of their own.
pub(crate) fn updates_of(Key { pk, sk }: &Key) -> String {
    format!("UpdateItem of {pk} {sk}")
}

/// The same of its `PutItem`s.
pub(crate) fn puts_of(Key { pk, sk }: &Key) -> String {
    format!("PutItem of {pk} {sk}")
}

/// The `UpdateItem` of somebody else before each transaction, by the transaction's number.
type Interference = Arc<dyn Fn(u32) -> Value + Send + Sync>;

#[derive(Clone)]
pub(crate) struct FaultyDatabase {
    origin: Origin,
    calls: Arc<Mutex<HashMap<String, u32>>>,
    callers: Arc<Mutex<Vec<String>>>,
    faults: Arc<Mutex<HashMap<String, Fault>>>,
    interference: Arc<Mutex<Option<Interference>>>,
    released: Arc<Notify>,
    pub(crate) url: String,
}

impl FaultyDatabase {
    /// Starts a proxy before the database at `origin`.
    pub(crate) async fn before(origin: &str) -> Self {
        let server = Server::bind().await;
        let proxy = Self {
            origin: Origin::at(origin),
            calls: Arc::default(),
            callers: Arc::default(),
            faults: Arc::default(),
            interference: Arc::default(),
            released: Arc::default(),
            url: server.url.clone(),
        };
        server.start(proxy.clone(), answer);
        proxy
    }

    /// Another system, whose functions reach the database through the proxy.
    pub(crate) async fn system(&self) -> System {
        let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.url.clone())].into();
        System::start(Options { environment, background: false, ..Options::ephemeral() }).await.unwrap()
    }

    /// From now on.
    pub(crate) fn inject(&self, operation: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(operation.to_owned(), fault);
    }

    /// Before each transaction from now on, somebody else changes a record: its version grows.
    pub(crate) fn keep_changing(&self, key: Key) {
        self.keep_raising(key, "version");
    }

    /// The same of another number in it.
    pub(crate) fn keep_raising(&self, Key { pk, sk }: Key, number: &str) {
        let grows = json!({"TableName": TABLE_NAME, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": "ADD #number :one", "ExpressionAttributeNames": {"#number": number},
            "ExpressionAttributeValues": {":one": {"N": "1"}}});
        *self.interference.lock().unwrap() = Some(Arc::new(move |_| grows.clone()));
    }

    /// The same of a membership, which gets another mark.
    pub(crate) fn keep_marking(&self, Key { pk, sk }: Key) {
        let marked = move |number: u32| {
            json!({"TableName": TABLE_NAME, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
                "UpdateExpression": "SET #mark = :mark", "ExpressionAttributeNames": {"#mark": "mark"},
                "ExpressionAttributeValues": {":mark": {"S": format!("{number:022}")}}})
        };
        *self.interference.lock().unwrap() = Some(Arc::new(marked));
    }

    /// Waits until an operation that is held has arrived.
    pub(crate) async fn holds(&self, operation: &str) {
        let before = self.calls(operation);
        while self.calls(operation) == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until an operation is done whose reply is held, or that was held on the way.
    pub(crate) async fn has_done(&self, operation: &str) {
        while self.calls(&format!("{operation}{DONE}")) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until a page that is held has been asked for.
    pub(crate) async fn holds_next_page(&self) {
        self.holds(NEXT_PAGE).await;
    }

    /// Does what is held, and holds no more.
    pub(crate) fn release(&self, operation: &str) {
        self.faults.lock().unwrap().remove(operation);
        self.released.notify_waiters();
    }

    /// How many calls of an operation arrived.
    pub(crate) fn calls(&self, operation: &str) -> u32 {
        self.calls.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    /// The access keys of whoever has called, in order.
    pub(crate) fn callers(&self) -> Vec<String> {
        self.callers.lock().unwrap().clone()
    }

    /// All calls so far.
    pub(crate) fn total(&self) -> u32 {
        self.calls.lock().unwrap().values().sum()
    }

    /// Calls the database itself, past the faults.
    pub(crate) async fn call(&self, operation: &str, body: &Value) {
        self.ask(operation, body).await;
    }

    /// The same, with what it answers.
    pub(crate) async fn ask(&self, operation: &str, body: &Value) -> Value {
        let reply = self.origin.pass(aws::dynamodb(operation, body.to_string())).await;
        assert!(reply.status().is_success(), "{:?}", reply.body());
        serde_json::from_slice(reply.body()).unwrap()
    }

    /// The fault that applies to this call, counted down.
    fn due(&self, operation: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let fault = faults.get_mut(operation)?;
        let left = match fault {
            Fault::LeaveUnprocessed(left)
            | Fault::Throttle(left)
            | Fault::Conflict(left)
            | Fault::ConflictOn(left, _)
            | Fault::Starve(left)
            | Fault::Held(left)
            | Fault::Fail(left)
            | Fault::LoseReply(left)
            | Fault::HoldLostReply(left)
            | Fault::HoldOnTheWay(left)
            | Fault::Delay(left, _) => left,
            Fault::LeaveAfter(left) => {
                let due = Fault::LeaveAfter(*left);
                *left = left.saturating_sub(1);
                return Some(due);
            }
            Fault::StarveAfterLostReplies(0) => {
                *fault = Fault::Starve(0);
                return Some(Fault::Starve(1));
            }
            Fault::StarveAfterLostReplies(left) => {
                *left -= 1;
                return Some(Fault::LoseReply(1));
            }
            Fault::Hold | Fault::HoldNextPage => return Some(*fault),
        };
        *left = left.checked_sub(1)?;
        Some(*fault)
    }
}

async fn answer(proxy: FaultyDatabase, mut call: Call) -> Result<Reply, Cut> {
    let operation = aws::operation(&call).to_owned();
    // Before it is counted, so that no release goes unheard.
    let released = proxy.released.clone().notified_owned();
    *proxy.calls.lock().unwrap().entry(operation.clone()).or_default() += 1;
    proxy.callers.lock().unwrap().push(aws::caller(&call).to_owned());
    let interference = proxy.interference.lock().unwrap().clone();
    if let Some(update) = interference.filter(|_| operation == "TransactWriteItems") {
        let update = update(proxy.calls(&operation));
        proxy.call("UpdateItem", &update).await;
    }
    let key_in = match operation.as_str() {
        "UpdateItem" => Some("Key"),
        "PutItem" => Some("Item"),
        _ => None,
    };
    let of_record = key_in.map(|within| {
        let request: Value = serde_json::from_slice(call.body()).unwrap();
        let part = |name: &str| request[within][name]["S"].as_str().unwrap().to_owned();
        let key = Key { pk: part("pk"), sk: part("sk") };
        if within == "Key" { updates_of(&key) } else { puts_of(&key) }
    });
    let fault = of_record.as_deref().and_then(|of_record| proxy.due(of_record)).or_else(|| proxy.due(&operation));
    Ok(match fault {
        None => proxy.origin.pass(call).await,
        Some(Fault::Delay(_, delay)) => {
            tokio::time::sleep(delay).await;
            proxy.origin.pass(call).await
        }
        Some(Fault::Hold) => {
            released.await;
            proxy.origin.pass(call).await
        }
        // A task of its own: this one ends when the caller gives up.
        Some(Fault::HoldOnTheWay(_)) => tokio::spawn(async move {
            released.await;
            let reply = proxy.origin.pass(call).await;
            let done = format!("{}{DONE}", of_record.unwrap_or(operation));
            *proxy.calls.lock().unwrap().entry(done).or_default() += 1;
            reply
        })
        .await
        .unwrap(),
        Some(Fault::HoldNextPage) => {
            let mut request: Value = serde_json::from_slice(call.body()).unwrap();
            if request.get("ExclusiveStartKey").is_some() {
                *proxy.calls.lock().unwrap().entry(NEXT_PAGE.to_owned()).or_default() += 1;
                released.await;
            }
            request["Limit"] = json!(1);
            *call.body_mut() = request.to_string().into();
            proxy.origin.pass(call).await
        }
        Some(fault @ (Fault::LoseReply(_) | Fault::HoldLostReply(_))) => {
            proxy.origin.pass(call).await;
            if matches!(fault, Fault::HoldLostReply(_)) {
                *proxy.calls.lock().unwrap().entry(format!("{operation}{DONE}")).or_default() += 1;
                released.await;
            }
            error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", json!({"message": "lost"}))
        }
        Some(Fault::Fail(_)) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", json!({"message": "failed"}))
        }
        Some(Fault::Throttle(_)) => {
            let kind = "ProvisionedThroughputExceededException";
            error(StatusCode::BAD_REQUEST, kind, json!({"message": "slow down"}))
        }
        Some(Fault::Held(_)) => {
            error(StatusCode::BAD_REQUEST, "TransactionConflictException", json!({"message": "held"}))
        }
        Some(
            fault @ (Fault::Conflict(_) | Fault::ConflictOn(..) | Fault::Starve(_) | Fault::StarveAfterLostReplies(_)),
        ) => {
            let is_met = matches!(fault, Fault::Conflict(_) | Fault::ConflictOn(..));
            let code = if is_met { "TransactionConflict" } else { "ThrottlingError" };
            let refused = if let Fault::ConflictOn(_, write) = fault { write } else { 0 };
            let request: Value = serde_json::from_slice(call.body()).unwrap();
            let writes = request["TransactItems"].as_array().unwrap().len();
            let reasons: Vec<Value> =
                (0..writes).map(|at| json!({"Code": if at == refused { code } else { "None" }})).collect();
            let body = json!({"Message": "cancelled", "CancellationReasons": reasons});
            error(StatusCode::BAD_REQUEST, "TransactionCanceledException", body)
        }
        Some(fault @ (Fault::LeaveUnprocessed(_) | Fault::LeaveAfter(_))) => {
            let mut request: Value = serde_json::from_slice(call.body()).unwrap();
            let (table, writes) = request["RequestItems"].as_object().unwrap().iter().next().unwrap();
            let (table, writes) = (table.clone(), writes.as_array().unwrap().clone());
            if fault == Fault::LeaveAfter(0) {
                return Ok(http::json(StatusCode::OK, json!({"UnprocessedItems": {table: writes}})));
            }
            request["RequestItems"][&table] = json!(writes[..1]);
            *call.body_mut() = request.to_string().into();
            let reply = proxy.origin.pass(call).await;
            if reply.status() != StatusCode::OK {
                return Ok(reply);
            }
            http::json(StatusCode::OK, json!({"UnprocessedItems": {table: writes[1..]}}))
        }
    })
}

fn error(status: StatusCode, kind: &str, mut body: Value) -> Reply {
    body["__type"] = json!(format!("com.amazonaws.dynamodb.v20120810#{kind}"));
    http::json(status, body)
}
