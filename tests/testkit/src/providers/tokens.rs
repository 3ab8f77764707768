//! The input tokens of a model: <https://docs.claude.com/en/api/rate-limits>.

use crate::http::Reply;
use serde_json::Value;

/// How many an account has in a minute, for all texts together. A call that has more than are left is refused and takes none: one that has more
/// than a minute's is refused each time, however idle the account is.
#[derive(Debug)]
pub struct InputTokens {
    per_minute: u32,
    left: f64,
    at_ms: u64,
}

impl InputTokens {
    /// All of a minute's, at a time in milliseconds.
    #[must_use]
    pub fn new(per_minute: u32, now_ms: u64) -> Self {
        Self { per_minute, left: f64::from(per_minute), at_ms: now_ms }
    }

    /// How many there are in a minute.
    #[must_use]
    pub fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes those of a call.
    ///
    /// # Errors
    /// There are not so many; with the seconds to wait, a minute at most.
    pub fn take(&mut self, body: &[u8], now_ms: u64) -> Result<(), f64> {
        let (per_minute, needed) = (f64::from(self.per_minute), tokens(body));
        let filled = now_ms.saturating_sub(self.at_ms) as f64 / 60_000.0 * per_minute;
        self.left = (self.left + filled).min(per_minute);
        self.at_ms = self.at_ms.max(now_ms);
        if needed > self.left {
            return Err(((needed - self.left) * 60.0 / per_minute).min(60.0));
        }
        self.left -= needed;
        Ok(())
    }

    /// Says in a reply how many there are in a minute, and how many are left, to the nearest thousand.
    pub fn tell(&self, reply: &mut Reply) {
        let left = (self.left / 1_000.0).round() * 1_000.0;
        let headers = reply.headers_mut();
        headers.insert("anthropic-ratelimit-input-tokens-limit", self.per_minute.into());
        headers.insert("anthropic-ratelimit-input-tokens-remaining", format!("{left:.0}").parse().expect("digits"));
    }
}

/// Those of the text that a call sends: one for each four bytes.
fn tokens(body: &[u8]) -> f64 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = body["messages"][0]["content"][0]["text"].as_str().unwrap_or_default();
    text.len() as f64 / 4.0
}
