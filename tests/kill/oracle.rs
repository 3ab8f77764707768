//! The model provider and the mail service. They write an accepted call down before they answer: what they
//! wrote is what happened.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Mutex;

#[derive(Default)]
pub(crate) struct Oracle {
    analyses: Mutex<HashMap<u32, u32>>,
    emails: Mutex<HashMap<u32, u32>>,
}

impl Oracle {
    /// Takes a request for the analysis of a job's text.
    pub(crate) fn analyze(&self, case: u32) -> Value {
        *self.analyses.lock().unwrap().entry(case).or_default() += 1;
        let input = json!({"language": "en", "summary": format!("Of case {case}."), "key_phrases": ["case"],
            "sentiment": {"label": "neutral", "score": 0.0}});
        json!({"id": "msg", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": "t", "name": "record_analysis", "input": input}],
            "usage": {"input_tokens": 1_000, "output_tokens": 100}})
    }

    /// Takes a job's e-mail.
    pub(crate) fn send(&self, case: u32) -> Value {
        *self.emails.lock().unwrap().entry(case).or_default() += 1;
        json!({"MessageId": format!("mail-{case}")})
    }

    pub(crate) fn analyses_of(&self, case: u32) -> u32 {
        self.analyses.lock().unwrap().get(&case).copied().unwrap_or(0)
    }

    pub(crate) fn emails_of(&self, case: u32) -> u32 {
        self.emails.lock().unwrap().get(&case).copied().unwrap_or(0)
    }
}
