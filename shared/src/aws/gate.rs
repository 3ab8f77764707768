//! Where IAM stands in AWS: `local` puts a judge in front of each function's clients. Without the feature `gate`, which no
//! function has, nothing of it is there.

use aws_smithy_runtime_api::client::http::SharedHttpClient;

#[cfg(feature = "gate")]
pub use judged::{Call, Judge, Refusal};

/// In front of all clients of an [`AwsConfig`](super::AwsConfig). It is open unless it was given a judge.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    #[cfg(feature = "gate")]
    judge: Option<std::sync::Arc<dyn Judge>>,
}

#[cfg(not(feature = "gate"))]
impl Gate {
    pub(super) fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        client
    }
}

#[cfg(feature = "gate")]
impl Gate {
    /// A gate that lets pass what `judge` allows.
    #[must_use]
    pub fn new(judge: std::sync::Arc<dyn Judge>) -> Self {
        Self { judge: Some(judge) }
    }

    /// A client whose calls have to pass.
    pub(super) fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        match &self.judge {
            Some(judge) => SharedHttpClient::new(judged::Client { judge: judge.clone(), client }),
            None => client,
        }
    }
}

#[cfg(feature = "gate")]
mod judged {
    use aws_smithy_runtime_api::client::http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    };
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;
    use serde_json::json;
    use std::fmt::Debug;
    use std::sync::Arc;

    /// Says whether a call may be made.
    pub trait Judge: Debug + Send + Sync {
        /// # Errors
        /// What AWS would answer to who may not make it.
        fn judge(&self, call: &Call<'_>) -> Result<(), Refusal>;
    }

    /// A signed request, as AWS sees it.
    #[derive(Debug)]
    pub struct Call<'a> {
        /// The access key id that signed it: who calls.
        pub access_key: &'a str,
        /// The service that it was signed for, such as `dynamodb`.
        pub service: &'a str,
        /// `X-Amz-Target` in AWS's JSON protocols: the operation, behind a prefix and a dot.
        pub target: Option<&'a str>,
        pub method: &'a str,
        pub path: &'a str,
        pub body: &'a [u8],
    }

    /// `AccessDeniedException`.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[error("{message}")]
    pub struct Refusal {
        /// HTTP status, which is not the same for all services.
        pub status: u16,
        pub message: String,
    }

    impl<'a> Call<'a> {
        /// Reads a request; `None` without a signature (Signature Version 4, in the header).
        fn of(request: &'a HttpRequest) -> Option<Self> {
            let signature = request.headers().get("authorization")?;
            // <access key>/<date>/<region>/<service>/aws4_request
            let (_, scope) = signature.split_once("Credential=")?;
            let mut scope = scope.split_once(',')?.0.split('/');
            let (access_key, service) = (scope.next()?, scope.nth(2)?);
            let path = request.uri().split_once("://").map_or(request.uri(), |(_, rest)| rest);
            let path = path.find('/').map_or("/", |start| &path[start..]);
            Some(Self {
                access_key,
                service,
                target: request.headers().get("x-amz-target"),
                method: request.method(),
                path: path.split('?').next().unwrap_or(path),
                body: request.body().bytes()?,
            })
        }
    }

    impl Refusal {
        fn response(&self) -> Result<HttpResponse, ConnectorError> {
            let name = "AccessDeniedException";
            let body = json!({"__type": format!("com.amazon.coral.service#{name}"), "Message": self.message});
            let status = StatusCode::try_from(self.status).map_err(|error| ConnectorError::user(error.into()))?;
            let mut response = HttpResponse::new(status, SdkBody::from(body.to_string()));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
            response.headers_mut().insert("x-amzn-errortype", name);
            Ok(response)
        }
    }

    #[derive(Debug)]
    pub(super) struct Client {
        pub(super) judge: Arc<dyn Judge>,
        pub(super) client: SharedHttpClient,
    }

    impl HttpClient for Client {
        fn http_connector(
            &self,
            settings: &HttpConnectorSettings,
            components: &RuntimeComponents,
        ) -> SharedHttpConnector {
            let connector = self.client.http_connector(settings, components);
            SharedHttpConnector::new(Connector { judge: self.judge.clone(), connector })
        }
    }

    #[derive(Debug)]
    struct Connector {
        judge: Arc<dyn Judge>,
        connector: SharedHttpConnector,
    }

    impl HttpConnector for Connector {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let Some(call) = Call::of(&request) else {
                return HttpConnectorFuture::ready(Err(ConnectorError::user("an unsigned or streamed call".into())));
            };
            match self.judge.judge(&call) {
                Ok(()) => self.connector.call(request),
                Err(refusal) => HttpConnectorFuture::ready(refusal.response()),
            }
        }
    }
}
