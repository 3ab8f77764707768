//! JSON as it came, before it is known what it should be: each member once, numbers as written (RFC 8259). And its
//! canonical form (RFC 8785), by which two spellings of one body are equal.

use super::Rejection;
use deserr::{IntoValue, Map, Value, ValueKind};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, IntoIter};
use std::fmt;

/// How deep values are looked into. No body of an API is nested so deeply; what lies deeper is JSON, and no more. Each level passes
/// over all of its text once more.
const DEPTH: u8 = 8;

/// How many values are looked at: the largest batch has 302. An object with one member takes 700 bytes, so a body of five megabytes
/// that is nothing but objects would not fit into a function; this many take 35 MB, besides the places of one level's parts.
pub(super) const VALUES_MAX: usize = 50_000;

/// A JSON value.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Box<str>),
    Text(String),
    Array(Vec<Self>),
    Object(Members),
    /// Deeper than [`DEPTH`].
    Unseen,
}

/// The members of an object.
#[derive(Debug, Default)]
pub(super) struct Members(pub(super) BTreeMap<String, Json>);

impl Json {
    /// Reads UTF-8 bytes. A syntax error is found at any depth, a repeated name down to [`DEPTH`].
    ///
    /// # Errors
    /// [`Rejection::MalformedJson`] for what is no JSON, and [`Rejection::Invalid`] for more than [`VALUES_MAX`] values.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        // Kept as text first: this checks all of the syntax without recursion, and converts no number.
        let raw = serde_json::from_slice(bytes).map_err(|error| Rejection::MalformedJson(error.to_string()))?;
        let mut left = VALUES_MAX;
        unfold(raw, 0, &mut left).map_err(|unread| match unread {
            Unread::Malformed(error) => {
                // It says where in its part, which is not where in the body.
                let text = error.to_string();
                let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
                Rejection::MalformedJson(what.to_owned())
            }
            Unread::TooMany => Rejection::field("", format!("must have at most {VALUES_MAX} values")),
        })
    }

    /// Whether there is anything that was not looked into.
    pub(super) fn is_too_deep(&self) -> bool {
        match self {
            Self::Unseen => true,
            Self::Array(values) => values.iter().any(Self::is_too_deep),
            Self::Object(members) => members.0.values().any(Self::is_too_deep),
            _ => false,
        }
    }

    /// The canonical form (RFC 8785): members sorted by their UTF-16 code units, no white space, one spelling of each
    /// text and number. `None` for what has none: a number beyond a 64-bit float, or too deep.
    pub(super) fn canonical(&self) -> Option<String> {
        let mut text = String::new();
        self.write(&mut text)?;
        Some(text)
    }

    fn write(&self, to: &mut String) -> Option<()> {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => {
                let number = digits.parse::<f64>().ok().filter(|number| number.is_finite())?;
                to.push_str(ryu_js::Buffer::new().format_finite(number));
            }
            Self::Text(text) => write_text(text, to)?,
            Self::Array(values) => {
                to.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    value.write(to)?;
                }
                to.push(']');
            }
            Self::Object(members) => {
                let mut sorted: Vec<_> = members.0.iter().collect();
                sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
                to.push('{');
                for (index, (name, value)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    write_text(name, to)?;
                    to.push(':');
                    value.write(to)?;
                }
                to.push('}');
            }
            Self::Unseen => return None,
        }
        Some(())
    }
}

/// serde_json escapes what RFC 8785 (3.2.2.2) says, and as it says.
fn write_text(text: &str, to: &mut String) -> Option<()> {
    to.push_str(&serde_json::to_string(text).ok()?);
    Some(())
}

/// Why a part was not read.
enum Unread {
    Malformed(serde_json::Error),
    TooMany,
}

impl From<serde_json::Error> for Unread {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed(error)
    }
}

/// Reads a part, of which so many values are left.
fn unfold(raw: &RawValue, depth: u8, left: &mut usize) -> Result<Json, Unread> {
    *left = left.checked_sub(1).ok_or(Unread::TooMany)?;
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Json::Null,
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'"') => Json::Text(serde_json::from_str(text)?),
        Some(b'[' | b'{') if depth == DEPTH => Json::Unseen,
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(text)?;
            let mut read = Vec::new();
            for value in values {
                read.push(unfold(value, depth + 1, left)?);
            }
            Json::Array(read)
        }
        Some(b'{') => {
            let RawMembers(members) = serde_json::from_str(text)?;
            let mut read = BTreeMap::new();
            for (name, value) in members {
                read.insert(name, unfold(value, depth + 1, left)?);
            }
            Json::Object(Members(read))
        }
        _ => Json::Number(text.into()),
    })
}

/// An object's members, each name once.
struct RawMembers<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match members.entry(name) {
                        Entry::Vacant(free) => drop(free.insert(value)),
                        Entry::Occupied(known) => {
                            let name: String = known.key().chars().take(100).collect();
                            return Err(A::Error::custom(format!("an object has the name {name:?} twice")));
                        }
                    }
                }
                Ok(RawMembers(members))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

impl IntoValue for Json {
    type Sequence = Vec<Self>;
    type Map = Members;

    fn kind(&self) -> ValueKind {
        match self {
            Self::Null => ValueKind::Null,
            Self::Bool(_) => ValueKind::Boolean,
            Self::Number(digits) if digits.parse::<u64>().is_ok() => ValueKind::Integer,
            Self::Number(digits) if digits.parse::<i64>().is_ok() => ValueKind::NegativeInteger,
            Self::Number(_) => ValueKind::Float,
            Self::Text(_) => ValueKind::String,
            Self::Array(_) | Self::Unseen => ValueKind::Sequence,
            Self::Object(_) => ValueKind::Map,
        }
    }

    fn into_value(self) -> Value<Self> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Boolean(value),
            Self::Number(digits) => match (digits.parse(), digits.parse()) {
                (Ok(number), _) => Value::Integer(number),
                (_, Ok(number)) => Value::NegativeInteger(number),
                _ => Value::Float(digits.parse().unwrap_or(f64::NAN)),
            },
            Self::Text(text) => Value::String(text),
            Self::Array(values) => Value::Sequence(values),
            Self::Object(members) => Value::Map(members),
            Self::Unseen => Value::Sequence(Vec::new()),
        }
    }
}

impl Map for Members {
    type Value = Json;
    type Iter = IntoIter<String, Json>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn remove(&mut self, key: &str) -> Option<Json> {
        self.0.remove(key)
    }

    fn into_iter(self) -> Self::Iter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        Json::parse(text.as_bytes()).expect("JSON").canonical()
    }

    /// The examples of RFC 8785, 3.2.2, 3.2.3 and appendix B.
    #[test]
    fn the_canonical_form_is_that_of_rfc_8785() {
        let text = r#"{ "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false] }"#;
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(canonical(text).as_deref(), Some(expected));
        let text = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let expected = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(canonical(text).as_deref(), Some(expected));
        for (number, expected) in [("-0.0", "0"), ("1e21", "1e+21"), ("100000000000000000000", "100000000000000000000")]
        {
            assert_eq!(canonical(number).as_deref(), Some(expected));
        }
        assert_eq!((canonical("1e400"), canonical("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]")), (None, None));
    }

    #[test]
    fn names_are_told_apart_once_they_are_read() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"a":{},"a":[]}}]"#] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Json::parse(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn no_more_values_are_read_than_there_is_room_for() {
        let of = |values: usize, value: &str| format!("[{}]", vec![value; values].join(","));
        for (values, value) in
            [(VALUES_MAX - 1, "null"), (VALUES_MAX / 2 - 1, r#"{"":0}"#), (VALUES_MAX / 2 - 1, "[0]")]
        {
            assert!(Json::parse(of(values, value).as_bytes()).is_ok(), "{value}");
            let more = Json::parse(of(values + 1, value).as_bytes());
            assert!(matches!(more, Err(Rejection::Invalid(_))), "{value}");
        }
        assert!(Json::parse(of(800_000, r#"{"":0}"#).as_bytes()).is_err(), "five megabytes");
    }

    #[test]
    fn any_depth_is_read_and_all_syntax_checked() {
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        assert!(Json::parse(format!("{open}1{close}").as_bytes()).expect("JSON").is_too_deep());
        assert!(Json::parse(format!("{open}1,{close}").as_bytes()).is_err());
    }
}
