//! What a run found, as JSON and as a page to look at.

use crate::client::Sample;
use crate::figures::{Summary, by_endpoint, over_time, summary};
use crate::server::Figures;
use serde_json::json;
use std::path::Path;

/// The page, which draws the JSON that is put into it.
const PAGE: &str = include_str!("report/page.html");

/// The kinds of load, as the report names them: users who wait, and arrivals that do not.
pub const CLOSED: &str = "closed: users who think";
pub const OPEN: &str = "open: arrivals at a rate";

/// All of one run.
#[derive(Default)]
pub struct Run {
    pub title: String,
    pub samples: Vec<Sample>,
    /// The kinds of load, with when each began.
    pub phases: Vec<(&'static str, u64)>,
    pub figures: Vec<Figures>,
    /// When each job was created, on the run's clock, and how long it waited; both in ms.
    pub waits: Vec<(u64, u64)>,
    pub violations: (Vec<String>, usize),
    /// Arrivals that could not even begin.
    pub turned_away: usize,
    /// Acknowledged items and jobs.
    pub told: (usize, usize),
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn double(value: u64) -> f64 {
    value as f64
}

impl Run {
    /// How long it took, in ms.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.samples.iter().map(|sample| sample.at_ms).max().unwrap_or(0) + 1
    }

    /// The width of a span, in ms: at most 120 of them.
    fn span_ms(&self) -> u64 {
        self.duration_ms().div_ceil(120).max(1_000).div_ceil(1_000) * 1_000
    }

    /// Database calls a request, jobs' work included.
    #[must_use]
    pub fn database_calls(&self) -> Option<f64> {
        let (first, last) = (self.figures.first()?, self.figures.last()?);
        Some(double(last.database_calls - first.database_calls) / double(self.samples.len().max(1) as u64))
    }

    /// CPU time a request, in µs.
    #[must_use]
    pub fn cpu_us(&self) -> Option<f64> {
        let (first, last) = (self.figures.first()?, self.figures.last()?);
        let cpu = last.cpu_ms.checked_sub(first.cpu_ms).filter(|cpu| *cpu > 0)?;
        Some(double(cpu) * 1_000.0 / double(self.samples.len().max(1) as u64))
    }

    /// The samples of each phase, with its name and length in ms; all of them as one where none was named.
    fn by_phase(&self) -> Vec<(&'static str, u64, Vec<&Sample>)> {
        let all = [("all", 0)];
        let phases: &[(&'static str, u64)] = if self.phases.is_empty() { &all } else { &self.phases };
        let ends = phases.iter().skip(1).map(|(_, at)| *at).chain([self.duration_ms()]);
        let within = |(name, from): (&'static str, u64), to: u64| {
            (name, to.saturating_sub(from), self.samples.iter().filter(|one| (from..to).contains(&one.at_ms)).collect())
        };
        phases.iter().zip(ends).map(|(phase, to)| within(*phase, to)).collect()
    }

    /// Writes `report.json`, and `report.html` with the same in it, into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        let json = self.json();
        std::fs::create_dir_all(folder)?;
        // `<` could end the page's script.
        let inside = json.to_string().replace('<', "\\u003c");
        std::fs::write(folder.join("report.html"), PAGE.replace("/*REPORT*/null", &inside))?;
        std::fs::write(folder.join("report.json"), format!("{json:#}\n"))
    }

    /// The figures as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let spans = |samples: &[Sample]| over_time(samples, self.span_ms()).iter().map(view).collect::<Vec<_>>();
        let endpoints = by_endpoint(&self.samples).into_iter().map(|(name, all)| {
            let of: Vec<Sample> = self.samples.iter().filter(|sample| sample.endpoint == name).cloned().collect();
            (name.to_owned(), json!({"all": view(&all), "timeline": spans(&of)}))
        });
        let endpoints: serde_json::Map<_, _> = endpoints.collect();
        let figures = self.figures.iter().map(|at| {
            let requests = self.samples.iter().filter(|sample| sample.at_ms < at.at_ms).count();
            json!({"at_ms": at.at_ms, "requests": requests, "database_calls": at.database_calls,
                "queue_visible": at.visible, "queue_in_flight": at.in_flight, "cpu_ms": at.cpu_ms, "rss_kb": at.rss_kb})
        });
        let mut begins = 0;
        let phases = self.by_phase().into_iter().map(|(name, ms, samples)| {
            let phase = json!({"name": name, "begins_ms": begins, "duration_ms": ms, "figures": view(&summary(samples.into_iter()))});
            begins += ms;
            phase
        });
        let phases: Vec<_> = phases.collect();
        json!({"title": self.title, "phases": phases, "duration_ms": self.duration_ms(), "all": view(&summary(self.samples.iter())),
            "endpoints": endpoints, "timeline": spans(&self.samples), "span_ms": self.span_ms(), "queue_ages_ms": self.queue_ages(),
            "database_calls_per_request": self.database_calls(), "cpu_us_per_request": self.cpu_us(),
            "figures": figures.collect::<Vec<_>>(), "turned_away": self.turned_away,
            "acknowledged": {"items": self.told.0, "jobs": self.told.1},
            "violations": self.violations.1, "first_violations": self.violations.0})
    }

    /// The longest wait of the jobs that were created in each span, in ms.
    fn queue_ages(&self) -> Vec<u64> {
        let mut ages = Vec::new();
        for (at, wait) in &self.waits {
            let span = usize::try_from(at / self.span_ms()).unwrap_or(0);
            ages.resize(ages.len().max(span + 1), 0);
            ages[span] = ages[span].max(*wait);
        }
        ages
    }
}

fn view(all: &Summary) -> serde_json::Value {
    let Summary { count, failed, latency_us, bytes, cacheable, hits } = all;
    json!({"requests": count, "failed": failed, "latency_us": latency_us, "bytes": bytes, "cacheable": cacheable, "hits": hits})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_part_the_samples() {
        let sample =
            |at_ms| Sample { endpoint: "e", at_ms, latency_us: 1_000, status: 200, bytes: 1, hit: None, failed: false };
        let mut run = Run { samples: (0..10).map(|at| sample(at * 100)).collect(), ..Run::default() };
        assert_eq!(run.by_phase()[0].2.len(), 10);
        run.phases = vec![(CLOSED, 0), (OPEN, 600)];
        let counts: Vec<_> = run.by_phase().into_iter().map(|(name, ms, all)| (name, ms, all.len())).collect();
        assert_eq!(counts, [(CLOSED, 600, 6), (OPEN, 301, 4)]);
        let json = run.json();
        assert_eq!(
            (&json["phases"][1]["figures"]["requests"], &json["phases"][1]["begins_ms"]),
            (&4.into(), &600.into())
        );
        assert_eq!(PAGE.matches("/*REPORT*/null").count(), 1);
    }
}
