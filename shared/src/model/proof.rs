//! What proves that somebody reads an address: a code that is typed, or a token that a link carries. Both are shown once, in the mail;
//! the table has their SHA-256.

use crate::ids::UserId;
use crate::token;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;

/// Crockford's alphabet: no I, L, O and U, which are read for others (<https://www.crockford.com/base32.html>).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code: 40 bits.
const CODE_LENGTH: usize = 8;
/// Longest text that can be a code.
const CODE_TEXT_MAX: usize = 16;

/// The SHA-256 of a secret, as stored: base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash(String);

impl SecretHash {
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(URL_SAFE_NO_PAD.encode(hash.finalize()))
    }

    /// Base64url of the 32 bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A code of 8 characters, typed by a person. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; CODE_LENGTH]);

impl Code {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut random = [0; CODE_LENGTH];
        getrandom::fill(&mut random)?;
        // 256 is a multiple of 32: each character is as likely.
        Ok(Self(random.map(|byte| ALPHABET[usize::from(byte % 32)])))
    }

    /// Reads what somebody typed: in any case, with hyphens and spaces, with the letters that are taken for digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > CODE_TEXT_MAX {
            return None;
        }
        let typed = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-'));
        let read = typed.map(|byte| match byte.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        });
        let read: Vec<u8> = read.collect();
        let known = read.iter().all(|byte| ALPHABET.contains(byte));
        read.try_into().ok().filter(|_| known).map(Self)
    }

    /// As the mail shows it: two groups of four.
    #[must_use]
    pub fn reveal(&self) -> String {
        let text: String = self.0.iter().map(|byte| char::from(*byte)).collect();
        format!("{}-{}", &text[..4], &text[4..])
    }

    /// What is stored: of one account's code, so that equal codes of two look different.
    #[must_use]
    pub fn hash(&self, user: UserId) -> SecretHash {
        SecretHash::of(&[b"code", uuid::Uuid::from(user).as_bytes(), &self.0])
    }
}

/// What a link is for. A token of one purpose is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Proves the address of an account.
    Verification,
    /// Gives an account another password.
    PasswordReset,
    /// Confirms another address of an account.
    EmailChange,
    /// Gives an account back to the address that it had before.
    EmailUndo,
}

impl Purpose {
    /// How its tokens begin, so that secret scanners find leaked ones.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Verification => "citv_",
            Self::PasswordReset => "citr_",
            Self::EmailChange => "citc_",
            Self::EmailUndo => "citu_",
        }
    }
}

/// A link's token, with the id of the account, which only says where to look. Its `Debug` shows nothing.
pub struct LinkToken {
    text: String,
    pub user_id: UserId,
}

impl LinkToken {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(purpose: Purpose, user_id: UserId) -> Result<Self, getrandom::Error> {
        Ok(Self { text: token::write(purpose.prefix(), purpose.prefix(), [user_id.into()])?, user_id })
    }

    /// Reads what a caller sent; `None` if it cannot be a token of this purpose.
    #[must_use]
    pub fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let [user] = token::read(purpose.prefix(), purpose.prefix(), text)?;
        Some(Self { text: text.to_owned(), user_id: user.into() })
    }

    /// What the mail's link carries.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&[self.text.as_bytes()])
    }
}

macro_rules! hidden {
    ($($name:ident)*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        })*
    };
}

hidden!(SecretHash Code LinkToken);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code::generate().expect("randomness");
        let shown = code.reveal();
        for typed in
            [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " "))]
        {
            assert_eq!(Code::parse(&typed), Some(code.clone()), "{typed}");
        }
        assert_eq!(Code::parse("oil0-OIL0"), Code::parse("0110-0110"));
        for wrong in ["", "1234567", "123456789", "1234567U", "1234567é", "12345678 and more"] {
            assert_eq!(Code::parse(wrong), None, "{wrong}");
        }
        assert_ne!(code.hash(UserId::new()), code.hash(UserId::new()));
    }

    #[test]
    fn any_changed_character_of_a_token_is_noticed() {
        let token = LinkToken::generate(Purpose::Verification, UserId::new()).expect("randomness");
        let read = LinkToken::parse(Purpose::Verification, token.reveal()).expect("a token");
        assert_eq!((read.user_id, read.hash()), (token.user_id, token.hash()));
        let text = token.reveal();
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, other);
            assert!(LinkToken::parse(Purpose::Verification, &changed).is_none(), "position {at}");
        }
        // Of another purpose, also where its beginning is changed.
        assert!(LinkToken::parse(Purpose::PasswordReset, text).is_none());
        assert!(LinkToken::parse(Purpose::PasswordReset, &text.replacen("citv_", "citr_", 1)).is_none());
        assert!(!format!("{token:?}{:?}", token.hash()).contains(&text[5..]));
    }
}
