//! Answers calls to the mail service in this process, as [`super::embedded`] does those to the database.

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::{Call, Layer, answer, is_for, unreadable};
use crate::mail_service::{MailService, PATH};

/// The mail service behind an endpoint.
#[derive(Clone, Debug)]
pub struct EmbeddedMail {
    endpoint_url: String,
    service: MailService,
}

impl EmbeddedMail {
    /// Answers calls to `endpoint_url` with `service`.
    #[must_use]
    pub fn new(endpoint_url: String, service: MailService) -> Self {
        Self { endpoint_url, service }
    }
}

impl Layer for EmbeddedMail {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        if !is_for(&request, &self.endpoint_url) {
            return next.call(request);
        }
        let service = self.service.clone();
        HttpConnectorFuture::new(async move {
            let Some(call) = Call::of(&request) else { return unreadable().await };
            if !call.path.ends_with(PATH) {
                return answer(404, "{}".to_owned());
            }
            let answered = service.answer(call.body.to_vec()).await;
            let mut response = answer(answered.status, answered.body)?;
            if let Some(error) = answered.error {
                response.headers_mut().insert("x-amzn-errortype", error);
            }
            Ok(response)
        })
    }
}
