//! Names with a value, a list of values or null, as events have headers and parameters, read straight into their place.

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Where they go.
pub(super) trait Destination {
    type Name: Clone;
    type Value;

    /// `None` is left out, with all its values.
    fn name(text: &str) -> Option<Self::Name>;
    /// `None` is left out.
    fn value(text: &str) -> Option<Self::Value>;
    fn add(&mut self, name: Self::Name, value: Self::Value);
}

/// Reads a map of names. A null is no value.
pub(super) fn read<'de, P: Destination, D: Deserializer<'de>>(deserializer: D, place: P) -> Result<P, D::Error> {
    deserializer.deserialize_map(Names(place))
}

struct Names<P>(P);

impl<'de, P: Destination> Visitor<'de> for Names<P> {
    type Value = P;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<P, A::Error> {
        while let Some(name) = map.next_key_seed(Text(P::name))? {
            map.next_value_seed(Values { name, place: &mut self.0 })?;
        }
        Ok(self.0)
    }
}

/// Reads a text, or null, as its function makes something of it.
struct Text<F>(F);

impl<'de, T, F: FnOnce(&str) -> Option<T>> DeserializeSeed<'de> for Text<F> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T, F: FnOnce(&str) -> Option<T>> Visitor<'_> for Text<F> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0)(text))
    }
}

/// Reads what one name has.
struct Values<'a, P: Destination> {
    name: Option<P::Name>,
    place: &'a mut P,
}

impl<P: Destination> Values<'_, P> {
    fn add(self, value: Option<P::Value>) {
        if let (Some(name), Some(value)) = (self.name, value) {
            self.place.add(name, value);
        }
    }
}

impl<'de, P: Destination> DeserializeSeed<'de> for Values<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: Destination> Visitor<'de> for Values<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.add(P::value(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        // Nearly always there is one, which the name goes with; another needs a copy of it.
        let mut last = None;
        while let Some(value) = values.next_element_seed(Text(P::value))? {
            let Some(value) = value else { continue };
            if let (Some(name), Some(before)) = (&self.name, last.replace(value)) {
                self.place.add(name.clone(), before);
            }
        }
        self.add(last);
        Ok(())
    }
}
