//! Flesch's reading ease and grade for English, with syllables estimated by spelling.

use shared::model::analysis::Readability;

use super::text::{Document, Token};

/// Below this many words the figures say nothing.
const WORDS_MIN: usize = 10;

/// The figures for a text; the Flesch ones only where `language` is English.
pub(super) fn measure(document: &Document, language: &str) -> Readability {
    let words = document.word_count();
    let sentences = document.sentences.len();
    let words_per_sentence = words as f64 / sentences.max(1) as f64;
    let (mut ease, mut grade) = (None, None);
    // "en-GB" is English too.
    if language.split('-').next() == Some("en") && words >= WORDS_MIN {
        let syllables_per_word = syllables(document) as f64 / words as f64;
        // Flesch 1948; Kincaid, Fishburne, Rogers and Chissom 1975. The bounds are those of real
        // prose: one 100 KB "word" would otherwise give a figure in the millions.
        let flesch = 206.835 - 1.015 * words_per_sentence - 84.6 * syllables_per_word;
        let kincaid = 0.39 * words_per_sentence + 11.8 * syllables_per_word - 15.59;
        ease = Some(one_decimal(flesch.clamp(-100.0, 121.2)));
        grade = Some(one_decimal(kincaid.clamp(-3.4, 50.0)));
    }
    Readability {
        flesch_reading_ease: ease,
        flesch_kincaid_grade: grade,
        words_per_sentence: one_decimal(words_per_sentence),
    }
}

fn one_decimal(figure: f64) -> f64 {
    (figure * 10.0).round() / 10.0
}

fn syllables(document: &Document) -> usize {
    let per_word: Vec<usize> = document.vocabulary.iter().map(|word| syllables_of(&word.folded)).collect();
    document
        .sentences
        .iter()
        .flat_map(|sentence| &sentence.tokens)
        .map(|token| match token {
            Token::Word(number) => per_word[*number as usize],
            Token::Break => 0,
        })
        .sum()
}

/// Groups of vowels, less the silent endings; at least one.
fn syllables_of(word: &str) -> usize {
    let is_vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let letters: Vec<char> = word.chars().filter(|c| c.is_alphabetic()).collect();
    let mut groups = 0;
    let mut after_vowel = false;
    for &letter in &letters {
        groups += usize::from(is_vowel(letter) && !after_vowel);
        after_vowel = is_vowel(letter);
    }
    let silent = match letters.as_slice() {
        // "table" and "handled" speak their e, "whole" and "cakes" do not.
        [.., c, 'l', 'e'] => is_vowel(*c),
        [.., c, 'e'] => !is_vowel(*c),
        [.., c, 'e', 's'] => !is_vowel(*c) && !matches!(c, 's' | 'z' | 'x' | 'c' | 'g' | 'h'),
        [.., c, 'e', 'd'] => !is_vowel(*c) && !matches!(c, 't' | 'd'),
        _ => false,
    };
    (groups - usize::from(silent && groups > 1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syllables_are_near_enough() {
        let cases = [
            ("the", 1),
            ("bread", 1),
            ("cakes", 1),
            ("whole", 1),
            ("table", 2),
            ("baker", 2),
            ("wanted", 2),
            ("jumped", 1),
            ("houses", 2),
            ("beautiful", 3),
            ("readability", 5),
            ("rhythm", 1),
            ("42", 1),
            ("\u{1F600}", 1),
        ];
        for (word, expected) in cases {
            assert_eq!(syllables_of(word), expected, "{word}");
        }
    }

    #[test]
    fn plain_words_are_easier_than_long_ones() {
        let easy = Document::parse("The cat sat on the mat. The dog ran up to the cat. It hid.");
        let hard = Document::parse(
            "Institutional accountability necessitates comprehensive documentation of organisational \
             responsibilities, notwithstanding administrative inconvenience.",
        );
        let ease = |document| measure(document, "en").flesch_reading_ease.expect("English has a figure");
        assert!(ease(&easy) > 90.0, "{}", ease(&easy));
        assert!(ease(&hard) < 0.0, "{}", ease(&hard));
        assert_eq!(measure(&easy, "de").flesch_reading_ease, None);
        assert_eq!(measure(&Document::parse("Too short."), "en").flesch_kincaid_grade, None);
    }

    #[test]
    fn the_reading_ease_follows_the_formula() {
        // 12 words of one syllable in 2 sentences.
        let document = Document::parse("The cat sat on the mat. The dog ran to the cat.");
        let figures = measure(&document, "en");
        assert_eq!(figures.flesch_reading_ease, Some(116.1));
        assert_eq!(figures.flesch_kincaid_grade, Some(-1.4));
        assert_eq!(figures.words_per_sentence, 6.0);
    }
}
