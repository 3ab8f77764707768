//! The analysis without a network: real, deterministic, in time and memory linear in the text.

use std::collections::HashSet;

use shared::model::analysis::{Analysis, OUTPUT_TOKENS_MAX, Readability, TokenUsage};

use super::text::{Document, Word};
use super::{Outcome, language, phrases, readability, sentiment, summary};

/// Written without spaces between words: a run of them is no phrase.
const UNSPACED: [&str; 5] = ["zh", "ja", "th", "km", "my"];

/// Analyses any text, also one that has nothing to say.
#[must_use]
pub fn analyze(text: &str) -> Outcome {
    let document = Document::parse(text);
    let language = language::detect(text, &document);
    let stop_words = language::stop_words(language);
    let is_content: Vec<bool> = document.vocabulary.iter().map(|word| carries_topic(word, &stop_words)).collect();
    let key_phrases = if UNSPACED.contains(&language) { Vec::new() } else { phrases::extract(&document, &is_content) };
    let measures = measures(&document, language);
    let analysis = Analysis {
        language: language.to_owned(),
        summary: summary::summarize(&document, &is_content),
        key_phrases,
        sentiment: sentiment::judge(&document, language),
        readability: measures.readability,
        word_count: measures.word_count,
        sentence_count: measures.sentence_count,
    };
    let written: u64 = analysis.key_phrases.iter().chain([&analysis.summary]).map(|text| estimate_tokens(text)).sum();
    Outcome {
        usage: TokenUsage { input_tokens: estimate_tokens(text), output_tokens: written.min(OUTPUT_TOKENS_MAX) },
        analysis,
    }
}

/// What any provider's analysis carries: facts, not a model's opinion.
pub(super) struct Measures {
    pub(super) readability: Readability,
    pub(super) word_count: u32,
    pub(super) sentence_count: u32,
}

/// Measures `text`, which is in `language`.
pub(super) fn measure(text: &str, language: &str) -> Measures {
    measures(&Document::parse(text), language)
}

fn measures(document: &Document, language: &str) -> Measures {
    Measures {
        readability: readability::measure(document, language),
        word_count: u32::try_from(document.word_count()).unwrap_or(u32::MAX),
        sentence_count: u32::try_from(document.sentences.len()).unwrap_or(u32::MAX),
    }
}

/// A deterministic estimate: four ASCII characters make a token, and so does any other character.
/// Never more than the text has bytes.
#[must_use]
pub fn estimate_tokens(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().count() - ascii;
    (ascii.div_ceil(4) + others) as u64
}

fn carries_topic(word: &Word, stop_words: &HashSet<&str>) -> bool {
    let folded = word.folded.as_str();
    let has_letter = folded.chars().any(char::is_alphabetic);
    let is_letter = folded.is_ascii() && folded.len() < 2;
    has_letter && !is_letter && !stop_words.contains(folded)
}

#[cfg(test)]
mod tests;
