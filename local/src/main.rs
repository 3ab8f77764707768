//! `cargo run`: the whole system on this machine.

use std::{collections::BTreeMap, env, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use local::ablation::Ablation;
use local::names::TABLE_NAME;
use local::operator::{self, catalogue};
use local::system::project_folder;
use local::{Options, StartError, Storage, System, functions, openapi};
use shared::ids::{JobId, OrgId};
use shared::jobs::JobMessage;
use shared::model::text::Email;
use shared::{
    Context,
    telemetry::logs::{self, Crates},
};
use tokio::signal::unix::{SignalKind, signal};

/// A page, a transaction and a compressor are many allocations; glibc's take a tenth more of a request (lab/NOTEBOOK.md, "tried").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Do without cache, compression, queue or client-reuse, to measure what it is worth.
    #[arg(long)]
    without: Option<Ablation>,
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
    /// Puts the jobs of all dead letters back on the queue that JOBS_QUEUE_URL names.
    Redrive {
        /// The table's name.
        #[arg(long)]
        table: String,
        /// URL of the dead-letter queue.
        #[arg(long)]
        dead_letter_queue: String,
    },
    /// Says what became of an e-mail whose fate is unknown.
    SettleEmail {
        /// The table's name.
        #[arg(long)]
        table: String,
        /// The organization's id.
        #[arg(long)]
        org: OrgId,
        /// The job's id.
        #[arg(long)]
        job: JobId,
        /// Whether the mail service took it.
        #[arg(long)]
        fate: EmailFate,
    },
    /// Lists an address that is not to be written to.
    Suppress {
        /// The table's name.
        #[arg(long)]
        table: String,
        /// The address.
        address: String,
        /// Takes it off the list instead.
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EmailFate {
    Sent,
    NotSent,
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
        Some(Command::Redrive { table, dead_letter_queue }) => {
            let report =
                operator::redrive_all(&context(&table)?, &dead_letter_queue).await.map_err(|e| e.to_string())?;
            let operator::Report { queued, not_needed, stay } = report;
            println!("{queued} jobs are in the queue again, {not_needed} needed nothing, {stay} letters stay.");
            Ok(())
        }
        Some(Command::SettleEmail { table, org, job, fate }) => {
            let message = JobMessage { org_id: org, job_id: job };
            let asked = operator::settle(&context(&table)?, message, fate == EmailFate::Sent).await;
            match asked.map_err(|error| error.to_string())? {
                true => println!("{job} is settled."),
                false => println!("{job} is no e-mail of unknown fate: nothing was changed."),
            }
            Ok(())
        }
        Some(Command::Suppress { table, address, remove }) => {
            let address = Email::try_from(address)?;
            operator::suppress(&context(&table)?, &address, !remove).await.map_err(|error| error.to_string())?;
            println!("{} is {}listed.", address.as_str(), if remove { "no longer " } else { "" });
            Ok(())
        }
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
    let mailbox = match &storage {
        Storage::Folder(folder) => folder.join("mail"),
        Storage::Memory => Options::ephemeral().mailbox,
    };
    Options {
        port: arguments.port,
        storage,
        mailbox,
        template: arguments.template.unwrap_or_else(|| folder.join("template.yaml")),
        catalogue: catalogue_file(None),
        cache_url: env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned()),
        allowed_origins: arguments.allowed_origins,
        environment: chosen_providers(),
        background: true,
        without: arguments.without,
    }
}

/// The providers that the process's environment chooses, and what they need.
fn chosen_providers() -> BTreeMap<String, String> {
    let names = [
        "ANALYSIS_PROVIDER",
        "ANTHROPIC_SECRET_ID",
        "ANTHROPIC_BASE_URL",
        "MAIL_PROVIDER",
        "MAIL_FROM",
        "SES_CONFIGURATION_SET",
        "AWS_ENDPOINT_URL_SESV2",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    ];
    names.into_iter().filter_map(|name| Some((name.to_owned(), env::var(name).ok()?))).collect()
}

fn catalogue_file(chosen: Option<PathBuf>) -> PathBuf {
    chosen.unwrap_or_else(|| project_folder().join("data/model-prices.json"))
}

fn context(table: &str) -> Result<Context, String> {
    operator::context(table).map_err(|error| error.to_string())
}

/// Loads the catalogue with the credentials, region and endpoint of AWS's own environment variables.
async fn seed(table: String, catalogue: Option<PathBuf>) -> Result<(), String> {
    let context = context(&table)?;
    let loaded = catalogue::load(&catalogue_file(catalogue), context.store()).await;
    let count = loaded.map_err(|error| error.to_string())?;
    println!("{table} has the prices of {count} models.");
    Ok(())
}

/// Serves until Ctrl-C or SIGTERM.
async fn serve(options: Options) -> Result<(), StartError> {
    if let Ok(level) = env::var("LOG_LEVEL").as_deref().unwrap_or("info").parse() {
        // The embedded database warns of each condition that does not hold.
        let ours = functions::crates().chain(["local", "shared"].map(str::to_owned)).collect();
        logs::init(level, Crates { ours, quiet: vec!["dynoxide".to_owned()] });
        logs::init_panics();
    }
    let system = System::start(options).await?;
    let url = system.url();
    println!("CitizenApp's API answers at {url}");
    println!("Its documentation: {url}/docs");
    println!("Its embedded database answers at {} (table {TABLE_NAME})", system.database_url());
    println!("Its embedded queues answer at {}", system.sqs_url());
    println!("E-mails are delivered to {}", system.mailbox().display());
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
