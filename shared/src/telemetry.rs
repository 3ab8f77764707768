//! What one request took (for `Server-Timing`) and how this process logs.

use std::cell::Cell;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Instant;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

/// A part of a request that takes time, as `Server-Timing` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The authority read: session and membership.
    Auth,
    /// The cache.
    Cache,
    /// The database, the authority read apart.
    Db,
    /// The queue.
    Queue,
}

const NAMES: [&str; 4] = ["auth", "cache", "db", "queue"];

/// The time each part of one request took, in nanoseconds.
#[derive(Default)]
pub struct Timings([Cell<u64>; 4]);

tokio::task_local! {
    static TIMINGS: Timings;
}

/// Runs one request's future, and gives its output with what [`timed`] noted meanwhile, as the value of a
/// `Server-Timing` header (W3C Server Timing; milliseconds), empty when nothing was noted.
pub async fn measured<F: Future>(future: F) -> (F::Output, String) {
    TIMINGS
        .scope(Timings::default(), async {
            let output = future.await;
            (output, TIMINGS.with(Timings::header))
        })
        .await
}

/// Runs a future and notes the time it took under `part`. Outside a request it only runs it.
pub async fn timed<F: Future>(part: Part, future: F) -> F::Output {
    let start = Instant::now();
    let output = future.await;
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let _outside_a_request = TIMINGS.try_with(|timings| {
        let cell = &timings.0[part as usize];
        cell.set(cell.get().saturating_add(nanos));
    });
    output
}

impl Timings {
    fn header(&self) -> String {
        let mut text = String::new();
        for (name, nanos) in NAMES.iter().zip(&self.0) {
            let micros = nanos.get() / 1000;
            if nanos.get() > 0 {
                let separator = if text.is_empty() { "" } else { ", " };
                let _cannot_fail = write!(text, "{separator}{name};dur={}.{:03}", micros / 1000, micros % 1000);
            }
        }
        text
    }
}

/// Starts JSON logs on standard output at `level` and above. A second call changes nothing.
pub fn init_logs(level: tracing::Level) {
    let _already_set = tracing::subscriber::set_global_default(json_logs(level));
}

/// The same without what `quiet`'s modules log, errors apart: for parts that warn of what is business as usual here.
pub fn init_logs_without(level: tracing::Level, quiet: &'static str) {
    let wanted = filter_fn(move |line| *line.level() == tracing::Level::ERROR || !line.target().starts_with(quiet));
    let _already_set = tracing::subscriber::set_global_default(json_logs(level).with(wanted));
}

fn json_logs(level: tracing::Level) -> impl tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    tracing_subscriber::fmt()
        .json()
        .with_max_level(level)
        .with_current_span(false)
        .with_span_list(false)
        .without_time() // CloudWatch stamps each line
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_that_took_time_are_named_in_order() {
        let ((), header) = measured(async {
            timed(Part::Db, tokio::time::sleep(std::time::Duration::from_millis(2))).await;
            timed(Part::Auth, tokio::time::sleep(std::time::Duration::from_millis(1))).await;
        })
        .await;
        assert!(header.starts_with("auth;dur=") && header.contains(", db;dur="), "{header}");
        assert!(!header.contains("cache"), "{header}");
    }

    #[tokio::test]
    async fn outside_a_request_timing_is_harmless() {
        assert_eq!(timed(Part::Db, async { 7 }).await, 7);
    }
}
