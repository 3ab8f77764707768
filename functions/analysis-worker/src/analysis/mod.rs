//! Analyses a text through the configured provider. Nothing here knows about jobs.

pub mod anthropic;
pub mod builtin;
mod language;
mod phrases;
mod readability;
mod sentiment;
mod summary;
mod text;

use std::time::Duration;

use shared::model::analysis::{Analysis, Cost, TokenUsage};

pub use anthropic::Anthropic;

/// Who does the analysis.
#[derive(Debug)]
pub enum Provider {
    /// This process, without a network.
    Builtin,
    /// Anthropic's Messages API.
    Anthropic(Box<Anthropic>),
}

/// A finished analysis and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The analysis, within the model's limits.
    pub analysis: Analysis,
    /// Tokens used, as the provider counts them.
    pub usage: TokenUsage,
}

/// Why there is no analysis. `detail` is for the caller: no secret and nothing a provider wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisError {
    /// Trying again would fail again.
    #[error("{code}: {detail}")]
    Permanent {
        /// Stable, in snake case.
        code: &'static str,
        /// In words.
        detail: String,
        /// What the attempt may have cost.
        cost: Cost,
    },
    /// Trying again later may work.
    #[error("{detail}")]
    Transient {
        /// What stands in the way; stable, in snake case.
        code: &'static str,
        /// The provider's own wish, if it had one.
        retry_after: Option<Duration>,
        /// In words.
        detail: String,
        /// What the attempt may have cost.
        cost: Cost,
    },
}

impl Provider {
    /// Has at hand what a call needs.
    ///
    /// # Errors
    /// See [`AnalysisError`].
    pub async fn ready(&self) -> Result<(), AnalysisError> {
        match self {
            Self::Builtin => Ok(()),
            Self::Anthropic(anthropic) => anthropic.ready().await,
        }
    }

    /// Analyses `text`; `model` names the provider's model and means nothing to the built-in one.
    ///
    /// The future may be dropped at any time. One call is at most one billable request.
    ///
    /// # Errors
    /// See [`AnalysisError`].
    pub async fn analyze(&self, text: String, model: &str) -> Result<Outcome, AnalysisError> {
        match self {
            // Off the async thread: a megabyte takes a good part of a second.
            Self::Builtin => match tokio::task::spawn_blocking(move || builtin::analyze(&text)).await {
                Ok(outcome) => Ok(outcome),
                Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
                Err(_) => Err(AnalysisError::Transient {
                    code: "worker_stopped",
                    retry_after: None,
                    detail: "the process was ending".into(),
                    cost: Cost::Nothing,
                }),
            },
            Self::Anthropic(anthropic) => anthropic.analyze(&text, model).await,
        }
    }
}
