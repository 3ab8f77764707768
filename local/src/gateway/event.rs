//! An HTTP request as the event that a REST API sends to a function (proxy integration, 1.0),
//! turned into a request by the code that does so in Lambda, but never written as JSON.

use std::{collections::HashMap, mem, net::SocketAddr};

use axum::{
    body::Bytes,
    extract::RawPathParams,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use lambda_http::aws_lambda_events::{
    apigw::{ApiGatewayProxyRequest, ApiGatewayProxyRequestContext, ApiGatewayRequestIdentity},
    query_map::QueryMap,
};
use shared::runtime::event::into_request;
use uuid::Uuid;

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
const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// What the gateway knows about a request besides the request.
pub(super) struct Arrival<'a> {
    pub(super) stage: &'a str,
    pub(super) domain_name: &'a HeaderValue,
    pub(super) port: u16,
    /// The template's path.
    pub(super) resource: &'a str,
    pub(super) peer: SocketAddr,
    pub(super) request_id: Uuid,
}

impl Arrival<'_> {
    /// The function's request. Takes the headers out of `parts`.
    pub(super) fn event(
        &self,
        parts: &mut Parts,
        path_parameters: &RawPathParams,
        body: Bytes,
    ) -> lambda_http::Request {
        let headers = self.headers(mem::take(&mut parts.headers));
        let mut event = ApiGatewayProxyRequest::default();
        event.resource = Some(self.resource.to_owned());
        event.path = Some(parts.uri.path().to_owned());
        event.http_method = parts.method.clone();
        event.request_context = self.request_context(parts, &headers);
        event.headers = last_values(&headers);
        event.multi_value_headers = headers;
        event.path_parameters =
            path_parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        if let Some(query) = parts.uri.query().filter(|query| !query.is_empty()) {
            let all: QueryMap = query.parse().unwrap_or_default();
            event.query_string_parameters = last_parameters(&all);
            event.multi_value_query_string_parameters = all;
        }
        if !body.is_empty() {
            match String::from_utf8(body.into()) {
                Ok(text) => event.body = Some(text),
                Err(error) => {
                    event.body = Some(STANDARD.encode(error.as_bytes()));
                    event.is_base64_encoded = true;
                }
            }
        }
        into_request(event)
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
        if !headers.contains_key(&X_AMZN_TRACE_ID) {
            let id = self.request_id.as_u128();
            let trace = format!("Root=1-{:08x}-{:024x}", id >> 96, id & ((1 << 96) - 1));
            if let Ok(value) = HeaderValue::try_from(trace) {
                headers.insert(X_AMZN_TRACE_ID, value);
            }
        }
        headers
    }

    fn request_context(&self, parts: &Parts, headers: &HeaderMap) -> ApiGatewayProxyRequestContext {
        let now = Timestamp::now();
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let mut identity = ApiGatewayRequestIdentity::default();
        identity.source_ip = Some(self.peer.ip().to_string());
        identity.user_agent = headers.get(header::USER_AGENT).and_then(text);
        let mut context = ApiGatewayProxyRequestContext::default();
        context.account_id = Some("000000000000".to_owned());
        context.apiid = Some("local".to_owned());
        context.domain_name = text(self.domain_name);
        context.http_method = parts.method.clone();
        context.identity = identity;
        context.path = Some(format!("/{}{}", self.stage, parts.uri.path()));
        context.protocol = Some(format!("{:?}", parts.version));
        context.request_id = Some(self.request_id.hyphenated().to_string());
        context.request_time = Some(now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
        context.request_time_epoch = now.as_millisecond();
        context.resource_path = Some(self.resource.to_owned());
        context.stage = Some(self.stage.to_owned());
        context
    }
}

/// `headers` of the event: of a repeated header the last value only.
fn last_values(headers: &HeaderMap) -> HeaderMap {
    if headers.len() == headers.keys_len() {
        return headers.clone();
    }
    let mut last = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        last.insert(name, value.clone());
    }
    last
}

/// `queryStringParameters` of the event: of a repeated parameter the last value only.
fn last_parameters(all: &QueryMap) -> QueryMap {
    let last: HashMap<String, String> = all.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    QueryMap::from(last)
}
