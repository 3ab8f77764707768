//! E-mail as callers ask for it: recipients, subject, text and templates, parsed on construction.
//! Nothing here can put a line break or a control character into a header.

pub mod template;

use crate::model::text::Email;
use platform::response::FieldError;
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

/// A subject: one line of 1 to 255 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, min_length = 1, max_length = 255)]
pub struct Subject(String);

impl Subject {
    /// Parses a subject, dropping white space around it.
    ///
    /// # Errors
    /// What is wrong with it, in words for the caller.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(breaks_line) {
            return Err("must be one line without control characters");
        }
        if text.contains(ENCODED_WORD) {
            return Err("must not contain =? (it starts an encoded word in mail headers)");
        }
        let text = text.trim();
        if text.is_empty() || text.chars().count() > SUBJECT_MAX_CHARS {
            return Err("must have 1 to 255 characters");
        }
        Ok(Self(text.to_owned()))
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, min_length = 1, max_length = 65536)]
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

/// An e-mail that may be sent: what a `send_email` job carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who gets it.
    pub to: Recipients,
    /// Its subject.
    pub subject: Subject,
    /// Its plain text.
    pub text: Text,
}

/// The body of `POST /send-email`: `subject` and `text`, or `template` and `data`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendEmail {
    /// One address, or a list of at most 10.
    pub to: To,
    /// One line of 1 to 255 characters; not with a template.
    #[schema(min_length = 1, max_length = 255)]
    pub subject: Option<String>,
    /// Plain text of at most 64 KiB; not with a template.
    #[schema(min_length = 1, max_length = 65536)]
    pub text: Option<String>,
    /// A template of ours, by name.
    #[schema(value_type = Option<template::Name>)]
    pub template: Option<String>,
    /// The template's fields, exactly those that it has.
    #[schema(value_type = Option<Object>)]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
}

/// One address or several.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "must be an e-mail address or a list of them")]
pub enum To {
    /// A single recipient.
    #[schema(value_type = Email)]
    One(String),
    /// Several recipients.
    #[schema(value_type = Recipients)]
    Many(Vec<String>),
}

impl SendEmail {
    /// The e-mail that is asked for, or everything that is wrong with it.
    ///
    /// # Errors
    /// At least one [`FieldError`], each naming its field.
    pub fn parse(self) -> Result<Message, Vec<FieldError>> {
        let mut problems = Vec::new();
        let to = note(self.to.parse(), &mut problems);
        let content = note(
            match (self.template, self.subject, self.text, self.data) {
                (None, subject, text, None) => written(subject, text),
                (None, _, _, Some(_)) => Err(vec![fault("/data", "needs a template")]),
                (Some(name), None, None, data) => {
                    Template::parse(&name, data.unwrap_or_default()).and_then(|t| t.render())
                }
                (Some(_), _, _, _) => Err(vec![fault("/template", "brings its own subject and text: leave those out")]),
            },
            &mut problems,
        );
        match (to, content) {
            (Some(to), Some((subject, text))) => Ok(Message { to, subject, text }),
            _ => Err(problems),
        }
    }
}

impl To {
    fn parse(self) -> Result<Recipients, Vec<FieldError>> {
        let (texts, is_list) = match self {
            Self::One(text) => (vec![text], false),
            Self::Many(texts) => (texts, true),
        };
        // Counted first: the error list must not grow with what a caller sends.
        if texts.is_empty() || texts.len() > RECIPIENTS_MAX {
            return Err(vec![fault("/to", "must be 1 to 10 addresses")]);
        }
        let mut problems = Vec::new();
        let mut addresses = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match text.parse::<Email>() {
                Ok(address) => addresses.push(address),
                Err(message) if is_list => {
                    problems.push(fault(format!("/to/{index}"), message));
                }
                Err(message) => problems.push(fault("/to", message)),
            }
        }
        if problems.is_empty() {
            Recipients::new(addresses).map_err(|message| vec![fault("/to", message)])
        } else {
            Err(problems)
        }
    }
}

fn written(subject: Option<String>, text: Option<String>) -> Result<(Subject, Text), Vec<FieldError>> {
    let mut problems = Vec::new();
    let subject = note(required(subject, "/subject", Subject::parse), &mut problems);
    let text = note(required(text, "/text", Text::parse), &mut problems);
    subject.zip(text).ok_or(problems)
}

fn required<T>(
    value: Option<String>,
    pointer: &str,
    parse: fn(&str) -> Result<T, &'static str>,
) -> Result<T, Vec<FieldError>> {
    value.ok_or("is required").and_then(|value| parse(&value)).map_err(|message| vec![fault(pointer, message)])
}

fn fault(pointer: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.into(), message: message.into() }
}

fn note<T>(outcome: Result<T, Vec<FieldError>>, problems: &mut Vec<FieldError>) -> Option<T> {
    outcome.map_err(|found| problems.extend(found)).ok()
}

#[cfg(test)]
mod tests;
