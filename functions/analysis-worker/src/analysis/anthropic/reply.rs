//! Reading the reply: an outer shape that may grow, and inside it the analysis, put into shape where its sense is plain and then held
//! to the letter.

use super::super::{AnalysisError, Outcome, builtin};
use super::reading::in_shape;
use super::request::TOOL;
use serde::Deserialize;
use serde_json::Value;
use shared::model::analysis::{
    Analysis, Cost, OUTPUT_TOKENS_MAX, Sentiment, SentimentLabel, TokenUsage, input_tokens_max,
};

/// A message as the API returns it; the API's versioning lets it grow fields.
#[derive(Deserialize)]
struct Message {
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    input: Option<Value>,
}

#[derive(Deserialize)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
}

/// What the model says of the text. Counts and readability are measured here, not asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    language: String,
    summary: String,
    key_phrases: Vec<String>,
    #[serde(deserialize_with = "StrictSentiment::deserialize")]
    sentiment: Sentiment,
}

/// [`Sentiment`] as the model says it, with nothing more.
#[derive(Deserialize)]
#[serde(remote = "Sentiment", deny_unknown_fields)]
struct StrictSentiment {
    label: SentimentLabel,
    score: Option<f64>,
}

/// The analysis in a reply of status 200 to a request with `text`.
pub(super) fn read(body: &[u8], text: &str) -> Result<Outcome, AnalysisError> {
    let message: Message =
        serde_json::from_slice(body).map_err(|_| malformed("the model's reply was malformed", Cost::Unknown))?;
    let usage = message.usage.of(text);
    let cost = Cost::Tokens(usage);
    let never = |code, detail: &str| Err(AnalysisError::Permanent { code, detail: detail.into(), cost });
    match message.stop_reason.as_deref() {
        Some("refusal") => return never("model_refused", "the model declined to analyse this text"),
        Some("max_tokens") => return never("model_output_too_long", "the model's analysis did not end in time"),
        Some("model_context_window_exceeded") => {
            return never("input_too_large", "the text is too long for the model");
        }
        // The tool's input is checked whatever else the model says about why it stopped.
        _ => {}
    }
    let mut inputs = message
        .content
        .into_iter()
        .filter(|block| block.kind == "tool_use" && block.name.as_deref() == Some(TOOL))
        .filter_map(|block| block.input);
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(malformed("the model gave no analysis", cost));
    };
    let reading: Reading = serde_json::from_value(in_shape(input))
        .map_err(|_| malformed("the model's analysis has another shape", cost))?;
    let measured = builtin::measure(text, &reading.language);
    Analysis {
        language: reading.language,
        summary: reading.summary,
        key_phrases: reading.key_phrases,
        sentiment: reading.sentiment,
        readability: measured.readability,
        word_count: measured.word_count,
        sentence_count: measured.sentence_count,
    }
    .checked()
    .map(|analysis| Outcome { analysis, usage })
    .map_err(|problem| malformed(&format!("in the model's analysis, {problem}"), cost))
}

impl Usage {
    /// What the reply to a request with `text` says, within what was reserved for it: more cannot be, and a month's sum of it could not be read.
    fn of(&self, text: &str) -> TokenUsage {
        let input_tokens = self
            .input_tokens
            .saturating_add(self.cache_creation_input_tokens.unwrap_or(0))
            .saturating_add(self.cache_read_input_tokens.unwrap_or(0));
        let (most, output_tokens) = (input_tokens_max(text.len()), self.output_tokens);
        if input_tokens > most || output_tokens > OUTPUT_TOKENS_MAX {
            tracing::warn!(input_tokens, output_tokens, "the model's reply counts more tokens than there can be");
        }
        TokenUsage { input_tokens: input_tokens.min(most), output_tokens: output_tokens.min(OUTPUT_TOKENS_MAX) }
    }
}

/// Models do not say the same thing twice: another attempt may do.
fn malformed(detail: &str, cost: Cost) -> AnalysisError {
    AnalysisError::Transient { code: "model_output_malformed", retry_after: None, detail: detail.into(), cost }
}
