//! How many environments may be busy at the same time, and how many requests a second go with them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Lambda, Throttled};
use crate::like_aws::bucket::Bucket;
use crate::template::FunctionSettings;

/// What AWS keeps of an account for functions without a reservation: it refuses more reservations than leave so many. Documented.
const LEAST_UNRESERVED: u32 = 100;

/// A function's reservation; or what the account has for all functions without one.
#[derive(Debug)]
pub(crate) struct Slots {
    count: u32,
    is_reserved: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    busy: u32,
    requests: Bucket,
}

impl Slots {
    pub(super) fn reserved(lambda: &Lambda, count: u32, now_ms: u64) -> Self {
        Self::new(lambda, count, true, now_ms)
    }

    /// Those that these functions leave of the account.
    pub(crate) fn of_account<'a>(
        lambda: &Lambda,
        functions: impl IntoIterator<Item = &'a FunctionSettings>,
        now_ms: u64,
    ) -> Self {
        let reserved: u32 = functions.into_iter().filter_map(|function| function.reserved).sum();
        let count = match lambda.is_reserved {
            true => lambda.account.saturating_sub(reserved).max(LEAST_UNRESERVED.min(lambda.account)),
            false => lambda.account,
        };
        Self::new(lambda, count, false, now_ms)
    }

    fn new(lambda: &Lambda, count: u32, is_reserved: bool, now_ms: u64) -> Self {
        let rate = f64::from(count) * lambda.requests_a_slot;
        Self { count, is_reserved, state: Mutex::new(State { busy: 0, requests: Bucket::new(rate, rate, now_ms) }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one for a request, until [`Self::leave`].
    pub(super) fn enter(&self, now_ms: u64) -> Result<(), Throttled> {
        let mut state = self.state();
        let (rate, concurrency) = match self.is_reserved {
            true => (Throttled::Rate, Throttled::Concurrency),
            false => (Throttled::AccountRate, Throttled::Account),
        };
        if !state.requests.take_one(now_ms) {
            return Err(rate);
        }
        if state.busy >= self.count {
            return Err(concurrency);
        }
        state.busy += 1;
        Ok(())
    }

    pub(super) fn leave(&self) {
        self.state().busy -= 1;
    }
}
