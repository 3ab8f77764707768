//! Transactions that are done, by their tokens: one that is sent again writes nothing, and takes what reading its records does (API Reference,
//! `TransactWriteItems`, `ClientRequestToken`; martinhicks.dev measured two read units).

use std::collections::{HashSet, VecDeque};

use crate::clock::millis;
use crate::like_aws::conflicts::TOKEN_WINDOW;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    done: HashSet<String>,
    /// With the time, in milliseconds, the oldest first.
    ended: VecDeque<(u64, String)>,
}

impl Tokens {
    /// Whether this is one of a transaction that is done.
    pub(super) fn knows(&mut self, token: &str, now_ms: u64) -> bool {
        while self.ended.front().is_some_and(|(at_ms, _)| now_ms >= at_ms + millis(TOKEN_WINDOW)) {
            if let Some((_, old)) = self.ended.pop_front() {
                self.done.remove(&old);
            }
        }
        self.done.contains(token)
    }

    pub(super) fn note(&mut self, token: String, now_ms: u64) {
        if self.done.insert(token.clone()) {
            self.ended.push_back((now_ms, token));
        }
    }
}
