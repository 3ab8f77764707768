//! The AWS JSON 1.0 protocol: which action is called, how its arguments are read and answers written.
//!
//! It has the actions that the functions, the operator's commands and the benchmark call. Whatever else a request asks
//! for is refused by name: what the functions begin to use has to be added here first.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::{ErrorKind, SqsError};
use super::message::random_id;
use super::{Poll, Sqs, batch};

/// `x-amz-target` names the action behind this prefix.
const TARGET_PREFIX: &str = "AmazonSQS.";

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

/// 1 MiB of message text, escaped at worst to six bytes a character, and what surrounds it.
const REQUEST_BYTES_MAX: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Receive {
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    message_system_attribute_names: Vec<Shown>,
}

/// The system attributes that a receiver can ask for; without asking it gets none.
#[derive(Deserialize)]
enum Shown {
    All,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Delete {
    receipt_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ChangeVisibility {
    receipt_handle: String,
    visibility_timeout: i64,
}

/// One route: every action is a POST to `/`, and the SDKs also post to a queue's own URL.
pub(super) fn router(sqs: Sqs) -> Router {
    Router::new().fallback(post(call)).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state(sqs)
}

async fn call(State(sqs): State<Sqs>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let answer = sqs.answer(target.unwrap_or_default(), &body).await;
    let mut response = (answer.status(), answer.body.to_string()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    if let Ok(request_id) = HeaderValue::from_str(&random_id()) {
        response.headers_mut().insert("x-amzn-requestid", request_id);
    }
    if let Some(code) = answer.query_error.and_then(|code| HeaderValue::try_from(code).ok()) {
        response.headers_mut().insert("x-amzn-query-error", code);
    }
    response
}

/// What a call is answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    pub body: Value,
    /// What an older protocol called the error: `X-Amzn-Query-Error`.
    pub query_error: Option<String>,
}

impl Answer {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl Sqs {
    /// Answers a call: `target` is its `X-Amz-Target`, `body` its JSON.
    pub async fn answer(&self, target: &str, body: &[u8]) -> Answer {
        match dispatch(self, target.strip_prefix(TARGET_PREFIX).unwrap_or_default(), body).await {
            Ok(body) => Answer { status: 200, body, query_error: None },
            Err(error) => Answer {
                status: 400,
                body: json!({
                    "__type": format!("com.amazonaws.sqs#{}", error.kind.shape()),
                    "message": error.message,
                }),
                query_error: Some(format!("{};Sender", error.kind.code())),
            },
        }
    }
}

async fn dispatch(sqs: &Sqs, action: &str, body: &[u8]) -> Result<Value, SqsError> {
    match action {
        "ChangeMessageVisibility" => {
            let (queue, asked): (_, ChangeVisibility) = on_queue(body)?;
            sqs.change_visibility(&queue, &asked.receipt_handle, asked.visibility_timeout)?;
            Ok(json!({}))
        }
        "CreateQueue" => {
            let asked: CreateQueue = serde_json::from_slice(body)?;
            Ok(json!({ "QueueUrl": sqs.create_queue(&asked.queue_name, &asked.attributes)? }))
        }
        "DeleteMessage" => {
            let (queue, asked): (_, Delete) = on_queue(body)?;
            sqs.delete(&queue, &asked.receipt_handle)?;
            Ok(json!({}))
        }
        "ReceiveMessage" => {
            let (queue, asked) = on_queue(body)?;
            receive(sqs, &queue, asked).await
        }
        "SendMessage" => {
            let (queue, draft) = on_queue(body)?;
            Ok(json!({ "MessageId": sqs.send(&queue, draft)? }))
        }
        "SendMessageBatch" => {
            let (queue, batch) = on_queue(body)?;
            batch::send(sqs, &queue, batch)
        }
        _ => Err(ErrorKind::UnsupportedOperation.because(format!("The local queue service has no action {action}."))),
    }
}

async fn receive(sqs: &Sqs, queue: &str, asked: Receive) -> Result<Value, SqsError> {
    let poll = Poll {
        max: asked.max_number_of_messages.unwrap_or(1),
        visibility_seconds: asked.visibility_timeout,
        wait_seconds: asked.wait_time_seconds,
    };
    let mut messages = sqs.receive(queue, poll).await?;
    if messages.is_empty() {
        return Ok(json!({}));
    }
    if asked.message_system_attribute_names.is_empty() {
        messages.iter_mut().for_each(|message| message.attributes.clear());
    }
    Ok(json!({ "Messages": messages }))
}

/// The queue's name, which is the last part of its URL (the host may be any that leads here), and the other arguments.
fn on_queue<T: DeserializeOwned>(body: &[u8]) -> Result<(String, T), SqsError> {
    let mut arguments: Map<String, Value> = serde_json::from_slice(body)?;
    let url = arguments.remove("QueueUrl").ok_or_else(|| SqsError::missing("QueueUrl"))?;
    let name = url.as_str().and_then(|url| url.rsplit_once('/')).map_or("", |(_, name)| name).to_owned();
    Ok((name, serde_json::from_value(arguments.into())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn what_the_server_does_not_know_is_refused_by_name() {
        let sqs = Sqs::new("http://127.0.0.1", "eu-west-1", Clock::system());
        let queue_url = sqs.create_queue("jobs", &BTreeMap::new()).expect("a new queue");
        let batch = json!({ "Entries": [{ "Id": "0", "MessageBody": "body", "MessageAttributes": {} }] });
        for (action, mut arguments, named) in [
            ("PurgeQueue", json!({}), "PurgeQueue"),
            ("SendMessage", json!({ "MessageBody": "body", "MessageAttributes": {} }), "MessageAttributes"),
            ("SendMessage", json!({ "MessageBody": "body", "MessageDeduplicationId": "1" }), "MessageDeduplicationId"),
            ("SendMessage", json!({ "MessageBody": "body", "MessageSystemAttributes": { "Name": {} } }), "Name"),
            ("SendMessageBatch", batch, "MessageAttributes"),
            ("ReceiveMessage", json!({ "MessageAttributeNames": ["All"] }), "MessageAttributeNames"),
            ("ReceiveMessage", json!({ "MessageSystemAttributeNames": ["SenderId"] }), "SenderId"),
        ] {
            arguments["QueueUrl"] = queue_url.as_str().into();
            let refused = dispatch(&sqs, action, arguments.to_string().as_bytes()).await.expect_err(named);
            assert!(refused.message.contains(named), "{refused}");
        }
        assert_eq!(sqs.counts("jobs"), Ok(super::super::Counts::default()), "nothing was sent");
    }
}
