//! Texts with rules: names, descriptions, e-mail addresses.

use deserr::Deserr;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::str::FromStr;
use utoipa::ToSchema;

/// A name: 1–200 characters, not blank, no control characters; surrounding space is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String")]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$", examples("Ada Lovelace"))]
pub struct Name(String);

/// A description: at most 4,000 characters; of control characters only tab and line breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String")]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, max_length = 4000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
pub struct Description(String);

/// An e-mail address (RFC 5321's lengths) in one form: two spellings are one account. Lower case, no space around it, and
/// the domain in ASCII (UTS 46), so that `ada@münchen.de` and `ada@xn--mnchen-3ya.de` are one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserr, ToSchema)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, format = "email", min_length = 3, max_length = 254, examples("ada@example.com"))]
pub struct Email(String);

/// The longest text that is read for an address, in bytes: one of 254 ASCII characters is shorter, whatever letters it is written in.
/// A domain is converted label by label, and costs as much as it is long.
const EMAIL_TEXT_MAX_BYTES: usize = 1_024;

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text, owned.
            #[must_use]
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, &'static str> {
                Self::try_from(text.to_owned())
            }
        }
    };
}

text!(Name);
text!(Description);
text!(Email);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be blank");
        }
        if text.chars().count() > 200 {
            return Err("must have at most 200 characters");
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Description {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.chars().count() > 4000 {
            return Err("must have at most 4000 characters");
        }
        if text.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n' | '\r')) {
            return Err("must not contain control characters other than tab and line breaks");
        }
        Ok(Self(text))
    }
}

/// The address that a caller or an operator wrote, in the one form: what registers, logs in and gets mail goes through here. It is
/// wrong where it is none, or its domain is no host name: labels of letters, digits and hyphens (RFC 1123, 2.1), the last one not
/// of digits only (RFC 3696, 2).
impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const WRONG: &str = "must be an e-mail address";
        let text = text.trim();
        if text.len() > EMAIL_TEXT_MAX_BYTES {
            return Err(WRONG);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(WRONG)?;
        let domain = Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
            .map_err(|_| WRONG)?;
        let last = domain.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WRONG);
        }
        Self::stored(format!("{local}@{domain}"))
    }
}

impl Email {
    /// The address that an account is known by: one that was registered before domains were judged is still itself.
    ///
    /// # Errors
    /// It is no address.
    pub fn known(text: String) -> Result<Self, &'static str> {
        Self::try_from(text.clone()).or_else(|_| Self::stored(text.trim().to_owned()))
    }

    /// What is stored, from before domains were judged as well.
    ///
    /// # Errors
    /// It is no address.
    pub fn stored(text: String) -> Result<Self, &'static str> {
        let options =
            email_address::Options::default().with_required_tld().without_display_text().without_domain_literal();
        let plain = text.len() <= 254
            && text.is_ascii()
            && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'"');
        if !plain || email_address::EmailAddress::parse_with_options(&text, options).is_err() {
            return Err("must be an e-mail address");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl<'de> Deserialize<'de> for Email {
    /// Serde reads what is stored; what callers send is read by deserr.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::stored(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_not_blank() {
        assert_eq!("  Ada ".parse::<Name>().expect("valid").as_str(), "Ada");
        assert!("é".repeat(200).parse::<Name>().is_ok());
        for wrong in ["", "  ", "a\0b", "a\nb", "\u{a0}", &"é".repeat(201)] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn descriptions_may_have_lines() {
        assert!("a\n\tb\r\n".parse::<Description>().is_ok());
        assert!("a\0".parse::<Description>().is_err());
        assert!("a".repeat(4001).parse::<Description>().is_err());
    }

    #[test]
    fn addresses_are_plain_and_lower_case() {
        assert_eq!("Ada@Example.COM".parse::<Email>().expect("valid").as_str(), "ada@example.com");
        let long = format!("{}@example.com", "a".repeat(65));
        for wrong in [
            "",
            "a",
            "a@",
            "@b.c",
            "a@b",
            "a b@c.de",
            "a@b.cd\r\nBcc: x@y.z",
            "a@b.cd\0",
            "\"a\"@b.cd",
            "Ada <a@b.cd>",
            "a@[1.2.3.4]",
            long.as_str(),
        ] {
            assert!(wrong.parse::<Email>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_has_one_form_and_a_host_name() {
        let form = |text: &str| text.parse().map(Email::into_string);
        for (text, expected) in [
            (" Ada@Example.COM\n", "ada@example.com"),
            ("a@münchen.de", "a@xn--mnchen-3ya.de"),
            ("a@MÜNCHEN.de", "a@xn--mnchen-3ya.de"),
            ("a@mu\u{308}nchen.de", "a@xn--mnchen-3ya.de"),
            ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
            ("a.b+c@1.example.co.uk", "a.b+c@1.example.co.uk"),
        ] {
            assert_eq!(form(text).as_deref(), Ok(expected), "{text}");
        }
        let long = format!("a@{}.de", "x".repeat(64));
        for wrong in [
            "a@123.45.67.89",
            "a@example.123",
            "a@ex_ample.com",
            "a@-example.com",
            "a@example-.com",
            "a@example..com",
            "a@example.com.",
            "a@.com",
            "a@xn--\u{fc}.de",
            "a@xn--0.de",
            "é@example.com",
            "a@b\u{200b}c@example.com",
            long.as_str(),
        ] {
            assert!(form(wrong).is_err(), "{wrong:?}");
        }
        // A domain may have characters that the conversion drops.
        let with_soft_hyphens = |count: usize| format!("a@exa{}mple.com", "\u{ad}".repeat(count));
        assert_eq!(form(&with_soft_hyphens(300)).as_deref(), Ok("a@example.com"));
        let long = with_soft_hyphens(600);
        assert!(form(&long).is_err() && Email::known(long).is_err(), "it is counted before it is converted");
        let known = |text: &str| Email::known(text.to_owned()).map(Email::into_string);
        assert_eq!(known(" A@Ex_ample.com ").as_deref(), Ok("a@ex_ample.com"), "as it was registered");
        assert_eq!(known("a@MÜNCHEN.de").as_deref(), Ok("a@xn--mnchen-3ya.de"));
        let stored = serde_json::from_str::<Email>(r#""a@ex_ample.com""#).map(Email::into_string);
        assert_eq!(stored.expect("it was registered"), "a@ex_ample.com");
    }
}
