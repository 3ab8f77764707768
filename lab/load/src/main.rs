//! `just load` and `just before-after`.

use clap::{Args, Parser, Subcommand};
use load::operator::Operator;
use load::report::{CLOSED, OPEN};
use load::run::observed;
use load::server::Server;
use load::world::World;
use load::{arrivals, before_after};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Puts realistic load on the system, writes a report, and fails if one acknowledged thing was lost, doubled, stale or
/// somebody else's.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    load: Load,
}

#[derive(Subcommand)]
enum Command {
    /// The same load on the system, with one thing taken away at a time.
    BeforeAfter {
        /// Rounds, interleaved.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Actions in each run; each is one to three requests.
        #[arg(long, default_value_t = 6_000)]
        actions: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The system's program.
        #[arg(long, default_value = "target/release/local")]
        local: PathBuf,
        /// Folder for `before-after.md`.
        #[arg(long, default_value = "target/load")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Load {
    /// Base URL of the system [default: one of its own, started from --local].
    #[arg(long)]
    url: Option<String>,
    /// The table of a deployed system, for the operator's commands, which take AWS's own environment variables.
    #[arg(long, requires = "url")]
    table: Option<String>,
    /// The system's program, which is also the operator's.
    #[arg(long, default_value = "target/debug/local")]
    local: PathBuf,
    /// Start it in the like-aws world (docs/like-aws.md).
    #[arg(long, conflicts_with = "url")]
    like_aws: bool,
    /// Organizations, of Zipf popularity.
    #[arg(long, default_value_t = 30)]
    orgs: usize,
    /// Users at once who wait for their replies and think between two actions; 0 for none.
    #[arg(long, default_value_t = 40)]
    users: usize,
    /// Actions a second that arrive whatever the replies do; 0 for none.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Seconds of each of the two.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds in which each of the two grows to that.
    #[arg(long, default_value_t = 4)]
    ramp: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the report.
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::BeforeAfter { rounds, actions, seed, local, out }) => {
            compare(rounds, actions, seed, &local, &out).await
        }
        None => put_load(arguments.load).await,
    };
    match done {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(rounds: usize, actions: u64, seed: u64, local: &Path, out: &Path) -> Result<ExitCode, String> {
    let table = before_after::run(local, rounds, actions, seed).await?;
    let written = std::fs::create_dir_all(out).and_then(|()| std::fs::write(out.join("before-after.md"), &table));
    written.map_err(|error| format!("{}: {error}", out.display()))?;
    print!("{table}");
    Ok(ExitCode::SUCCESS)
}

async fn put_load(load: Load) -> Result<ExitCode, String> {
    let server = match &load.url {
        Some(_) => None,
        None => Some(Server::start(&load.local, if load.like_aws { &["--like-aws"] } else { &[] }).await?),
    };
    let url = load.url.clone().or(server.as_ref().map(|server| server.url.clone())).unwrap_or_default();
    let url = url.trim_end_matches('/');
    eprintln!("{} organizations register at {url}", load.orgs);
    let operator = Operator::new(load.local.clone(), url, load.table.as_deref());
    let account = async |new: &Value| operator.account(new).await;
    let give_plan = async |org: &str| operator.give_plan(org).await;
    let world = World::found(url, account, give_plan, load.orgs, load.seed).await?;
    let (ramp, duration) = (Duration::from_secs(load.ramp), Duration::from_secs(load.seconds));
    let both = async {
        if load.users > 0 {
            world.client.phase(CLOSED);
            arrivals::users(&world, load.users, ramp, duration).await;
        }
        if load.rate <= 0.0 {
            return Ok(0);
        }
        world.client.phase(OPEN);
        Ok(arrivals::open(&world, load.rate, ramp, duration).await)
    };
    let pid = server.as_ref().and_then(Server::pid);
    let mut run = observed(&world, pid, (Duration::from_secs(1), true), both).await?;
    run.title = format!(
        "{url}, {} organizations, {} users for {} s, then {} actions a second for {} s; seed {}",
        load.orgs, load.users, load.seconds, load.rate, load.seconds, load.seed
    );
    run.write(&load.out).map_err(|error| format!("{}: {error}", load.out.display()))?;
    if let Some(server) = server {
        server.stop().await;
    }
    println!("{} requests; the report: {}", run.samples.len(), load.out.join("report.html").display());
    let (first, count) = &run.violations;
    first.iter().for_each(|what| println!("WRONG: {what}"));
    println!("{count} violations of the truth");
    Ok(if *count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
