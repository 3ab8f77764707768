//! Answers calls to the embedded database in this process: what the signed request says is handed to the engine. Its HTTP
//! server answers everybody else, and checks more of what is malformed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::{Database as Dynoxide, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tokens::Tokens;
use super::{Call, Layer, answer, is_for, unreadable};

/// Characters of a `ClientRequestToken` at most.
const LONGEST_TOKEN: usize = 36;

/// The engine, until it is closed: clients live as long as the process, and the files must not be open that long.
#[derive(Clone)]
pub struct EmbeddedDatabase {
    endpoint_url: String,
    engine: Arc<RwLock<Option<Dynoxide>>>,
    tokens: Arc<Mutex<Tokens>>,
}

impl fmt::Debug for EmbeddedDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedDatabase").field("endpoint_url", &self.endpoint_url).finish_non_exhaustive()
    }
}

impl EmbeddedDatabase {
    /// Answers calls to `endpoint_url` with `engine`.
    pub(crate) fn new(endpoint_url: String, engine: Dynoxide) -> Self {
        Self { endpoint_url, engine: Arc::new(RwLock::new(Some(engine))), tokens: Arc::default() }
    }

    /// Lets calls under way end, and fails all later ones.
    pub(crate) fn close(&self) {
        self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The engine, for as long as a call takes; `None` when it is closed.
    pub(crate) fn engine(&self) -> Option<Dynoxide> {
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The status and JSON of an answer; `None` when the engine is closed.
    fn run(&self, call: &Call<'_>) -> Option<(u16, String)> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        Some(match run(engine.as_ref()?, &self.tokens, call) {
            Ok(body) => (200, body),
            Err(error) => (error.status_code(), error.to_json()),
        })
    }
}

impl Layer for EmbeddedDatabase {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        if !is_for(&request, &self.endpoint_url) {
            return next.call(request);
        }
        let database = self.clone();
        HttpConnectorFuture::new(async move {
            let Some(call) = Call::of(&request) else { return unreadable().await };
            let (status, body) =
                database.run(&call).ok_or_else(|| ConnectorError::io("the embedded database is closed".into()))?;
            answer(status, body)
        })
    }
}

fn run(engine: &Dynoxide, tokens: &Mutex<Tokens>, call: &Call<'_>) -> Result<String, DynoxideError> {
    let body = call.body;
    match call.operation().unwrap_or_default() {
        "GetItem" => json(engine.get_item(request(body)?)?),
        "PutItem" => json(engine.put_item(request(body)?)?),
        "UpdateItem" => json(engine.update_item(request(body)?)?),
        "DeleteItem" => json(engine.delete_item(request(body)?)?),
        "Scan" => json(engine.scan(request(body)?)?),
        "Query" => json(engine.query(request(body)?)?),
        "BatchGetItem" => json(engine.batch_get_item(request(body)?)?),
        "BatchWriteItem" => json(engine.batch_write_item(request(body)?)?),
        "TransactWriteItems" => {
            let mut transaction: TransactWriteItemsRequest = request(body)?;
            // A longer one is left for the engine to refuse.
            let token = transaction.client_request_token.take_if(|token| token.len() <= LONGEST_TOKEN);
            let run = || json(engine.transact_write_items(transaction)?);
            let Some(token) = token else { return run() };
            // Sorted: the same transaction is the same text, in whatever order its maps were written.
            let sorted: serde_json::Value = request(body)?;
            // Locked during the call: of two with one token, the second is answered as the first.
            let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.once(token, sorted.to_string().as_bytes(), Instant::now(), run)
        }
        operation => Err(DynoxideError::ValidationException(format!("{operation} is not answered in the process"))),
    }
}

fn request<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

fn json(reply: impl Serialize) -> Result<String, DynoxideError> {
    serde_json::to_string(&reply).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
