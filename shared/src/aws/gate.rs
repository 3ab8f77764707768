//! Where IAM stands in AWS: `local` puts a judge in front of the functions' clients, which share their connections, and an
//! engine in the place of its own database. Without the feature `gate`, which no function has, nothing of it is there.

use aws_smithy_runtime_api::client::http::SharedHttpClient;

#[cfg(feature = "gate")]
pub use judged::{Call, Judge, Refusal};

/// What clients of an [`AwsConfig`](super::AwsConfig) pass. It is open, and each client has connections of its own, unless it
/// is a [`Gate::new`].
#[derive(Clone, Debug, Default)]
pub struct Gate {
    #[cfg(feature = "gate")]
    shared: Option<std::sync::Arc<judged::Shared>>,
}

#[cfg(not(feature = "gate"))]
impl Gate {
    pub(super) fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        client
    }

    pub(super) fn one<E>(&self, make: impl FnOnce() -> Result<SharedHttpClient, E>) -> Result<SharedHttpClient, E> {
        make()
    }
}

#[cfg(feature = "gate")]
impl Gate {
    /// A gate that lets pass what `judge` allows, or everything; calls to a database at this endpoint are the engine's, which
    /// judges them itself. Whatever has it or a clone shares connections: `local` runs each function under its own name, and is
    /// still one process.
    #[must_use]
    pub fn new(
        judge: Option<std::sync::Arc<dyn Judge>>,
        database: Option<(String, std::sync::Arc<dyn super::Engine>)>,
    ) -> Self {
        Self {
            shared: Some(std::sync::Arc::new(judged::Shared { judge, database, client: std::sync::OnceLock::new() })),
        }
    }

    /// The engine that has this endpoint.
    pub(super) fn engine(&self, endpoint: Option<&str>) -> Option<&std::sync::Arc<dyn super::Engine>> {
        let (at, engine) = self.shared.as_ref()?.database.as_ref()?;
        (endpoint == Some(at.as_str())).then_some(engine)
    }

    /// A client whose calls have to pass.
    pub(super) fn before(&self, client: SharedHttpClient) -> SharedHttpClient {
        match &self.shared {
            Some(shared) => SharedHttpClient::new(judged::Client { shared: shared.clone(), client }),
            None => client,
        }
    }

    /// The client that all share, which is made if there is none yet.
    pub(super) fn one<E>(&self, make: impl FnOnce() -> Result<SharedHttpClient, E>) -> Result<SharedHttpClient, E> {
        let Some(shared) = &self.shared else { return make() };
        match shared.client.get() {
            Some(client) => Ok(client.clone()),
            None => make().map(|made| shared.client.get_or_init(|| made).clone()),
        }
    }
}

#[cfg(feature = "gate")]
mod judged {
    use crate::aws::Engine;
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
    use std::sync::{Arc, OnceLock};

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
            let status = StatusCode::try_from(self.status).map_err(|error| ConnectorError::user(error.into()))?;
            let name = "AccessDeniedException";
            let body = json!({"__type": format!("com.amazon.coral.service#{name}"), "Message": self.message});
            let mut response = HttpResponse::new(status, SdkBody::from(body.to_string()));
            response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
            response.headers_mut().insert("x-amzn-errortype", name);
            Ok(response)
        }
    }

    #[derive(Debug)]
    pub(super) struct Shared {
        pub(super) judge: Option<Arc<dyn Judge>>,
        pub(super) database: Option<(String, Arc<dyn Engine>)>,
        pub(super) client: OnceLock<SharedHttpClient>,
    }

    #[derive(Debug)]
    pub(super) struct Client {
        pub(super) shared: Arc<Shared>,
        pub(super) client: SharedHttpClient,
    }

    impl HttpClient for Client {
        fn http_connector(
            &self,
            settings: &HttpConnectorSettings,
            components: &RuntimeComponents,
        ) -> SharedHttpConnector {
            let connector = self.client.http_connector(settings, components);
            SharedHttpConnector::new(Connector { shared: self.shared.clone(), connector })
        }
    }

    #[derive(Debug)]
    struct Connector {
        shared: Arc<Shared>,
        connector: SharedHttpConnector,
    }

    impl HttpConnector for Connector {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let Some(call) = Call::of(&request) else {
                return HttpConnectorFuture::ready(Err(ConnectorError::user("an unsigned or streamed call".into())));
            };
            if let Some(Err(refusal)) = self.shared.judge.as_ref().map(|judge| judge.judge(&call)) {
                return HttpConnectorFuture::ready(refusal.response());
            }
            self.connector.call(request)
        }
    }
}
