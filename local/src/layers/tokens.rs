//! Transactions by their `ClientRequestToken`: one that is tried again because its answer came too late is answered the same and
//! not run twice. The engine knows tokens too, but walks all those of ten minutes at each transaction and sorts each request to
//! compare it; here a transaction costs a look-up.

use dynoxide::DynoxideError;
use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// How long a token is known, as DynamoDB promises (its API Reference, `TransactWriteItems`, `ClientRequestToken`).
const WINDOW: Duration = Duration::from_secs(600);

/// Answers to transactions that were done.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// By token: a hash of the request, and the answer.
    answers: HashMap<String, (u64, String)>,
    /// The oldest first.
    order: VecDeque<(Instant, String)>,
}

impl Tokens {
    /// Runs a request that came with `token`, or gives the answer of the one before. A request that failed may be run again.
    ///
    /// # Errors
    /// What `run` says, or `IdempotentParameterMismatchException` for a known token with another request.
    pub(super) fn once(
        &mut self,
        token: String,
        request: &[u8],
        now: Instant,
        run: impl FnOnce() -> Result<String, DynoxideError>,
    ) -> Result<String, DynoxideError> {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            if let Some((_, old)) = self.order.pop_front() {
                self.answers.remove(&old);
            }
        }
        let mut hasher = DefaultHasher::new();
        request.hash(&mut hasher);
        let hash = hasher.finish();
        match self.answers.get(&token) {
            Some((known, answer)) if *known == hash => Ok(answer.clone()),
            Some(_) => Err(DynoxideError::IdempotentParameterMismatchException(
                "the token was used for another transaction".to_owned(),
            )),
            None => {
                let answer = run()?;
                self.order.push_back((now, token.clone()));
                self.answers.insert(token, (hash, answer.clone()));
                Ok(answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(
        tokens: &mut Tokens,
        token: &str,
        request: &str,
        now: Instant,
        answer: &str,
    ) -> Result<String, DynoxideError> {
        tokens.once(token.to_owned(), request.as_bytes(), now, || Ok(answer.to_owned()))
    }

    #[test]
    fn a_transaction_runs_once_for_its_token() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        assert_eq!(done(&mut tokens, "a", "write", now, "first").expect("done"), "first");
        assert_eq!(done(&mut tokens, "a", "write", now, "second").expect("done"), "first");
        assert_eq!(done(&mut tokens, "b", "write", now, "third").expect("done"), "third");
    }

    #[test]
    fn a_token_belongs_to_one_request() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        done(&mut tokens, "a", "write", now, "first").expect("done");
        let refused = done(&mut tokens, "a", "another", now, "second");
        assert!(matches!(refused, Err(DynoxideError::IdempotentParameterMismatchException(_))), "{refused:?}");
    }

    #[test]
    fn what_failed_runs_again() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        let failed =
            tokens.once("a".to_owned(), b"write", now, || Err(DynoxideError::InternalServerError("disk".to_owned())));
        assert!(failed.is_err());
        assert_eq!(done(&mut tokens, "a", "write", now, "second").expect("done"), "second");
    }

    #[test]
    fn tokens_are_forgotten_in_time_and_leave_nothing() {
        let (mut tokens, start) = (Tokens::default(), Instant::now());
        for (token, second) in [("a", 0), ("b", 300), ("c", 601)] {
            done(&mut tokens, token, "write", start + Duration::from_secs(second), "first").expect("done");
        }
        assert_eq!((tokens.answers.len(), tokens.order.len()), (2, 2));
        let later = start + Duration::from_secs(602);
        assert_eq!(done(&mut tokens, "b", "write", later, "second").expect("done"), "first");
        assert_eq!(done(&mut tokens, "a", "write", later, "second").expect("done"), "second");
    }
}
