//! Everything that happens around a handler, on Lambda and in the local system alike: request id, CORS,
//! `Server-Timing`, errors and panics turned into problem+json.

mod after_reply;
mod conditional;
pub mod event;

use crate::response::{Problem, Reply};
use crate::telemetry::logs::{self, Crates};
use crate::telemetry::{self, About, metrics, trace};
use after_reply::AfterReply;
use event::{Event, Incoming, Outgoing, Payload, RequestId, SourceIp};
use futures_util::FutureExt as _;
use lambda_http::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    CONTENT_SECURITY_POLICY, LOCATION, ORIGIN, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lambda_http::lambda_runtime::tower::layer::layer_fn;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::{Request, service_fn};
use serde::Serialize;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;

/// What a handler runs in: clients and configuration, made once per execution environment.
pub trait Environment: Send + Sync + Sized + 'static {
    /// The crates whose lines are logged at every level, beside this one and the handler's.
    const CRATES: &'static [&'static str];

    /// Why it cannot start; names what is missing.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads the process's environment.
    ///
    /// # Errors
    /// When something is missing or wrong.
    fn from_env() -> Result<Self, Self::Error>;

    /// The least severe level that is logged.
    fn log_level(&self) -> tracing::Level;

    /// What tells this deployment's metrics from those of others in the same account.
    fn deployment(&self) -> &str;

    /// The origins that browsers may call from with credentials, each exactly as `Origin` carries it.
    fn allowed_origins(&self) -> &[HeaderValue];

    /// Notes that a caller was refused what it may not do ([`Problem::denied`]), and from where it called.
    fn denied(&self, _what: &'static str, _source: Option<SourceIp>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Ends what was started for a request and is not part of its reply, before the environment may freeze.
    fn after_reply(&self) -> impl Future<Output = ()> + Send;
}

/// What each reply tells browsers, whatever it is; the template says the same of what the gateway answers itself.
///
/// * It is what `Content-Type` says and nothing else (ASVS 5.0, 3.4.4), never over plain HTTP (3.4.1, RFC 6797), and as a page
///   it can load and be framed by nothing (3.4.3, 3.4.6).
/// * No other origin may embed it as an image, a script or the like (3.5.8). `same-origin` is the strictest and takes nothing
///   from pages at allowed origins: they use CORS, which this does not touch (Fetch, "cross-origin resource policy check").
pub const SECURITY_HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The moment at which Lambda ends a request's invocation, in epoch milliseconds: an extension of the request.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub u64);

/// How many slashes may stand behind a path's last segment. A `Location` climbs over each, so it would grow with what a caller sends.
const SLASHES_MAX: usize = 8;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// What each reply depends on besides its URL: on the origin for CORS, and on the coding because the gateway compresses. It
/// stands on a `304` too, which cannot know how large its `200` would be.
const VARIES: &str = "Origin, Accept-Encoding";
/// What a script at an allowed origin may read of a reply, `WWW-Authenticate` by the name that API Gateway gives it.
pub const EXPOSED_HEADERS: &str = "ETag, Idempotent-Replayed, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, x-amzn-Remapped-WWW-Authenticate, X-Request-Id";

/// Serves Lambda invocations with `handler` until the environment ends; the environment is built once and
/// lives as long as the process. Serves one at a time on Lambda and several on Lambda Managed Instances.
///
/// # Errors
/// When the environment cannot be built or the Lambda Runtime API goes away.
pub async fn run<C, H, F, E>(handler: H) -> Result<(), lambda_http::Error>
where
    C: Environment,
    H: Fn(&'static C, Request) -> F + Copy + Send + 'static,
    F: Future<Output = Result<Reply, E>> + Send + 'static,
    E: Into<Problem> + 'static,
{
    serve(Box::leak(Box::new(C::from_env()?)), handler).await
}

/// The same with an environment that is there.
///
/// # Errors
/// When the Lambda Runtime API goes away.
pub async fn serve<C, H, F, E>(context: &'static C, handler: H) -> Result<(), lambda_http::Error>
where
    C: Environment,
    H: Fn(&'static C, Request) -> F + Copy + Send + 'static,
    F: Future<Output = Result<Reply, E>> + Send + 'static,
    E: Into<Problem> + 'static,
{
    begin(context, &handler);
    let service = service_fn(move |event: LambdaEvent<Payload<Incoming>>| async move {
        let Payload(mut incoming) = event.payload;
        if let Ok(request) = &mut incoming.0 {
            request.extensions_mut().insert(Deadline(event.context.deadline));
        }
        Ok::<_, Infallible>(Outgoing(answer(context, incoming, handler).await))
    });
    let after_reply = layer_fn(|inner| AfterReply { inner, environment: context });
    let runtime = lambda_runtime::Runtime::new(service).layer(after_reply);
    // As a task: a future that a single-threaded runtime blocks on costs one more `epoll_wait` each time it wakes.
    tokio::spawn(runtime.run_concurrent()).await?
}

/// Serves Lambda invocations by events (a queue, a schedule) with `handler` until the environment ends. An event is read by
/// [`Event`], so that each has an answer; the handler is given the moment by which it must be done, in epoch milliseconds.
///
/// # Errors
/// As [`run`].
pub async fn run_events<C, H, T, R, F>(handler: H) -> Result<(), lambda_http::Error>
where
    C: Environment,
    H: Fn(&'static C, T, u64) -> F + Copy + Send + 'static,
    T: Event,
    R: Serialize + Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    serve_events(Box::leak(Box::new(C::from_env()?)), handler).await
}

/// The same with an environment that is there.
///
/// # Errors
/// As [`serve`].
pub async fn serve_events<C, H, T, R, F>(context: &'static C, handler: H) -> Result<(), lambda_http::Error>
where
    C: Environment,
    H: Fn(&'static C, T, u64) -> F + Copy + Send + 'static,
    T: Event,
    R: Serialize + Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    begin(context, &handler);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Payload<T>>| async move {
        let Payload(payload) = event.payload;
        Ok::<_, Infallible>(Box::pin(handler(context, payload, event.context.deadline)).await)
    }))
    .await
}

/// What a deployed function's process does once it has its environment.
fn begin<C: Environment, H>(context: &C, _handler: &H) {
    let ours = C::CRATES.iter().copied().chain([crate_of::<H>()]).map(str::to_owned).collect();
    logs::init(context.log_level(), Crates { ours });
    logs::init_panics();
    metrics::init(context.deployment());
}

/// The crate of a handler's type, whose name begins with it.
fn crate_of<H>() -> &'static str {
    std::any::type_name::<H>().split("::").next().unwrap_or_default()
}

/// Answers what a function was invoked with: a request by its handler, and all else in the runtime's own words.
pub async fn answer<'a, C, H, F, E>(context: &'a C, incoming: Incoming, handler: H) -> Reply
where
    C: Environment,
    H: Fn(&'a C, Request) -> F,
    F: Future<Output = Result<Reply, E>>,
    E: Into<Problem>,
{
    match incoming.0 {
        Ok(request) => respond(context, request, handler).await,
        Err(reason) => {
            telemetry::during(About::function(crate_of::<H>()), async {
                // No error of ours, and a warm-up comes every few minutes.
                tracing::info!(%reason, "an event that is no request was refused");
            })
            .await;
            reason.into_reply()
        }
    }
}

/// Answers one request: whatever happens inside, a caller gets an HTTP reply.
pub async fn respond<'a, C, H, F, E>(context: &'a C, request: Request, handler: H) -> Reply
where
    C: Environment,
    H: Fn(&'a C, Request) -> F,
    F: Future<Output = Result<Reply, E>>,
    E: Into<Problem>,
{
    let request_id = request_id(&request);
    let about = About::request(crate_of::<H>(), request_id.clone(), request.headers().get(trace::HEADER).cloned());
    let origin = allowed_origin(context.allowed_origins(), &request);
    let slashes = slashes_at_the_end(&request);
    let (conditions, source) = (conditional::of(&request), request.extensions().get::<SourceIp>().copied());
    // Boxed, so that a handler's state is not moved through each of the futures around it (nor the compiler's
    // depth limit reached). It is its request's alone, so nothing half-changed is seen after a panic.
    let handled = AssertUnwindSafe(Box::pin(handler(context, request))).catch_unwind();
    let answered = async {
        let outcome: Result<Reply, Problem> = if slashes > SLASHES_MAX {
            Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such path, or not with this method."))
        } else {
            match handled.await {
                Ok(outcome) => outcome.map_err(Into::into),
                Err(_panic) => {
                    // The panic's own text may hold a caller's data; the hook has logged where it happened.
                    tracing::error!("handler panicked");
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    Err(Problem::new(status, "internal_error", "Something went wrong on our side."))
                }
            }
        };
        match outcome {
            Ok(reply) => reply,
            Err(problem) => {
                if let Some(what) = problem.denied {
                    // Boxed as the handler is.
                    Box::pin(context.denied(what, source)).await;
                }
                problem.into_reply()
            }
        }
    };
    let (mut reply, timing) = telemetry::measured(about, answered).await;
    if let Some(conditions) = conditions {
        reply = conditional::apply(&conditions, reply);
    }
    let headers = reply.headers_mut();
    if slashes > 0 {
        climb(headers, slashes);
    }
    headers.insert(REQUEST_ID, request_id);
    headers.insert(VARY, HeaderValue::from_static(VARIES));
    for (name, value) in SECURITY_HEADERS {
        // What a handler says itself stands: a page has a policy of its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
    if let Ok(timing) = HeaderValue::try_from(timing)
        && !timing.is_empty()
    {
        headers.insert(SERVER_TIMING, timing);
    }
    reply
}

/// The gateway's id of the request; a caller cannot set it.
fn request_id(request: &Request) -> HeaderValue {
    request.extensions().get::<RequestId>().map_or(HeaderValue::from_static("unknown"), |id| id.0.clone())
}

/// How many slashes stand behind the path's last segment: API Gateway takes `/items/` for `/items`.
fn slashes_at_the_end(request: &Request) -> usize {
    let path = request.uri().path();
    path.len() - path.trim_end_matches('/').len()
}

/// A `Location` is relative to the request's path without slashes at its end, so that it resolves below any stage and base
/// path (RFC 3986, 5.2). With such slashes it has to climb over them.
fn climb(headers: &mut HeaderMap, slashes: usize) {
    if let Some(location) = headers.get(LOCATION)
        && let Ok(location) = HeaderValue::try_from([&b"../".repeat(slashes), location.as_bytes()].concat())
    {
        headers.insert(LOCATION, location);
    }
}

/// The request's `Origin`, if it has exactly one and that is allowed.
#[must_use]
pub fn allowed_origin(allowed: &[HeaderValue], request: &Request) -> Option<HeaderValue> {
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
    allowed.iter().find(|known| *known == origin).cloned()
}
