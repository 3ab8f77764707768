//! What a run found, as a page to look at, as CSV and as JSON.

use crate::client::Sample;
use crate::figures::{PERCENTILES, Summary, by_endpoint, over_time, summary};
use crate::server::Figures;
use crate::svg;
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// All of one run.
#[derive(Default)]
pub struct Run {
    pub title: String,
    pub samples: Vec<Sample>,
    pub figures: Vec<Figures>,
    /// When each job was created, from the first one's creation on, and how long it waited; both in ms.
    pub waits: Vec<(u64, u64)>,
    pub violations: (Vec<String>, usize),
    /// Arrivals that could not even begin.
    pub turned_away: usize,
    /// Acknowledged items and jobs.
    pub told: (usize, usize),
}

const STYLE: &str = "
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--soft:#667;--rule:#e3e6ea;--card:#f7f8fa;
--line0:#2f6fde;--line1:#d9822b;--line2:#b33a8c;--line3:#c23030;--good:#1a7f4b;--bad:#c23030}
@media(prefers-color-scheme:dark){:root{--back:#14171c;--text:#e6e8eb;--soft:#9aa3ad;--rule:#2c323a;--card:#1c2128;
--line0:#79a8ff;--line1:#f0a860;--line2:#e58bc8;--line3:#ff7b72;--good:#4cc38a;--bad:#ff7b72}}
body{font:15px/1.5 system-ui,sans-serif;background:var(--back);color:var(--text);max-width:1340px;margin:0 auto;padding:24px}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 8px}p,small{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:20px 0}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 14px}
.tile b{display:block;font-size:22px}.grids{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:16px}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:10px 12px}
figcaption{font-weight:600}.key{font-weight:400;font-size:13px;margin-left:10px}.key i{display:inline-block;width:14px;
height:3px;margin:0 4px 4px 0}svg{width:100%;height:auto}svg text{font-size:11px;fill:var(--soft)}
.grid{stroke:var(--rule)}polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}
table{border-collapse:collapse;width:100%}th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--rule);
font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}.good{color:var(--good)}.bad{color:var(--bad)}";

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn double(value: u64) -> f64 {
    value as f64
}

fn ratio(part: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { double(part as u64) / double(of as u64) }
}

fn ms(us: u64) -> f64 {
    double(us) / 1_000.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
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

    /// Writes `report.html`, `endpoints.csv`, `timeline.csv` and `report.json` into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.html"), self.page())?;
        std::fs::write(folder.join("endpoints.csv"), self.endpoints_csv())?;
        std::fs::write(folder.join("timeline.csv"), self.timeline_csv())?;
        std::fs::write(folder.join("report.json"), format!("{:#}\n", self.json()))
    }

    /// The figures as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let view = |all: &Summary| {
            let [p50, p95, p99, p999] = all.latency_us;
            json!({"requests": all.count, "failed": all.failed, "p50_us": p50, "p95_us": p95, "p99_us": p99,
                "p99_9_us": p999, "bytes": all.bytes, "cacheable": all.cacheable, "hits": all.hits})
        };
        let endpoints: serde_json::Map<_, _> =
            by_endpoint(&self.samples).iter().map(|(name, all)| ((*name).to_owned(), view(all))).collect();
        let figures = self.figures.iter().map(|at| {
            json!({"at_ms": at.at_ms, "database_calls": at.database_calls,
            "queue_visible": at.visible, "queue_in_flight": at.in_flight, "cpu_ms": at.cpu_ms, "rss_kb": at.rss_kb})
        });
        json!({"title": self.title, "duration_ms": self.duration_ms(), "all": view(&summary(self.samples.iter())),
            "endpoints": endpoints, "timeline": over_time(&self.samples, self.span_ms()).iter().map(view).collect::<Vec<_>>(),
            "span_ms": self.span_ms(), "database_calls_per_request": self.database_calls(), "cpu_us_per_request": self.cpu_us(),
            "figures": figures.collect::<Vec<_>>(), "turned_away": self.turned_away,
            "acknowledged": {"items": self.told.0, "jobs": self.told.1},
            "violations": self.violations.1, "first_violations": self.violations.0})
    }

    fn endpoints_csv(&self) -> String {
        let mut csv = "endpoint,requests,failed,p50_us,p95_us,p99_us,p99.9_us,bytes,cacheable,hits\n".to_owned();
        for (name, all) in by_endpoint(&self.samples) {
            let _ = writeln!(csv, "{name},{}", row(&all));
        }
        csv
    }

    fn timeline_csv(&self) -> String {
        let mut csv =
            "start_ms,endpoint,requests,failed,p50_us,p95_us,p99_us,p99.9_us,bytes,cacheable,hits\n".to_owned();
        for (name, _) in by_endpoint(&self.samples) {
            let of: Vec<Sample> = self.samples.iter().filter(|sample| sample.endpoint == name).cloned().collect();
            for (at, all) in over_time(&of, self.span_ms()).iter().enumerate() {
                let _ = writeln!(csv, "{},{name},{}", at as u64 * self.span_ms(), row(all));
            }
        }
        csv
    }

    fn page(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>Load: {title}</title><style>{STYLE}</style><h1>Load</h1><p>{title}</p>{}{}\
             <h2>Over time</h2><div class=\"grids\">{}</div><h2>Endpoints</h2>{}\
             <h2>Latency per endpoint over time</h2><div class=\"grids\">{}</div></html>\n",
            self.tiles(),
            self.truth(),
            self.charts(),
            self.table(),
            self.small_charts()
        )
    }

    fn tiles(&self) -> String {
        let all = summary(self.samples.iter());
        let per_second = double(all.count as u64) * 1_000.0 / double(self.duration_ms());
        let known =
            |value: Option<f64>, unit: &str| value.map_or("–".to_owned(), |value| format!("{value:.1}{unit}"));
        let rss = self.figures.iter().map(|at| at.rss_kb).max().unwrap_or(0) / 1_024;
        let tiles = [
            ("requests", all.count.to_string()),
            ("a second", format!("{per_second:.0}")),
            ("failed", (all.failed + self.turned_away).to_string()),
            ("p50", format!("{:.2} ms", ms(all.latency_us[0]))),
            ("p99", format!("{:.2} ms", ms(all.latency_us[2]))),
            ("p99.9", format!("{:.2} ms", ms(all.latency_us[3]))),
            ("cache hits", format!("{:.1} %", 100.0 * ratio(all.hits, all.cacheable))),
            ("database calls a request", known(self.database_calls(), "")),
            ("server CPU a request", known(self.cpu_us(), " µs")),
            ("server memory", format!("{rss} MiB")),
        ];
        let tiles: String =
            tiles.iter().map(|(name, value)| format!("<div class=\"tile\"><b>{value}</b>{name}</div>")).collect();
        format!("<div class=\"tiles\">{tiles}</div>")
    }

    fn truth(&self) -> String {
        let (items, jobs) = self.told;
        if self.violations.1 == 0 {
            return format!(
                "<p class=\"good\">The truth held: {items} acknowledged items and {jobs} accepted jobs are there once, every job \
                 has ended, usage adds up, no read was stale, no reply crossed an organization.</p>"
            );
        }
        let first: String = self.violations.0.iter().map(|what| format!("<li>{}</li>", escaped(what))).collect();
        format!("<h2 class=\"bad\">{} violations</h2><ul class=\"bad\">{first}</ul>", self.violations.1)
    }

    fn charts(&self) -> String {
        let spans = over_time(&self.samples, self.span_ms());
        let width = double(self.span_ms()) / 1_000.0;
        let over = |value: &dyn Fn(&Summary) -> f64| -> Vec<(f64, f64)> {
            spans.iter().enumerate().map(|(at, all)| (double(at as u64) * width, value(all))).collect()
        };
        let rate = |count: usize| double(count as u64) / width;
        let mut html = svg::lines("Throughput", "requests a second", &[("all", over(&|all| rate(all.count)))]);
        html += &svg::lines("Latency", "ms", &latencies(&spans, width));
        html += &svg::lines("Failures", "a second", &[("failed", over(&|all| rate(all.failed)))]);
        html += &svg::lines(
            "Cache hits",
            "% of cacheable reads",
            &[("hits", over(&|all| 100.0 * ratio(all.hits, all.cacheable)))],
        );
        let seconds = |at: &Figures| double(at.at_ms) / 1_000.0;
        let calls = self.figures.windows(2).map(|pair| {
            let within = |sample: &&Sample| (pair[0].at_ms..pair[1].at_ms).contains(&sample.at_ms);
            let count = self.samples.iter().filter(within).count();
            (seconds(&pair[1]), double(pair[1].database_calls - pair[0].database_calls) / double(count.max(1) as u64))
        });
        html += &svg::lines("Database calls", "a request, jobs' work included", &[("calls", calls.collect())]);
        let depth =
            |of: &dyn Fn(&Figures) -> u64| self.figures.iter().map(|at| (seconds(at), double(of(at)))).collect();
        let queue = [("waiting", depth(&|at| at.visible)), ("in flight", depth(&|at| at.in_flight))];
        html += &svg::lines("Queue depth", "messages", &queue);
        html += &svg::lines("Queue age", "ms from acceptance to start, the longest", &[("age", self.ages(width))]);
        html
    }

    fn ages(&self, width: f64) -> Vec<(f64, f64)> {
        let mut longest: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
        for (at, wait) in &self.waits {
            let age = longest.entry(at / self.span_ms()).or_default();
            *age = (*age).max(*wait);
        }
        longest.into_iter().map(|(at, age)| (double(at) * width, double(age))).collect()
    }

    fn table(&self) -> String {
        let mut html =
            "<table><tr><th>endpoint<th>requests<th>failed<th>p50 ms<th>p95 ms<th>p99 ms<th>p99.9 ms<th>bytes \
                        a reply<th>cache hits</tr>"
                .to_owned();
        for (name, all) in by_endpoint(&self.samples) {
            let hits = if all.cacheable == 0 {
                "–".to_owned()
            } else {
                format!("{:.1} %", 100.0 * ratio(all.hits, all.cacheable))
            };
            let [p50, p95, p99, p999] = all.latency_us.map(ms);
            let failed = if all.failed > 0 { " class=\"bad\"" } else { "" };
            let _ = write!(
                html,
                "<tr><td>{name}<td>{}<td{failed}>{}<td>{p50:.2}<td>{p95:.2}<td>{p99:.2}<td>{p999:.2}<td>{}<td>{hits}</tr>",
                all.count,
                all.failed,
                all.bytes / all.count.max(1) as u64
            );
        }
        html + "</table>"
    }

    fn small_charts(&self) -> String {
        let width = double(self.span_ms()) / 1_000.0;
        let chart = |name: &str| {
            let of: Vec<Sample> = self.samples.iter().filter(|sample| sample.endpoint == name).cloned().collect();
            svg::lines(name, "ms", &latencies(&over_time(&of, self.span_ms()), width))
        };
        by_endpoint(&self.samples).keys().map(|name| chart(name)).collect()
    }
}

fn latencies<'a>(spans: &[Summary], width: f64) -> Vec<svg::Line<'a>> {
    let of = |at: usize| {
        let there = spans.iter().enumerate().filter(|(_, all)| all.count > 0);
        there.map(|(span, all)| (double(span as u64) * width, ms(all.latency_us[at]))).collect()
    };
    PERCENTILES.iter().enumerate().map(|(at, (name, _))| (*name, of(at))).collect()
}

fn row(all: &Summary) -> String {
    let [p50, p95, p99, p999] = all.latency_us;
    let Summary { count, failed, bytes, cacheable, hits, .. } = all;
    format!("{count},{failed},{p50},{p95},{p99},{p999},{bytes},{cacheable},{hits}")
}
