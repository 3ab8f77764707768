//! The template's `GatewayResponses`: what API Gateway answers itself when no function runs.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    TemplateError,
    node::{Node, Parameters},
};

/// The kinds of gateway-made answers that can happen locally, by API Gateway's names.
/// Source: "Gateway response types for API Gateway", API Gateway Developer Guide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseType {
    /// No such path, or not with this method.
    MissingAuthenticationToken,
    /// The same, and the request has an `Authorization` header, which is no signature of AWS's (version 4).
    InvalidSignature,
    /// The body is larger than the integration takes.
    RequestTooLarge,
    /// The body is not in the coding that `Content-Encoding` names, or of a type that a preflight has no template for.
    UnsupportedMediaType,
    /// A body that was cut off.
    BadRequest,
    /// Request line and headers are larger than API Gateway takes.
    HeadersTooLarge,
    /// More requests than the API takes.
    Throttled,
    /// The function took longer than API Gateway waits.
    IntegrationTimeout,
    /// The function failed, or its reply is too large.
    IntegrationFailure,
    /// The function could not be called: it is throttled, say.
    InternalError,
}

impl ResponseType {
    /// The type of answer to a request with these headers for a path or method that is not there. API Gateway then looks for a
    /// signature of AWS's, as if the method wanted one, and refuses any other `Authorization` as a broken one
    /// (`IncompleteSignatureException`; by which of its types is inferred).
    #[must_use]
    pub fn of_no_method(request: &HeaderMap) -> Self {
        if request.contains_key(header::AUTHORIZATION) {
            Self::InvalidSignature
        } else {
            Self::MissingAuthenticationToken
        }
    }

    /// API Gateway's name; `None` where only the default response applies.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::MissingAuthenticationToken => Some("MISSING_AUTHENTICATION_TOKEN"),
            Self::InvalidSignature => Some("INVALID_SIGNATURE"),
            Self::RequestTooLarge => Some("REQUEST_TOO_LARGE"),
            Self::UnsupportedMediaType => Some("UNSUPPORTED_MEDIA_TYPE"),
            Self::Throttled => Some("THROTTLED"),
            Self::IntegrationTimeout => Some("INTEGRATION_TIMEOUT"),
            Self::IntegrationFailure => Some("INTEGRATION_FAILURE"),
            Self::BadRequest | Self::HeadersTooLarge | Self::InternalError => None,
        }
    }

    fn default_status(self) -> StatusCode {
        match self {
            Self::MissingAuthenticationToken | Self::InvalidSignature => StatusCode::FORBIDDEN,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::IntegrationTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::IntegrationFailure => StatusCode::BAD_GATEWAY,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

const HEADERS_TOO_LARGE: &str = r#"{"type":"urn:problem:headers_too_large","title":"Request Header Fields Too Large","status":431,"detail":"Request line and headers are larger than 10240 bytes.","code":"headers_too_large"}"#;

/// The expression of a parameter mapping for the request's id.
pub(super) const REQUEST_ID: &str = "context.requestId";

/// Where a gateway response takes a header's value from.
#[derive(Clone, Debug)]
enum Mapping {
    Static(HeaderValue),
    /// The name as it is written, because API Gateway compares names of headers with their case
    /// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html>, REST APIs).
    RequestHeader(String),
    RequestId,
}

/// A gateway response of the template.
#[derive(Clone, Debug)]
pub struct GatewayResponse {
    status: Option<StatusCode>,
    headers: Vec<(HeaderName, Mapping)>,
    body: String,
}

/// All gateway responses of the template.
#[derive(Clone, Debug)]
pub struct GatewayResponses {
    by_name: HashMap<String, GatewayResponse>,
}

impl GatewayResponses {
    pub(super) fn parse(api: &Node, parameters: &Parameters) -> Result<Self, TemplateError> {
        let mut by_name = HashMap::new();
        let node = api.require("GatewayResponses")?;
        for (name, response) in node.entries()? {
            by_name.insert(name.clone(), GatewayResponse::parse(response, parameters)?);
        }
        if !by_name.contains_key("DEFAULT_4XX") {
            return Err(node.error("DEFAULT_4XX is missing"));
        }
        Ok(Self { by_name })
    }

    /// The answer of this type to a request with these headers and this request id.
    #[must_use]
    pub fn answer(&self, kind: ResponseType, request: &HeaderMap, request_id: &str) -> axum::http::Response<String> {
        let default = if kind.default_status().is_server_error() { "DEFAULT_5XX" } else { "DEFAULT_4XX" };
        let response = kind.name().and_then(|name| self.by_name.get(name)).or_else(|| self.by_name.get(default));
        let mut answer = response.map(|response| response.answer(request, request_id)).unwrap_or_default();
        let status = response.and_then(|response| response.status);
        *answer.status_mut() = status.unwrap_or(kind.default_status());
        if kind == ResponseType::HeadersTooLarge {
            // What refuses it stands before API Gateway's templates, which have no type for it.
            *answer.status_mut() = kind.default_status();
            *answer.body_mut() = HEADERS_TOO_LARGE.to_owned();
        }
        answer
    }

    /// All of them, by API Gateway's names: those too that cannot happen locally.
    pub fn all(&self) -> impl Iterator<Item = (&str, &GatewayResponse)> {
        self.by_name.iter().map(|(name, response)| (name.as_str(), response))
    }
}

impl GatewayResponse {
    fn parse(node: &Node, parameters: &Parameters) -> Result<Self, TemplateError> {
        let status = match node.get("StatusCode") {
            None => None,
            Some(status) => Some(status.text()?.parse().map_err(|_| status.error("must be an HTTP status"))?),
        };
        let mut headers = Vec::new();
        if let Some(map) = node.get("ResponseParameters").and_then(|parameters| parameters.get("Headers")) {
            for (name, value) in map.entries()? {
                let header = name.parse().map_err(|_| value.error("is not a header name"))?;
                headers.push((header, Mapping::parse(value, parameters)?));
            }
        }
        let template = node.require("ResponseTemplates")?.require("application/json")?;
        let body = template.text()?.to_owned();
        if body.contains("$context.error") {
            return Err(template.error("must not repeat the gateway's message, which quotes parts of the request"));
        }
        Ok(Self { status, headers, body })
    }

    /// What it says to a request with these headers and this request id. Their names are in lower case here, as HTTP/2 has them.
    #[must_use]
    pub fn answer(&self, request: &HeaderMap, request_id: &str) -> axum::http::Response<String> {
        let mut answer = axum::http::Response::new(self.body.replace("$context.requestId", request_id));
        if let Some(status) = self.status {
            *answer.status_mut() = status;
        }
        for (name, mapping) in &self.headers {
            let value = match mapping {
                Mapping::Static(value) => Some(value.clone()),
                Mapping::RequestHeader(wanted) => {
                    request.iter().find(|(sent, _)| sent.as_str() == wanted).map(|(_, value)| value.clone())
                }
                Mapping::RequestId => HeaderValue::from_str(request_id).ok(),
            };
            if let Some(value) = value {
                answer.headers_mut().insert(name.clone(), value);
            }
        }
        answer
    }
}

impl Mapping {
    /// Source: "Parameter mapping for REST APIs in API Gateway": a quoted text is itself.
    fn parse(node: &Node, parameters: &Parameters) -> Result<Self, TemplateError> {
        let expression = node.resolve(parameters)?;
        let expression = expression.as_str();
        if let Some(value) = static_value(expression) {
            let value = value.parse().map_err(|_| node.error("is not a header value"))?;
            return Ok(Self::Static(value));
        }
        if let Some(header) = expression.strip_prefix("method.request.header.") {
            return Ok(Self::RequestHeader(header.to_owned()));
        }
        if expression == REQUEST_ID {
            return Ok(Self::RequestId);
        }
        Err(node.error(format!(
            "{expression:?} is neither a 'quoted text', nor method.request.header.…, nor context.requestId"
        )))
    }
}

/// The value inside the single quotes of a static parameter mapping.
pub(super) fn static_value(expression: &str) -> Option<&str> {
    expression.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''))
}
