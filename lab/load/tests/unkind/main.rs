//! `just unkind`: jobs under providers and a database on bad days, in the like-aws world and in virtual time. What was accepted
//! ends as its owner would expect, if the world comes back within a day.
//!
//! Without `--full` (as in `cargo test`) a hundredth of the jobs and minutes in place of hours.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../ask.rs"]
mod ask;
mod scenes;
mod world;

use clap::Parser;
use std::process::ExitCode;
use std::time::Instant;

/// Drives jobs through bad days.
#[derive(Parser, Clone, Debug)]
struct Arguments {
    /// The whole table.
    #[arg(long)]
    full: bool,
    /// One scene of it: rates, overloaded, unreachable, suspended, database or hanging [default: all].
    #[arg(long)]
    scene: Option<String>,
    /// Replays what chance did.
    #[arg(long, default_value_t = 21)]
    seed: u64,
    /// For `cargo test`'s sake: without `unkind` among the names, a run for other tests is not for this one.
    names: Vec<String>,
    /// For `cargo test`'s sake.
    #[arg(long, hide = true)]
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.names.is_empty() && !arguments.names.iter().any(|name| name.contains("unkind")) {
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| arguments.scene.as_ref().is_none_or(|scene| scene == name);
    let scenes: Vec<_> = scenes::ALL.into_iter().filter(|name| chosen(name)).collect();
    assert!(!scenes.is_empty(), "there is no such scene");
    let size = if arguments.full { &scenes::FULL } else { &scenes::SMALL };
    let mut broken = 0;
    for name in scenes {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let begun = Instant::now();
        let report = runtime.block_on(scenes::run(name, size, arguments.seed));
        println!("{name}: {} ({:.0} s of the machine's time)", report.text, begun.elapsed().as_secs_f64());
        report.wrong.iter().for_each(|what| println!("WRONG: {name}: {what}"));
        broken += report.wrong.len();
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
