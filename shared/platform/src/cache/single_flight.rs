//! One fetch at a time for one place within this process: the first who misses leads, the others wait for
//! its answer, and take it only if it was found out after they had asked.

use super::class::EntryAddress;
use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// A fetched value of any type, or that there is none.
pub(super) type Shared = Option<Arc<dyn Any + Send + Sync>>;

/// How a flight ended.
#[derive(Clone)]
pub(super) enum FetchOutcome {
    /// Holds for everyone who asked before `as_of`: whatever write had been acknowledged by then is in it.
    Value { value: Shared, as_of: Instant },
    /// The origin failed.
    Failed,
}

type Outcome = Option<FetchOutcome>;

/// The flights of a process.
#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<EntryAddress, watch::Receiver<Outcome>>>);

/// What a caller who missed is to do.
pub(super) enum Role {
    Leader(Leader),
    Wait(Wait),
}

/// The right to fetch, until it is dropped.
pub(super) struct Leader {
    flights: Arc<SingleFlight>,
    address: EntryAddress,
    outcome: watch::Sender<Outcome>,
}

/// A seat in somebody's flight.
pub(super) struct Wait {
    outcome: watch::Receiver<Outcome>,
}

impl SingleFlight {
    /// Joins the flight to `place`, or starts it.
    pub(super) fn join(self: &Arc<Self>, address: &EntryAddress) -> Role {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match flights.entry(address.clone()) {
            Entry::Occupied(flight) => Role::Wait(Wait { outcome: flight.get().clone() }),
            Entry::Vacant(free) => {
                let (sender, receiver) = watch::channel(None);
                free.insert(receiver);
                Role::Leader(Leader { flights: self.clone(), address: address.clone(), outcome: sender })
            }
        }
    }
}

impl Leader {
    pub(super) fn address(&self) -> &EntryAddress {
        &self.address
    }

    /// Ends the flight with a value that holds for whoever asked before `as_of`. A flight that is dropped without
    /// an outcome sends its waiters off to ask anew.
    pub(super) fn land(self, value: impl FnOnce() -> Shared, as_of: Instant) {
        if self.outcome.receiver_count() > 1 {
            self.outcome.send_replace(Some(FetchOutcome::Value { value: value(), as_of }));
        }
    }

    /// Ends the flight for want of an answer.
    pub(super) fn fail(self) {
        self.outcome.send_replace(Some(FetchOutcome::Failed));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

impl Wait {
    /// Waits for the flight to end; `None` when its leader went away.
    pub(super) async fn outcome(mut self) -> Option<FetchOutcome> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_dropped) => None,
        }
    }
}
