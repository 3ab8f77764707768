//! Signature Version 4 of the first attempt of `POST /` with its body in memory, which is all that DynamoDB and SQS are sent.
//! The SDK's signer derives the day's key anew for each request and builds texts, maps and lists to hash them; this one keeps
//! the key and hashes the parts where they are. Whatever else comes is the SDK's to sign, a repetition too: it knows by how much
//! the clock was found to be wrong. <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use crate::hex;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4Signer};
use aws_sdk_sqs::config::{ConfigBag, Credentials, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_smithy_runtime_api::client::auth::{AuthScheme, AuthSchemeEndpointConfig, AuthSchemeId, Sign};
use aws_smithy_runtime_api::client::identity::{Identity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::GetIdentityResolver;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use jiff::tz::Offset;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// The signer of one service in one region, in the place of the SDK's.
pub struct Signer {
    region: String,
    service: &'static str,
    key: Mutex<Option<Key>>,
    sdk: SigV4Signer,
}

/// What a secret signs with on one day, in this region and for this service.
struct Key {
    /// `YYYYMMDD`, UTC.
    day: String,
    credentials: Credentials,
    mac: Hmac<Sha256>,
}

/// What of a request is signed besides its time and its token.
#[derive(Debug)]
struct Parts<'a> {
    host: &'a str,
    content_type: &'a str,
    target: &'a str,
    body: &'a [u8],
}

/// What a signed request carries.
struct Signed {
    /// `YYYYMMDDTHHMMSSZ`, UTC.
    time: String,
    authorization: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Signer {
    /// The signer of `service`, as its endpoints name it (`dynamodb`), in a region.
    #[must_use]
    pub fn new(region: String, service: &'static str) -> Self {
        Self { region, service, key: Mutex::new(None), sdk: SigV4Signer::new() }
    }

    fn sign(&self, parts: &Parts<'_>, credentials: &Credentials, now: Timestamp) -> Signed {
        let now = Offset::UTC.to_datetime(now);
        let mut time = String::with_capacity(16);
        let (year, month, day) = (now.year(), now.month(), now.day());
        let (hour, minute, second) = (now.hour(), now.minute(), now.second());
        let written = write!(time, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
        debug_assert!(written.is_ok(), "a String takes everything");
        let (day, token) = (&time[..8], credentials.session_token());

        let mut digits = String::with_capacity(64);
        hex::push(&mut digits, &Sha256::digest(parts.body));
        let mut request = Sha256::new();
        let mut hash = |texts: &[&str]| texts.iter().for_each(|text| request.update(text));
        hash(&["POST\n/\n\ncontent-type:", parts.content_type, "\nhost:", parts.host, "\nx-amz-date:", &time]);
        if let Some(token) = token {
            hash(&["\nx-amz-security-token:", token]);
        }
        let names = match token {
            Some(_) => "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            None => "content-type;host;x-amz-date;x-amz-target",
        };
        hash(&["\nx-amz-target:", parts.target, "\n\n", names, "\n", &digits]);

        let mut signature = self.mac(day, credentials);
        let scope = ["/", &self.region, "/", self.service, "/aws4_request"];
        digits.clear();
        hex::push(&mut digits, &request.finalize());
        for text in [ALGORITHM, "\n", &time, "\n", day].into_iter().chain(scope).chain(["\n", &digits]) {
            signature.update(text.as_bytes());
        }

        let mut authorization = String::with_capacity(256);
        for text in [ALGORITHM, " Credential=", credentials.access_key_id(), "/", day].into_iter().chain(scope) {
            authorization.push_str(text);
        }
        for text in [", SignedHeaders=", names, ", Signature="] {
            authorization.push_str(text);
        }
        hex::push(&mut authorization, &signature.finalize().into_bytes());
        Signed { time, authorization }
    }

    /// What the credentials sign with on that day.
    fn mac(&self, day: &str, credentials: &Credentials) -> Hmac<Sha256> {
        let mut kept = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = kept.as_ref().filter(|key| key.day == day && key.credentials == *credentials) {
            return key.mac.clone();
        }
        let first = mac(format!("AWS4{}", credentials.secret_access_key()).as_bytes());
        let mac = [day, &self.region, self.service, "aws4_request"].into_iter().fold(first, |mut key, part| {
            key.update(part.as_bytes());
            mac(&key.finalize().into_bytes())
        });
        *kept = Some(Key { day: day.to_owned(), credentials: credentials.clone(), mac: mac.clone() });
        mac
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// What is to be signed of a request, if it is one of those that are signed here.
fn parts(request: &HttpRequest) -> Option<Parts<'_>> {
    let (scheme, rest) = request.uri().split_once("://")?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    // A port that goes without saying is not in the header.
    let port = if scheme == "https" { ":443" } else { ":80" };
    if request.method() != "POST" || host.contains(['/', '?', '#', '@']) || host.ends_with(port) {
        return None;
    }
    let (mut content_type, mut target) = (None, None);
    for (name, value) in request.headers() {
        match name {
            "content-type" => content_type = Some(value),
            "x-amz-target" => target = Some(value),
            // All of that name have to be signed.
            other if other.starts_with("x-amz-") || other == "host" => return None,
            _ => {}
        }
    }
    Some(Parts { host, content_type: content_type?, target: target?, body: request.body().bytes()? })
}

impl AuthScheme for Signer {
    fn scheme_id(&self) -> AuthSchemeId {
        SCHEME_ID
    }

    fn identity_resolver(&self, resolvers: &dyn GetIdentityResolver) -> Option<SharedIdentityResolver> {
        resolvers.identity_resolver(SCHEME_ID)
    }

    fn signer(&self) -> &dyn Sign {
        self
    }
}

impl Sign for Signer {
    fn sign_http_request(
        &self,
        request: &mut HttpRequest,
        identity: &Identity,
        endpoint: AuthSchemeEndpointConfig<'_>,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let is_first = config.load::<RequestAttempts>().is_none_or(|attempts| attempts.attempts() <= 1);
        let (true, Some(credentials), Some(parts)) = (is_first, identity.data::<Credentials>(), parts(request)) else {
            return self.sdk.sign_http_request(request, identity, endpoint, components, config);
        };
        let now = components.time_source().map_or_else(SystemTime::now, |source| source.now());
        let signed = self.sign(&parts, credentials, Timestamp::try_from(now)?);
        let headers = request.headers_mut();
        headers.try_insert(DATE, signed.time)?;
        if let Some(token) = credentials.session_token() {
            headers.try_insert(TOKEN, token.to_owned())?;
        }
        headers.try_insert("authorization", signed.authorization)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
