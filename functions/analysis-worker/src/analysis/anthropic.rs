//! Analysis by Anthropic's Messages API over HTTPS: one request per call, its outcome sorted into done,
//! never, later, with what it may have cost.

mod rate_limits;
mod reading;
mod refusal;
mod reply;
mod request;

use super::{AnalysisError, Outcome};
use crate::secret::{ApiKey, KeyError, Secret};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use jiff::Timestamp;
use rate_limits::Room;
use refusal::Refusal;
use shared::error::chain;
use shared::model::analysis::Cost;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use worker::{RateLimits, transport};

/// Where the API is, unless configuration says otherwise.
pub const BASE_URL: &str = "https://api.anthropic.com";
/// The version of the API that this speaks; required on every request.
const API_VERSION: &str = "2023-06-01";
/// The code of a job that waits because the keeper of the key was away or busy, or because its environment had another key until now.
const KEY_UNREAD: &str = "provider_key_unread";
/// The largest reply that is read: our `max_tokens` allows about 10 KB, so more is no reply of ours.
const REPLY_MAX_BYTES: usize = 256 * 1024;

/// A client of the Messages API.
#[derive(Debug)]
pub struct Anthropic {
    url: http::Uri,
    connector: SharedHttpConnector,
    key: ApiKey,
    timeout: Duration,
    /// What the API said last of a model's rate, until it is asked for.
    said: Mutex<HashMap<String, RateLimits>>,
}

/// A text that is not where an API can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an http or https URL with a host")]
pub struct InvalidBaseUrl;

/// A reply whose body arrived whole.
#[derive(Debug)]
struct Reply {
    status: u16,
    retry_after: Option<Duration>,
    rate_limits: RateLimits,
    room: Room,
    request_id: String,
    body: Vec<u8>,
}

impl Anthropic {
    /// A client of the API at `base_url`; `timeout` bounds a whole call, from connecting to the last byte.
    ///
    /// # Errors
    /// `base_url` is no `http` or `https` URL with a host.
    pub fn new(
        base_url: &str,
        connector: SharedHttpConnector,
        key: ApiKey,
        timeout: Duration,
    ) -> Result<Self, InvalidBaseUrl> {
        let url = format!("{}/v1/messages", base_url.trim_end_matches('/'));
        let url: http::Uri = url.parse().map_err(|_| InvalidBaseUrl)?;
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        if !has_host || !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(InvalidBaseUrl);
        }
        Ok(Self { url, connector, key, timeout, said: Mutex::default() })
    }

    /// Reads the key, where that was not done yet: it may take seconds, which are none of a call's.
    ///
    /// # Errors
    /// It is not to be had.
    pub async fn ready(&self) -> Result<(), AnalysisError> {
        self.key.get().await.map(drop).map_err(|error| no_key(&error))
    }

    /// Analyses `text` with the model named `model`: one request.
    ///
    /// # Errors
    /// See [`AnalysisError`].
    pub async fn analyze(&self, text: &str, model: &str) -> Result<Outcome, AnalysisError> {
        let key = self.key.get().await.map_err(|error| no_key(&error))?;
        let reply = self.send(&key, request::body(text, model)).await?;
        if reply.status == 401 && self.key.renew(&key).await.map_err(|error| no_key(&error))?.is_some() {
            // It was rotated since this environment read it. Another request would have what is left of this one's time, and no call of the rate.
            return Err(later(KEY_UNREAD, "this service's key for the model provider was replaced", Cost::Nothing));
        }
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned(), reply.rate_limits);
        if reply.status != 200 {
            let refusal = Refusal::read(&reply, text);
            tracing::warn!(
                status = reply.status,
                provider_request_id = reply.request_id,
                kind = refusal.kind,
                code = refusal.code(),
                "the model provider returned an error"
            );
            return Err(refusal.into_error(reply.retry_after));
        }
        reply::read(&reply.body, text).inspect_err(|error| {
            tracing::warn!(
                provider_request_id = reply.request_id,
                cause = chain(error),
                "the model's reply was not usable"
            );
        })
    }

    /// What the API said of a model's rate since this was asked last.
    #[must_use]
    pub fn rate_limits(&self, model: &str) -> Option<RateLimits> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(model)
    }

    async fn send(&self, key: &Secret, body: String) -> Result<Reply, AnalysisError> {
        let request = self.request(key, body).map_err(|error| {
            tracing::error!(cause = chain(&*error), "the request to the model provider could not be built");
            later("provider_failed", "the request to the model provider could not be built", Cost::Nothing)
        })?;
        tokio::time::timeout(self.timeout, self.exchange(request)).await.unwrap_or_else(|_| {
            Err(later("provider_timeout", "the model provider did not answer in time", Cost::Unknown))
        })
    }

    fn request(&self, key: &Secret, body: String) -> Result<HttpRequest, Box<dyn std::error::Error + Send + Sync>> {
        let mut key = http::HeaderValue::from_str(key.expose())?;
        key.set_sensitive(true);
        let request = http::Request::post(self.url.clone())
            .header("x-api-key", key)
            .header("anthropic-version", API_VERSION)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("content-length", body.len())
            .body(SdkBody::from(body))?;
        Ok(HttpRequest::try_from(request)?)
    }

    async fn exchange(&self, request: HttpRequest) -> Result<Reply, AnalysisError> {
        let reply = self.connector.call(request).await.map_err(|error| {
            let never_sent = transport::never_sent(&error);
            tracing::warn!(cause = chain(&error), never_sent, "the model provider was not reached");
            if never_sent {
                later("provider_unreachable", "the model provider could not be reached", Cost::Nothing)
            } else {
                later("provider_failed", "the connection to the model provider failed", Cost::Unknown)
            }
        })?;
        let status = reply.status().as_u16();
        let retry_after = transport::retry_after(reply.headers().get("retry-after"), Timestamp::now());
        let rate_limits = rate_limits::read(|name| reply.headers().get(name), Timestamp::now());
        let room = rate_limits::room(|name| reply.headers().get(name));
        // Theirs, so cut to what such an id looks like before it goes into a log.
        let request_id = reply.headers().get("request-id").unwrap_or_default();
        let request_id = request_id.chars().filter(char::is_ascii_graphic).take(64).collect();
        let body = match collect(reply.into_body()).await {
            Ok(body) => body,
            // An error's status says all that is needed.
            Err(_) if status != 200 => Vec::new(),
            Err(problem) => return Err(later("provider_failed", problem, Cost::Unknown)),
        };
        Ok(Reply { status, retry_after, rate_limits, room, request_id, body })
    }
}

/// The whole body, unless it breaks off or is larger than any reply to us.
async fn collect(mut body: SdkBody) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| "the model's reply broke off")?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > REPLY_MAX_BYTES {
                return Err("the model's reply was too large");
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

fn later(code: &'static str, detail: &str, cost: Cost) -> AnalysisError {
    AnalysisError::Transient { code, retry_after: None, detail: detail.into(), cost }
}

fn no_key(error: &KeyError) -> AnalysisError {
    match error {
        // One environment's hiccup says nothing of the provider: nobody else waits for it.
        KeyError::Unread(_) => {
            tracing::warn!(cause = chain(error), "the model provider's key could not be read now");
            later(KEY_UNREAD, "this service's key for the model provider could not be read now", Cost::Nothing)
        }
        KeyError::Unusable | KeyError::UnusableSecret(_) | KeyError::Withheld(_) => {
            tracing::error!(cause = chain(error), "the model provider's key is not to be had");
            later(refusal::CREDENTIALS, "this service has no usable key for the model provider", Cost::Nothing)
        }
    }
}

#[cfg(test)]
mod tests;
