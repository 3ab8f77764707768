//! `just growth`: what each function costs with little and with much stored. Without `--full` (as in `cargo test`) at small
//! sizes and exact figures only: calls, bytes and capacity units, which must be the same at every size, and of a hot organization no more
//! than is written of it.
//!
//! The functions run in this thread, the system's own parts in others, each database in one of its own: so CPU time is
//! told apart, and what grows in the embedded database is not taken for what grows in a function.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cpu;
mod endpoints;
mod fill;
mod raw;
mod scene;

use clap::Parser;
use endpoints::{ENDPOINTS, Endpoint, Fixtures};
use load::growth::{Cost, Dimension, Most, Row, Timing, median};
use scene::{PLAIN, Scene, Via};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// Measures how the cost of each function grows with what is stored.
#[derive(Parser)]
struct Arguments {
    /// The sizes of issue and documentation, on disk, and times too; else small ones in memory.
    #[arg(long)]
    full: bool,
    /// Rounds of each endpoint at each size, interleaved.
    #[arg(long, default_value_t = 15)]
    rounds: u64,
    /// Calls in a round.
    #[arg(long, default_value_t = 8)]
    calls: u64,
    /// Folder for `growth.md` and `growth.json` [default with --full: target/load].
    #[arg(long)]
    out: Option<PathBuf>,
    /// For `cargo test`'s sake: without `growth` among the names, a run for other tests is not for this one.
    names: Vec<String>,
    /// For `cargo test`'s sake.
    #[arg(long, hide = true)]
    quiet: bool,
}

/// The workspace's `target/load`: cargo runs tests in their package's folder.
const REPORTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/load");

/// Of an organization that is spread, with copies and lanes: a size of it is as many items and as many jobs.
const HOT: &str = "items and jobs of a hot organization";

/// What grows, with its sizes in full and in small. The first is what `just money` counts with.
const DIMENSIONS: [(&str, [usize; 3], &[usize]); 4] = [
    ("items in the organization", [1_000, 100_000, 1_000_000], &[100, 2_000]),
    ("organizations", [10, 1_000, 100_000], &[10, 300]),
    ("queued jobs", [1, 1_000, 100_000], &[1, 300]),
    (HOT, [1_000, 10_000, 100_000], &[300, 2_000]),
];

/// What a call of a hot organization costs at most (docs/decisions/0085, 0086 and 0088): as much as of others, but that a list asks all
/// partitions, and the month all lanes.
const AT_MOST: [(&str, Most); 10] = [
    ("list-items", Most::Calls(10)),
    ("list-jobs", Most::Calls(18)),
    ("get-usage", Most::ReadUnits(25.0)),
    ("create-item", Most::WriteUnits(4.0)),
    ("create-item, with a key", Most::WriteUnits(6.0)),
    ("create-item, 25 at once", Most::WriteUnits(30.0)),
    ("delete-item", Most::WriteUnits(4.0)),
    ("analyze", Most::WriteUnits(8.0)),
    ("send-email", Most::WriteUnits(9.0)),
    ("analysis-worker", Most::WriteUnits(12.0)),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.names.is_empty() && !arguments.names.iter().any(|name| name.contains("growth")) {
        return ExitCode::SUCCESS;
    }
    let systems = Builder::new_multi_thread().worker_threads(1).thread_name("systems").enable_all().build().unwrap();
    let here = Builder::new_current_thread().enable_all().build().unwrap();
    let mut grown = Vec::new();
    let mut dimensions = Vec::new();
    for (what, full, small) in DIMENSIONS {
        let sizes = if arguments.full { full.as_slice() } else { small };
        let dimension = measure(&arguments, what, sizes, (&systems, &here));
        grown.extend(dimension.grown());
        if what == HOT {
            grown.extend(dimension.beyond(&AT_MOST));
        }
        dimensions.push(dimension);
        if let Some(folder) = arguments.out.clone().or(arguments.full.then(|| REPORTS.into())) {
            write(&folder, &dimensions);
        }
    }
    grown.iter().for_each(|what| println!("GROWN: {what}"));
    println!("growth: {} figures of {} endpoints grew that must not", grown.len(), ENDPOINTS.len());
    if grown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write(folder: &Path, dimensions: &[Dimension]) {
    let tables: Vec<String> = dimensions.iter().map(Dimension::table).collect();
    let json: Vec<_> = dimensions.iter().map(Dimension::json).collect();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("growth.md"), tables.join("\n")).unwrap();
    std::fs::write(folder.join("growth.json"), format!("{:#}\n", serde_json::Value::Array(json))).unwrap();
}

/// Fills one system for each size, and calls each endpoint on all of them in turn.
fn measure(arguments: &Arguments, what: &'static str, sizes: &[usize], on: (&Runtime, &Runtime)) -> Dimension {
    let (systems, here) = on;
    let folder = tempfile::tempdir().unwrap();
    let mut scenes = Vec::new();
    for size in sizes {
        let begun = Instant::now();
        let scene = Scene::start(systems, here, arguments.full.then(|| folder.path().join(size.to_string())));
        let fixtures = here.block_on(lay(&scene, what, *size));
        eprintln!("{what}: {size} stored in {:.1} s", begun.elapsed().as_secs_f64());
        scenes.push((scene, fixtures));
    }
    let mut rows = Vec::new();
    for endpoint in ENDPOINTS.iter().copied() {
        let costs = scenes.iter().map(|(scene, fixtures)| here.block_on(cost(scene, fixtures, endpoint))).collect();
        rows.push(Row { endpoint: endpoint.name, costs, timings: Vec::new() });
    }
    if arguments.full {
        let timings = here.block_on(time(arguments, &scenes));
        rows.iter_mut().zip(timings).for_each(|(row, timings)| row.timings = timings);
    }
    for (scene, _) in scenes {
        systems.block_on(scene.system.shutdown());
    }
    Dimension { what, sizes: sizes.to_vec(), rows }
}

async fn lay(scene: &Scene, what: &str, size: usize) -> Fixtures {
    let (mut items, mut user) = (20, scene.member.clone());
    if what == HOT {
        fill::spread(scene).await;
    }
    let mut job = endpoints::end_jobs(scene).await;
    match what {
        "organizations" => user = fill::orgs(scene, size).await,
        "queued jobs" => fill::jobs(scene, size).await,
        HOT => {
            items = size;
            job = fill::ended_jobs(scene, &job, size).await;
        }
        _ => items = size,
    }
    // Twice a page where something else grows: each scene has pages that are full.
    let item = fill::items(scene, items.max(60)).await;
    Fixtures::lay(scene, (item, user, job)).await
}

/// The exact cost of one call, after another one like it.
async fn cost(scene: &Scene, fixtures: &Fixtures, endpoint: Endpoint) -> Cost {
    let mut cost = Cost::default();
    for number in 0..2 {
        let work = endpoints::prepare(scene, fixtures, endpoint, number).await;
        let _before = scene.meter.take();
        let via = Via { metered: true, cached: endpoint.cached };
        endpoints::perform(scene, via, &work).await.unwrap();
        cost = scene.meter.take();
        // A worker that finds its job ended only reads.
        let ran = cost.write_units > 0.0 || !["analysis-worker", "email-worker"].contains(&endpoint.name);
        assert!(ran, "{} had no job to run: {cost:?}", endpoint.name);
        endpoints::clear(scene, endpoint).await;
    }
    cost
}

/// The medians of each endpoint at each size. Sizes take turns, and the first of a round changes.
async fn time(arguments: &Arguments, scenes: &[(Scene, Fixtures)]) -> Vec<Vec<Timing>> {
    let mut samples = vec![vec![Vec::new(); scenes.len()]; ENDPOINTS.len()];
    for round in 0..arguments.rounds {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        for (endpoint, samples) in ENDPOINTS.iter().zip(&mut samples) {
            for turn in 0..scenes.len() {
                let at = (turn + usize::try_from(round).unwrap()) % scenes.len();
                let calls = if endpoint.slow { 1 } else { arguments.calls };
                samples[at].push(timed(&scenes[at], *endpoint, (round + 1) * 1_000, calls).await);
            }
        }
    }
    let medians = |of: &[Timing]| {
        let median = |value: fn(&Timing) -> f64| median(of.iter().map(value).collect());
        Timing {
            function_us: median(|timing| timing.function_us),
            database_us: median(|timing| timing.database_us),
            latency_us: median(|timing| timing.latency_us),
        }
    };
    samples.iter().map(|sizes| sizes.iter().map(|of| medians(of)).collect()).collect()
}

/// What one call takes: the mean of some, each alone on the clock.
#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
async fn timed((scene, fixtures): &(Scene, Fixtures), endpoint: Endpoint, first: u64, calls: u64) -> Timing {
    let mut sum = [0.0; 3];
    for number in first..first + calls {
        let work = endpoints::prepare(scene, fixtures, endpoint, number).await;
        let (function, database) = (cpu::here(), cpu::of(scene.database));
        let begun = Instant::now();
        endpoints::perform(scene, Via { metered: false, ..via(endpoint) }, &work).await.unwrap();
        let latency = begun.elapsed().as_nanos() as u64;
        let spent = [cpu::here() - function, cpu::of(scene.database) - database, latency];
        sum.iter_mut().zip(spent).for_each(|(sum, spent)| *sum += spent as f64);
        endpoints::clear(scene, endpoint).await;
    }
    let [function_us, database_us, latency_us] = sum.map(|sum| sum / calls as f64 / 1_000.0);
    Timing { function_us, database_us, latency_us }
}

fn via(endpoint: Endpoint) -> Via {
    Via { cached: endpoint.cached, ..PLAIN }
}
