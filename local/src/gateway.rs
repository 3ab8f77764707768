//! API Gateway's part, in this process: routes and preflights of the template, its own answers,
//! size limits and compression. Functions see the events that a REST API sends them.

mod body;
mod compression;
mod event;
mod log;
#[cfg(test)]
mod tests;

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header, request::Parts},
    routing::any,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::tower::ServiceExt;
use uuid::Uuid;

use crate::template::{GatewayResponses, Preflight, ResponseType, Route, Template};

/// Largest sum of the lengths of request line and headers: a fixed quota of API Gateway REST APIs.
const MAX_HEAD_BYTES: usize = 10_240;

/// What a REST API makes of a function's `WWW-Authenticate`
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>, REST APIs).
const REMAPPED_WWW_AUTHENTICATE: HeaderName = HeaderName::from_static("x-amzn-remapped-www-authenticate");

/// A function's handler, ready to be called with a request of its own.
pub type Handler = Arc<dyn Fn(lambda_http::Request) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

/// What a method of a path is answered by: a function's reply, or what the gateway is to answer in its place.
pub type Integration = Arc<
    dyn Fn(lambda_http::Request) -> Pin<Box<dyn Future<Output = Result<Reply, ResponseType>> + Send>> + Send + Sync,
>;

/// A function that is there for each request, as it is without Lambda between.
#[must_use]
pub fn direct(handler: Handler) -> Integration {
    Arc::new(move |request| {
        let reply = handler(request);
        Box::pin(async move { Ok(reply.await) })
    })
}

/// What a handler gives back.
pub type Reply = Response<lambda_http::Body>;

/// What all paths share.
struct Api {
    domain_name: HeaderValue,
    port: u16,
    allowed_origins: Vec<HeaderValue>,
    responses: GatewayResponses,
    /// Replies of at least so many bytes are compressed for whoever takes that.
    compressed_from: Option<usize>,
}

/// A path of the API with its methods: what API Gateway calls a resource.
struct Resource {
    api: Arc<Api>,
    path: String,
    methods: Vec<MethodOf>,
    preflight: Option<Preflight>,
}

/// What answers a method of a path.
struct MethodOf {
    method: Method,
    /// The function's folder name.
    function: String,
    integration: Integration,
}

/// Builds the router of all the template's routes.
///
/// `port` is where the API will be reached, at `localhost`; `find` gives what answers for a route.
///
/// # Errors
/// The name of a function that `find` does not know.
pub fn router(
    template: &Template,
    allowed_origins: Vec<HeaderValue>,
    port: u16,
    find: impl Fn(&Route) -> Option<Integration>,
) -> Result<Router, String> {
    let api = Arc::new(Api {
        domain_name: HeaderValue::from_str(&format!("localhost:{port}")).expect("only visible ASCII characters"),
        port,
        allowed_origins,
        responses: template.gateway_responses.clone(),
        compressed_from: template.minimum_compression_size.and_then(|bytes| usize::try_from(bytes).ok()),
    });
    let mut resources: Vec<Resource> = Vec::new();
    for route in &template.routes {
        let integration = find(route).ok_or_else(|| route.function.clone())?;
        let method = MethodOf { method: route.method.clone(), function: route.function.clone(), integration };
        match resources.iter_mut().find(|known| known.path == route.path) {
            Some(resource) => resource.methods.push(method),
            None => resources.push(Resource {
                api: Arc::clone(&api),
                path: route.path.clone(),
                methods: vec![method],
                preflight: template.preflights.iter().find(|preflight| preflight.path == route.path).cloned(),
            }),
        }
    }
    let mut router = Router::new();
    for resource in resources {
        let path = resource.path.clone();
        router = router.route(&path, any(serve).with_state(Arc::new(resource)));
    }
    let resources = router.fallback(any(unknown).with_state(api));
    // Around the routes, because a layer of theirs runs once a route is found.
    Ok(Router::new().fallback(any(enter)).with_state(resources))
}

/// Finds the resource as API Gateway does: by the segments of the path, whatever slashes are between and behind them. The
/// function still sees the path as it came.
async fn enter(State(resources): State<Router>, mut request: Request) -> Response<Body> {
    let sent = request.uri().clone();
    if let Some(uri) = event::by_segments(&sent) {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(event::Sent(sent));
    let Ok(response) = resources.oneshot(request).await;
    response
}

/// Answers a request for a path that has a resource.
async fn serve(
    State(resource): State<Arc<Resource>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response<Body> {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    let request_id = Uuid::now_v7();
    // The function gets the headers.
    let trace_id = event::trace_id(&parts.headers, request_id);
    let invoked = resource.invoke(&mut parts, body, peer, request_id).await;
    let response = invoked.unwrap_or_else(|kind| resource.api.refuse(kind, &parts.headers, request_id));
    let function = resource.method(&parts.method).map(|method| method.function.as_str());
    let about = (request_id, trace_id.as_deref());
    log::answered(about, function, (&parts.method, Some(&resource.path)), &response, begun);
    response
}

/// Answers a request for a path that has none.
async fn unknown(State(api): State<Arc<Api>>, method: Method, headers: HeaderMap) -> Response<Body> {
    let (begun, request_id) = (Instant::now(), Uuid::now_v7());
    let response = api.refuse(ResponseType::of_no_method(&headers), &headers, request_id);
    let trace_id = event::trace_id(&headers, request_id);
    log::answered((request_id, trace_id.as_deref()), None, (&method, None), &response, begun);
    response
}

impl Resource {
    fn method(&self, method: &Method) -> Option<&MethodOf> {
        self.methods.iter().find(|known| known.method == *method)
    }

    async fn invoke(
        &self,
        parts: &mut Parts,
        body: Body,
        peer: SocketAddr,
        request_id: Uuid,
    ) -> Result<Response<Body>, ResponseType> {
        if parts.method == Method::OPTIONS
            && let Some(preflight) = &self.preflight
        {
            return self.api.preflight(preflight, &parts.headers, request_id);
        }
        let method = self.method(&parts.method).ok_or_else(|| ResponseType::of_no_method(&parts.headers))?;
        if head_bytes(parts) > MAX_HEAD_BYTES {
            return Err(ResponseType::HeadersTooLarge);
        }
        let path_parameters = event::path_parameters(&self.path, parts.uri.path());
        let body = body::read(&parts.headers, body).await?;
        let takes_gzip = compression::accepts_gzip(&parts.headers);
        let arrival = event::Arrival { domain_name: &self.api.domain_name, port: self.api.port, peer, request_id };
        let request = arrival.request(parts, path_parameters, body);
        Ok(self.api.reply((method.integration)(request).await?, takes_gzip))
    }
}

impl Api {
    /// Carries out the preflight's mock integration.
    fn preflight(
        &self,
        preflight: &Preflight,
        request: &HeaderMap,
        request_id: Uuid,
    ) -> Result<Response<Body>, ResponseType> {
        if !preflight.media_types.contains(&media_type(request)) {
            return Err(preflight.unmapped);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = preflight.status;
        *response.headers_mut() = preflight.headers.clone();
        if let Ok(id) = HeaderValue::try_from(request_id.hyphenated().to_string()) {
            let headers = preflight.request_id_headers.iter().map(|name| (name.clone(), id.clone()));
            response.headers_mut().extend(headers);
        }
        let origin = request.get(header::ORIGIN);
        if let Some(origin) = origin.filter(|origin| self.allowed_origins.contains(origin)) {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        Ok(response)
    }

    /// Turns a function's reply into the response on the wire.
    fn reply(&self, reply: Reply, takes_gzip: bool) -> Response<Body> {
        let (mut parts, body) = reply.into_parts();
        if let Some(challenge) = parts.headers.remove(header::WWW_AUTHENTICATE) {
            parts.headers.insert(REMAPPED_WWW_AUTHENTICATE, challenge);
        }
        let body = match body {
            lambda_http::Body::Text(text) => text,
            // A REST API without BinaryMediaTypes passes on the base64 text of a binary reply.
            lambda_http::Body::Binary(bytes) => STANDARD.encode(bytes),
            _ => return Response::from_parts(parts, Body::empty()),
        };
        log::keep_code(&mut parts, &body);
        let is_large = self.compressed_from.is_some_and(|bytes| body.len() >= bytes);
        if !is_large || !takes_gzip || parts.headers.contains_key(header::CONTENT_ENCODING) {
            return Response::from_parts(parts, Body::from(body));
        }
        parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Response::from_parts(parts, Body::from(compression::gzip(body.as_bytes())))
    }

    /// The gateway's own answer. None is as large as what is compressed.
    fn refuse(&self, kind: ResponseType, request: &HeaderMap, id: Uuid) -> Response<Body> {
        let (mut parts, body) = self.responses.answer(kind, request, &id.hyphenated().to_string()).into_parts();
        log::keep_code(&mut parts, &body);
        Response::from_parts(parts, Body::from(body))
    }
}

/// The type of a request's body, by which its mapping template is found: without parameters, and JSON where none is given.
fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).map_or(b"application/json".as_slice(), HeaderValue::as_bytes);
    let end = given.iter().position(|byte| *byte == b';').unwrap_or(given.len());
    String::from_utf8_lossy(&given[..end]).trim().to_ascii_lowercase()
}

fn head_bytes(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    parts.method.as_str().len() + target + headers
}
