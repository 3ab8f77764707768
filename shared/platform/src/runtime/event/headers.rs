//! Headers of an event, read straight into a map.

use super::values::{Destination, read};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};

/// Headers from a map of names to a value, to a list of values, or to null. A value is bytes (RFC 9110, 5.5): what is above ASCII stays.
/// What is no header (a line break, a name with a space) is left out: no caller can send it.
#[derive(Default)]
pub(super) struct Headers(pub(super) HeaderMap);

/// How many headers there is room for before the map grows.
const HEADERS: usize = 24;

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, Self(HeaderMap::with_capacity(HEADERS)))
    }
}

impl Destination for Headers {
    type Name = HeaderName;
    type Value = HeaderValue;

    fn name(text: &str) -> Option<HeaderName> {
        HeaderName::from_bytes(text.as_bytes()).ok()
    }

    fn value(text: &str) -> Option<HeaderValue> {
        HeaderValue::from_bytes(text.as_bytes()).ok()
    }

    fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.append(name, value);
    }
}
