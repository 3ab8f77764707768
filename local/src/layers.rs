//! What stands between the functions' AWS clients and AWS: layers at the seam that production has for them
//! ([`shared::aws::HttpLayer`]). Each sees every signed request, and answers it or passes it on.

pub mod counting;
pub mod embedded;
pub mod embedded_mail;
pub mod embedded_queues;
pub mod embedded_secrets;
pub mod iam;
pub mod logging;
mod tokens;

use std::fmt::Debug;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use shared::aws::HttpLayer;

/// Something that happens to calls on their way to AWS.
pub trait Layer: Debug + Send + Sync + 'static {
    /// Answers a request, or passes it on to `next`.
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture;
}

/// The layers one behind the other: the first sees a request first.
#[must_use]
pub fn stack(layers: Vec<Arc<dyn Layer>>) -> HttpLayer {
    Arc::new(move |client| {
        layers
            .iter()
            .rev()
            .fold(client, |client, layer| SharedHttpClient::new(Layered { layer: Arc::clone(layer), client }))
    })
}

#[derive(Debug)]
struct Layered {
    layer: Arc<dyn Layer>,
    client: SharedHttpClient,
}

impl HttpClient for Layered {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        through(&self.layer, self.client.http_connector(settings, components))
    }
}

/// A connector with a layer before it.
pub(crate) fn through(layer: &Arc<dyn Layer>, next: SharedHttpConnector) -> SharedHttpConnector {
    SharedHttpConnector::new(LayeredConnector { layer: Arc::clone(layer), next })
}

#[derive(Debug)]
struct LayeredConnector {
    layer: Arc<dyn Layer>,
    next: SharedHttpConnector,
}

impl HttpConnector for LayeredConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.layer.call(request, &self.next)
    }
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

impl<'a> Call<'a> {
    /// Reads a request; `None` without a signature (Signature Version 4, in the header) or with a streamed body.
    #[must_use]
    pub fn of(request: &'a HttpRequest) -> Option<Self> {
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

    /// What is done in one of AWS's JSON protocols, such as `GetItem`.
    #[must_use]
    pub fn operation(&self) -> Option<&'a str> {
        self.target?.rsplit_once('.').map(|(_, operation)| operation)
    }
}

/// Whether a request goes to an endpoint.
fn is_for(request: &HttpRequest, endpoint_url: &str) -> bool {
    request.uri().strip_prefix(endpoint_url).is_some_and(|path| path.is_empty() || path.starts_with('/'))
}

/// An answer in one of AWS's JSON protocols.
pub(crate) fn answer(status: u16, body: String) -> Result<HttpResponse, ConnectorError> {
    let status = StatusCode::try_from(status).map_err(|error| ConnectorError::user(error.into()))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body));
    response.headers_mut().insert("content-type", "application/x-amz-json-1.0");
    Ok(response)
}

/// A call that could not be read as one to AWS.
fn unreadable() -> HttpConnectorFuture {
    HttpConnectorFuture::ready(Err(ConnectorError::user("an unsigned or streamed call".into())))
}
