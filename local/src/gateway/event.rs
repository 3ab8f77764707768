//! An HTTP request as a REST API hands it to a function (proxy integration, 1.0): what `shared` reads of
//! such an event, made without writing the event as JSON.

use std::{mem, net::SocketAddr};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request},
};
use lambda_http::Body;
use shared::runtime::event::{Parts, PathParameters};
use shared::telemetry::trace;
use uuid::Uuid;

/// A request's target as it came, beside the one that it is routed by.
#[derive(Clone)]
pub(super) struct Sent(pub(super) Uri);

/// The target with one slash before each segment of its path and none behind the last; `None` where it is so already.
pub(super) fn by_segments(sent: &Uri) -> Option<Uri> {
    let path = sent.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return None;
    }
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let path: String = segments.flat_map(|segment| ["/", segment]).collect();
    let query = sent.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", if path.is_empty() { "/" } else { &path }).parse().ok()
}

/// The values of a route's parameters in a path of as many segments, as the caller encoded them.
pub(super) fn path_parameters(route: &str, path: &str) -> PathParameters {
    let segments = route.split('/').zip(path.split('/'));
    let name_of = |segment: &str| Some(segment.strip_prefix('{')?.strip_suffix('}')?.to_owned());
    PathParameters(segments.filter_map(|(name, value)| Some((name_of(name)?, value.to_owned()))).collect())
}

/// Headers about the client's connection, which end at the gateway.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The trace of a request, as its function's log lines have it: the caller's, if that is one, or the gateway's.
pub(super) fn trace_id(headers: &HeaderMap, request_id: Uuid) -> Option<String> {
    match headers.get(&trace::HEADER) {
        Some(sent) => trace::header(sent.to_str().ok()?),
        None => Some(new_trace(request_id)),
    }
}

fn new_trace(request_id: Uuid) -> String {
    let id = request_id.as_u128();
    format!("Root=1-{:08x}-{:024x}", id >> 96, id & ((1 << 96) - 1))
}

/// What the gateway knows about a request besides the request.
pub(super) struct Arrival<'a> {
    pub(super) domain_name: &'a HeaderValue,
    pub(super) port: u16,
    pub(super) peer: SocketAddr,
    pub(super) request_id: Uuid,
}

impl Arrival<'_> {
    /// The function's request. Takes the headers out of `parts`.
    pub(super) fn request(
        &self,
        parts: &mut request::Parts,
        path_parameters: PathParameters,
        body: Bytes,
    ) -> lambda_http::Request {
        Parts {
            method: parts.method.clone(),
            path: parts.extensions.get::<Sent>().map_or(parts.uri.path(), |sent| sent.0.path()).to_owned(),
            headers: self.headers(mem::take(&mut parts.headers)),
            query: parts.uri.query().and_then(|query| query.parse().ok()).unwrap_or_default(),
            path_parameters,
            request_id: HeaderValue::try_from(self.request_id.hyphenated().to_string()).ok(),
            source_ip: Some(self.peer.ip()),
            body: match String::from_utf8(body.into()) {
                Ok(text) if text.is_empty() => Body::Empty,
                Ok(text) => Body::Text(text),
                // In an event it is base64, which `shared` decodes.
                Err(error) => Body::Binary(error.into_bytes()),
            },
        }
        .into_request()
    }

    /// The headers as a function sees them: the API's own host, and what the gateway knows better
    /// than the caller. A forged `X-Forwarded-For` stays, in front of the true address.
    fn headers(&self, mut headers: HeaderMap) -> HeaderMap {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            headers.remove(header::CONTENT_ENCODING);
        }
        headers.insert(header::HOST, self.domain_name.clone());
        let peer = self.peer.ip();
        let forwarded_for = match headers.get(X_FORWARDED_FOR).map(HeaderValue::to_str) {
            Some(Ok(forged)) => format!("{forged}, {peer}"),
            _ => peer.to_string(),
        };
        if let Ok(value) = HeaderValue::try_from(forwarded_for) {
            headers.insert(X_FORWARDED_FOR, value);
        }
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(self.port));
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        if !headers.contains_key(&trace::HEADER)
            && let Ok(value) = HeaderValue::try_from(new_trace(self.request_id))
        {
            headers.insert(trace::HEADER, value);
        }
        headers
    }
}
