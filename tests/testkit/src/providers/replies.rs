//! What they say, in their own words.

use super::{Refusal, Trouble};
use crate::http::{self, Reply, StatusCode};
use serde_json::{Value, json};

/// A model's answer: the body of a good reply of `POST /v1/messages`.
#[must_use]
pub fn analysis() -> Value {
    let input = json!({"language": "en", "summary": "A text.", "key_phrases": ["text"],
        "sentiment": {"label": "neutral", "score": 0.0}});
    json!({"id": "msg", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "t", "name": "record_analysis", "input": input}],
        "usage": {"input_tokens": 1_000, "output_tokens": 100}})
}

/// What is said to a text that has more tokens than are left of those that an account has in a minute.
#[must_use]
pub fn no_tokens(per_minute: u32, wait: f64) -> Reply {
    let message = format!(
        "This request would exceed your organization's rate limit of {per_minute} input tokens per minute. Please reduce the prompt length \
         or the maximum tokens requested, or try again later."
    );
    refused(429, "rate_limit_error", &message, Some(wait))
}

pub(super) fn no_analysis(refusal: &Refusal) -> Reply {
    let (status, kind, message, wait) = match refusal {
        Refusal::Tokens(per_minute, wait) => return no_tokens(*per_minute, *wait),
        Refusal::Rate(wait) => {
            let message = "This request would exceed your organization's rate limit of so many requests per minute.";
            (429, "rate_limit_error", message, Some(*wait))
        }
        Refusal::Quota(wait) => (429, "rate_limit_error", "This request would exceed your daily limit.", Some(*wait)),
        Refusal::Trouble(Trouble::Overloaded) => (529, "overloaded_error", "Overloaded", None),
        Refusal::Trouble(Trouble::Suspended) => {
            (400, "invalid_request_error", "Your credit balance is too low to access the API.", None)
        }
    };
    refused(status, kind, message, wait)
}

fn refused(status: u16, kind: &str, message: &str, wait: Option<f64>) -> Reply {
    let error = json!({"type": "error", "error": {"type": kind, "message": message}});
    let mut reply = http::json(StatusCode::from_u16(status).expect("a status"), error);
    if let Some(wait) = wait {
        reply.headers_mut().insert("retry-after", format!("{wait:.3}").parse().expect("digits"));
    }
    reply
}

pub(super) fn no_mail(refusal: &Refusal) -> Reply {
    let (status, error, message) = match refusal {
        Refusal::Rate(_) | Refusal::Tokens(..) => (429, "TooManyRequestsException", "Maximum sending rate exceeded."),
        Refusal::Quota(_) => (429, "TooManyRequestsException", "Daily message quota exceeded."),
        Refusal::Trouble(Trouble::Overloaded) => (503, "ServiceUnavailable", "Overloaded"),
        Refusal::Trouble(Trouble::Suspended) => (400, "SendingPausedException", "Email sending is paused."),
    };
    let mut reply = http::json(StatusCode::from_u16(status).expect("a status"), json!({"message": message}));
    reply.headers_mut().insert("x-amzn-errortype", error.parse().expect("letters"));
    reply
}
