//! Passwords as callers send them: chosen ones have rules (NIST SP 800-63B-4, 3.1.1.2), all have one form.

use deserr::Deserr;
use icu_normalizer::ComposingNormalizerBorrowed;
use utoipa::ToSchema;

/// Fewest characters of a chosen password, after normalization.
const MIN_CHARS: usize = 8;
/// Most characters of a chosen password, after normalization.
const MAX_CHARS: usize = 256;
/// Most bytes that are looked at: 256 characters in the longest spelling that people type have fewer.
const MAX_BYTES: usize = 4096;
/// Fewest different characters of a chosen password.
const MIN_DIFFERENT: usize = 4;
/// A shorter word of the account's is in too many words of the language.
const OWN_WORD_MIN_CHARS: usize = 4;
/// The service's own name is in nobody's password either.
const SERVICE: &str = "citizenapp";

/// Common and breached ones of 8 characters or more, one a line, in small letters. See `docs/decisions/0100-passwords.md`.
const COMMON: &str = include_str!("../../../data/common-passwords.txt");

/// A password that is chosen: 8–256 characters in its normal form (NFKC), not a common one. Never shown, stored or cached.
#[derive(Clone, Deserr, ToSchema)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, format = "password", min_length = 8, max_length = 256)]
pub struct NewPassword(String);

/// A password to compare: 1 to 4,096 bytes in UTF-8, so that a long one costs nothing.
#[derive(Clone, Deserr, ToSchema)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, format = "password", min_length = 1)]
pub struct PasswordAttempt(String);

/// The one form of a text that can be typed in several (Unicode Standard Annex 15).
fn normalized(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text).into_owned()
}

impl TryFrom<String> for NewPassword {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("must have at most 256 characters");
        }
        let text = normalized(&text);
        match text.chars().count() {
            ..MIN_CHARS => return Err("must have at least 8 characters"),
            count if count > MAX_CHARS => return Err("must have at most 256 characters"),
            _ => {}
        }
        let mut different: Vec<char> = text.chars().collect();
        different.sort_unstable();
        different.dedup();
        if different.len() < MIN_DIFFERENT {
            return Err("must have at least 4 different characters");
        }
        let small = text.to_lowercase();
        if COMMON.lines().any(|common| common == small) {
            return Err("must not be a common password");
        }
        Ok(Self(text))
    }
}

impl NewPassword {
    /// The password, for hashing.
    ///
    /// # Errors
    /// [`Self::check`].
    pub(crate) fn without(self, own_words: &[&str]) -> Result<String, &'static str> {
        self.check(own_words)?;
        Ok(self.0)
    }

    /// Checks that the password is long enough for one without the words of its account.
    ///
    /// # Errors
    /// It is made of its account's address or names.
    pub fn check(&self, own_words: &[&str]) -> Result<(), &'static str> {
        let small = |text: &str| normalized(text).to_lowercase();
        let is_part = |part: &&str| part.chars().count() >= OWN_WORD_MIN_CHARS;
        let own: Vec<String> = own_words.iter().copied().chain([SERVICE]).map(small).collect();
        let mut words: Vec<&str> = own.iter().map(String::as_str).collect();
        words.extend(own.iter().flat_map(|text| text.split(|char: char| !char.is_alphanumeric())));
        words.retain(is_part);
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
        let mut rest = small(&self.0);
        for word in words {
            rest = rest.replace(word, "");
        }
        if rest.chars().count() < MIN_CHARS && rest.chars().count() < self.0.chars().count() {
            return Err("must not be made of your address or names");
        }
        Ok(())
    }
}

impl TryFrom<String> for PasswordAttempt {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.len() {
            0 => Err("must not be empty"),
            length if length > MAX_BYTES => Err("must have at most 4096 bytes"),
            _ => Ok(Self(text)),
        }
    }
}

impl PasswordAttempt {
    /// What is compared: the normal form, and what was received where that differs.
    pub(crate) fn forms(self) -> Vec<String> {
        let form = normalized(&self.0);
        if form == self.0 { vec![form] } else { vec![form, self.0] }
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

impl std::fmt::Debug for PasswordAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordAttempt(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Result<NewPassword, &'static str> {
        NewPassword::try_from(text.to_owned())
    }

    #[test]
    fn passwords_have_bounds() {
        let of = |length: usize| "xyz1".chars().cycle().take(length).collect::<String>();
        for (length, valid) in [(1, false), (7, false), (8, true), (256, true), (257, false), (1 << 20, false)] {
            assert_eq!(NewPassword::try_from(of(length)).is_ok(), valid, "{length}");
        }
        for (length, valid) in [(0, false), (1, true), (4096, true), (1 << 20, false)] {
            assert_eq!(PasswordAttempt::try_from(of(length)).is_ok(), valid, "{length}");
        }
    }

    #[test]
    fn characters_count_in_their_normal_form() {
        assert!(chosen("e\u{301}a\u{301}o\u{301}u\u{301}").is_err(), "four characters, however they are sent");
        assert!(chosen(&"e\u{301}a\u{301}o\u{301}u\u{301}".repeat(64)).is_ok(), "256 of them");
        assert!(chosen("\u{fb03}\u{fb03}\u{fb03}!?").is_ok(), "ligatures are the letters that they stand for");
        let longest = "a\u{328}\u{301}b\u{323}\u{307}c\u{327}\u{301}d\u{323}\u{307}".repeat(32);
        assert!(chosen(&longest).is_ok() && PasswordAttempt::try_from(longest).is_ok(), "what is chosen can be used");
    }

    #[test]
    fn common_ones_are_refused() {
        for common in [
            "password",
            "PassWord",
            "12345678",
            "aaaaaaaa",
            "        ",
            "abababab",
            "qwertyuiop",
            "iloveyou1",
            "\u{ff50}assword",
        ] {
            assert!(chosen(common).is_err(), "{common}");
        }
        for good in ["correct horse", "tr0ub4dor&3x", "пароль моей бабушки"] {
            assert!(chosen(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_list_is_as_it_is_looked_through() {
        let mut before = "";
        for line in COMMON.lines() {
            assert!(
                line.is_ascii() && line.len() >= MIN_CHARS && line == line.to_lowercase() && line > before,
                "{line}"
            );
            before = line;
        }
        assert!(COMMON.lines().count() > 8_000);
    }

    #[test]
    fn ones_own_words_are_no_password() {
        let own = ["ada.lovelace@engines.example", "Ada Lovelace", "Analytical Engines"];
        for made in [
            "ada.lovelace@engines.example",
            "AdaLovelace",
            "lovelace1815",
            "Lovelace-Ada",
            "engines!!!",
            "analytical2024",
            "CitizenApp1!",
            "LOVELACEengines",
            "xx\u{ff4c}ovelace",
        ] {
            let password = chosen(made).expect(made);
            assert_eq!(password.without(&own), Err("must not be made of your address or names"), "{made}");
        }
        for good in ["correct horse", "lovelace and her engine", "canadair water bomber"] {
            assert_eq!(chosen(good).expect(good).without(&own).as_deref(), Ok(good));
        }
        assert!(chosen("tr0ub4d0").expect("short").without(&["", "a", "tro"]).is_ok(), "short words are in others");
    }
}
