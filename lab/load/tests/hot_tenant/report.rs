//! The table: what came of each kind of request, what was refused, which records are hot, and on which requests met.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use local::like_aws::ledger::{Contention, Refusal, Units};
use local::like_aws::record::RecordKey;

use crate::mix::Kind;
use crate::scene::{Sample, Scene};

/// What must hold.
pub(crate) struct Targets {
    /// Share of `503` among the hot organization's answers, and among the others'.
    unavailable: f64,
    /// 99th percentile of the hot organization's latencies.
    p99_ms: u64,
    /// How much longer than alone that of the others may be: what two runs of chance differ by.
    noticed: f64,
}

impl Default for Targets {
    fn default() -> Self {
        Self { unavailable: 0.001, p99_ms: 100, noticed: 1.25 }
    }
}

pub(crate) struct Report {
    samples: Vec<Sample>,
    /// Of the others, before the hot one asked for anything.
    alone: Vec<Sample>,
    span: Duration,
    /// Wall seconds for each second of the world.
    k: f64,
    refusals: BTreeMap<(String, Refusal), u64>,
    hottest: Vec<(RecordKey, Units)>,
    meetings: Vec<Contention>,
    throttles: BTreeMap<String, u64>,
    is_spread: bool,
}

/// Some samples' figures.
#[derive(Clone, Debug, Default)]
struct Figures {
    count: usize,
    done: usize,
    unavailable: usize,
    limited: usize,
    failed: usize,
    p50_ms: u64,
    p99_ms: u64,
}

fn figures<'a>(samples: impl Iterator<Item = &'a Sample>) -> Figures {
    let mut figures = Figures::default();
    let mut latencies = Vec::new();
    for sample in samples {
        figures.count += 1;
        match sample.status {
            200..=299 => figures.done += 1,
            503 => figures.unavailable += 1,
            429 => figures.limited += 1,
            500.. => figures.failed += 1,
            _ => {}
        }
        latencies.push(sample.latency_ms);
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies.get((latencies.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    (figures.p50_ms, figures.p99_ms) = (at(50).unwrap_or(0), at(99).unwrap_or(0));
    figures
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53")]
fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

impl Report {
    pub(crate) fn new(
        scene: &Scene,
        (samples, alone): (Vec<Sample>, Vec<Sample>),
        before: BTreeMap<String, u64>,
        span: Duration,
        k: f64,
        is_spread: bool,
    ) -> Self {
        let since = |name: &String, count: u64| count - before.get(name).copied().unwrap_or(0);
        Self {
            samples,
            alone,
            span,
            k,
            is_spread,
            refusals: scene.ledger.refusals(),
            hottest: scene.ledger.hottest(12),
            meetings: scene.ledger.meetings(),
            throttles: scene.throttles().into_iter().map(|(name, count)| (name.clone(), since(&name, count))).collect(),
        }
    }

    fn of(&self, is_hot: bool) -> Figures {
        figures(self.samples.iter().filter(|sample| sample.kind.is_hot == is_hot))
    }

    pub(crate) fn text(&self, arguments: &str) -> String {
        let mut text = format!("# One hot organization, in the like-aws world\n\n`{arguments}`\n\n");
        let _ =
            writeln!(text, "k = {:.1} wall seconds for each second of the world. The cache took no time.\n", self.k);
        text.push_str("| requests | a second | done | `503` | `429` | other `5xx` | p50 ms | p99 ms |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        let mut by_kind: BTreeMap<Kind, Vec<&Sample>> = BTreeMap::new();
        self.samples.iter().for_each(|sample| by_kind.entry(sample.kind).or_default().push(sample));
        self.line(&mut text, "**hot organization**", &self.of(true));
        for (kind, samples) in by_kind.iter().rev().filter(|(kind, _)| kind.is_hot) {
            self.line(&mut text, kind.function, &figures(samples.iter().copied()));
        }
        self.line(&mut text, "**other organizations**", &self.of(false));
        self.line(&mut text, "the same without the hot one", &figures(self.alone.iter()));
        text.push_str("\n| refused record | why | a second |\n|---|---|---|\n");
        for ((kind, why), count) in &self.refusals {
            let a_second = *count as f64 / self.span.as_secs_f64();
            let _ = writeln!(text, "| `{kind}` | {why:?} | {a_second:.0} |");
        }
        text.push_str(
            "\n| hottest records | write units a second (of 1,000) | read units a second (of 3,000) |\n|---|---|---|\n",
        );
        for (key, units) in &self.hottest {
            let _ = writeln!(text, "| `{}` | {:.0} | {:.0} |", key.kind(), units.write, units.read);
        }
        text.push_str("\n| records that two requests' writes met on | records | most writes a second on one | by |\n|---|---|---|---|\n");
        for meeting in &self.meetings {
            let by: Vec<&str> = meeting.functions.iter().map(AsRef::as_ref).collect();
            let most = meeting.most_a_second;
            let _ = writeln!(text, "| `{}` | {} | {most:.0} | {} |", meeting.kind, meeting.records, by.join(", "));
        }
        for (name, count) in self.throttles.iter().filter(|(_, count)| **count > 0) {
            let _ = writeln!(text, "\n`{name}` was throttled {count} times.");
        }
        text
    }

    fn line(&self, text: &mut String, name: &str, figures: &Figures) {
        let Figures { count, done, unavailable, limited, failed, p50_ms, p99_ms } = *figures;
        let a_second = share(count, 1) / self.span.as_secs_f64();
        let percent = |part: usize| format!("{:.2} %", 100.0 * share(part, count));
        let (done, unavailable, limited, failed) =
            (percent(done), percent(unavailable), percent(limited), percent(failed));
        let _ = writeln!(
            text,
            "| {name} | {a_second:.0} | {done} | {unavailable} | {limited} | {failed} | {p50_ms} | {p99_ms} |"
        );
    }

    /// What misses its target.
    pub(crate) fn missed(&self, targets: &Targets) -> Vec<String> {
        let mut missed = Vec::new();
        let (hot, others, alone) = (self.of(true), self.of(false), figures(self.alone.iter()));
        if hot.p99_ms > targets.p99_ms {
            missed.push(format!("the hot organization's 99th percentile is {} ms", hot.p99_ms));
        }
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53")]
        if others.p99_ms as f64 > alone.p99_ms as f64 * targets.noticed {
            missed.push(format!("the others' 99th percentile is {} ms, and {} alone", others.p99_ms, alone.p99_ms));
        }
        for (whose, figures) in [("the hot organization's", hot), ("the others'", others)] {
            let unavailable = share(figures.unavailable, figures.count);
            if unavailable > targets.unavailable {
                missed.push(format!("{:.2} % of {whose} requests are answered 503", 100.0 * unavailable));
            }
            let other = figures.count - figures.done - figures.unavailable;
            if share(other, figures.count) > targets.unavailable {
                missed.push(format!("{other} of {whose} requests are refused or fail otherwise"));
            }
        }
        missed
    }

    /// What is wrong where the gateway has limits for what the reservations answer: whatever is beyond these is to be a `429`.
    pub(crate) fn not_limited(&self) -> Option<String> {
        let Figures { count, limited, failed, .. } = self.of(true);
        (limited == 0 || share(failed, count) > Targets::default().unavailable)
            .then(|| format!("of {count} requests {limited} are answered 429, and {failed} fail otherwise"))
    }

    /// What is wrong where the hot organization's own requests were to have it spread, from the first of them on.
    pub(crate) fn not_spread(&self) -> Option<String> {
        let figures = self.of(true);
        let unavailable = share(figures.unavailable, figures.count);
        if !self.is_spread {
            return Some("the hot organization is not spread".to_owned());
        }
        (unavailable > 0.01)
            .then(|| format!("{:.2} % of its requests are answered 503 until it is", 100.0 * unavailable))
    }

    /// What is wrong at any size: nothing is lost, and no answer is an error of ours but for what is contended.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.samples.is_empty() || self.meetings.is_empty() {
            broken.push("nothing was asked or noted".to_owned());
        }
        let unexpected = self.samples.iter().filter(|sample| !matches!(sample.status, 200..=299 | 503));
        broken.extend(unexpected.map(|sample| format!("{sample:?}")));
        broken
    }
}
