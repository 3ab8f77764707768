//! What an analysis of a text says: one strict shape for every provider, bounded in size.
//! Whatever comes from a model is data: it is checked against these limits before anyone sees it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest language tag (RFC 5646 section 4.4.1 asks for room for 35 characters).
pub const LANGUAGE_MAX_CHARS: usize = 35;
/// Longest summary, in characters.
pub const SUMMARY_MAX_CHARS: usize = 1_000;
/// Most key phrases in a reply.
pub const KEY_PHRASES_MAX: usize = 10;
/// Longest key phrase, in characters.
pub const KEY_PHRASE_MAX_CHARS: usize = 80;
/// The tag for a language that could not be told (ISO 639-2 "undetermined").
pub const UNDETERMINED: &str = "und";

/// Most tokens that a provider may write for one analysis.
pub const OUTPUT_TOKENS_MAX: u64 = 1_500;
/// Most tokens that our own instructions add to the text; a test of the worker holds the prompt to it.
const PROMPT_TOKENS_MAX: u64 = 3_000;

/// The longest token of the tokenizers that are published (a run of spaces), in bytes.
const TOKEN_BYTES_MAX: usize = 128;

/// The most input tokens that analysing `text_bytes` bytes can cost, prompt included.
///
/// Tokenizers work on bytes and no token is empty, so a text never has more tokens than bytes:
/// a reservation of this many is never overshot. What was really used settles it afterwards.
#[must_use]
pub fn input_tokens_max(text_bytes: usize) -> u64 {
    u64::try_from(text_bytes).unwrap_or(u64::MAX).saturating_add(PROMPT_TOKENS_MAX)
}

/// The fewest input tokens that a text can have: no tokenizer in use joins words, nor more bytes than these into one token. A text that
/// has more than a model takes at this count does certainly not fit; whether one with fewer does, only the provider knows.
#[must_use]
pub fn input_tokens_min(text: &str) -> u64 {
    let words = text.split_whitespace().count();
    u64::try_from(words.max(text.len() / TOKEN_BYTES_MAX)).unwrap_or(u64::MAX)
}

/// An analysis of one text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Analysis {
    /// BCP 47 tag of the text's language; `und` when it could not be told.
    #[schema(max_length = 35, example = "en")]
    pub language: String,
    /// The gist of the text, at most 1,000 characters. Empty when the text has no words.
    #[schema(max_length = 1000)]
    pub summary: String,
    /// What the text is about, most telling first: at most 10 phrases of 1 to 80 characters.
    #[schema(max_items = 10)]
    pub key_phrases: Vec<String>,
    /// How the text feels about its matter.
    pub sentiment: Sentiment,
    /// How hard the text is to read.
    pub readability: Readability,
    /// Words, by the rules of Unicode's UAX #29.
    pub word_count: u32,
    /// Sentences, by the rules of Unicode's UAX #29, abbreviations minded.
    pub sentence_count: u32,
}

/// The feeling of a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sentiment {
    /// The verdict.
    pub label: SentimentLabel,
    /// From -1 (wholly negative) to 1 (wholly positive); null when the label is `unknown`.
    #[schema(minimum = -1.0, maximum = 1.0)]
    pub score: Option<f64>,
}

/// The verdict on a text's feeling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SentimentLabel {
    /// Mostly pleased.
    Positive,
    /// Neither pleased nor displeased.
    Neutral,
    /// Mostly displeased.
    Negative,
    /// Strongly both.
    Mixed,
    /// It could not be told, for example for want of a word list in that language.
    Unknown,
}

/// How hard a text is to read. The Flesch figures are for English; elsewhere they are null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readability {
    /// Flesch reading ease (Flesch 1948): 60 to 70 is plain English, higher is easier.
    pub flesch_reading_ease: Option<f64>,
    /// Flesch-Kincaid grade (Kincaid et al. 1975): years of US schooling needed.
    pub flesch_kincaid_grade: Option<f64>,
    /// Mean length of a sentence in words; 0 when there is none.
    pub words_per_sentence: f64,
}

/// Tokens that one analysis used, as its provider counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens read, those written to or read from a prompt cache included.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// What a call of a provider may have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// The provider did not take the work.
    Nothing,
    /// The provider said so.
    Tokens(TokenUsage),
    /// The request went out and no usable answer came: count all that was reserved.
    Unknown,
}

/// Why something is not an [`Analysis`]; names the field, never repeats its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct OutOfShape {
    /// The field at fault.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Analysis {
    /// Hands the analysis back if every field is within its limits.
    ///
    /// # Errors
    /// The first field that is not, by name.
    pub fn checked(self) -> Result<Self, OutOfShape> {
        let problem = |field, problem| Err(OutOfShape { field, problem });
        if !is_language_tag(&self.language) {
            return problem("language", "is not a language tag");
        }
        if self.summary.chars().count() > SUMMARY_MAX_CHARS {
            return problem("summary", "is too long");
        }
        if has_control(&self.summary) {
            return problem("summary", "has control characters");
        }
        if self.key_phrases.len() > KEY_PHRASES_MAX {
            return problem("key_phrases", "are too many");
        }
        for phrase in &self.key_phrases {
            if phrase.trim().is_empty() || phrase.chars().count() > KEY_PHRASE_MAX_CHARS {
                return problem("key_phrases", "have one that is empty or too long");
            }
            if has_control(phrase) {
                return problem("key_phrases", "have control characters");
            }
        }
        match (self.sentiment.label, self.sentiment.score) {
            (SentimentLabel::Unknown, Some(_)) => {
                return problem("sentiment", "is unknown and yet has a score");
            }
            (SentimentLabel::Unknown, None) => {}
            (_, Some(score)) if (-1.0..=1.0).contains(&score) => {}
            _ => return problem("sentiment", "has no score between -1 and 1"),
        }
        Ok(self)
    }
}

fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary_fits = parts
        .next()
        .is_some_and(|primary| (2..=8).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic()));
    primary_fits
        && tag.len() <= LANGUAGE_MAX_CHARS
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn analysis() -> Analysis {
        Analysis {
            language: "en".into(),
            summary: "A summary.".into(),
            key_phrases: vec!["summary".into()],
            sentiment: Sentiment { label: SentimentLabel::Neutral, score: Some(0.0) },
            readability: Readability {
                flesch_reading_ease: Some(60.0),
                flesch_kincaid_grade: Some(8.0),
                words_per_sentence: 2.0,
            },
            word_count: 2,
            sentence_count: 1,
        }
    }

    #[test]
    fn a_good_analysis_passes() {
        assert_eq!(analysis().checked(), Ok(analysis()));
    }

    #[test]
    fn each_limit_is_held() {
        type Spoil = fn(&mut Analysis);
        let spoilers: [(&str, Spoil); 11] = [
            ("language", |a| a.language = String::new()),
            ("language", |a| a.language = "english language".into()),
            ("language", |a| a.language = format!("en{}", "-x".repeat(40))),
            ("summary", |a| a.summary = "x".repeat(SUMMARY_MAX_CHARS + 1)),
            ("summary", |a| a.summary = "a\u{0}b".into()),
            ("key_phrases", |a| a.key_phrases = vec!["x".into(); KEY_PHRASES_MAX + 1]),
            ("key_phrases", |a| a.key_phrases = vec![" ".into()]),
            ("key_phrases", |a| {
                a.key_phrases = vec!["x".repeat(KEY_PHRASE_MAX_CHARS + 1)];
            }),
            ("sentiment", |a| a.sentiment.score = Some(1.01)),
            ("sentiment", |a| a.sentiment.score = None),
            ("sentiment", |a| a.sentiment.label = SentimentLabel::Unknown),
        ];
        for (field, spoil) in spoilers {
            let mut spoilt = analysis();
            spoil(&mut spoilt);
            assert_eq!(spoilt.checked().map_err(|e| e.field), Err(field));
        }
    }

    #[test]
    fn what_a_newer_version_stores_is_read_over() {
        let mut value = serde_json::to_value(analysis()).expect("an analysis serializes");
        value["surprise"] = 1.into();
        assert_eq!(serde_json::from_value::<Analysis>(value).ok(), Some(analysis()));
    }

    #[test]
    fn a_text_has_a_token_for_each_word_and_each_run_of_bytes() {
        assert_eq!(input_tokens_min(" a b\nc "), 3);
        assert_eq!(input_tokens_min(&" ".repeat(1_280)), 10);
        assert_eq!(input_tokens_min(""), 0);
    }

    #[test]
    fn a_reservation_covers_one_token_a_byte() {
        assert_eq!(input_tokens_max(1_000), 1_000 + PROMPT_TOKENS_MAX);
        assert_eq!(input_tokens_max(usize::MAX), u64::MAX);
    }
}
