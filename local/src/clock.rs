//! The system's clock, which tests and simulations can move forward at once: queues, schedules and functions go by it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::TimeSource;
use tokio::sync::watch;
use tokio::time::Instant;

/// A monotonic clock in milliseconds since the Unix epoch. Clones share the same time.
///
/// Visibility timeouts, delays, retention, batching windows and schedules all read it, so that
/// [`Clock::jump`] lets twelve hours pass without a test waiting for them. In a runtime whose time is virtual
/// (`tokio::time::pause`) it goes by that.
#[derive(Clone, Debug)]
pub struct Clock {
    /// What it runs with; none is a clock that only jumps.
    origin: Option<Instant>,
    origin_ms: u64,
    jumped_ms: Arc<watch::Sender<u64>>,
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.now_ms())
    }
}

/// Time to live goes by it.
impl dynoxide::storage_backend::Clock for Clock {
    fn now_unix_secs(&self) -> u64 {
        self.now_ms() / 1000
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_millis(self.now_ms()).as_secs_f64()
    }
}

impl From<&Clock> for shared::clock::Clock {
    fn from(clock: &Clock) -> Self {
        Self::new(clock.clone())
    }
}

impl Clock {
    /// A clock that starts at the machine's time and never goes back.
    pub fn system() -> Self {
        Self::at_ms(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// A clock that starts at this moment, in milliseconds since the Unix epoch: records of another year are read at
    /// their own time.
    pub fn at_ms(origin_ms: u64) -> Self {
        Self { origin: Some(Instant::now()), origin_ms, jumped_ms: Arc::new(watch::Sender::new(0)) }
    }

    /// A clock for tests, whose time does not depend on when they run: it starts on a Tuesday morning, far from the ends of
    /// a day and of a month, by which quotas and caps count.
    #[must_use]
    pub fn of_tests() -> Self {
        // 2026-11-10T09:00:00Z
        Self::at_ms(1_794_301_200_000)
    }

    /// [`Clock::of_tests`], standing still until it is moved: what a test sees on it is exact.
    #[must_use]
    pub fn stopped() -> Self {
        Self { origin: None, ..Self::of_tests() }
    }

    /// Whether it stands still until it is moved: whoever sleeps on it waits for that.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.origin.is_none()
    }

    /// Whether it is behind the machine's, as that of tests is: by more than what the two differ by anyway.
    #[must_use]
    pub(crate) fn is_behind(&self) -> bool {
        self.now_ms() + 60_000 < Self::system().now_ms()
    }

    /// The current time in milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        let passed = self.origin.map(|origin| origin.elapsed()).unwrap_or_default();
        self.origin_ms + millis(passed) + *self.jumped_ms.borrow()
    }

    /// Moves the clock forward and wakes everything that sleeps on it.
    pub fn jump(&self, by: Duration) {
        self.jumped_ms.send_modify(|jumped_ms| *jumped_ms += millis(by));
    }

    /// Returns once [`Clock::now_ms`] has reached `due_ms`, however it got there.
    pub async fn sleep_until(&self, due_ms: u64) {
        let mut jumps = self.jumped_ms.subscribe();
        loop {
            let now_ms = self.now_ms();
            if now_ms >= due_ms {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(due_ms - now_ms)), if self.origin.is_some() => {}
                // The sender lives in `self`, so this cannot report a closed channel.
                _ = jumps.changed() => {}
            }
        }
    }

    /// Sleeps for `duration` of this clock's time.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now_ms().saturating_add(millis(duration))).await;
    }
}

/// Whole milliseconds of a duration; beyond 584 million years it saturates.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_jump_ends_a_sleep_of_a_day() {
        let clock = Clock::system();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(86_400)).await }
        });
        clock.jump(Duration::from_secs(86_399));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.jump(Duration::from_secs(86_400));
        sleeper.await.expect("the sleeper does not panic");
    }
}
