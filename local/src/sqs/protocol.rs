//! The AWS JSON 1.0 protocol: which action is called, how its arguments are read and answers written.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Sqs;
use super::error::{ErrorKind, SqsError};
use super::message::random_id;

/// `x-amz-target` names the action behind this prefix.
const TARGET_PREFIX: &str = "AmazonSQS.";

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

/// 1 MiB of message text, escaped at worst to six bytes a character, and what surrounds it.
const REQUEST_BYTES_MAX: usize = 8 << 20;

/// One route: every action is a POST to `/`, and the SDKs also post to a queue's own URL.
pub(super) fn router(sqs: Sqs) -> Router {
    Router::new().fallback(post(call)).layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)).with_state(sqs)
}

async fn call(State(sqs): State<Sqs>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let answer = match target.and_then(|target| target.strip_prefix(TARGET_PREFIX)) {
        Some(action) => dispatch(&sqs, action, &body).await,
        None => Err(ErrorKind::InvalidAction.because("The x-amz-target header must name an action of AmazonSQS.")),
    };
    match answer {
        Ok(body) => reply(StatusCode::OK, body),
        Err(error) => refusal(&error),
    }
}

async fn dispatch(sqs: &Sqs, action: &str, body: &[u8]) -> Result<Vec<u8>, SqsError> {
    match action {
        "ChangeMessageVisibility" => written(sqs.act_change_visibility(read(body)?)?),
        "ChangeMessageVisibilityBatch" => written(sqs.act_change_visibility_batch(read(body)?)?),
        "CreateQueue" => written(sqs.act_create_queue(read(body)?)?),
        "DeleteMessage" => written(sqs.act_delete(read(body)?)?),
        "DeleteMessageBatch" => written(sqs.act_delete_batch(read(body)?)?),
        "GetQueueAttributes" => written(sqs.act_get_attributes(read(body)?)?),
        "GetQueueUrl" => written(sqs.act_get_url(read(body)?)?),
        "ListDeadLetterSourceQueues" => written(sqs.act_list_sources(read(body)?)?),
        "ListMessageMoveTasks" => written(sqs.act_list_moves(read(body)?)?),
        "ListQueues" => written(sqs.act_list(read(body)?)?),
        "PurgeQueue" => written(sqs.act_purge(read(body)?)?),
        "ReceiveMessage" => written(sqs.act_receive(read(body)?).await?),
        "SendMessage" => written(sqs.act_send(read(body)?)?),
        "SendMessageBatch" => written(sqs.act_send_batch(read(body)?)?),
        "SetQueueAttributes" => written(sqs.act_set_attributes(read(body)?)?),
        "StartMessageMoveTask" => written(sqs.act_start_move(read(body)?)?),
        _ => Err(ErrorKind::UnsupportedOperation.because(format!("The local queue service has no action {action}."))),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, SqsError> {
    serde_json::from_slice(body).map_err(|error| ErrorKind::Serialization.because(format!("The request body: {error}")))
}

fn written(answer: impl Serialize) -> Result<Vec<u8>, SqsError> {
    serde_json::to_vec(&answer).map_err(|error| ErrorKind::Serialization.because(format!("The answer: {error}")))
}

fn refusal(error: &SqsError) -> Response {
    let body = serde_json::json!({
        "__type": format!("com.amazonaws.sqs#{}", error.kind.shape()),
        "message": error.message,
    });
    let mut response = reply(StatusCode::BAD_REQUEST, body.to_string().into_bytes());
    let legacy = format!("{};Sender", error.kind.code());
    if let Ok(legacy) = HeaderValue::from_str(&legacy) {
        response.headers_mut().insert("x-amzn-query-error", legacy);
    }
    response
}

fn reply(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    if let Ok(request_id) = HeaderValue::from_str(&random_id()) {
        headers.insert("x-amzn-requestid", request_id);
    }
    response
}
