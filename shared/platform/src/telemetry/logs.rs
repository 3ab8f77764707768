//! Log lines: one JSON object each, with what the work that they belong to is about.

use super::about;
use serde_json::{Map, Value};
use std::fmt;
use std::panic;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

/// The target of lines that are written whatever the level is. They are `INFO`.
pub const SECURITY: &str = "security";

/// Which crates' lines are wanted besides this crate's.
#[derive(Debug, Default)]
pub struct Crates {
    /// Logged as finely as the level says. Of all others only warnings and errors are: their finer lines hold
    /// whole requests and replies.
    pub ours: Vec<String>,
}

impl Crates {
    fn want(&self, level: Level, target: &str) -> bool {
        let of = target.split("::").next().unwrap_or_default();
        let finest = if of == env!("CARGO_CRATE_NAME") || self.ours.iter().any(|name| name == of) {
            Level::TRACE
        } else {
            Level::WARN
        };
        level <= finest
    }
}

/// Starts the logs at `level` and above. A second call changes nothing.
pub fn init(level: Level, crates: Crates) {
    let _already_set = tracing::subscriber::set_global_default(subscriber(level, crates));
}

/// What writes the lines at `level` and above, each to standard output at once.
#[must_use]
pub fn subscriber(level: Level, crates: Crates) -> impl Subscriber + Send + Sync {
    let logs = tracing_subscriber::fmt().with_max_level(level.max(Level::INFO)).event_format(Lines).finish();
    let wanted = filter_fn(move |line| {
        line.target() == SECURITY || (*line.level() <= level && crates.want(*line.level(), line.target()))
    });
    logs.with(wanted)
}

/// Has panics logged as a line that says where. What a panic says may hold a caller's data: it is not written.
pub fn init_panics() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
    }));
}

/// Writes the time, an event's fields and what the work is about. Lambda goes by `level` only where a line has `timestamp` too, in
/// RFC 3339; a line without is `INFO` to it, and dropped where it keeps warnings alone.
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line(Map::new());
        event.record(&mut line);
        line.insert("level", event.metadata().level().as_str().into());
        line.insert("target", event.metadata().target().into());
        about(|name, value| line.insert(name, value.into()));
        line.0.remove(TIMESTAMP);
        let fields = Value::Object(line.0).to_string();
        writeln!(writer, "{{\"{TIMESTAMP}\":\"{:.3}\",{}", jiff::Timestamp::now(), &fields[1..])
    }
}

/// The time of a line, in front of all else.
const TIMESTAMP: &str = "timestamp";

struct Line(Map<String, Value>);

impl Line {
    fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{About, during, note_org};
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[test]
    fn of_libraries_only_warnings_are_wanted() {
        let crates = Crates { ours: vec!["worker".into()] };
        for (level, target, wanted) in [
            (Level::TRACE, "worker::run", true),
            (Level::TRACE, "platform::cache", true),
            (Level::INFO, "workers", false),
            (Level::DEBUG, "axum::serve", false),
            (Level::WARN, "axum::serve", true),
        ] {
            assert_eq!(crates.want(level, target), wanted, "{level} {target}");
        }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no holder panics").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_says_what_its_work_is_about() {
        let written = Written::default();
        let sink = written.clone();
        let logs = tracing_subscriber::fmt().event_format(Lines).with_writer(move || sink.clone()).finish();
        let _until_the_end = tracing::subscriber::set_default(logs);
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Name=Ada";
        let about = About::request(
            "get_me",
            "r-1".parse().expect("a valid header"),
            Some(trace.parse().expect("a valid header")),
        );
        during(about, async {
            tracing::warn!(count = 3, request_id = "forged", timestamp = "forged", "before");
            note_org(("org_", 7));
            tracing::error!(cause = %"gone", "after");
        })
        .await;
        let bytes = written.0.lock().expect("no holder panics").clone();
        let mut lines: Vec<Value> =
            String::from_utf8_lossy(&bytes).lines().map(|line| line.parse().expect("JSON")).collect();
        for line in &mut lines {
            let timestamp = line.as_object_mut().expect("an object").remove("timestamp").expect("Lambda wants one");
            let text = timestamp.as_str().expect("a text");
            assert!(text.parse::<jiff::Timestamp>().is_ok() && text.len() == 24 && text.ends_with('Z'), "{text}");
        }
        assert_eq!(
            lines[0],
            serde_json::json!({"level": "WARN", "target": module_path!(), "message": "before", "count": 3,
                "function": "get-me", "request_id": "r-1", "trace_id": "Root=1-5759e988-bd862e3fe1be46a994272793"})
        );
        assert_eq!(lines[1]["org_id"], "org_00000000000000000000000000000007");
        assert_eq!((&lines[1]["cause"], &lines[1]["message"]), (&"gone".into(), &"after".into()));
    }
}
