//! The one From of every e-mail, from configuration.

use shared::model::text::Email;
use std::fmt;
use std::str::FromStr;

/// Longest display name, in characters.
const NAME_MAX_CHARS: usize = 64;

/// Who all e-mails are from: `no-reply@example.com` or `CitizenApp <no-reply@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    name: Option<String>,
    email: Email,
}

/// Why a text is no [`Sender`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an e-mail address, or a name of plain ASCII letters and digits followed by <address>")]
pub struct InvalidSender;

impl Sender {
    /// Its address alone.
    #[must_use]
    pub fn email(&self) -> &Email {
        &self.email
    }
}

impl FromStr for Sender {
    type Err = InvalidSender;

    fn from_str(text: &str) -> Result<Self, InvalidSender> {
        let (name, address) = match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
            Some((name, address)) => (Some(name.trim()), address),
            None => (None, text),
        };
        // Letters, digits, spaces and hyphens need neither quoting nor encoding in any header.
        let is_plain = |name: &str| {
            (1..=NAME_MAX_CHARS).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-'))
        };
        if name.is_some_and(|name| !is_plain(name)) {
            return Err(InvalidSender);
        }
        let email = address.parse().map_err(|_| InvalidSender)?;
        Ok(Self { name: name.map(str::to_owned), email })
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.email.as_str()),
            None => f.write_str(self.email.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written() {
        for text in ["no-reply@example.com", "Citizen App <no-reply@example.com>"] {
            let sender: Sender = text.parse().expect("both forms are fine");
            assert_eq!(sender.to_string(), text);
        }
    }

    #[test]
    fn nothing_else_is() {
        for text in [
            "",
            "CitizenApp",
            "<a@example.com>",
            "A <a@example.com",
            "A \"B\" <a@example.com>",
            "A, B <a@example.com>",
            "A\r\nBcc: b@example.com\r\nX: <a@example.com>",
            "Ä <a@example.com>",
            "A <a@example.com> <b@example.com>",
        ] {
            assert_eq!(text.parse::<Sender>(), Err(InvalidSender), "{text:?}");
        }
    }

    /// `deploy/environments.py` is held to the same list: a worker's policy allows the address that `MailFrom` has, as text.
    #[test]
    fn an_address_is_sent_from_as_deployments_expect() {
        let list = include_str!("../../../../deploy/senders.txt");
        for line in list.lines().filter(|line| !line.starts_with("# ")) {
            let (given, sent) = line.split_once(' ').map_or((line, None), |(given, sent)| (given, Some(sent)));
            let email = given.parse::<Sender>().map(|sender| sender.email().as_str().to_owned());
            assert_eq!(email.ok().as_deref(), sent, "{given}");
        }
    }
}
