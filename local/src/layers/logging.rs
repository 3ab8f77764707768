//! Logs each call to AWS at level `debug`: what is done to which table, queue or secret, and how long it takes. Nothing else of a
//! call is logged, since it holds what callers sent.

use std::collections::BTreeSet;
use std::time::Instant;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value;
use tracing::Level;

use super::{Call, Layer};

/// A line for each call, repetitions included.
#[derive(Debug)]
pub struct Logging;

impl Layer for Logging {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let call = if tracing::enabled!(Level::DEBUG) { Call::of(&request) } else { None };
        let Some(call) = call else { return next.call(request) };
        // A function signs with its name; the sweeper's look at what is due is about no job yet.
        let (function, service) = (call.access_key.to_owned(), call.service.to_owned());
        let operation = call.operation().map(str::to_owned);
        let resource = serde_json::from_slice(call.body).ok().and_then(|body| resource(&body));
        let begun = Instant::now();
        let answer = next.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            let ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
            let status = answer.as_ref().ok().map(|response| response.status().as_u16());
            let resource = resource.as_deref();
            tracing::debug!(function, service, operation, resource, status, ms, "called AWS");
            answer
        })
    }
}

/// The table, queue or secret that a call's body names; several joined by commas.
fn resource(body: &Value) -> Option<String> {
    if let Some(url) = body["QueueUrl"].as_str() {
        return url.rsplit('/').next().map(str::to_owned);
    }
    if let Some(name) = body["TableName"].as_str().or(body["SecretId"].as_str()) {
        return Some(name.to_owned());
    }
    let of_batch = body["RequestItems"].as_object().into_iter().flat_map(|tables| tables.keys().map(String::as_str));
    let writes = body["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let of_transaction = writes.flat_map(|write| write.values()).filter_map(|write| write["TableName"].as_str());
    let tables: BTreeSet<&str> = of_batch.chain(of_transaction).collect();
    (!tables.is_empty()).then(|| tables.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::resource;

    #[test]
    fn a_call_names_what_it_is_about() {
        for (body, expected) in [
            (json!({"TableName": "t", "Key": {"pk": {"S": "x"}}}), Some("t")),
            (json!({"RequestItems": {"t": {"Keys": []}}}), Some("t")),
            (json!({"TransactItems": [{"Put": {"TableName": "t"}}, {"Update": {"TableName": "t"}}]}), Some("t")),
            (json!({"QueueUrl": "http://127.0.0.1:1/000000000000/JobsQueue", "MessageBody": "x"}), Some("JobsQueue")),
            (json!({"SecretId": "s"}), Some("s")),
            (json!({"Content": "x"}), None),
        ] {
            assert_eq!(resource(&body).as_deref(), expected, "{body}");
        }
    }
}
