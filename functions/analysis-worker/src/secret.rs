//! Secrets: never shown, read once per environment, read again only when the other side refuses them.

use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use aws_types::SdkConfig;
use serde_json::{Map, Value};
use shared::error::chain;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The member of a secret in JSON that is the key.
const MEMBER: &str = "ANTHROPIC_API_KEY";

/// A value that no log may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value, without white space around it (a file's last line break, mostly).
    ///
    /// # Errors
    /// The value is empty or no key could be it: it has other characters than those of a token in HTTP (RFC 7235, `token68`). It is not
    /// repeated.
    pub fn new(value: &str) -> Result<Self, KeyError> {
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)) {
            return Err(KeyError::Unusable);
        }
        Ok(Self(value.to_owned()))
    }

    /// Takes what Secrets Manager holds: the value itself, or as its console stores it, JSON with the value under
    /// [`MEMBER`] or as the only member.
    fn stored(text: &str) -> Result<Self, KeyError> {
        let Ok(members) = serde_json::from_str::<Map<String, Value>>(text) else { return Self::new(text) };
        let only = members.values().next().filter(|_| members.len() == 1);
        match members.get(MEMBER).or(only) {
            Some(Value::String(value)) => Self::new(value),
            _ => Err(KeyError::Unusable),
        }
    }

    /// The value, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Empty, or nothing that could be a key.
    #[error("the secret is no usable key")]
    Unusable,
    /// The same of a secret with this name in Secrets Manager.
    #[error("the secret {0} holds no usable key: put the key itself there, or JSON with it under {MEMBER}")]
    UnusableSecret(String),
    /// Secrets Manager refuses to give it: it is not there, or this function may not read it. The text is for the log only.
    #[error("the secret is not given out: {0}")]
    Withheld(String),
    /// Secrets Manager was away or busy, which passes. The text is for the log only.
    #[error("the secret could not be read: {0}")]
    Unread(String),
}

/// A key that is read at its first use and kept.
#[derive(Debug)]
pub struct ApiKey {
    client: aws_sdk_secretsmanager::Client,
    /// Name or ARN of the secret.
    secret_id: String,
    // Held across the read, so that jobs starting together read once.
    kept: Mutex<Option<Arc<Secret>>>,
}

impl ApiKey {
    /// The key in the secret of this name or ARN, not read yet; `client` is that of [`secrets_manager`].
    #[must_use]
    pub fn new(client: aws_sdk_secretsmanager::Client, secret_id: String) -> Self {
        Self { client, secret_id, kept: Mutex::new(None) }
    }

    /// The key.
    ///
    /// # Errors
    /// It could not be read; the next call tries again.
    pub async fn get(&self) -> Result<Arc<Secret>, KeyError> {
        let mut kept = self.kept.lock().await;
        if let Some(secret) = &*kept {
            return Ok(secret.clone());
        }
        let secret = Arc::new(self.read().await?);
        *kept = Some(secret.clone());
        Ok(secret)
    }

    /// Reads the key again after `refused` was turned down; `None` when it is still the same.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn renew(&self, refused: &Secret) -> Result<Option<Arc<Secret>>, KeyError> {
        let mut kept = self.kept.lock().await;
        if let Some(secret) = &*kept
            && **secret != *refused
        {
            return Ok(Some(secret.clone()));
        }
        let secret = Arc::new(self.read().await?);
        let is_new = *secret != *refused;
        *kept = Some(secret.clone());
        Ok(is_new.then_some(secret))
    }

    async fn read(&self) -> Result<Secret, KeyError> {
        let reply = self.client.get_secret_value().secret_id(&self.secret_id).send().await;
        let reply = reply.map_err(|error| not_given(&error))?;
        let secret = reply.secret_string().and_then(|text| Secret::stored(text).ok());
        secret.ok_or_else(|| KeyError::UnusableSecret(self.secret_id.clone()))
    }
}

/// A time-out, a lost connection, a failure of Secrets Manager's own and throttling pass. Any other answer stays the same until somebody sees
/// to it (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>).
fn not_given(error: &SdkError<GetSecretValueError, HttpResponse>) -> KeyError {
    let stays = error.raw_response().is_some_and(|reply| reply.status().is_client_error())
        && error.as_service_error().is_some_and(|said| !said.code().is_some_and(is_throttling));
    if stays { KeyError::Withheld(chain(error)) } else { KeyError::Unread(chain(error)) }
}

fn is_throttling(code: &str) -> bool {
    ["ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"].contains(&code)
}

/// A Secrets Manager client, with time limits of its own.
#[must_use]
pub fn secrets_manager(aws: &SdkConfig) -> aws_sdk_secretsmanager::Client {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).operation_timeout(Duration::from_secs(8));
    let config = aws_sdk_secretsmanager::config::Builder::from(aws).timeout_config(timeouts.build());
    aws_sdk_secretsmanager::Client::from_conf(config.build())
}

#[cfg(test)]
pub(crate) mod tests;
