//! Session tokens, and how all tokens are written: opaque, 256 random bits, recognisable by prefix and checksum (so that secret scanners
//! find leaked ones and a mutilated one costs no database read).
//!
//! A session's is `cit_` + base64url(user 16 bytes | organization 16 bytes | random 32 bytes | CRC-32 of all that, 4 bytes).
//! The two ids let session and membership be read together in one round trip; they prove nothing: only the
//! stored SHA-256 of the whole token does.

use crate::ids::{OrgId, UserId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

const PREFIX: &str = "cit_";
const SECRET: usize = 32;
/// With two ids.
const LONGEST: usize = 2 * 16 + SECRET + 4;

/// A new token's text: `prefix`, then base64url of `ids`, of random bytes, and of a CRC-32 of `salt` and all that. The salt tells tokens
/// apart whose prefix was changed; sessions' have none.
pub(crate) fn write<const N: usize>(prefix: &str, salt: &str, ids: [Uuid; N]) -> Result<String, getrandom::Error> {
    let mut bytes = ids.map(Uuid::into_bytes).concat();
    let secret = bytes.len()..bytes.len() + SECRET;
    bytes.resize(secret.end, 0);
    getrandom::fill(&mut bytes[secret])?;
    bytes.extend(checksum(salt, &bytes));
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The ids of such a token, as a caller sent it; `None` if it cannot be one.
pub(crate) fn read<const N: usize>(prefix: &str, salt: &str, text: &str) -> Option<[Uuid; N]> {
    let mut bytes = [0; LONGEST];
    let written = URL_SAFE_NO_PAD.decode_slice(text.strip_prefix(prefix)?, &mut bytes).ok()?;
    let (ids, _) = bytes.as_chunks::<16>();
    let (summed, sum) = bytes[..written].split_at_checked(N * 16 + SECRET)?;
    (sum == checksum(salt, summed)).then(|| std::array::from_fn(|at| Uuid::from_bytes(ids[at])))
}

fn checksum(salt: &str, bytes: &[u8]) -> [u8; 4] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(salt.as_bytes());
    sum.update(bytes);
    sum.finalize().to_be_bytes()
}

/// A session token. It is never logged, stored or cached; its `Debug` shows nothing.
pub struct Token {
    text: String,
    pub user_id: UserId,
    pub org_id: OrgId,
}

/// The SHA-256 of a token, as stored: base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash(String);

impl Token {
    /// A new token.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(user_id: UserId, org_id: OrgId) -> Result<Self, getrandom::Error> {
        Ok(Self { text: write(PREFIX, "", [user_id.into(), org_id.into()])?, user_id, org_id })
    }

    /// Reads what a caller sent; `None` if it cannot be a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let [user, org] = read(PREFIX, "", text)?;
        Some(Self { text: text.to_owned(), user_id: user.into(), org_id: org.into() })
    }

    /// What the caller is given, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is stored.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(URL_SAFE_NO_PAD.encode(Sha256::digest(self.text.as_bytes())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl TokenHash {
    /// Base64url of the 32 bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_hashes_alike() {
        let token = Token::generate(UserId::new(), OrgId::new()).expect("randomness");
        let read = Token::parse(token.reveal()).expect("a token");
        assert_eq!((read.user_id, read.org_id), (token.user_id, token.org_id));
        assert_eq!(read.hash(), token.hash());
        assert!(!format!("{token:?}{:?}", token.hash()).contains(&token.reveal()[4..]));
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let token = Token::generate(UserId::new(), OrgId::new()).expect("randomness");
        let text = token.reveal();
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, other);
            assert!(Token::parse(&changed).is_none(), "position {at}");
        }
        for wrong in ["", "cit_", &text[..text.len() - 1], &format!("{text}A")] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
    }
}
