//! Answers calls to Secrets Manager in this process, with the one secret that a system on this machine has: the model provider's
//! key, as whoever starts the system has it in the environment.

use analysis_worker::secret::Secret;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::{Value, json};

use super::{Call, Layer, answer};

/// The secret's name here.
pub const SECRET_ID: &str = "anthropic-api-key";

/// A Secrets Manager that has one secret.
#[derive(Clone, Debug)]
pub struct EmbeddedSecrets(Secret);

impl EmbeddedSecrets {
    /// Answers with `key` for [`SECRET_ID`].
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Self(key)
    }
}

impl Layer for EmbeddedSecrets {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let Some(call) = Call::of(&request) else { return next.call(request) };
        if call.service != "secretsmanager" {
            return next.call(request);
        }
        let asked: Value = serde_json::from_slice(call.body).unwrap_or_default();
        let answered = if call.operation() == Some("GetSecretValue") && asked["SecretId"] == SECRET_ID {
            answer(200, json!({"Name": SECRET_ID, "SecretString": self.0.expose()}).to_string())
        } else {
            answer(400, json!({"__type": "ResourceNotFoundException"}).to_string())
        };
        HttpConnectorFuture::ready(answered)
    }
}
