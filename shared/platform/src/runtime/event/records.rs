//! The records of a batch: messages of a queue, changes of a table. Each part is read by itself, so that a record that nobody can read
//! is alone in that.

use super::object;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Why an event has no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRecords {
    /// It is no batch: a warm-up, a schedule, the console's first test event.
    Foreign,
    /// It has `Records`, and they are no list. No event source sends that; nothing of it may be taken for done.
    Unreadable,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Records", borrow)]
    records: Option<&'a RawValue>,
}

/// The records of a batch, of which one that is no object, or not of the form that `R` needs, is `None`.
///
/// # Errors
/// [`NoRecords`].
pub fn records<R: DeserializeOwned>(json: &str) -> Result<Vec<Option<R>>, NoRecords> {
    let Some(Envelope { records }) = object(json) else {
        // An object that is none here has `Records` twice.
        let is_object = json.trim_start().starts_with('{');
        return Err(if is_object { NoRecords::Unreadable } else { NoRecords::Foreign });
    };
    let records: Vec<&RawValue> =
        serde_json::from_str(records.ok_or(NoRecords::Foreign)?.get()).map_err(|_| NoRecords::Unreadable)?;
    Ok(records.into_iter().map(|record| object(record.get())).collect())
}

/// Reads a field that concerns no other: what is null or of another form is `None`. (For serde's `deserialize_with`, beside `default`.)
///
/// # Errors
/// None of the field's own.
pub fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|value| serde_json::from_str(value.get()).ok())
}
