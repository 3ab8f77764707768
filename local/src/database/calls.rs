//! Calls of the functions' clients to the embedded database without a connection: what the signed request says is handed to the
//! database's thread. Its HTTP server answers everybody else, and checks more of what is malformed.

use super::tokens::Tokens;
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::{Database as Dynoxide, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::aws::{Answer, Service};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// What an operation's name follows in `X-Amz-Target`.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Characters of a `ClientRequestToken` at most.
const LONGEST_TOKEN: usize = 36;

/// Takes calls to the database's thread.
#[derive(Clone, Debug)]
pub(super) struct Calls(mpsc::UnboundedSender<Call>);

/// One on its way.
#[derive(Debug)]
pub(super) struct Call {
    target: String,
    body: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

/// The way to the thread, and its end there.
pub(super) fn channel() -> (Calls, mpsc::UnboundedReceiver<Call>) {
    let (send, receive) = mpsc::unbounded_channel();
    (Calls(send), receive)
}

impl Service for Calls {
    fn call(&self, target: &str, body: &[u8]) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // A database that has ended drops the call, and whoever waits learns of it.
        let _ = self.0.send(Call { target: target.to_owned(), body: body.to_owned(), answer });
        answered
    }
}

/// Answers calls until nobody can make any.
pub(super) async fn serve(mut calls: mpsc::UnboundedReceiver<Call>, engine: Dynoxide) {
    let mut tokens = Tokens::default();
    while let Some(call) = calls.recv().await {
        let answer = match run(&engine, &mut tokens, &call) {
            Ok(body) => Answer { status: 200, body },
            Err(error) => Answer { status: error.status_code(), body: error.to_json() },
        };
        // Who gave up waiting needs no answer.
        let _ = call.answer.send(answer);
    }
}

fn run(engine: &Dynoxide, tokens: &mut Tokens, call: &Call) -> Result<String, DynoxideError> {
    let body = call.body.as_slice();
    match call.target.strip_prefix(TARGET_PREFIX).unwrap_or_default() {
        "GetItem" => json(engine.get_item(request(body)?)?),
        "PutItem" => json(engine.put_item(request(body)?)?),
        "UpdateItem" => json(engine.update_item(request(body)?)?),
        "DeleteItem" => json(engine.delete_item(request(body)?)?),
        "Query" => json(engine.query(request(body)?)?),
        "BatchGetItem" => json(engine.batch_get_item(request(body)?)?),
        "BatchWriteItem" => json(engine.batch_write_item(request(body)?)?),
        "TransactWriteItems" => {
            let mut transaction: TransactWriteItemsRequest = request(body)?;
            // A longer one is left for the engine to refuse.
            let token = transaction.client_request_token.take_if(|token| token.len() <= LONGEST_TOKEN);
            let run = || json(engine.transact_write_items(transaction)?);
            match token {
                Some(token) => tokens.once(token, body, Instant::now(), run),
                None => run(),
            }
        }
        _ => Err(DynoxideError::ValidationException(format!("{} is not answered in the process", call.target))),
    }
}

fn request<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    serde_json::from_slice(body).map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

fn json(reply: impl Serialize) -> Result<String, DynoxideError> {
    serde_json::to_string(&reply).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}
