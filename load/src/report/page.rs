//! The page: one file, no outside parts, for light and dark.

use super::{OPEN, Run, double, ms, ratio};
use crate::client::Sample;
use crate::figures::{PERCENTILES, Summary, by_endpoint, over_time, summary};
use crate::server::Figures;
use crate::svg::{Chart, Line, Scale};
use std::fmt::Write as _;

const STYLE: &str = "
:root{color-scheme:light dark;--back:#f4f6f9;--card:#fff;--text:#18202a;--soft:#5d6876;--rule:#e2e6ec;
--line0:#2468d8;--line1:#0f9d8a;--line2:#d9822b;--line3:#c22f4b;--good:#127a49;--goodback:#e6f5ec;--bad:#b3261e;--badback:#fdeceb}
@media(prefers-color-scheme:dark){:root{--back:#0f1318;--card:#181e26;--text:#e4e8ed;--soft:#97a3b1;--rule:#29313c;
--line0:#6ea3ff;--line1:#43d1bc;--line2:#f0a65a;--line3:#ff7d92;--good:#57cf94;--goodback:#12281d;--bad:#ff8a80;--badback:#33191a}}
*{box-sizing:border-box}body{font:15px/1.5 system-ui,-apple-system,\"Segoe UI\",sans-serif;background:var(--back);color:var(--text);
max-width:1400px;margin:0 auto;padding:28px 24px 64px}
h1{font-size:26px;margin:0;letter-spacing:-.01em}h2{font-size:18px;margin:36px 0 10px}p,small{color:var(--soft)}
.lead{margin:4px 0 18px}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));gap:10px;margin:18px 0}
.tile,figure,.box{background:var(--card);border:1px solid var(--rule);border-radius:10px}
.tile{padding:10px 14px;color:var(--soft);font-size:13px}.tile b{display:block;font-size:21px;color:var(--text);white-space:nowrap;
font-variant-numeric:tabular-nums}.tile.wrong b{color:var(--bad)}
.box{padding:4px 8px;overflow-x:auto}.verdict{border-radius:10px;padding:12px 16px;margin:0}
.verdict.good{background:var(--goodback);color:var(--good)}.verdict.bad{background:var(--badback);color:var(--bad)}
.verdict li{margin:2px 0;word-break:break-word}
.grids{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:12px}
figure{margin:0;padding:12px 14px 6px}figcaption{font-weight:600;display:flex;gap:8px;align-items:baseline;flex-wrap:wrap}
small{font-weight:400}.keys{margin-left:auto}.key{font-weight:400;font-size:12px;margin-left:12px;color:var(--soft)}
.key i{display:inline-block;width:12px;height:3px;margin:0 5px 3px 0;border-radius:2px}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--soft)}.grid{stroke:var(--rule)}
line.mark{stroke:var(--soft);stroke-dasharray:3 3}polyline{fill:none;stroke-width:1.8;stroke-linejoin:round}polygon{opacity:.13}
table{border-collapse:collapse;width:100%}th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--rule);
font-variant-numeric:tabular-nums;white-space:nowrap}tr:last-child td{border-bottom:0}th{font-size:12px;font-weight:600;color:var(--soft)}
th:first-child,td:first-child{text-align:left}td.bad{color:var(--bad);font-weight:600}
.share{display:inline-block;height:8px;border-radius:2px;background:var(--line0);opacity:.55;vertical-align:middle}";

/// What a summary's columns are called.
const COLUMNS: &str = "<th>failed<th>p50 ms<th>p95 ms<th>p99 ms<th>p99.9 ms";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn columns(all: &Summary, failed: usize) -> String {
    let [p50, p95, p99, p999] = all.latency_us.map(ms);
    let class = if failed > 0 { " class=\"bad\"" } else { "" };
    format!("<td{class}>{failed}<td>{p50:.2}<td>{p95:.2}<td>{p99:.2}<td>{p999:.2}")
}

impl Run {
    pub(super) fn page(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>Load: {title}</title><style>{STYLE}</style><h1>Load</h1><p class=\"lead\">{title}</p>{}{}\
             <h2>Phases</h2>{}<h2>Over time</h2><div class=\"grids\">{}</div><h2>Endpoints</h2>{}\
             <h2>Latency of each endpoint over time</h2><div class=\"grids\">{}</div></html>\n",
            self.truth(),
            self.tiles(),
            self.phase_table(),
            self.charts(),
            self.table(),
            self.small_charts()
        )
    }

    fn tiles(&self) -> String {
        let all = summary(self.samples.iter());
        let per_second = double(all.count as u64) * 1_000.0 / double(self.duration_ms());
        let known = |value: Option<f64>, digits: usize, unit: &str| {
            value.map_or("–".to_owned(), |value| format!("{value:.digits$}{unit}"))
        };
        let rss = self.figures.iter().map(|at| at.rss_kb).max().filter(|kb| *kb > 0);
        let failed = all.failed + self.turned_away;
        let tiles = [
            ("requests", all.count.to_string()),
            ("a second", format!("{per_second:.0}")),
            ("failed", failed.to_string()),
            ("p50", format!("{:.2} ms", ms(all.latency_us[0]))),
            ("p95", format!("{:.2} ms", ms(all.latency_us[1]))),
            ("p99", format!("{:.2} ms", ms(all.latency_us[2]))),
            ("p99.9", format!("{:.2} ms", ms(all.latency_us[3]))),
            ("cache hits", format!("{:.1} %", 100.0 * ratio(all.hits, all.cacheable))),
            ("database calls a request", known(self.database_calls(), 2, "")),
            ("server CPU a request", known(self.cpu_us(), 0, " µs")),
            ("server memory, most", known(rss.map(|kb| double(kb / 1_024)), 0, " MiB")),
        ];
        let tiles: String = tiles
            .iter()
            .map(|(name, value)| {
                let wrong = if *name == "failed" && failed > 0 { " wrong" } else { "" };
                format!("<div class=\"tile{wrong}\"><b>{value}</b>{name}</div>")
            })
            .collect();
        format!("<div class=\"tiles\">{tiles}</div>")
    }

    fn truth(&self) -> String {
        let (items, jobs) = self.told;
        if self.violations.1 == 0 {
            return format!(
                "<p class=\"verdict good\">The truth held: {items} acknowledged items and {jobs} accepted jobs are there once, \
                 every job has ended, usage and its cost add up, no read was stale beyond its class, no reply crossed an \
                 organization.</p>"
            );
        }
        let first: String = self.violations.0.iter().map(|what| format!("<li>{}</li>", escaped(what))).collect();
        format!("<div class=\"verdict bad\"><b>{} violations of the truth</b><ul>{first}</ul></div>", self.violations.1)
    }

    /// Closed and open load apart: latency of the open kind counts from when a request was to start.
    fn phase_table(&self) -> String {
        let mut html =
            format!("<div class=\"box\"><table><tr><th>phase<th>seconds<th>requests<th>a second{COLUMNS}</tr>");
        for (name, long_ms, samples) in self.by_phase() {
            let all = summary(samples.into_iter());
            let failed = all.failed + if name == OPEN { self.turned_away } else { 0 };
            let _ = write!(
                html,
                "<tr><td>{name}<td>{:.0}<td>{}<td>{:.0}{}</tr>",
                double(long_ms) / 1_000.0,
                all.count,
                double(all.count as u64) * 1_000.0 / double(long_ms.max(1)),
                columns(&all, failed)
            );
        }
        html + "</table></div><p><small>A closed caller waits for its reply before it asks again. An open arrival comes when \
                it was to come, and its latency counts from then, however late it could be sent.</small></p>"
    }

    fn marks(&self) -> Vec<(f64, &'static str)> {
        let short = |name: &'static str| name.split(':').next().unwrap_or(name);
        self.phases.iter().map(|(name, at)| (double(*at) / 1_000.0, short(name))).collect()
    }

    fn charts(&self) -> String {
        let spans = over_time(&self.samples, self.span_ms());
        let width = double(self.span_ms()) / 1_000.0;
        let (marks, end) = (self.marks(), double(self.duration_ms()) / 1_000.0);
        let chart = |title, unit, scale| Chart { title, unit, scale, end, marks: &marks };
        let over = |value: &dyn Fn(&Summary) -> f64| -> Vec<(f64, f64)> {
            spans.iter().enumerate().map(|(at, all)| (double(at as u64) * width, value(all))).collect()
        };
        let rate = |count: usize| double(count as u64) / width;
        let linear = |title, unit| chart(title, unit, Scale::Linear);
        let mut html = linear("Throughput", "requests a second").lines(&[("all", over(&|all| rate(all.count)))]);
        html += &chart("Latency", "ms, in decades", Scale::Decades).lines(&latencies(&spans, width));
        html += &linear("Errors", "failed requests a second").lines(&[("failed", over(&|all| rate(all.failed)))]);
        html += &linear("Cache hits", "% of cacheable reads")
            .lines(&[("hits", over(&|all| 100.0 * ratio(all.hits, all.cacheable)))]);
        html += &linear("Database calls", "a request, jobs' work included").lines(&[("calls", self.calls())]);
        let depth =
            |of: &dyn Fn(&Figures) -> u64| self.figures.iter().map(|at| (seconds(at), double(of(at)))).collect();
        let queue = [("waiting", depth(&|at| at.visible)), ("in flight", depth(&|at| at.in_flight))];
        html += &linear("Queue depth", "messages").lines(&queue);
        html += &linear("Queue age", "ms from acceptance to start, the longest").lines(&[("age", self.ages(width))]);
        let memory = self.figures.iter().map(|at| (seconds(at), double(at.rss_kb) / 1_024.0)).collect();
        html += &linear("Server memory", "MiB").lines(&[("resident", memory)]);
        html
    }

    fn calls(&self) -> Vec<(f64, f64)> {
        let calls = self.figures.windows(2).filter_map(|pair| {
            let within = |sample: &&Sample| (pair[0].at_ms..pair[1].at_ms).contains(&sample.at_ms);
            let count = self.samples.iter().filter(within).count();
            let calls = double(pair[1].database_calls - pair[0].database_calls) / double(count as u64);
            (count > 0).then_some((seconds(&pair[1]), calls))
        });
        calls.collect()
    }

    fn ages(&self, width: f64) -> Vec<(f64, f64)> {
        let mut longest: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
        for (at, wait) in &self.waits {
            let age = longest.entry(at / self.span_ms()).or_default();
            *age = (*age).max(*wait);
        }
        longest.into_iter().map(|(at, age)| (double(at) * width, double(age))).collect()
    }

    /// The endpoints, the most called first.
    fn endpoints(&self) -> Vec<(&'static str, Summary)> {
        let mut all: Vec<_> = by_endpoint(&self.samples).into_iter().collect();
        all.sort_by_key(|(_, all)| std::cmp::Reverse(all.count));
        all
    }

    fn table(&self) -> String {
        let endpoints = self.endpoints();
        let most = endpoints.first().map_or(1, |(_, all)| all.count);
        let mut html = format!(
            "<div class=\"box\"><table><tr><th>endpoint<th><th>requests{COLUMNS}<th>bytes a reply<th>cache hits</tr>"
        );
        for (name, all) in endpoints {
            let hits = if all.cacheable == 0 {
                "–".to_owned()
            } else {
                format!("{:.1} %", 100.0 * ratio(all.hits, all.cacheable))
            };
            let _ = write!(
                html,
                "<tr><td>{name}<td style=\"text-align:left\"><span class=\"share\" style=\"width:{:.0}px\"></span><td>{}{}<td>{}\
                 <td>{hits}</tr>",
                1.0 + 90.0 * ratio(all.count, most),
                all.count,
                columns(&all, all.failed),
                all.bytes / all.count.max(1) as u64
            );
        }
        html + "</table></div>"
    }

    fn small_charts(&self) -> String {
        let width = double(self.span_ms()) / 1_000.0;
        let (marks, end) = (self.marks(), double(self.duration_ms()) / 1_000.0);
        let chart = |name: &str| {
            let of: Vec<Sample> = self.samples.iter().filter(|sample| sample.endpoint == name).cloned().collect();
            let lines = latencies(&over_time(&of, self.span_ms()), width);
            Chart { title: name, unit: "ms, in decades", scale: Scale::Decades, end, marks: &marks }.lines(&lines)
        };
        self.endpoints().iter().map(|(name, _)| chart(name)).collect()
    }
}

fn seconds(at: &Figures) -> f64 {
    double(at.at_ms) / 1_000.0
}

fn latencies<'a>(spans: &[Summary], width: f64) -> Vec<Line<'a>> {
    let of = |at: usize| {
        let there = spans.iter().enumerate().filter(|(_, all)| all.count > 0);
        there.map(|(span, all)| (double(span as u64) * width, ms(all.latency_us[at]))).collect()
    };
    PERCENTILES.iter().enumerate().map(|(at, (name, _))| (*name, of(at))).collect()
}
