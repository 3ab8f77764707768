//! E-mail as callers ask for it: recipients, subject, text and templates, parsed on construction.
//! Nothing here can put a line break or a control character into a header.

pub mod template;

use crate::model::text::Email;
use deserr::{Deserr, IntoValue, Map, Sequence as _, Value, ValueKind, ValuePointerRef};
use platform::request::{self, FieldErrors};
use serde::{Deserialize, Serialize};
use template::Template;
use utoipa::ToSchema;

/// Most recipients of one e-mail.
pub const RECIPIENTS_MAX: usize = 10;
/// Longest subject, in characters.
pub const SUBJECT_MAX_CHARS: usize = 255;
/// Longest text, in bytes: it is stored with its job, and a stored record holds 400 KB.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;

/// One to ten addresses, each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Vec<Email>", into = "Vec<Email>")]
#[schema(value_type = Vec<Email>, min_items = 1, max_items = 10)]
pub struct Recipients(Vec<Email>);

impl Recipients {
    /// Drops repeated addresses.
    ///
    /// # Errors
    /// None or more than ten were given.
    pub fn new(addresses: Vec<Email>) -> Result<Self, &'static str> {
        if addresses.is_empty() || addresses.len() > RECIPIENTS_MAX {
            return Err("must be 1 to 10 addresses");
        }
        let mut kept: Vec<Email> = Vec::with_capacity(addresses.len());
        for address in addresses {
            if !kept.contains(&address) {
                kept.push(address);
            }
        }
        Ok(Self(kept))
    }

    /// The addresses, in the caller's order.
    #[must_use]
    pub fn as_slice(&self) -> &[Email] {
        &self.0
    }
}

impl TryFrom<Vec<Email>> for Recipients {
    type Error = &'static str;

    fn try_from(addresses: Vec<Email>) -> Result<Self, Self::Error> {
        Self::new(addresses)
    }
}

impl From<Recipients> for Vec<Email> {
    fn from(recipients: Recipients) -> Self {
        recipients.0
    }
}

/// A subject: one line of 1 to 255 characters, no control characters and no `=?`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(as = EmailSubject, value_type = String, min_length = 1, max_length = 255)]
pub struct Subject(String);

impl Subject {
    /// Parses a subject, dropping white space around it.
    ///
    /// # Errors
    /// What is wrong with it, in words for the caller.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        one_line(text, SUBJECT_MAX_CHARS, "must have 1 to 255 characters").map(Self)
    }

    /// The subject, not encoded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Subject {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// The plain text of an e-mail: not blank, at most 64 KiB, lines ended by `\n`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(as = EmailText, value_type = String, min_length = 1)]
pub struct Text(String);

impl Text {
    /// Parses a text; `\r\n` and `\r` become `\n`.
    ///
    /// # Errors
    /// What is wrong with it, in words for the caller.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > TEXT_MAX_BYTES {
            return Err("must have at most 65536 bytes");
        }
        if text.trim().is_empty() {
            return Err("must not be blank");
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err("must not have control characters other than line breaks and tabs");
        }
        Ok(Self(text.replace("\r\n", "\n").replace('\r', "\n")))
    }

    /// The text, lines ended by `\n`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// What starts an encoded word (RFC 2047): whoever reads the header would decode it, line breaks included.
const ENCODED_WORD: &str = "=?";

/// What mail software may take for the end of a line, or may not write in a header.
fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A text of one line, without white space around it; `lengths` says what is wrong with an empty one and one of more than `most` characters.
fn one_line(text: &str, most: usize, lengths: &'static str) -> Result<String, &'static str> {
    if text.chars().any(breaks_line) {
        return Err("must be one line without control characters");
    }
    if text.contains(ENCODED_WORD) {
        return Err("must not contain =? (it starts an encoded word in mail headers)");
    }
    let text = text.trim();
    if text.is_empty() || text.chars().count() > most {
        return Err(lengths);
    }
    Ok(text.to_owned())
}

/// An e-mail that may be sent: what a `send_email` job carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who gets it.
    pub to: Recipients,
    /// Its subject.
    pub subject: Subject,
    /// Its plain text.
    pub text: Text,
}

impl Deserr<FieldErrors> for Message {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef<'_>) -> Result<Self, FieldErrors> {
        let mut members = request::members(value, at)?;
        let mut errors = FieldErrors::default();
        let to = errors.note(request::member(&mut members, "to", at));
        let content = match nullable(&mut members, "template") {
            None => {
                if nullable(&mut members, "data").is_some() {
                    errors.note::<()>(Err(FieldErrors::at(at.push_key("data"), "needs a template")));
                }
                let subject = errors.note(request::member(&mut members, "subject", at));
                subject.zip(errors.note(request::member(&mut members, "text", at)))
            }
            Some(name) => {
                for own in ["subject", "text"] {
                    if nullable(&mut members, own).is_some() {
                        let message = "does not go with a template, which brings its own";
                        errors.note::<()>(Err(FieldErrors::at(at.push_key(own), message)));
                    }
                }
                let name =
                    errors.note(template::Name::deserialize_from_value(name.into_value(), at.push_key("template")));
                let data = nullable(&mut members, "data");
                name.and_then(|name| errors.note(Template::parse(name, data, at.push_key("data")))).and_then(
                    |template| {
                        errors
                            .note(template.render().map_err(|broken| FieldErrors::at(at.push_key("template"), broken)))
                    },
                )
            }
        };
        errors.note_rest(members, at, &["to", "subject", "text", "template", "data"]);
        errors.unless_noted(to.zip(content)).map(|(to, (subject, text))| Self { to, subject, text })
    }
}

/// Takes a member that may be left out or `null`.
fn nullable<M: Map>(members: &mut M, name: &str) -> Option<M::Value> {
    members.remove(name).filter(|value| value.kind() != ValueKind::Null)
}

impl Deserr<FieldErrors> for Recipients {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef<'_>) -> Result<Self, FieldErrors> {
        let addresses = match value {
            one @ Value::String(_) => vec![Email::deserialize_from_value(one, at)?],
            // Counted first: nobody needs to know what is wrong with the hundredth.
            Value::Sequence(several) if (1..=RECIPIENTS_MAX).contains(&several.len()) => {
                Vec::deserialize_from_value(Value::<V>::Sequence(several), at)?
            }
            Value::Sequence(_) => return Err(FieldErrors::at(at, "must be 1 to 10 addresses")),
            _ => return Err(FieldErrors::at(at, "must be a string or a list of strings")),
        };
        Self::new(addresses).map_err(|message| FieldErrors::at(at, message))
    }
}

#[cfg(test)]
mod tests;
