//! AWS's JSON protocols, as far as stand-ins for its services need them.

use crate::http::{Call, header};
use hyper::Request;

/// The operation that a call names.
pub fn operation(call: &Call) -> &str {
    header(call, "x-amz-target").rsplit('.').next().unwrap_or_default()
}

/// Who signed a call: the access key.
pub fn caller(call: &Call) -> &str {
    let credential = header(call, "authorization").split_once("Credential=");
    credential.and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default()
}

/// A call of DynamoDB, with a signature that the embedded database takes: it looks for one and does not check it.
pub fn dynamodb(operation: &str, body: String) -> Call {
    let credential = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
                      SignedHeaders=host, Signature=0";
    Request::builder()
        .method("POST")
        .uri("/")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", credential)
        .header("x-amz-date", "20260101T000000Z")
        .body(body.into())
        .expect("a call")
}
