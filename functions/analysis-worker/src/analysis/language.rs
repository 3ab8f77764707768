//! Tells the language of a text, and knows the stop words of thirty of them.

use std::collections::HashSet;

use shared::model::analysis::{LANGUAGE_MAX_CHARS, UNDETERMINED};
use whatlang::Lang;

use super::text::{Document, Token};

/// As much of a text as it takes to be sure; keeps the detection independent of its length.
const SAMPLE_MAX_BYTES: usize = 8 * 1024;
/// Below this the detector guesses, and does so differently for each word more.
const WORDS_MIN: usize = 3;
/// The share of stop words that marks running text of a language whatever else is in it.
const STOP_WORD_SHARE_MIN: f64 = 0.3;

/// English words that carry no topic and that the stop word list leaves out.
const MORE_ENGLISH: &str = "also although among another anything around away back become came come could day days \
    done either else enough even ever every everything find first found gave get gets give given go goes gone got \
    however just keep kept know known last less let like long look looked looking looks made make makes many may \
    might much must need never new nobody often old one people per said saw say says see seem seemed seen since \
    some still take taken thing things though three told took two us use used want went whether without would year \
    years";

/// The language as a BCP 47 tag, or `und`.
pub(super) fn detect(text: &str, document: &Document) -> &'static str {
    if document.word_count() < WORDS_MIN {
        return UNDETERMINED;
    }
    let sample = &text[..text.floor_char_boundary(SAMPLE_MAX_BYTES)];
    match whatlang::detect(sample) {
        Some(found) if found.is_reliable() => tag(found.lang()),
        // Short texts leave the trigrams in doubt where the small words do not.
        Some(_) if stop_word_share(document, &stop_words("en")) >= STOP_WORD_SHARE_MIN => "en",
        _ => UNDETERMINED,
    }
}

/// The words that carry no topic; empty where there is no list.
pub(super) fn stop_words(language: &str) -> HashSet<&'static str> {
    // Bokmål stands under the macrolanguage's code in the lists.
    let code = if language == "nb" { "no" } else { language };
    let more = if code == "en" { MORE_ENGLISH } else { "" };
    stop_words::lookup(code).unwrap_or_default().iter().copied().chain(more.split_whitespace()).collect()
}

fn stop_word_share(document: &Document, stop_words: &HashSet<&str>) -> f64 {
    let mut words = 0_u32;
    let mut stops = 0_u32;
    for sentence in document.sentences.iter().take(50) {
        for token in &sentence.tokens {
            if let Token::Word(number) = token {
                words += 1;
                let word = document.word(*number).folded.as_str();
                stops += u32::from(stop_words.contains(word));
            }
        }
    }
    f64::from(stops) / f64::from(words.max(1))
}

/// What English calls languages that whatlang calls otherwise.
const OTHER_NAMES: [(&str, &str); 6] =
    [("chinese", "zh"), ("farsi", "fa"), ("filipino", "tl"), ("flemish", "nl"), ("norwegian", "no"), ("burmese", "my")];

/// The tag of a language as somebody wrote it: a tag in any case, with `_` for `-` or with three letters where there are two, or the
/// language's name. `und` for the name of an unknown one; `None` if it is neither.
pub(super) fn tag_of(said: &str) -> Option<String> {
    let said = said.trim().replace('_', "-");
    if said.len() > LANGUAGE_MAX_CHARS {
        return None;
    }
    let (first, rest) = said.split_once('-').map_or((said.as_str(), None), |(first, rest)| (first, Some(rest)));
    if (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic()) {
        let first = first.to_ascii_lowercase();
        let first = Lang::from_code(&first).map_or(first, |lang| tag(lang).to_owned());
        return Some(rest.into_iter().flat_map(|rest| rest.split('-')).fold(first, |tag, part| {
            // RFC 5646 section 2.1.1.
            let part = part.to_ascii_lowercase();
            match part.len() {
                2 => format!("{tag}-{}", part.to_ascii_uppercase()),
                4 if part.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                    format!("{tag}-{}{}", part[..1].to_ascii_uppercase(), &part[1..])
                }
                _ => format!("{tag}-{part}"),
            }
        }));
    }
    let name = said.split(['(', ',', '-', '/']).next().unwrap_or_default().trim().to_lowercase();
    let is_name = name.chars().count() >= 4 && name.chars().all(|c| c.is_alphabetic() || c == ' ');
    let known = || {
        let other = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, tag)| *tag);
        let named = |lang: &&Lang| lang.eng_name().to_lowercase() == name || lang.name().to_lowercase() == name;
        other.or_else(|| Lang::all().iter().find(named).map(|lang| tag(*lang)))
    };
    is_name.then(|| known().unwrap_or(UNDETERMINED).to_owned())
}

/// BCP 47 wants the shortest code (RFC 5646 section 2.2.1): two letters where there are two.
fn tag(language: Lang) -> &'static str {
    match language {
        Lang::Afr => "af",
        Lang::Aka => "ak",
        Lang::Amh => "am",
        Lang::Ara => "ar",
        Lang::Aze => "az",
        Lang::Bel => "be",
        Lang::Ben => "bn",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Cmn => "zh",
        Lang::Cym => "cy",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Eng => "en",
        Lang::Epo => "eo",
        Lang::Est => "et",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Guj => "gu",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Hrv => "hr",
        Lang::Hun => "hu",
        Lang::Hye => "hy",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Jav => "jv",
        Lang::Jpn => "ja",
        Lang::Kan => "kn",
        Lang::Kat => "ka",
        Lang::Khm => "km",
        Lang::Kor => "ko",
        Lang::Lat => "la",
        Lang::Lav => "lv",
        Lang::Lit => "lt",
        Lang::Mal => "ml",
        Lang::Mar => "mr",
        Lang::Mkd => "mk",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Nld => "nl",
        Lang::Nob => "nb",
        Lang::Ori => "or",
        Lang::Pan => "pa",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Sin => "si",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Sna => "sn",
        Lang::Spa => "es",
        Lang::Srp => "sr",
        Lang::Swe => "sv",
        Lang::Tam => "ta",
        Lang::Tel => "te",
        Lang::Tgl => "tl",
        Lang::Tha => "th",
        Lang::Tuk => "tk",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Uzb => "uz",
        Lang::Vie => "vi",
        Lang::Yid => "yi",
        Lang::Zul => "zu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(text: &str) -> &'static str {
        detect(text, &Document::parse(text))
    }

    #[test]
    fn languages_are_told_apart() {
        let cases = [
            ("en", "The report is on my desk and it was not there before."),
            ("en", "This is what we have now."),
            ("de", "Der Bäcker öffnet seinen Laden jeden Morgen um sechs Uhr, auch wenn es regnet."),
            ("fr", "Le boulanger ouvre sa boutique chaque matin à six heures, même quand il pleut."),
            ("es", "El panadero abre su tienda cada mañana a las seis, aunque esté lloviendo mucho."),
            ("ru", "Пекарь открывает свою лавку каждое утро в шесть часов, даже когда идёт дождь."),
            ("he", "האופה פותח את החנות שלו בכל בוקר בשעה שש, גם כשיורד גשם."),
            ("ar", "يفتح الخباز متجره كل صباح في الساعة السادسة حتى عندما تمطر السماء."),
            ("ja", "パン屋は雨の日でも毎朝六時に店を開けます。"),
            ("zh", "面包师每天早上六点开门,即使下雨也是如此。"),
        ];
        for (expected, text) in cases {
            assert_eq!(language(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_language_is_undetermined() {
        for text in ["", "12 34 56 78", "\u{1F600}\u{1F680}", "ok", "x1 y2 z3 q4"] {
            assert_eq!(language(text), UNDETERMINED, "{text:?}");
        }
    }

    #[test]
    fn languages_are_read_as_models_write_them() {
        for (said, expected) in [
            ("en", "en"),
            ("EN", "en"),
            ("en-US", "en-US"),
            ("en_us", "en-US"),
            (" de-at ", "de-AT"),
            ("zh-hans-cn", "zh-Hans-CN"),
            ("eng", "en"),
            ("deu-CH", "de-CH"),
            ("gsw", "gsw"),
            ("es-419", "es-419"),
            ("English", "en"),
            ("english (US)", "en"),
            ("Deutsch", "de"),
            ("Français", "fr"),
            ("Chinese, simplified", "zh"),
            ("Klingon", "und"),
            ("unknown", "und"),
            ("und", "und"),
        ] {
            assert_eq!(tag_of(said).as_deref(), Some(expected), "{said}");
        }
        for said in ["", "x", "<script>", "e n", "12", "en\u{0}glish", &"English".repeat(9)] {
            assert_eq!(tag_of(said), None, "{said}");
        }
    }

    #[test]
    fn english_stop_words_are_in_lower_case() {
        assert!(stop_words("en").contains("the") && stop_words("en").contains("would"));
        assert!(stop_words("nb").contains("og"));
        assert!(stop_words(UNDETERMINED).is_empty());
    }
}
