//! Headers of an event, read straight into a map.

use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// Headers from a map of names to a value, to a list of values, or to null. A value is bytes (RFC 9110, 5.5): what is above ASCII stays.
/// What is no header (a line break, a name with a space) is left out: no caller can send it.
#[derive(Default)]
pub(super) struct Headers(pub(super) HeaderMap);

/// How many headers there is room for before the map grows.
const HEADERS: usize = 24;

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = HeaderMap::with_capacity(HEADERS);
                while let Some(name) = map.next_key_seed(Name)? {
                    map.next_value_seed(Values { name, headers: &mut headers })?;
                }
                Ok(Headers(headers))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

/// Reads a header's name; `None` is none.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<HeaderName>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<HeaderName>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(HeaderName::from_bytes(name.as_bytes()).ok())
    }
}

/// Reads a header's value.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<HeaderValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Text {
    type Value = Option<HeaderValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(HeaderValue::from_bytes(value.as_bytes()).ok())
    }
}

/// Reads what one name has, a value or a list of them, into the map.
struct Values<'a> {
    name: Option<HeaderName>,
    headers: &'a mut HeaderMap,
}

impl Values<'_> {
    fn add(self, value: Option<HeaderValue>) {
        if let (Some(name), Some(value)) = (self.name, value) {
            self.headers.append(name, value);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header's value or a list of values")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.add(HeaderValue::from_bytes(value.as_bytes()).ok());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        // Nearly always there is one, which the name goes with; another needs a copy of it.
        let mut last = None;
        while let Some(value) = values.next_element_seed(Text)? {
            let Some(value) = value else { continue };
            if let (Some(name), Some(before)) = (&self.name, last.replace(value)) {
                self.headers.append(name, before);
            }
        }
        self.add(last);
        Ok(())
    }
}
