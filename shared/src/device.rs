//! Devices that a user has logged in from before: a browser's cookie names them, which is no session and opens nothing. Guesses from
//! elsewhere are not held against them.

use crate::cookies;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The cookie that devices are known by (`__Host-`: secure, whole site, no domain; RFC 6265bis).
const DEVICE_COOKIE: &str = "__Host-device";
/// 128 random bits.
const LENGTH: usize = 16;
/// Most devices in one cookie. Those of accounts that are used there no more are the first to go, and those that a new password has voided.
const DEVICES_MAX: usize = 8;
/// What stands between two in the cookie: no letter of base64url.
const BETWEEN: &str = ".";
/// As long as browsers keep one (RFC 6265bis, 5.5).
pub(crate) const DEVICE_DAYS: u64 = 400;

/// A browser as one account knows it. Never stored: its hash is.
pub struct Device(String);

/// What a browser's cookie holds: a device for each account that was logged in to there, the last one at the end. An account that knows
/// none of them gets one of its own beside them, so no account takes the browser from another, nor takes over what another was given.
#[derive(Default)]
pub struct DeviceCookie(Vec<Device>);

/// The SHA-256 of a device, base64url.
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

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; LENGTH];
        (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(LENGTH)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn hash(&self) -> DeviceHash {
        DeviceHash(URL_SAFE_NO_PAD.encode(Sha256::digest(&self.0)))
    }
}

impl DeviceCookie {
    /// That of a request. Without a device where there are several, or one that holds what cannot be a device.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let mut values = cookies::named(request.headers(), DEVICE_COOKIE);
        let (value, other) = (values.next(), values.next());
        let text = value.filter(|_| other.is_none()).and_then(|value| std::str::from_utf8(value).ok());
        let devices: Option<Vec<_>> = text.and_then(|text| text.split(BETWEEN).map(Device::parse).collect());
        Self(devices.filter(|devices| devices.len() <= DEVICES_MAX).unwrap_or_default())
    }

    /// The same with a device at the end, whether it had it or not. Beyond the most that it holds, the first ones go.
    #[must_use]
    pub fn with(self, device: Device) -> Self {
        let mut devices = self.0;
        devices.retain(|one| one.0 != device.0);
        let beyond = (devices.len() + 1).saturating_sub(DEVICES_MAX);
        Self(devices.into_iter().skip(beyond).chain([device]).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The device that an account knows, if it knows one of them.
    pub(crate) fn known(self, is_known: impl FnMut(&Device) -> bool) -> Option<Device> {
        self.0.into_iter().find(is_known)
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = DeviceHash> {
        self.0.iter().map(Device::hash)
    }

    /// What sets it. `SameSite=None`, as the session's: an allowed origin may be another site.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let max_age_seconds = DEVICE_DAYS * 24 * 60 * 60;
        let devices: Vec<&str> = self.0.iter().map(|device| device.0.as_str()).collect();
        let devices = devices.join(BETWEEN);
        let text =
            format!("{DEVICE_COOKIE}={devices}; Path=/; Max-Age={max_age_seconds}; Secure; HttpOnly; SameSite=None");
        HeaderValue::try_from(text).expect("base64url and points")
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

    fn of(cookies: &str) -> DeviceCookie {
        let request =
            lambda_http::http::Request::builder().header(COOKIE, cookies).body(Body::Empty).expect("a request");
        DeviceCookie::of(&request)
    }

    fn hashes(cookies: &str) -> Vec<DeviceHash> {
        of(cookies).hashes().collect()
    }

    fn pair(cookie: &DeviceCookie) -> String {
        let header = cookie.header();
        header.to_str().expect("text").split(';').next().expect("a pair").to_owned()
    }

    fn device() -> Device {
        Device::generate().expect("random")
    }

    #[test]
    fn one_cookie_is_read() {
        let device = device();
        assert_eq!(format!("{device:?}"), "Device(…)");
        let hash = device.hash();
        let pair = pair(&DeviceCookie::default().with(device));
        assert!(hashes(&format!("a=b; {pair}; c=d")) == [hash]);
        for wrong in [
            format!("{pair}; {pair}"),
            pair.to_uppercase(),
            format!("{pair}A"),
            format!("{pair}."),
            format!("{pair}.A"),
            "__Host-device=".to_owned(),
            "__Host-device=\u{e9}".to_owned(),
        ] {
            assert!(of(&wrong).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn the_devices_that_were_used_last_are_kept() {
        let devices: Vec<Device> = (0..=DEVICES_MAX).map(|_| device()).collect();
        let all: Vec<DeviceHash> = devices.iter().map(Device::hash).collect();
        let pair_of = pair(&devices.into_iter().fold(DeviceCookie::default(), DeviceCookie::with));
        assert!(hashes(&pair_of) == all[1..]);
        // One that it has goes to the end, and takes no other's place.
        let known = of(&pair_of).known(|device| device.hash() == all[2]).expect("it is there");
        let again = hashes(&pair(&of(&pair_of).with(known)));
        assert!(again[0] == all[1] && again[1..DEVICES_MAX - 1] == all[3..] && again[DEVICES_MAX - 1] == all[2]);
        assert!(of(&format!("{pair_of}.{}", device().0)).is_empty(), "nobody is given more");
    }
}
