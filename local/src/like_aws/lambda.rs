//! Lambda as it is: one request an environment, cold starts, reservations with their rate, throttles, time-outs that kill, and
//! environments that stand still between requests.
//!
//! Sources: Lambda Developer Guide, "Scaling behavior", "Concurrency", "Lifecycle", "Quotas" (documented); fulgurion.com, 2026
//! (initialization of a small Rust function, measured); mikhail.io, 2019-2021 (how long idle environments live, measured). What an
//! environment's placement takes is folklore: nothing logs it.

mod environment;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::bucket::Bucket;
use super::random::{Lognormal, SeededRng};
use crate::clock::{Clock, millis};
use crate::template::FunctionSettings;
use environment::Environment;
pub use environment::Work;
pub(crate) use slots::Slots;

/// How functions run.
#[derive(Clone, Debug)]
pub struct Lambda {
    /// Environments of the account: of all functions together. Documented as 1,000; a new account starts with far fewer.
    pub account: u32,
    /// Whether each function has the template's reservation; else all of them share the account's environments and requests.
    pub is_reserved: bool,
    /// Requests a second for each environment that a function, or the account, may have. Documented, from memory.
    pub requests_a_slot: f64,
    /// Environments that a function may get anew each second, and what it may save of that: 1,000 each ten seconds. Documented.
    pub scaling: (f64, f64),
    /// A cold start but for the function's own initialization. Folklore.
    pub placement: Lognormal,
    /// That of a small Rust function. Measured.
    pub initialization: Lognormal,
    /// After how long without a request an environment is gone. Measured; the range is inferred.
    pub idle: (Duration, Duration),
    /// How long one lives at most. Inferred from "every few hours".
    pub life: Duration,
    /// Whether environments stand still between requests, in real time: each has a thread of its own then. In virtual time nothing
    /// stands still.
    pub freezes: bool,
}

impl Default for Lambda {
    fn default() -> Self {
        Self {
            account: 1_000,
            is_reserved: true,
            requests_a_slot: 10.0,
            scaling: (100.0, 1_000.0),
            placement: Lognormal::ms(180.0, 500.0),
            initialization: Lognormal::ms(20.0, 40.0),
            idle: (Duration::from_secs(300), Duration::from_secs(900)),
            life: Duration::from_secs(7_200),
            freezes: true,
        }
    }
}

/// Why a function does not run: `TooManyRequestsException`, by its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Throttled {
    /// All its environments are busy.
    #[error("ReservedFunctionConcurrentInvocationLimitExceeded")]
    Concurrency,
    /// More requests a second than its environments may have.
    #[error("ReservedFunctionInvocationRateLimitExceeded")]
    Rate,
    /// All environments of the account that no function has reserved are busy.
    #[error("ConcurrentInvocationLimitExceeded")]
    Account,
    /// More requests a second than these may have.
    #[error("FunctionInvocationRateLimitExceeded")]
    AccountRate,
    /// It may not have more environments yet.
    #[error("ConcurrentInvocationLimitExceeded")]
    Scaling,
}

/// The environments of one function. `H` is what one holds: made at its cold start, gone with it.
pub(crate) struct Pool<H> {
    settings: Lambda,
    name: String,
    timeout: Duration,
    /// Its own, or the account's.
    slots: Arc<Slots>,
    make: Box<dyn Fn() -> H + Send + Sync>,
    state: Mutex<State<H>>,
    rng: SeededRng,
    clock: Clock,
    /// Where invocations are waited for: they go on when whoever asked is gone.
    runtime: Handle,
}

struct State<H> {
    idle: Vec<Environment<H>>,
    busy: u32,
    starts: Bucket,
    counts: Counts,
}

/// How often a function was throttled and started, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub throttles: u64,
    pub cold_starts: u64,
}

impl<H: Clone + Send + Sync + 'static> Pool<H> {
    /// To be called in the runtime that outlives the environments. `account` is for a function without a reservation.
    pub(crate) fn new(
        settings: &Lambda,
        (name, function): (&str, &FunctionSettings),
        (rng, clock): (SeededRng, Clock),
        account: &Arc<Slots>,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Arc<Self> {
        let now_ms = clock.now_ms();
        let slots = match function.reserved.filter(|_| settings.is_reserved) {
            Some(reserved) => Arc::new(Slots::reserved(settings, reserved, now_ms)),
            None => Arc::clone(account),
        };
        let (a_second, saved) = settings.scaling;
        let state = State {
            idle: Vec::new(),
            busy: 0,
            starts: Bucket::new(a_second, saved, now_ms),
            counts: Counts::default(),
        };
        Arc::new(Self {
            settings: settings.clone(),
            name: name.to_owned(),
            timeout: function.timeout,
            slots,
            make: Box::new(make),
            state: Mutex::new(state),
            rng,
            clock,
            runtime: Handle::current(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State<H>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Begins `work` in an environment of its own. What it sends comes back; nothing does if it is killed or dies. The environment is
    /// busy until the work has ended, which may be after it has sent.
    ///
    /// # Errors
    /// [`Throttled`].
    pub(crate) fn invoke<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(H, oneshot::Sender<T>) -> Work + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Throttled> {
        let warm = self.take()?;
        let (done, received) = oneshot::channel();
        let pool = Arc::clone(self);
        self.runtime.spawn(async move {
            let environment = match warm {
                Some(environment) => environment,
                None => pool.start().await,
            };
            let work = work(environment.handler.clone(), done);
            let survived = environment.run(work, pool.timeout, &pool.clock).await;
            pool.slots.leave();
            let mut state = pool.state();
            state.busy -= 1;
            if survived {
                state.idle.push(environment.until(pool.clock.now_ms() + millis(pool.rng.between(pool.settings.idle))));
            }
        });
        Ok(received)
    }

    /// The environment that was used last, `None` for one that is to be started.
    fn take(&self) -> Result<Option<Environment<H>>, Throttled> {
        let now_ms = self.clock.now_ms();
        let mut state = self.state();
        let taken = self.slots.enter(now_ms).and_then(|()| {
            state.idle.retain(|environment| environment.lives_at(now_ms));
            match state.idle.pop() {
                Some(environment) => Ok(Some(environment)),
                None if state.starts.take_one(now_ms) => Ok(None),
                None => {
                    self.slots.leave();
                    Err(Throttled::Scaling)
                }
            }
        });
        match &taken {
            Ok(_) => state.busy += 1,
            Err(_) => state.counts.throttles += 1,
        }
        taken
    }

    /// A cold start.
    async fn start(&self) -> Environment<H> {
        self.state().counts.cold_starts += 1;
        let cold = self.settings.placement.draw(&self.rng) + self.settings.initialization.draw(&self.rng);
        self.clock.sleep(cold).await;
        let dies_ms = self.clock.now_ms() + millis(self.settings.life);
        Environment::new(&self.name, (self.make)(), self.settings.freezes, dies_ms)
    }
}
