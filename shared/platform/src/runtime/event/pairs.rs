//! Parameters of an event, read straight into pairs.

use super::values::{Destination, read};
use serde::{Deserialize, Deserializer};

/// Names and values from a map of names to a value, to a list of values, or to null. A null is no value.
#[derive(Default)]
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, Self(Vec::with_capacity(2)))
    }
}

impl Destination for Pairs {
    type Name = String;
    type Value = String;

    fn name(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn value(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn add(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }
}
