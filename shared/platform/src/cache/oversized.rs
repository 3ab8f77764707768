//! Places whose value was larger than its class keeps. Whoever waits there for a lease waits for what brings nothing.

use super::class::EntryAddress;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most places that a process remembers.
const MOST: usize = 1_000;

/// The places, and until when each is remembered.
#[derive(Default)]
pub(super) struct Oversized(Mutex<HashMap<EntryAddress, Instant>>);

impl Oversized {
    pub(super) fn note(&self, address: &EntryAddress, time: Duration) {
        let now = Instant::now();
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, until| now < *until);
        if places.len() < MOST {
            places.insert(address.clone(), now + time);
        }
    }

    pub(super) fn has(&self, address: &EntryAddress) -> bool {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(address).is_some_and(|until| Instant::now() < *until)
    }
}
