//! `cargo run`: the whole system on this machine.

mod commands;

use analysis_worker::secret::Secret;
use std::{
    collections::BTreeMap,
    env,
    error::Error,
    future::poll_fn,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    task::Poll,
};

use clap::{Parser, Subcommand};
use local::ablation::Ablation;
use local::clock::Clock;
use local::connections::Limits;
use local::like_aws::LikeAws;
use local::local_routes;
use local::names::TABLE_NAME;
use local::system::project_folder;
use local::{Options, Storage, System, functions, openapi};
use shared::caps::{CAP_SHARES, Cap};
use shared::config::{NoOrigin, parse_origins};
use shared::error::chain;
use shared::limits::NetworkLimit;
use shared::telemetry::logs::{self, Crates};
use testkit::providers::Scene;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

/// A page, a transaction and a compressor are many allocations; glibc's take a tenth more of a request (lab/NOTEBOOK.md, "tried").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs CitizenApp's API on this machine: all functions, database and cache in one process.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port at localhost; 0 takes a free one. The operator's commands without a --table work on the system there.
    #[arg(long, global = true, default_value_t = 3000)]
    port: u16,
    /// Keep records in memory only, and e-mails in a temporary folder that goes with the system.
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Folder for the records [default: .citizen in the project's folder].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Exact origins whose pages may call, separated by commas [default: the template's, and this system's own].
    #[arg(long, value_parser = origins)]
    allowed_origins: Option<String>,
    /// SAM template to read [default: the project's template.yaml].
    #[arg(long)]
    template: Option<PathBuf>,
    /// Do without cache, compression, queue or client-reuse, to measure what it is worth.
    #[arg(long)]
    without: Option<Ablation>,
    /// Answer as AWS does under load, not as the embedded engines do (docs/like-aws.md).
    #[arg(long, conflicts_with = "without")]
    like_aws: bool,
    /// Call providers on a bad day: well, busy, quota-used-up, overloaded, unreachable, suspended or hanging (docs/like-aws.md).
    #[arg(long, conflicts_with = "without", num_args = 0..=1, default_missing_value = "busy", value_name = "SCENE")]
    unkind: Option<Scene>,
}

/// A list of origins, as it was given: the functions' configuration reads it again.
fn origins(list: &str) -> Result<String, NoOrigin> {
    parse_origins(list).map(|_| list.to_owned())
}

#[derive(Subcommand)]
enum Command {
    /// Prints the OpenAPI document.
    Openapi,
    #[command(flatten)]
    Operator(commands::Operator),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    match arguments.command {
        Some(Command::Openapi) => {
            print!("{}", openapi::document());
            Ok(())
        }
        Some(Command::Operator(command)) => {
            commands::operate(command, arguments.port).await.map_err(|error| chain(&*error))
        }
        None => serve(options(arguments)?).await.map_err(|error| error.to_string()),
    }
}

fn options(arguments: Arguments) -> Result<Options, String> {
    let folder = project_folder();
    let storage = if arguments.ephemeral {
        Storage::Memory
    } else {
        Storage::Folder(arguments.data_dir.unwrap_or_else(|| folder.join(".citizen")))
    };
    let mailbox = match &storage {
        Storage::Folder(folder) => Some(folder.join("mail")),
        Storage::Memory => None,
    };
    Ok(Options {
        port: arguments.port,
        storage,
        clock: Clock::system(),
        mailbox,
        template: arguments.template.unwrap_or_else(|| folder.join("template.yaml")),
        catalogue: commands::catalogue_file(None),
        cache_url: variable("CACHE_URL").unwrap_or_else(|| "memory:".to_owned()),
        allowed_origins: arguments.allowed_origins,
        environment: chosen(),
        anthropic_api_key: anthropic_api_key()?,
        without_rates: false,
        limits: Limits::default(),
        background: true,
        without: arguments.without,
        unkind: arguments.unkind,
        like_aws: arguments.like_aws.then(LikeAws::default),
    })
}

/// A variable of the process's environment. An empty one is none, as the functions take it.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The providers that the process's environment chooses and what they need, and other limits than the template's.
fn chosen() -> BTreeMap<String, String> {
    let providers = [
        "ANALYSIS_PROVIDER",
        "ANTHROPIC_SECRET_ID",
        "ANTHROPIC_BASE_URL",
        "MAIL_FROM",
        "SES_CONFIGURATION_SET",
        "AWS_ENDPOINT_URL_SESV2",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    ];
    let rates = ["SESSION_REQUESTS_PER_SECOND", "ORG_REQUESTS_PER_SECOND"];
    let caps = Cap::ALL.map(Cap::variable).into_iter().chain([CAP_SHARES]);
    let limits = NetworkLimit::ALL.map(NetworkLimit::variable);
    providers
        .into_iter()
        .chain(limits)
        .chain(caps)
        .chain(rates)
        .filter_map(|name| Some((name.to_owned(), variable(name)?)))
        .collect()
}

/// The model provider's key, where that provider is chosen and no secret of AWS's has it.
fn anthropic_api_key() -> Result<Option<Secret>, String> {
    let is_chosen = variable("ANALYSIS_PROVIDER").is_some_and(|provider| provider == "anthropic");
    if !is_chosen || variable("ANTHROPIC_SECRET_ID").is_some() {
        return Ok(None);
    }
    let key = variable("ANTHROPIC_API_KEY").ok_or("ANALYSIS_PROVIDER=anthropic needs ANTHROPIC_API_KEY")?;
    Secret::new(&key).map(Some).map_err(|_| "ANTHROPIC_API_KEY is no key: it is empty or has a space in it".to_owned())
}

/// The functions' logs, but for what the embedded database warns of: each condition that does not hold.
fn init_logs(level: Level) {
    let ours = functions::crates().chain(["local", "shared"].map(str::to_owned)).collect();
    let wanted = filter_fn(|line| is_wanted(*line.level(), line.target()));
    let _already_set = tracing::subscriber::set_global_default(logs::subscriber(level, Crates { ours }).with(wanted));
    logs::init_panics();
}

fn is_wanted(level: Level, target: &str) -> bool {
    level == Level::ERROR || !target.starts_with("dynoxide")
}

/// Serves until Ctrl-C, SIGTERM or the terminal's end.
async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    // Before anything is made that has to be taken away again.
    let mut stops = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        stops.push(signal(kind)?);
    }
    if let Ok(level) = variable("LOG_LEVEL").as_deref().unwrap_or("info").parse() {
        init_logs(level);
    }
    let system = System::start(options).await?;
    let url = system.url();
    println!("CitizenApp's API answers at {url}");
    println!("Its documentation: {url}/docs");
    println!("Its embedded database answers at {} (table {TABLE_NAME})", system.database_url());
    println!("Its embedded queues answer at {}", system.sqs_url());
    println!(
        "Its embedded mail service answers at {} and delivers to {}",
        system.mail_url(),
        system.mailbox().display()
    );
    if let Some(providers) = system.providers() {
        println!("Its model provider and mail service have a bad day: {}", providers.figures());
        println!("    curl -X PUT -d well {url}{}", local_routes::PROVIDERS);
    }
    println!();
    println!("    curl -i '{url}/models/pricing?provider=anthropic'");
    println!();
    println!("Ctrl-C ends it.");
    stop_requested(&mut stops).await;
    // To a terminal that is gone nothing can be said.
    let _ = writeln!(io::stdout(), "Stopping.");
    system.shutdown().await;
    Ok(())
}

/// Returns at the first of these signals.
async fn stop_requested(stops: &mut [Signal]) {
    let first = poll_fn(|context| match stops.iter_mut().any(|stop| stop.poll_recv(context).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    });
    first.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_the_embedded_database_are_wanted() {
        assert!(!is_wanted(Level::WARN, "dynoxide::actions"));
        assert!(is_wanted(Level::ERROR, "dynoxide::actions"));
        assert!(is_wanted(Level::WARN, "axum"));
    }
}
