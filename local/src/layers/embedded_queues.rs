//! Answers calls to the embedded queues in this process, as [`super::embedded`] does those to the database.

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::{Call, Layer, answer, is_for, unreadable};
use crate::sqs::Sqs;

/// The queue service behind an endpoint.
#[derive(Clone, Debug)]
pub struct EmbeddedQueues {
    endpoint_url: String,
    sqs: Sqs,
}

impl EmbeddedQueues {
    /// Answers calls to `endpoint_url` with `sqs`.
    #[must_use]
    pub fn new(endpoint_url: String, sqs: Sqs) -> Self {
        Self { endpoint_url, sqs }
    }
}

impl Layer for EmbeddedQueues {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        if !is_for(&request, &self.endpoint_url) {
            return next.call(request);
        }
        let sqs = self.sqs.clone();
        HttpConnectorFuture::new(async move {
            let Some(call) = Call::of(&request) else { return unreadable().await };
            let answered = sqs.answer(call.target.unwrap_or_default(), call.body).await;
            let mut response = answer(answered.status, answered.body.to_string())?;
            if let Some(code) = answered.query_error {
                response.headers_mut().insert("x-amzn-query-error", code);
            }
            Ok(response)
        })
    }
}
