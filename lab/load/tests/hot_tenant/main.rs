//! `just hot-tenant`: one organization's mix of 5,500 requests a second beside 1,000 other organizations, in the like-aws world
//! and in its time: whatever nobody waits for takes none, so that a slow machine shows what a thousand environments do.
//!
//! Without `--full` (as in `cargo test`) a fiftieth of it for a second: that the world turns, not what it bears.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../ask.rs"]
mod ask;
mod mix;
mod report;
mod scene;

use clap::Parser;
use mix::Rates;
use report::Targets;
use scene::Scene;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Drives one hot organization in the like-aws world.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// The whole load, held against the targets.
    #[arg(long)]
    full: bool,
    /// Seconds of the world's time that are measured [default: 5, without --full 1].
    #[arg(long)]
    seconds: Option<u64>,
    /// Seconds before, in which functions start and partitions fill.
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// The share of the mix that is asked for [default: 1, without --full 0.02].
    #[arg(long)]
    share: Option<f64>,
    /// Sessions of the hot organization [default: 100, without --full 4].
    #[arg(long)]
    sessions: Option<usize>,
    /// Other organizations, each of which asks every other second [default: 1,000, without --full 20].
    #[arg(long)]
    others: Option<usize>,
    /// With the template's reservations and the limits of methods that come of them, which the mix does not fit in; else with an account of
    /// 10,000 environments.
    #[arg(long)]
    reserved: bool,
    /// With a new table of four partitions; else with one that has long split for its heat.
    #[arg(long)]
    new_table: bool,
    /// With an organization that nobody has spread yet, so that heat does; else an operator has, a minute before.
    #[arg(long)]
    unspread: bool,
    /// Replays what chance did.
    #[arg(long, default_value_t = 20)]
    seed: u64,
    /// For `cargo test`'s sake: without `hot` among the names, a run for other tests is not for this one.
    names: Vec<String>,
    /// For `cargo test`'s sake.
    #[arg(long, hide = true)]
    quiet: bool,
}

/// The workspace's `target/load`: cargo runs tests in their package's folder.
const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/load/hot-tenant.md");

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.names.is_empty() && !arguments.names.iter().any(|name| name.contains("hot")) {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let full = arguments.full;
    let of = |given: Option<usize>, whole: usize, small: usize| given.unwrap_or(if full { whole } else { small });
    let share = arguments.share.unwrap_or(if full { 1.0 } else { 0.02 });
    let others = of(arguments.others, 1_000, 20);
    let rates = Rates::of(share, others);
    let (warm_up, seconds) = (arguments.warm_up, arguments.seconds.unwrap_or(if full { 5 } else { 1 }));
    let report = runtime.block_on(async {
        let scene = Scene::start(&arguments, of(arguments.sessions, 100, 4), others).await;
        let (begun, begun_ms) = (Instant::now(), scene.now_ms());
        let of_others = Rates::of_others(others);
        scene.drive(&of_others, Duration::from_secs(warm_up), arguments.seed + 2).await;
        let alone = scene.drive(&of_others, Duration::from_secs(seconds), arguments.seed + 3).await;
        scene.drive(&rates, Duration::from_secs(warm_up), arguments.seed).await;
        scene.ledger.clear();
        let before = scene.throttles();
        let samples = scene.drive(&rates, Duration::from_secs(seconds), arguments.seed + 1).await;
        let k = begun.elapsed().as_secs_f64() / Duration::from_millis(scene.now_ms() - begun_ms).as_secs_f64();
        report::Report::new(&scene, (samples, alone), before, Duration::from_secs(seconds), k, scene.is_spread().await)
    });
    let text = report.text(&format!("{arguments:?}"));
    println!("{text}");
    if !full {
        let mut broken = report.broken();
        broken.extend(report.not_spread().filter(|_| arguments.unspread));
        broken.iter().for_each(|what| println!("WRONG: {what}"));
        return if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let path = Path::new(REPORT);
    std::fs::create_dir_all(path.parent().unwrap()).and_then(|()| std::fs::write(path, &text)).unwrap();
    let missed: Vec<String> = match arguments.reserved {
        true => report.not_limited().into_iter().collect(),
        false => report.missed(&Targets::default()),
    };
    missed.iter().for_each(|what| println!("MISSED: {what}"));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
