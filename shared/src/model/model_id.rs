//! The ids of models. A provider gives one model several: with the date of its release (`claude-haiku-4-5-20251001`) and aliases
//! without it (`claude-haiku-4-5`, `claude-3-5-haiku-latest`, `claude-opus-4-0`). Catalogues of prices know one of them.

use jiff::civil::Date;

/// A model's id, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ModelId<'a> {
    /// What all ids of the model begin with.
    pub(super) family: &'a str,
    pub(super) is_dated: bool,
}

impl<'a> ModelId<'a> {
    pub(super) fn of(id: &'a str) -> Self {
        let (family, suffix) = id.rsplit_once('-').unwrap_or((id, ""));
        let is_dated = is_date(suffix);
        let is_alias = suffix == "latest" || (suffix == "0" && family.ends_with(|last: char| last.is_ascii_digit()));
        Self { family: if is_dated || is_alias { family } else { id }, is_dated }
    }
}

/// Whether it is a day of this century, as `20251001`.
fn is_date(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse().ok();
    let date = || Date::new(number(0..4)?, i8::try_from(number(4..6)?).ok()?, i8::try_from(number(6..8)?).ok()?).ok();
    text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) && text.starts_with("20") && date().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_an_id_without_its_date() {
        for (id, family, is_dated) in [
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5", true),
            ("claude-haiku-4-5", "claude-haiku-4-5", false),
            ("claude-3-5-haiku-latest", "claude-3-5-haiku", false),
            ("claude-opus-4-0", "claude-opus-4", false),
            ("claude-opus-4-20250514", "claude-opus-4", true),
            ("claude-opus-4-99999999", "claude-opus-4-99999999", false),
            ("claude-opus-4-20250230", "claude-opus-4-20250230", false),
            ("claude-opus-4-10", "claude-opus-4-10", false),
            ("latest", "latest", false),
            ("m-0", "m-0", false),
            ("", "", false),
            ("é-2025100", "é-2025100", false),
        ] {
            assert_eq!(ModelId::of(id), ModelId { family, is_dated }, "{id}");
        }
    }
}
