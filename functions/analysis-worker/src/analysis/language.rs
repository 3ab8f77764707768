//! Tells the language of a text, and knows the stop words of thirty of them.

use std::collections::HashSet;

use shared::model::analysis::UNDETERMINED;
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
    fn english_stop_words_are_in_lower_case() {
        assert!(stop_words("en").contains("the") && stop_words("en").contains("would"));
        assert!(stop_words("nb").contains("og"));
        assert!(stop_words(UNDETERMINED).is_empty());
    }
}
