//! What one request took (for `Server-Timing`), and how this process logs and counts.

use serde_json::{Number, Value, json};
use std::cell::Cell;
use std::fmt::Write as _;
use std::future::Future;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
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
    let ours = filter_fn(|line| is_harmless(line.level(), line.target()));
    let _already_set = tracing::subscriber::set_global_default(json_logs(level).with(ours));
}

/// Libraries' finer lines hold whole requests and replies: only their warnings and errors are logged.
fn is_harmless(level: &tracing::Level, target: &str) -> bool {
    const LIBRARIES: [&str; 10] =
        ["aws_", "dynoxide", "h2", "hyper", "lambda_", "mio", "redis", "reqwest", "rustls", "tower"];
    *level <= tracing::Level::WARN || !LIBRARIES.iter().any(|library| target.starts_with(library))
}

/// The same without what `quiet`'s modules log, errors apart: for parts that warn of what is business as usual here.
pub fn init_logs_without(level: tracing::Level, quiet: &'static str) {
    let wanted = filter_fn(move |line| {
        let loud = *line.level() == tracing::Level::ERROR || !line.target().starts_with(quiet);
        loud && is_harmless(line.level(), line.target())
    });
    let _already_set = tracing::subscriber::set_global_default(json_logs(level).with(wanted));
}

fn json_logs(level: tracing::Level) -> impl tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    tracing_subscriber::fmt()
        .json()
        .with_max_level(level)
        .with_current_span(true)
        .with_span_list(false)
        .without_time() // CloudWatch stamps each line
        .finish()
}

/// Has panics logged as a line that says where. What a panic says may hold a caller's data: it is not written.
pub fn init_panic_log() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
    }));
}

static METRICS: AtomicBool = AtomicBool::new(false);

/// Lets [`metrics`] write. For deployed functions, whose standard output goes to CloudWatch.
pub fn init_metrics() {
    METRICS.store(true, Ordering::Relaxed);
}

/// Writes values as a line in CloudWatch's embedded metric format, without dimensions; outside a deployed function
/// nothing. Not for what happens on each request.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
pub fn metrics(namespace: &str, values: &[(&'static str, Number)]) {
    if METRICS.load(Ordering::Relaxed) && !values.is_empty() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        println!("{}", document(namespace, values, u64::try_from(now.as_millis()).unwrap_or(u64::MAX)));
    }
}

fn document(namespace: &str, values: &[(&'static str, Number)], now_ms: u64) -> Value {
    let names: Vec<Value> = values.iter().map(|(name, _)| json!({"Name": name})).collect();
    let mut line = json!({"_aws": {
        "Timestamp": now_ms,
        "CloudWatchMetrics": [{"Namespace": namespace, "Dimensions": [[]], "Metrics": names}],
    }});
    for (name, value) in values {
        line[*name] = json!(value);
    }
    line
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

    #[test]
    fn a_document_has_each_value_and_its_definition() {
        let line = document("CitizenApp/Jobs", &[("Failed", 1.into()), ("SpendingUsd", 15.into())], 7);
        assert_eq!(
            line,
            json!({
                "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                    "Namespace": "CitizenApp/Jobs",
                    "Dimensions": [[]],
                    "Metrics": [{"Name": "Failed"}, {"Name": "SpendingUsd"}],
                }]},
                "Failed": 1,
                "SpendingUsd": 15,
            })
        );
    }

    #[tokio::test]
    async fn outside_a_request_timing_is_harmless() {
        assert_eq!(timed(Part::Db, async { 7 }).await, 7);
    }
}
