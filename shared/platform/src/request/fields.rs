//! What is wrong with a body or query, field by field, in one wording: all of it at once, as far as it can be told.

use crate::response::FieldError;
use deserr::take_cf_content;
use deserr::{DeserializeError, Deserr, ErrorKind, IntoValue, Map, MergeWithError, Value, ValueKind, ValuePointerRef};
use std::ops::ControlFlow;

/// How many errors are told at most: the list must not grow with what a caller sends.
pub(super) const MOST: usize = 100;
/// The longest member name that is repeated to a caller, in bytes.
const NAME_BYTES: usize = 200;

/// Collected field errors, each with the JSON pointer (RFC 6901) of its field.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// One error, at a place.
    #[must_use]
    pub fn at(location: ValuePointerRef<'_>, message: impl Into<String>) -> Self {
        Self(vec![FieldError { pointer: pointer(location), message: message.into() }])
    }

    /// Notes what went wrong with one part, and goes on with the others.
    pub fn note<T>(&mut self, part: Result<T, Self>) -> Option<T> {
        part.map_err(|errors| {
            if self.0.len() < MOST {
                self.0.extend(errors.0);
            }
        })
        .ok()
    }

    /// Notes each member that is left of an object as one that does not go with the others.
    pub fn note_rest<M: Map>(&mut self, rest: M, location: ValuePointerRef<'_>, accepted: &[&str]) {
        for (key, _) in rest.into_iter().take(MOST) {
            let key = &key;
            let error = Self::error::<M::Value>(None, ErrorKind::UnknownKey { key, accepted }, location);
            self.note::<()>(Err(take_cf_content(error)));
        }
    }

    /// `value`, unless something was noted.
    ///
    /// # Errors
    /// What was noted.
    pub fn unless_noted<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// The errors, at most 100.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<FieldError> {
        self.0.truncate(MOST);
        self.0
    }

    fn added(to: Option<Self>, more: Self) -> ControlFlow<Self, Self> {
        let mut all = to.unwrap_or_default();
        all.0.extend(more.0);
        if all.0.len() < MOST { ControlFlow::Continue(all) } else { ControlFlow::Break(all) }
    }
}

impl MergeWithError<Self> for FieldErrors {
    fn merge(to: Option<Self>, other: Self, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        Self::added(to, other)
    }
}

/// What a type refuses of a value that has the right JSON type.
impl MergeWithError<&'static str> for FieldErrors {
    fn merge(to: Option<Self>, message: &'static str, location: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        Self::added(to, Self::at(location, message))
    }
}

impl DeserializeError for FieldErrors {
    fn error<V: IntoValue>(
        to: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let error = match error {
            ErrorKind::IncorrectValueKind { accepted, .. } => Self::at(location, must_be(accepted)),
            ErrorKind::MissingField { field } => Self::at(location.push_key(field), REQUIRED),
            ErrorKind::UnknownKey { key, accepted } if key.len() <= NAME_BYTES => {
                let known = accepted.join(", ");
                Self::at(location.push_key(key), format!("is not known here; known are: {known}"))
            }
            ErrorKind::UnknownKey { accepted, .. } => {
                let known = accepted.join(", ");
                Self::at(location, format!("has a member with a very long name; known are: {known}"))
            }
            ErrorKind::UnknownValue { accepted, .. } => {
                Self::at(location, format!("must be one of: {}", accepted.join(", ")))
            }
            ErrorKind::BadSequenceLen { expected, .. } => Self::at(location, format!("must have {expected} entries")),
            ErrorKind::Unexpected { msg } => Self::at(location, msg),
        };
        Self::added(to, error)
    }
}

/// What is said of a field that is missing.
pub const REQUIRED: &str = "is required";

/// Takes a member out of an object; one that is missing is an error.
///
/// # Errors
/// What is wrong with it.
pub fn member<T: Deserr<FieldErrors>, M: Map>(
    of: &mut M,
    name: &str,
    location: ValuePointerRef<'_>,
) -> Result<T, FieldErrors> {
    let location = location.push_key(name);
    let value = of.remove(name).ok_or_else(|| FieldErrors::at(location, REQUIRED))?;
    T::deserialize_from_value(value.into_value(), location)
}

/// Takes a member out of an object; one that is missing or `null` is none.
///
/// # Errors
/// What is wrong with it.
pub fn optional<T: Deserr<FieldErrors>, M: Map>(
    of: &mut M,
    name: &str,
    location: ValuePointerRef<'_>,
) -> Result<Option<T>, FieldErrors> {
    let Some(value) = of.remove(name) else { return Ok(None) };
    Option::deserialize_from_value(value.into_value(), location.push_key(name))
}

/// The members of an object, for a type that looks at them before it knows what it is.
///
/// # Errors
/// It is no object.
pub fn members<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<V::Map, FieldErrors> {
    match value {
        Value::Map(members) => Ok(members),
        _ => Err(FieldErrors::at(location, must_be(&[ValueKind::Map]))),
    }
}

fn must_be(accepted: &[ValueKind]) -> &'static str {
    match accepted.first() {
        Some(ValueKind::Map) => "must be an object",
        Some(ValueKind::Sequence) => "must be a list",
        Some(ValueKind::String) => "must be a string",
        Some(ValueKind::Boolean) => "must be true or false",
        Some(ValueKind::Float) => "must be a number",
        Some(ValueKind::Null) => "must be null",
        _ => "must be a whole number",
    }
}

fn pointer(location: ValuePointerRef<'_>) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => pointer(*prev) + "/" + &key.replace('~', "~0").replace('/', "~1"),
        ValuePointerRef::Index { index, prev } => format!("{}/{index}", pointer(*prev)),
    }
}
