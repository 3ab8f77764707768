//! Transactions that conflict. A record is held from a transaction's prepare to its commit or cancel, and nothing waits for it: whoever
//! comes second is refused. A transaction that is refused so holds its other records until it is cancelled, and is answered then.
//!
//! Sources: DynamoDB Developer Guide, "Transactions: How it works" (documented); Idziorek et al., "Distributed Transactions at
//! Scale in Amazon DynamoDB", USENIX ATC 2023 (that a check holds as a write does, the order within a prepare, and that all
//! cancellations are waited for). What a
//! `BatchWriteItem` answers for a record that is held is documented nowhere: here it comes back unprocessed.

mod replies;
#[cfg(test)]
mod tests;

pub(crate) use replies::{ERRORS, canceled_for, with_body, without};

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value as Json;
use tokio::runtime::Handle;

use super::ledger::{Ledger, Refusal};
use super::random::{Lognormal, SeededRng};
use super::record::{RecordKey, Write, reads, writes};
use crate::clock::{Clock, millis};
use crate::layers::{Call, Layer};

/// How long a finished transaction's token is known (API Reference, `TransactWriteItems`, `ClientRequestToken`).
pub(super) const TOKEN_WINDOW: Duration = Duration::from_secs(600);

/// How long transactions hold their records.
#[derive(Clone, Debug)]
pub struct Transactions {
    /// From prepare to commit or cancel. Not published; inferred from the latency of which it is a part.
    pub hold: Lognormal,
    /// The share of transactions whose coordinator dies: their records are held until another one recovers them. Inferred; the
    /// paper (3.5) says that it happens and not how often.
    pub lost_coordinators: f64,
    /// How long that takes. Inferred.
    pub recovery: (Duration, Duration),
}

impl Default for Transactions {
    fn default() -> Self {
        Self {
            hold: Lognormal::ms(10.0, 60.0),
            lost_coordinators: 1e-5,
            recovery: (Duration::from_secs(1), Duration::from_secs(5)),
        }
    }
}

/// The layer. A clone knows the same records.
#[derive(Clone, Debug)]
pub(crate) struct Conflicts {
    settings: Arc<Transactions>,
    state: Arc<Mutex<State>>,
    rng: SeededRng,
    clock: Clock,
    ledger: Option<Arc<Ledger>>,
    /// Where transactions run: they go on when whoever began one is gone.
    runtime: Handle,
}

#[derive(Debug, Default)]
struct State {
    held: HashSet<RecordKey>,
    /// By token: whether the transaction has ended.
    tokens: HashMap<String, bool>,
    /// Ended ones with the time, in milliseconds, the oldest first.
    ended: VecDeque<(u64, String)>,
}

/// Records that a transaction holds, until this is dropped.
struct Hold {
    conflicts: Conflicts,
    keys: Vec<RecordKey>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.conflicts.state();
        for key in &self.keys {
            state.held.remove(key);
        }
    }
}

type Reply = Result<HttpResponse, ConnectorError>;

impl Conflicts {
    /// To be called in the runtime that outlives the functions.
    pub(crate) fn new(settings: Transactions, rng: SeededRng, clock: Clock, ledger: Option<Arc<Ledger>>) -> Self {
        let (settings, state) = (Arc::new(settings), Arc::default());
        Self { settings, state, rng, clock, ledger, runtime: Handle::current() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a transaction holds a record; a refusal for that is noted.
    fn refuses(&self, key: &RecordKey) -> bool {
        let is_held = self.state().held.contains(key);
        if is_held && let Some(ledger) = &self.ledger {
            ledger.refused(key, Refusal::Conflict);
        }
        is_held
    }

    /// Holds the records that are free, and says at which positions others hold one.
    fn hold(&self, writes: &[Write<'_>]) -> (Hold, Vec<usize>) {
        let mut state = self.state();
        let (held, free): (Vec<&Write<'_>>, Vec<_>) = writes.iter().partition(|write| state.held.contains(&write.key));
        let keys: Vec<RecordKey> = free.into_iter().map(|write| write.key.clone()).collect();
        state.held.extend(keys.iter().cloned());
        drop(state);
        if let Some(ledger) = &self.ledger {
            held.iter().for_each(|write| ledger.refused(&write.key, Refusal::Conflict));
        }
        (Hold { conflicts: self.clone(), keys }, held.into_iter().map(|write| write.place.1).collect())
    }

    fn held_for(&self) -> Duration {
        match self.rng.happens(self.settings.lost_coordinators) {
            true => self.rng.between(self.settings.recovery),
            false => self.settings.hold.draw(&self.rng),
        }
    }

    async fn transact(self, request: HttpRequest, body: Json, next: SharedHttpConnector) -> Reply {
        let token = body["ClientRequestToken"].as_str().map(str::to_owned);
        match token.as_ref().map(|token| self.begin(token)) {
            Some(Token::Running) => return replies::in_progress(),
            // Answered as before, whatever happens to its records meanwhile.
            Some(Token::Ended) => return next.call(request).await,
            Some(Token::New) | None => {}
        }
        let (hold, met) = self.hold(&writes("TransactWriteItems", &body));
        // On its own: that nobody waits for it any more does not end a transaction.
        let transaction = self.runtime.clone().spawn(async move {
            // One that met another does not wait for that. Its other records are prepared, and held until all of them are cancelled.
            let refusal = match met.is_empty() {
                true => None,
                false => Some(refused(&request, body, &met, &next).await),
            };
            self.clock.sleep(self.held_for()).await;
            let reply = match refusal {
                Some(refusal) => refusal,
                None => next.call(request).await,
            };
            drop(hold);
            self.end(token, reply.as_ref().is_ok_and(|reply| reply.status().is_success()));
            reply
        });
        transaction.await.map_err(|error| ConnectorError::other(error.into(), None))?
    }

    fn begin(&self, token: &str) -> Token {
        let (mut state, now_ms) = (self.state(), self.clock.now_ms());
        while state.ended.front().is_some_and(|(at_ms, _)| now_ms >= at_ms + millis(TOKEN_WINDOW)) {
            if let Some((_, old)) = state.ended.pop_front() {
                state.tokens.remove(&old);
            }
        }
        match state.tokens.get(token) {
            Some(true) => Token::Ended,
            Some(false) => Token::Running,
            None => {
                state.tokens.insert(token.to_owned(), false);
                Token::New
            }
        }
    }

    /// One that failed may be run again with its token.
    fn end(&self, token: Option<String>, succeeded: bool) {
        let (Some(token), now_ms, mut state) = (token, self.clock.now_ms(), self.state()) else { return };
        if succeeded {
            state.tokens.insert(token.clone(), true);
            state.ended.push_back((now_ms, token));
        } else {
            state.tokens.remove(&token);
        }
    }
}

enum Token {
    New,
    Running,
    Ended,
}

/// What a transaction is answered that meets others at these positions. Conditions are looked at first (the paper's listing 3), so
/// both kinds of reasons may stand in one answer: the engine is asked with one more condition, which cannot hold.
async fn refused(request: &HttpRequest, body: Json, met: &[usize], next: &SharedHttpConnector) -> Reply {
    let Some(asked) = replies::with_impossible_condition(request, body) else {
        return Err(ConnectorError::user("a transaction that cannot be asked".into()));
    };
    let reply = next.call(asked).await?;
    replies::with_conflicts(reply, met)
}

impl Layer for Conflicts {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let Some((operation, body)) = read(&request) else { return next.call(request) };
        let written = writes(&operation, &body);
        if let Some(ledger) = &self.ledger {
            written.iter().for_each(|write| ledger.wrote(&write.key));
        }
        match operation.as_str() {
            "PutItem" | "UpdateItem" | "DeleteItem" if written.iter().any(|write| self.refuses(&write.key)) => {
                HttpConnectorFuture::ready(replies::conflict())
            }
            "BatchWriteItem" => {
                let held = written.iter().filter(|write| self.refuses(&write.key));
                let held: Vec<(String, usize)> = held.map(|write| (write.place.0.to_owned(), write.place.1)).collect();
                match held.is_empty() {
                    true => next.call(request),
                    false => {
                        let next = next.clone();
                        HttpConnectorFuture::new(replies::without(request, body, held, next))
                    }
                }
            }
            "TransactWriteItems" => HttpConnectorFuture::new(self.clone().transact(request, body, next.clone())),
            "TransactGetItems" => {
                let keys = reads(&operation, &body);
                let met: Vec<bool> = keys.iter().map(|key| self.refuses(key)).collect();
                match met.contains(&true) {
                    true => HttpConnectorFuture::ready(replies::canceled(&met)),
                    false => next.call(request),
                }
            }
            _ => next.call(request),
        }
    }
}

/// The operation and the body of a call to DynamoDB.
pub(super) fn read(request: &HttpRequest) -> Option<(String, Json)> {
    let call = Call::of(request).filter(|call| call.service == "dynamodb")?;
    Some((call.operation()?.to_owned(), serde_json::from_slice(call.body).ok()?))
}
