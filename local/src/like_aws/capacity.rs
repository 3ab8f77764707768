//! What a table's partitions take in a second, in the units that DynamoDB counts, and its throttling errors by name.
//!
//! Sources: DynamoDB Developer Guide, "Read and write operations" (units), "On-demand capacity mode" (a new table's start, the
//! account's quota), "Burst and adaptive capacity", "ThrottlingReason"; AWS Database Blog, "Scaling DynamoDB", 2 and 3 (what
//! splits for heat and what does not).

mod buckets;
mod replies;
#[cfg(test)]
mod tests;
mod tokens;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value as Json;

use super::conflicts::read;
use super::ledger::{Ledger, Refusal, Units};
use super::record::{RecordKey, Write, reads, writes};
use crate::clock::Clock;
use crate::layers::embedded::EmbeddedDatabase;
use crate::layers::{Call, Layer};
use buckets::Buckets;
use tokens::Tokens;

/// Write units that a partition gives in a second. Documented.
pub const WRITE_UNITS: f64 = 1000.0;
/// Read units that a partition gives in a second. Documented.
pub const READ_UNITS: f64 = 3000.0;

/// A table's capacity.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Over how many partitions the keys are spread: four in a new on-demand table, which takes 4,000 write and 12,000 read units
    /// a second. Documented.
    pub partitions: u32,
    /// How long a partition may save what it was not asked for. A second: burst capacity fills up what a partition has been
    /// promised and never lifts the partition's bound, and an on-demand table's promise is that bound. Documented; the second is
    /// inferred.
    pub saves: Duration,
    /// After so long above `isolates_above` of its bound, a partition's hottest partition key gets a partition of its own. That
    /// AWS does so is documented; the times are inferred. What never splits here is one partition key: AWS splits at a sort key
    /// too, but not where keys rise.
    pub isolates_after: Duration,
    pub isolates_above: f64,
    /// As after hours of load: each partition key has a partition of its own from the start.
    pub is_settled: bool,
    /// Units a second of one account's table, reads and writes each. Documented, a quota that can be raised.
    pub account: f64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            partitions: 4,
            saves: Duration::from_secs(1),
            isolates_after: Duration::from_secs(600),
            isolates_above: 0.8,
            is_settled: false,
            account: 40_000.0,
        }
    }
}

impl Capacity {
    /// A table that has grown to its load: no partition holds two partition keys, and the account's quota has been raised.
    #[must_use]
    pub fn settled() -> Self {
        Self { is_settled: true, account: f64::INFINITY, ..Self::default() }
    }
}

/// Which kind of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// What has too little left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThrottledBy {
    Partition,
    Account,
}

/// The layer.
#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    buckets: Arc<Mutex<Buckets>>,
    tokens: Arc<Mutex<Tokens>>,
    /// Knows how large records are.
    database: EmbeddedDatabase,
    clock: Clock,
    ledger: Option<Arc<Ledger>>,
}

impl Throttle {
    pub(crate) fn new(
        capacity: Capacity,
        database: EmbeddedDatabase,
        clock: Clock,
        ledger: Option<Arc<Ledger>>,
    ) -> Self {
        let buckets = Arc::new(Mutex::new(Buckets::new(capacity, clock.now_ms())));
        Self { buckets, tokens: Arc::default(), database, clock, ledger }
    }

    /// Whether a record's partition has anything left: what a call takes may be more, and is then owed.
    fn refuses(&self, kind: Kind, key: &RecordKey) -> Option<ThrottledBy> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let short = buckets.short(kind, &key.pk, self.clock.now_ms());
        if short.is_some()
            && let Some(ledger) = &self.ledger
        {
            ledger.refused(key, Refusal::Throttle);
        }
        short
    }

    fn take(&self, kind: Kind, key: &RecordKey, units: f64) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(kind, &key.pk, units, self.clock.now_ms());
        drop(buckets);
        if let Some(ledger) = &self.ledger {
            ledger.took(
                key,
                match kind {
                    Kind::Read => Units { read: units, write: 0.0 },
                    Kind::Write => Units { read: 0.0, write: units },
                },
            );
        }
    }

    /// The token of a transaction, and whether one with that is done.
    fn token(&self, operation: &str, body: &Json) -> (Option<String>, bool) {
        let token = body["ClientRequestToken"].as_str().filter(|_| operation == "TransactWriteItems");
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        (token.map(str::to_owned), token.is_some_and(|token| tokens.knows(token, self.clock.now_ms())))
    }

    fn note_done(&self, token: Option<String>, reply: &Reply) {
        if let Some(token) = token.filter(|_| reply.as_ref().is_ok_and(|reply| reply.status().is_success())) {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.note(token, self.clock.now_ms());
        }
    }

    /// A call that writes: its units are known before.
    async fn write(self, request: HttpRequest, (operation, body): (String, Json), next: SharedHttpConnector) -> Reply {
        let table = Call::of(&request).map(|call| units::table(call.body)).unwrap_or_default();
        let is_batch = operation == "BatchWriteItem";
        let (token, is_done) = self.token(&operation, &body);
        if is_done {
            for write in writes(&operation, &body) {
                let units = units::of_repetition(&write.key, &self.database, &table);
                self.take(Kind::Read, &write.key, units);
            }
            return next.call(request).await;
        }
        let asked: Vec<(Write<'_>, f64)> = writes(&operation, &body)
            .into_iter()
            .map(|write| {
                let units = units::of_write(&operation, &write, &self.database, &table);
                (write, units)
            })
            .collect();
        let too_large = if is_batch { BTreeSet::new() } else { more_than_a_second(&asked) };
        let (mut short, mut taken) = (Vec::new(), Vec::new());
        for (write, units) in asked {
            let never = too_large.contains(&write.key.pk).then_some(ThrottledBy::Partition);
            match self.refuses(Kind::Write, &write.key).or(never) {
                Some(what) => short.push((write.place.0.to_owned(), write.place.1, what)),
                None => {
                    if is_batch {
                        // Each write of a batch is one for itself: the next one finds what this leaves.
                        self.take(Kind::Write, &write.key, units);
                    }
                    taken.push((write.key, units));
                }
            }
        }
        if operation == "TransactWriteItems" && !short.is_empty() {
            // Nothing of it is written; what the others would have taken is not known to be billed.
            return replies::canceled(writes(&operation, &body).len(), &short);
        }
        if !is_batch {
            taken.iter().for_each(|(key, units)| self.take(Kind::Write, key, *units));
        }
        match short.first() {
            None => {
                let reply = next.call(request).await;
                self.note_done(token, &reply);
                reply
            }
            Some(_) if is_batch && !taken.is_empty() => {
                let places = short.into_iter().map(|(table, position, _)| (table, position)).collect();
                super::conflicts::without(request, body, places, next).await
            }
            Some((.., what)) => replies::throttled(Kind::Write, *what, &table),
        }
    }

    /// A call that reads: its units are known from the answer.
    async fn read(
        self,
        request: HttpRequest,
        (operation, mut body): (String, Json),
        next: SharedHttpConnector,
    ) -> Reply {
        let table = Call::of(&request).map(|call| units::table(call.body)).unwrap_or_default();
        let mut keys = match operation.as_str() {
            "Query" => units::queried(&body).into_iter().collect(),
            _ => reads(&operation, &body),
        };
        let short: Vec<(usize, ThrottledBy)> =
            keys.iter().enumerate().filter_map(|(at, key)| Some((at, self.refuses(Kind::Read, key)?))).collect();
        let mut left_out = Vec::new();
        if let Some((_, what)) = short.first() {
            match operation.as_str() {
                "TransactGetItems" => {
                    let short: Vec<_> = short.iter().map(|(at, what)| (String::new(), *at, *what)).collect();
                    return replies::canceled(keys.len(), &short);
                }
                "BatchGetItem" if short.len() < keys.len() => {
                    left_out = short.iter().map(|(at, _)| *at).collect();
                    for at in left_out.iter().rev() {
                        keys.remove(*at);
                    }
                }
                _ => return replies::throttled(Kind::Read, *what, &table),
            }
        }
        let unprocessed = units::leave_out(&mut body, &left_out);
        body["ReturnConsumedCapacity"] = "TOTAL".into();
        let Some(asked) = super::conflicts::with_body(&request, &body) else {
            return Err(ConnectorError::user("a read that cannot be asked".into()));
        };
        let reply = next.call(asked).await?;
        let units = units::consumed(reply.body().bytes().unwrap_or_default());
        #[expect(clippy::cast_precision_loss, reason = "a hundred at most")]
        let share = units / keys.len().max(1) as f64;
        keys.iter().for_each(|key| self.take(Kind::Read, key, share));
        match unprocessed {
            Some(unprocessed) => replies::with_unprocessed(&reply, &unprocessed),
            None => Ok(reply),
        }
    }
}

type Reply = Result<HttpResponse, ConnectorError>;

/// The partition keys of which one call asks more than a partition gives in a second, however long it has rested: no wait makes room for that.
fn more_than_a_second(asked: &[(Write<'_>, f64)]) -> BTreeSet<String> {
    let mut of_keys: BTreeMap<&str, f64> = BTreeMap::new();
    for (write, units) in asked {
        *of_keys.entry(&write.key.pk).or_default() += units;
    }
    of_keys.into_iter().filter(|(_, units)| *units > WRITE_UNITS).map(|(pk, _)| pk.to_owned()).collect()
}

impl Layer for Throttle {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let Some(call) = read(&request) else { return next.call(request) };
        let (throttle, next) = (self.clone(), next.clone());
        match call.0.as_str() {
            "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" => {
                HttpConnectorFuture::new(throttle.write(request, call, next))
            }
            "GetItem" | "BatchGetItem" | "Query" | "TransactGetItems" => {
                HttpConnectorFuture::new(throttle.read(request, call, next))
            }
            _ => next.call(request),
        }
    }
}
