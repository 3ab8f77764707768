//! `cargo run`: the whole system on this machine.

use std::{env, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use local::system::{TABLE_NAME, project_folder};
use local::{Options, StartError, Storage, System, catalogue, openapi};
use shared::{Context, config::Config, telemetry::init_logs_without};
use tokio::signal::unix::{SignalKind, signal};

/// Runs CitizenApp's API on this machine: all functions, database and cache in one process.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Keep records in memory only.
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Folder for the records [default: .citizen in the project's folder].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Exact origins whose pages may call, separated by commas [default: the template's].
    #[arg(long)]
    allowed_origins: Option<String>,
    /// SAM template to read [default: the project's template.yaml].
    #[arg(long)]
    template: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the OpenAPI document.
    Openapi,
    /// Loads the price catalogue into a DynamoDB table (AWS's, unless AWS_ENDPOINT_URL says otherwise).
    Seed {
        /// The table's name.
        #[arg(long)]
        table: String,
        /// Catalogue to load [default: the project's data/model-prices.json].
        #[arg(long)]
        catalogue: Option<PathBuf>,
    },
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
        Some(Command::Seed { table, catalogue }) => seed(table, catalogue).await,
        None => serve(options(arguments)).await.map_err(|error| error.to_string()),
    }
}

fn options(arguments: Arguments) -> Options {
    let folder = project_folder();
    let storage = if arguments.ephemeral {
        Storage::Memory
    } else {
        Storage::Folder(arguments.data_dir.unwrap_or_else(|| folder.join(".citizen")))
    };
    Options {
        port: arguments.port,
        storage,
        template: arguments.template.unwrap_or_else(|| folder.join("template.yaml")),
        catalogue: catalogue_file(None),
        cache_url: env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned()),
        allowed_origins: arguments.allowed_origins,
    }
}

fn catalogue_file(chosen: Option<PathBuf>) -> PathBuf {
    chosen.unwrap_or_else(|| project_folder().join("data/model-prices.json"))
}

/// Loads the catalogue with the credentials, region and endpoint of AWS's own environment variables.
async fn seed(table: String, catalogue: Option<PathBuf>) -> Result<(), String> {
    let config = Config::from_lookup(|name| match name {
        "TABLE_NAME" => Some(table.clone()),
        // Nothing here is called from a browser or reads a cache.
        "ALLOWED_ORIGINS" => Some("http://localhost".to_owned()),
        "CACHE_URL" => Some("off:".to_owned()),
        _ => env::var(name).ok(),
    })
    .map_err(|error| error.to_string())?;
    let context = Context::new(config);
    let loaded = catalogue::load(&catalogue_file(catalogue), context.store()).await;
    let count = loaded.map_err(|error| error.to_string())?;
    println!("{table} has the prices of {count} models.");
    Ok(())
}

/// Serves until Ctrl-C or SIGTERM.
async fn serve(options: Options) -> Result<(), StartError> {
    if let Ok(level) = env::var("LOG_LEVEL").as_deref().unwrap_or("info").parse() {
        // The embedded database warns of each condition that does not hold.
        init_logs_without(level, "dynoxide");
    }
    let system = System::start(options).await?;
    let url = system.url();
    println!("CitizenApp's API answers at {url}");
    println!("Its documentation: {url}/docs");
    println!("Its embedded database answers at {} (table {TABLE_NAME})", system.database_url());
    println!();
    println!("    curl -i '{url}/models/pricing?provider=anthropic'");
    println!();
    println!("Ctrl-C ends it.");
    stop_requested().await;
    println!("Stopping.");
    system.shutdown().await;
    Ok(())
}

async fn stop_requested() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
