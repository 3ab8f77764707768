//! Devices that a user has logged in from before: each has a cookie of its own, which is no session and opens nothing. Guesses from
//! elsewhere are not held against it.

use crate::cookies;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The cookie that a device is known by (`__Host-`: secure, whole site, no domain; RFC 6265bis).
const DEVICE_COOKIE: &str = "__Host-device";
/// 128 random bits.
const LENGTH: usize = 16;
/// As long as browsers keep one (RFC 6265bis, 5.5).
pub(crate) const DEVICE_DAYS: u64 = 400;

/// What a device's cookie holds. Never stored: its hash is.
pub struct Device(String);

/// The SHA-256 of a device's cookie, base64url.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceHash(String);

impl Device {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// That of a request. None of several, nor what cannot be one: it is then no known device.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let mut values = cookies::named(request.headers(), DEVICE_COOKIE);
        let (value, other) = (values.next()?, values.next());
        let mut bytes = [0; LENGTH];
        let is_one = other.is_none() && URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) == Ok(LENGTH);
        Some(Self(String::from_utf8(value.to_owned()).ok().filter(|_| is_one)?))
    }

    pub(crate) fn hash(&self) -> DeviceHash {
        DeviceHash(URL_SAFE_NO_PAD.encode(Sha256::digest(&self.0)))
    }

    /// The cookie. `SameSite=None`, as the session's: an allowed origin may be another site.
    #[must_use]
    pub fn cookie(&self) -> HeaderValue {
        let max_age_seconds = DEVICE_DAYS * 24 * 60 * 60;
        let text =
            format!("{DEVICE_COOKIE}={}; Path=/; Max-Age={max_age_seconds}; Secure; HttpOnly; SameSite=None", self.0);
        HeaderValue::try_from(text).expect("base64url")
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Device(…)")
    }
}

impl DeviceHash {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Body;
    use lambda_http::http::header::COOKIE;

    fn of(cookies: &str) -> Option<DeviceHash> {
        let request =
            lambda_http::http::Request::builder().header(COOKIE, cookies).body(Body::Empty).expect("a request");
        Device::of(&request).map(|device| device.hash())
    }

    #[test]
    fn one_device_is_read() {
        let device = Device::generate().expect("random");
        let cookie = device.cookie();
        let pair = cookie.to_str().expect("text").split(';').next().expect("a pair");
        assert!(of(&format!("a=b; {pair}; c=d")) == Some(device.hash()));
        for wrong in [
            format!("{pair}; {pair}"),
            pair.to_uppercase(),
            format!("{pair}A"),
            "__Host-device=".to_owned(),
            "__Host-device=\u{e9}".to_owned(),
        ] {
            assert!(of(&wrong).is_none(), "{wrong}");
        }
        assert_eq!(format!("{device:?}"), "Device(…)");
    }
}
