//! What a status other than 200 means. The API tells some refusals apart by their words alone, so the beginnings of those are known
//! here; none of its words go further, for they may quote the text.
//! <https://docs.claude.com/en/api/errors>

use super::super::AnalysisError;
use super::Reply;
use super::rate_limits::{Left, Room};
use serde::Deserialize;
use serde_json::Value;
use shared::model::analysis::{Cost, input_tokens_max, input_tokens_min};
use std::time::Duration;

/// The code of a job that waits or failed because the provider does not know this service's key.
pub(super) const CREDENTIALS: &str = "provider_credentials";
/// The API's word for the account's cap of a month. It is a `429`, and is lifted by an operator or by the next month.
const MONTH_USED_UP: &str = "enforced_spend_limit_reached";
/// What a `429` names where it is no matter of its text's size. A limit on how fast the account's usage grows is one. They stand behind the
/// account's id, and no text is quoted there.
const OTHER_LIMITS: [&str; 4] = ["usage increase", "requests per minute", "output tokens", "concurrent"];
/// Input tokens that the smallest account has in a minute, where a reply does not say (docs.claude.com, "Rate limits": a new one).
const SMALLEST_MINUTE: u64 = 30_000;

#[derive(Default, Deserialize)]
struct ErrorBody {
    error: ErrorKind,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorKind {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    /// Of any shape: what cannot be read of it hides nothing else.
    details: Value,
}

/// A refusal, read.
pub(super) struct Refusal {
    /// The API's own word for it if it is one, for the log.
    pub(super) kind: String,
    reason: Reason,
}

/// Why the provider gave no analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The account has no credit left, or its bills are not paid.
    Billing,
    /// The account's own limit of what it may spend, or its cap of a month.
    SpendingLimit,
    Credentials,
    /// The account is closed.
    AccountDisabled,
    Forbidden,
    NoSuchModel,
    /// With the tokens that the text has and those that the model takes, if the provider says.
    TooLong(Option<(u64, u64)>),
    /// For the input tokens that the account has in a minute: these, for all texts together.
    TooLongForMinute(u64),
    /// For what is left of them. It is so long that others would fit.
    TooLongNow,
    /// For what is used up, or for its own length: nobody says.
    RateOrLength,
    RateLimit,
    Overloaded,
    Conflict,
    Timeout,
    Failed,
    Refused,
}

impl Refusal {
    /// Reads a reply to a request with `text`.
    pub(super) fn read(reply: &Reply, text: &str) -> Self {
        let said = serde_json::from_slice(&reply.body).unwrap_or_else(|_| ErrorBody::default()).error;
        let reason = Reason::of(reply, &said, text);
        let kind = said.kind;
        let is_word = !kind.is_empty() && kind.len() <= 40 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        Self { kind: if is_word { kind } else { "unreadable".into() }, reason }
    }

    /// The code of the job's error.
    pub(super) fn code(&self) -> &'static str {
        match self.reason {
            Reason::Billing => "provider_billing",
            Reason::SpendingLimit => "provider_limit_reached",
            Reason::Credentials => CREDENTIALS,
            Reason::AccountDisabled => "provider_account_disabled",
            Reason::Forbidden => "provider_forbidden",
            Reason::NoSuchModel => "model_not_found",
            Reason::TooLong(_) | Reason::TooLongForMinute(_) => "input_too_large",
            Reason::TooLongNow => "provider_input_limited",
            Reason::RateOrLength => "provider_limited",
            Reason::RateLimit => "provider_rate_limited",
            Reason::Overloaded => "provider_overloaded",
            Reason::Conflict => "provider_conflict",
            Reason::Timeout => "provider_timeout",
            Reason::Failed => "provider_failed",
            Reason::Refused => "request_refused",
        }
    }

    /// What it means for the job.
    pub(super) fn into_error(self, retry_after: Option<Duration>) -> AnalysisError {
        let (code, detail) = (self.code(), self.detail());
        match self.reason {
            Reason::Forbidden
            | Reason::NoSuchModel
            | Reason::TooLong(_)
            | Reason::TooLongForMinute(_)
            | Reason::Refused => AnalysisError::Permanent { code, detail, cost: Cost::Nothing },
            // Anybody on the way may say these, also after the model has run.
            Reason::Timeout | Reason::Failed => {
                AnalysisError::Transient { code, retry_after, detail, cost: Cost::Unknown }
            }
            // These pass, by themselves or when the operator has put the account in order.
            _ => AnalysisError::Transient { code, retry_after, detail, cost: Cost::Nothing },
        }
    }

    fn detail(&self) -> String {
        match self.reason {
            Reason::Billing => "The account of this service at the model provider has no credit. Its operator has to see to it.",
            Reason::SpendingLimit => "The account of this service at the model provider has reached its spending limit. Its operator has to see to it.",
            Reason::Credentials => "The model provider refused the key of this service. Its operator has to see to it.",
            Reason::AccountDisabled => "The account of this service at the model provider is closed. Its operator has to see to it.",
            Reason::Forbidden => "This service may not use that model at the model provider. Choose another one.",
            Reason::NoSuchModel => "The model provider has no such model, or no longer. Choose another one.",
            Reason::TooLong(Some((tokens, most))) => {
                return format!("The text is too long for the model: it has {tokens} tokens, and the model takes {most}. Split it, or choose a model that takes more.");
            }
            Reason::TooLong(None) => "The text is too long for the model. Split it, or choose a model that takes more.",
            Reason::TooLongForMinute(limit) => {
                return format!("The text is too long for the account of this service, which has {limit} tokens a minute at the model provider. Split it, or choose another model.");
            }
            Reason::TooLongNow => "The model provider limits how much text it takes from this service in a minute, and this one is a large part of that.",
            Reason::RateOrLength => "The model provider limits the rate of this service, or how much text it takes from it in a minute.",
            Reason::RateLimit => "The model provider limits the rate of this service.",
            Reason::Overloaded => "The model provider is overloaded.",
            Reason::Conflict => "The model provider reported a conflict.",
            Reason::Timeout => "The model provider did not answer in time.",
            Reason::Failed => "The model provider failed.",
            Reason::Refused => "The model provider refused the request.",
        }
        .to_owned()
    }
}

impl Reason {
    fn of(reply: &Reply, said: &ErrorKind, text: &str) -> Self {
        let status = reply.status;
        if said.details["error_code"] == MONTH_USED_UP {
            return Self::SpendingLimit;
        }
        if (400..500).contains(&status)
            && let Some(reason) = Self::of_message(&said.message)
        {
            return reason;
        }
        if status == 429 {
            if OTHER_LIMITS.iter().any(|other| said.message.contains(other)) {
                return Self::RateLimit;
            }
            if let Some(reason) = Self::of_size(reply.room, text) {
                return reason;
            }
        }
        match (status, said.kind.as_str()) {
            (400 | 403, "billing_error") | (402, _) => Self::Billing,
            (401, _) => Self::Credentials,
            (403, _) => Self::Forbidden,
            (404, _) => Self::NoSuchModel,
            (413, _) => Self::TooLong(None),
            (409, _) => Self::Conflict,
            // A rate says when it has room again, and a month that is used up does not.
            (429, "rate_limit_error") if reply.retry_after.is_none() && reply.rate_limits.empty_for.is_none() => {
                Self::SpendingLimit
            }
            (429, _) if is_short(reply.room, text) => Self::RateLimit,
            (429, _) => Self::RateOrLength,
            (503 | 529, _) => Self::Overloaded,
            (408 | 504, _) => Self::Timeout,
            (500..=599, _) => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// Of a `429`, where it is a matter of the text's own size; none where others would be refused too, or where nobody says. What can never
    /// fit ends, and what may fit later waits by itself.
    fn of_size(room: Room, text: &str) -> Option<Self> {
        let (limit, at_most) = (room.input_tokens?, input_tokens_max(text.len()));
        match room.left {
            _ if input_tokens_min(text) > limit => Some(Self::TooLongForMinute(limit)),
            Left::All if at_most > limit => Some(Self::TooLongForMinute(limit)),
            Left::All | Left::Half if at_most.saturating_mul(2) > limit => Some(Self::TooLongNow),
            _ => None,
        }
    }

    /// By the beginning of the message: what stands further behind may be a caller's text, which is not to be believed.
    fn of_message(message: &str) -> Option<Self> {
        let begins = |with: &str| message.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        if begins("your credit balance is too low") {
            return Some(Self::Billing);
        }
        if begins("you have reached your specified") || begins("you have reached your api usage limits") {
            return Some(Self::SpendingLimit);
        }
        if begins("this organization has been disabled") {
            return Some(Self::AccountDisabled);
        }
        if begins("prompt is too long") || begins("input length and `max_tokens` exceed context limit") {
            return Some(Self::TooLong(tokens(message)));
        }
        None
    }
}

/// Whether a text has room in half of a minute for certain: then it is refused for what others have used up.
fn is_short(room: Room, text: &str) -> bool {
    input_tokens_max(text.len()).saturating_mul(2) <= room.input_tokens.unwrap_or(SMALLEST_MINUTE)
}

/// Of `prompt is too long: 208310 tokens > 200000 maximum`, the numbers.
fn tokens(message: &str) -> Option<(u64, u64)> {
    let (_, numbers) = message.split_once(": ")?;
    let (has, takes) = numbers.split_once(" tokens > ")?;
    Some((has.parse().ok()?, takes.split(' ').next()?.parse().ok()?))
}
