//! The input of the tool as models write it: mostly in the wanted shape, at times with a list or an object as text, or with a language's
//! name where its tag was asked for. What is meant without doubt is taken: another run would be another bill.

use super::super::language;
use serde_json::{Map, Value};
use shared::model::analysis::KEY_PHRASES_MAX;

/// The input in the wanted shape, as far as that can be told. What cannot be read stays as it is.
pub(super) fn in_shape(input: Value) -> Value {
    let Value::Object(mut members) = object(input) else { return Value::Null };
    change(&mut members, "language", |language| match language {
        Value::String(said) => language::tag_of(&said).map_or(Value::String(said), Value::String),
        other => other,
    });
    change(&mut members, "key_phrases", phrases);
    change(&mut members, "sentiment", |sentiment| {
        let mut sentiment = object(sentiment);
        if let Value::Object(members) = &mut sentiment {
            change(members, "score", number);
        }
        sentiment
    });
    Value::Object(members)
}

fn change(members: &mut Map<String, Value>, name: &str, by: impl FnOnce(Value) -> Value) {
    if let Some(member) = members.get_mut(name) {
        *member = by(member.take());
    }
}

/// An object that was sent as text.
fn object(value: Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(read @ Value::Object(_)) => read,
            _ => Value::String(text),
        },
        other => other,
    }
}

fn number(value: Value) -> Value {
    match &value {
        Value::String(text) => {
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map_or(value, Value::from)
        }
        _ => value,
    }
}

/// A list, also one that was sent as text: as JSON, by lines, or by commas. The most telling come first, so what is too many
/// is left out.
fn phrases(value: Value) -> Value {
    let mut list = match value {
        Value::Array(list) => list,
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Array(list)) => list,
            _ => lines(&text),
        },
        other => return other,
    };
    list.retain(|phrase| phrase.as_str().is_none_or(|phrase| !phrase.trim().is_empty()));
    list.truncate(KEY_PHRASES_MAX);
    Value::Array(list)
}

fn lines(text: &str) -> Vec<Value> {
    let text = text.trim().trim_start_matches('[').trim_end_matches(']').trim();
    let between = if text.contains('\n') { '\n' } else { ',' };
    let marks = |c: char| c.is_whitespace() || matches!(c, '-' | '*' | '•' | '"' | '\'' | ',');
    text.split(between).map(|line| Value::from(line.trim_matches(marks))).collect()
}
