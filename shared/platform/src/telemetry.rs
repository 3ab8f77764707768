//! What a piece of work takes (for `Server-Timing`) and is about (for log lines), and how this process logs and counts.

pub mod logs;
pub mod metrics;
pub mod trace;

use lambda_http::http::HeaderValue;
use std::cell::Cell;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Instant;

/// An error and its causes on one line: for logs and for operators, never for callers. By `Display`: the `Debug` of the
/// SDK's errors shows whole replies, secrets included.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

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
struct Timings([Cell<u64>; 4]);

/// An id's prefix and its 128 bits.
pub type IdParts = (&'static str, u128);

/// Who asks for a piece of work: a user, in an organization, by a session.
pub type ActorParts = [IdParts; 3];

/// What a piece of work is about, as far as it is known: log lines written meanwhile carry it.
#[derive(Debug, Default)]
pub struct About {
    /// The crate of the function that does it.
    function: Option<&'static str>,
    request_id: Option<HeaderValue>,
    /// X-Ray's header as it came.
    trace: Option<HeaderValue>,
    org: Cell<Option<IdParts>>,
    job: Cell<Option<IdParts>>,
    actor: Cell<Option<ActorParts>>,
}

impl About {
    /// Work of a function, by its crate's name.
    #[must_use]
    pub fn function(function: &'static str) -> Self {
        Self { function: Some(function), ..Self::default() }
    }

    /// A request: the gateway's id of it, and the header that names its trace.
    #[must_use]
    pub fn request(function: &'static str, request_id: HeaderValue, trace: Option<HeaderValue>) -> Self {
        Self { request_id: Some(request_id), trace, ..Self::function(function) }
    }

    /// A message off a queue, with the header that names the trace of the request that it goes back to.
    #[must_use]
    pub fn message(function: &'static str, trace: Option<&str>) -> Self {
        Self { trace: trace.and_then(|trace| HeaderValue::try_from(trace).ok()), ..Self::function(function) }
    }
}

struct Work {
    about: About,
    timings: Timings,
}

tokio::task_local! {
    static WORK: Work;
}

/// Runs a future whose log lines are about `about`.
pub async fn during<F: Future>(about: About, future: F) -> F::Output {
    WORK.scope(Work { about, timings: Timings::default() }, future).await
}

/// The same for a request's future, and gives with its output what [`timed`] noted meanwhile, as the value of a
/// `Server-Timing` header (W3C Server Timing; milliseconds), empty when nothing was noted.
pub async fn measured<F: Future>(about: About, future: F) -> (F::Output, String) {
    let noted = async {
        let output = future.await;
        (output, WORK.with(|work| work.timings.header()))
    };
    during(about, noted).await
}

/// Notes the organization that the present work turned out to be about.
pub fn note_org(org_id: IdParts) {
    let _outside_any_work = WORK.try_with(|work| work.about.org.set(Some(org_id)));
}

/// Notes the job that the present work turned out to be about.
pub fn note_job(job_id: IdParts) {
    let _outside_any_work = WORK.try_with(|work| work.about.job.set(Some(job_id)));
}

/// Notes who asked for the present work.
pub fn note_actor(actor: ActorParts) {
    let _outside_any_work = WORK.try_with(|work| work.about.actor.set(Some(actor)));
}

/// Who asked for the present work, if that is known. Lines do not carry it.
#[must_use]
pub fn actor() -> Option<ActorParts> {
    WORK.try_with(|work| work.about.actor.get()).ok().flatten()
}

/// Gives each thing that is known of what the present work is about, by its name in a log line.
fn about(mut give: impl FnMut(&'static str, String)) {
    let _outside_any_work = WORK.try_with(|Work { about, .. }| {
        let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
        let id = |id: &Cell<Option<IdParts>>| id.get().map(|(prefix, bits)| format!("{prefix}{bits:032x}"));
        let known = [
            ("function", about.function.map(|name| name.replace('_', "-"))),
            ("request_id", about.request_id.as_ref().and_then(text)),
            ("trace_id", about.trace.as_ref().and_then(text).and_then(|header| trace::header(&header))),
            ("org_id", id(&about.org)),
            ("job_id", id(&about.job)),
        ];
        known.into_iter().for_each(|(name, value)| value.into_iter().for_each(|value| give(name, value)));
    });
}

/// Runs a future and notes the time it took under `part`. Outside a request it only runs it.
pub async fn timed<F: Future>(part: Part, future: F) -> F::Output {
    let start = Instant::now();
    let output = future.await;
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let _outside_a_request = WORK.try_with(|work| {
        let cell = &work.timings.0[part as usize];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_that_took_time_are_named_in_order() {
        let ((), header) = measured(About::default(), async {
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
