//! Grants for part of a table: `dynamodb:LeadingKeys`, `dynamodb:Attributes` and `dynamodb:ReturnValues`, of one update.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html>. A part of a transaction is never
//! granted by one of these here, which is less than AWS allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::template::Within;

/// What an update says of what it touches.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    key: BTreeMap<String, Value>,
    #[serde(default)]
    update_expression: String,
    #[serde(default)]
    condition_expression: String,
    #[serde(default)]
    expression_attribute_names: BTreeMap<String, String>,
    #[serde(default)]
    return_values: Option<String>,
    /// What came before expressions.
    #[serde(default)]
    attribute_updates: Option<Value>,
    #[serde(default)]
    expected: Option<Value>,
}

/// Words of the expressions' language.
const WORDS: [&str; 12] =
    ["SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "BETWEEN", "IN", "if_not_exists", "list_append", "size"];
const FUNCTIONS: [&str; 5] = ["attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"];

/// Whether an update keeps to a part of the table.
pub(super) fn allows(within: &Within, body: &[u8]) -> bool {
    let Ok(update) = serde_json::from_slice::<Update>(body) else { return false };
    if update.attribute_updates.is_some() || update.expected.is_some() {
        return false;
    }
    // The table's partition key.
    let Some(leading) = update.key.get("pk").and_then(|key| key["S"].as_str()) else { return false };
    let is_meant = |pattern: &String| match pattern.strip_suffix('*') {
        Some(start) => leading.starts_with(start),
        None => leading == pattern,
    };
    let returns_nothing = update.return_values.as_deref().is_none_or(|values| values == "NONE");
    let attributes = within.attributes.iter().map(String::as_str).collect();
    returns_nothing && within.leading_keys.iter().any(is_meant) && named(&update).is_subset(&attributes)
}

/// The attributes that an update names, those of the key among them.
fn named(update: &Update) -> BTreeSet<&str> {
    let text = [update.update_expression.as_str(), &update.condition_expression];
    let part_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_#:".contains(c);
    let words = text.into_iter().flat_map(|text| text.split(|c| !part_of_a_name(c)));
    let is_value =
        |word: &str| word.starts_with(':') || word.is_empty() || word.bytes().all(|byte| byte.is_ascii_digit());
    let names = words.filter(|word| !is_value(word) && !WORDS.contains(word) && !FUNCTIONS.contains(word));
    let meant = names.map(|name| update.expression_attribute_names.get(name).map_or(name, String::as_str));
    meant.chain(update.key.keys().map(String::as_str)).collect()
}
