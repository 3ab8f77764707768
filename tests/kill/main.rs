//! The kill test: real processes of the functions, killed again and again while they accept and run jobs; and
//! before it, jobs accepted while the queue is away. Both skip time, so they cannot share a process with others.
//!
//! The database and the queue run here and are not killed, as AWS's would not be. Each function runs in processes
//! of its own, under a Lambda Runtime API, and calls everything through a proxy that duplicates, cuts and kills as
//! the plan says. The plan follows from the seed and from each job's own history, not from who is faster.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checks;
mod clients;
mod oracle;
mod outage;
mod plan;
mod process;
mod proxy;
mod weather;
mod world;

use clap::Parser;
use std::process::ExitCode;

/// Kills the functions' processes while they accept and run jobs, and counts what was lost or done twice.
#[derive(Parser, Clone, Debug)]
pub(crate) struct Size {
    /// Jobs to accept: half of them analyses, half e-mails.
    #[arg(long, default_value_t = 60)]
    jobs: u32,
    /// Processes to kill.
    #[arg(long, default_value_t = 15)]
    kills: u32,
    /// Jobs to accept while the queue is away.
    #[arg(long, default_value_t = 400)]
    outage: usize,
    /// Leaves the organization as it is; else it is spread when half of the jobs are accepted.
    #[arg(long)]
    unspread: bool,
    /// Has both providers refuse what is beyond a rate, and everything for an hour; after that all is done as otherwise.
    #[arg(long)]
    unkind: bool,
    /// Replays a plan; a failure prints it.
    #[arg(long)]
    seed: Option<u64>,
    /// For `cargo test`'s sake: without `kill` among the names, a run for other tests is not for this one.
    names: Vec<String>,
    /// For `cargo test`'s sake.
    #[arg(long, hide = true)]
    quiet: bool,
}

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(process::ROLE) {
        return process::run(&role);
    }
    let size = Size::parse();
    if !size.names.is_empty() && !size.names.iter().any(|name| name.contains("kill")) {
        return ExitCode::SUCCESS;
    }
    let seed = size.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000_000
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if size.outage > 0 {
        match runtime.block_on(outage::run(size.outage)) {
            Ok(summary) => println!("{summary}"),
            Err(problems) => {
                problems.iter().take(20).for_each(|problem| println!("WRONG: {problem}"));
                return ExitCode::FAILURE;
            }
        }
    }
    if size.jobs == 0 {
        return ExitCode::SUCCESS;
    }
    println!("kill test: {} jobs, {} kills, seed {seed}", size.jobs, size.kills);
    match runtime.block_on(world::run(&size, seed)) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            for problem in problems.iter().take(20) {
                println!("WRONG: {problem}");
            }
            let Size { jobs, kills, .. } = size;
            let unkind = if size.unkind { " --unkind" } else { "" };
            println!(
                "{} problems; again: just kill-test --outage 0 --jobs {jobs} --kills {kills} --seed {seed}{unkind}",
                problems.len()
            );
            ExitCode::FAILURE
        }
    }
}
