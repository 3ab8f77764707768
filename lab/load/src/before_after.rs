//! The same load on the system as it is and with one thing taken away at a time, in interleaved rounds.

use crate::arrivals::closed;
use crate::client::Sample;
use crate::figures::summary;
use crate::operator::Operator;
use crate::random::Random;
use crate::report::Run;
use crate::run::observed;
use crate::server::Server;
use crate::world::World;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// What is taken away, and the replies that it changes (all, when none are named).
pub const ABLATIONS: [(&str, &[&str]); 4] = [
    ("cache", &["get-user", "get-org-plan", "get-org-settings", "list-items", "get-model-pricing"]),
    ("compression", &["list-items", "get-model-pricing"]),
    ("queue", &["analyze"]),
    ("client-reuse", &[]),
];

/// Callers at a time: few, so that latency is work and not waiting for two processors.
const CALLERS: u64 = 4;
/// The stream of random numbers of the order.
const ORDER: u64 = 1 << 40;

/// The figures of one run that are compared.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    cpu_us: f64,
    calls: f64,
    bytes: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Runs `rounds` rounds of `actions` each and gives the table.
///
/// # Errors
/// When the system does not start, or the truth did not hold in one of the runs.
pub async fn run(program: &Path, rounds: usize, actions: u64, seed: u64) -> Result<String, String> {
    let mut whole: Vec<Run> = Vec::new();
    let mut without: Vec<Vec<Run>> = ABLATIONS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let seed = seed + round as u64;
        for variant in order(seed) {
            match variant {
                None => whole.push(one(program, "nothing", actions, seed).await?),
                Some(at) => without[at].push(one(program, ABLATIONS[at].0, actions, seed).await?),
            }
        }
    }
    let everything = figures(&whole, &[]);
    let mut table =
        "| without | CPU a request | database calls a request | body bytes a reply | replies looked at | p50 | p99 |\n\
                     |---|---|---|---|---|---|---|\n"
            .to_owned();
    line(&mut table, "nothing", "all", everything, None);
    for ((ablation, endpoints), runs) in ABLATIONS.iter().zip(&without) {
        let (here, before) = (figures(runs, endpoints), figures(&whole, endpoints));
        let which = if endpoints.is_empty() { "all".to_owned() } else { endpoints.join(", ") };
        line(&mut table, ablation, &which, here, Some(before));
    }
    Ok(table)
}

/// The order of a round, by its seed: nothing taken away, or which ablation. Whoever is first finds the machine as it was left.
fn order(seed: u64) -> Vec<Option<usize>> {
    let mut order: Vec<Option<usize>> = std::iter::once(None).chain((0..ABLATIONS.len()).map(Some)).collect();
    let mut random = Random::new(seed, ORDER);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

async fn one(program: &Path, without: &str, actions: u64, seed: u64) -> Result<Run, String> {
    let server = Server::start(program, &["--without", without]).await?;
    let operator = Operator::new(program.to_owned(), &server.url, None);
    let account = async |new: &Value| operator.account(new).await;
    let give_plan = async |org: &str| operator.give_plan(org).await;
    let world = World::found(&server.url, account, give_plan, 12, seed).await?;
    // Caches, connections and lists as they are after a while.
    closed(&world, CALLERS, actions..actions + actions / 5).await;
    let load = async {
        closed(&world, CALLERS, 0..actions).await;
        Ok(0)
    };
    let run = observed(&world, server.pid(), (Duration::from_secs(1), false), load).await?;
    server.stop().await;
    let failed = run.samples.iter().filter(|sample| sample.failed).count();
    eprintln!("  without {without}: {:.0} µs CPU a request, {failed} failed", run.cpu_us().unwrap_or(0.0));
    match run.violations.0.first() {
        Some(first) => Err(format!("without {without}: {} violations, the first: {first}", run.violations.1)),
        None => Ok(run),
    }
}

/// The medians over all rounds: CPU and database calls of all requests, the rest of these endpoints' alone.
#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
fn figures(runs: &[Run], endpoints: &[&str]) -> Figures {
    let all = runs.iter().map(|run| {
        let looked_at = |sample: &&Sample| endpoints.is_empty() || endpoints.contains(&sample.endpoint);
        let of = summary(run.samples.iter().filter(looked_at));
        Figures {
            cpu_us: run.cpu_us().unwrap_or(0.0),
            calls: run.database_calls().unwrap_or(0.0),
            bytes: of.bytes as f64 / of.count.max(1) as f64,
            p50_ms: of.latency_us[0] as f64 / 1_000.0,
            p99_ms: of.latency_us[2] as f64 / 1_000.0,
        }
    });
    let all: Vec<Figures> = all.collect();
    let median = |of: &dyn Fn(&Figures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    Figures {
        cpu_us: median(&|one| one.cpu_us),
        calls: median(&|one| one.calls),
        bytes: median(&|one| one.bytes),
        p50_ms: median(&|one| one.p50_ms),
        p99_ms: median(&|one| one.p99_ms),
    }
}

/// One row; each figure with what it is with everything in its place, if that is another run's.
fn line(table: &mut String, ablation: &str, which: &str, here: Figures, before: Option<Figures>) {
    let cell = |of: &dyn Fn(&Figures) -> f64, digits: usize, unit: &str| match &before {
        Some(before) => format!("{:.digits$}{unit} (for {:.digits$})", of(&here), of(before)),
        None => format!("{:.digits$}{unit}", of(&here)),
    };
    let _ = writeln!(
        table,
        "| {ablation} | {} | {} | {} | {which} | {} | {} |",
        cell(&|one| one.cpu_us, 0, " µs"),
        cell(&|one| one.calls, 2, ""),
        cell(&|one| one.bytes, 0, ""),
        cell(&|one| one.p50_ms, 2, " ms"),
        cell(&|one| one.p99_ms, 1, " ms"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_everything_once_in_an_order_of_its_own() {
        let orders: Vec<_> = (1..=20).map(order).collect();
        for order in &orders {
            let all = std::iter::once(None).chain((0..ABLATIONS.len()).map(Some));
            assert!(all.clone().all(|one| order.contains(&one)) && order.len() == all.count());
        }
        assert_eq!(orders[0], order(1));
        let first_is_whole = orders.iter().filter(|order| order[0].is_none()).count();
        assert!((1..10).contains(&first_is_whole), "{first_is_whole} of 20");
    }
}
