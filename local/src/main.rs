//! `cargo run`: the whole system on this machine.

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

use clap::{Args, Parser, Subcommand, ValueEnum};
use local::ablation::Ablation;
use local::clock::Clock;
use local::connections::Limits;
use local::figures;
use local::like_aws::LikeAws;
use local::names::TABLE_NAME;
use local::operator::dead_letters::{Letters, apply_dead_letters};
use local::operator::redrive::{Report, Which, redrive_failed};
use local::operator::{self, catalogue};
use local::running::{self, NotRunning};
use local::system::project_folder;
use local::{Options, Storage, System, functions, openapi};
use shared::caps::{CAP_SHARES, Cap};
use shared::config::{NoOrigin, parse_origins};
use shared::ids::{JobId, OrgId};
use shared::jobs::JobMessage;
use shared::limits::NetworkLimit;
use shared::model::org::{Plan, Role};
use shared::model::text::Email;
use shared::model::time::Moment;
use shared::{
    Context,
    telemetry::logs::{self, Crates},
};
use testkit::providers::Scene;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    /// Exact origins whose pages may call, separated by commas [default: the template's].
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
    Operator(Operator),
}

/// What an operator does by hand.
#[derive(Subcommand)]
enum Operator {
    /// Loads the price catalogue into the table.
    Seed {
        #[command(flatten)]
        at: At,
        /// Catalogue to load [default: the project's data/model-prices.json].
        #[arg(long)]
        catalogue: Option<PathBuf>,
    },
    /// Makes an account with an organization, whose address needs no proof, and prints its first session as JSON: a token that opens
    /// it is in that. With --verified and without --password: says that the address of an account is proven.
    Account {
        #[command(flatten)]
        at: At,
        /// Its address.
        #[arg(long)]
        email: String,
        /// Its password; others on this machine may see a command's arguments.
        #[arg(long, required_unless_present = "verified")]
        password: Option<String>,
        /// Says that the address is its user's, as an operator's word always does.
        #[arg(long)]
        verified: bool,
        /// Its user's name.
        #[arg(long, default_value = "Ada Lovelace")]
        name: String,
        /// Its organization's name.
        #[arg(long, default_value = "Analytical Engines")]
        org_name: String,
    },
    /// Ends all sessions of an account, of whoever they are. The password stays: its user logs in again, or chooses another by mail.
    EndSessions {
        #[command(flatten)]
        at: At,
        /// The account's address.
        #[arg(long)]
        email: String,
    },
    /// Makes an account a member of an organization, without an invitation.
    Member {
        #[command(flatten)]
        at: At,
        /// The organization's id.
        #[arg(long)]
        org: OrgId,
        /// The account's address.
        #[arg(long)]
        email: String,
        /// What it becomes: member, admin or owner.
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// Gives an organization a plan, or lists the plans that owners once gave themselves.
    Plan {
        #[command(flatten)]
        at: At,
        /// The organization's id.
        #[arg(long, required_unless_present = "self_taken")]
        org: Option<OrgId>,
        /// Its new plan: free, pro or enterprise.
        #[arg(long, required_unless_present = "self_taken", value_parser = plan)]
        plan: Option<Plan>,
        /// Lists the organizations with a paid plan that no operator gave. Reads the whole table.
        #[arg(long, conflicts_with_all = ["org", "plan"])]
        self_taken: bool,
    },
    /// Spreads the items of an organization that is about to be busy: in a minute they need no record that all creations write. It
    /// stays so, and each list of its items then reads nine partitions.
    Spread {
        #[command(flatten)]
        at: At,
        /// The organization's id.
        #[arg(long)]
        org: OrgId,
    },
    /// Gives an organization another key for the cursors of its lists: those that callers hold are refused from then on.
    RotateCursorKey {
        #[command(flatten)]
        at: At,
        /// The organization's id.
        #[arg(long)]
        org: OrgId,
    },
    /// Puts failed jobs back on their queues, which variables of the environment name (ANALYSES_QUEUE_URL, …): one, an organization's, or
    /// all.
    Redrive {
        #[command(flatten)]
        at: At,
        /// The organization's id; without --job, all its failed jobs.
        #[arg(long, required_unless_present = "all")]
        org: Option<OrgId>,
        /// The job's id.
        #[arg(long, requires = "org", conflicts_with_all = ["since", "all"])]
        job: Option<JobId>,
        /// All failed jobs of all organizations.
        #[arg(long, conflicts_with = "org")]
        all: bool,
        /// Only those that failed at this time (RFC 3339) or later.
        #[arg(long, value_parser = moment)]
        since: Option<Moment>,
    },
    /// Applies what is in the dead-letter queue and can be read by now, and says what stays.
    DeadLetters {
        #[command(flatten)]
        at: At,
        /// URL of the dead-letter queue [default: that of the system on this machine].
        #[arg(long)]
        dead_letter_queue: Option<String>,
    },
    /// Says what became of an e-mail whose fate is unknown.
    SettleEmail {
        #[command(flatten)]
        at: At,
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
        #[command(flatten)]
        at: At,
        /// The address.
        address: String,
        /// Takes it off the list instead.
        #[arg(long)]
        remove: bool,
    },
}

/// The system that a command works on.
#[derive(Args)]
struct At {
    /// The table of a deployed system, reached by AWS's own environment variables [default: the system on this machine].
    #[arg(long)]
    table: Option<String>,
}

/// A role by its name.
fn role(name: &str) -> Result<Role, String> {
    let roles = [Role::Member, Role::Admin, Role::Owner];
    roles.into_iter().find(|role| role.as_str() == name).ok_or_else(|| "not member, admin or owner".to_owned())
}

/// A time in RFC 3339.
fn moment(text: &str) -> Result<Moment, String> {
    let timestamp: jiff::Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Ok(Moment::from_millis(timestamp.as_millisecond()))
}

/// A plan by its name.
fn plan(name: &str) -> Result<Plan, String> {
    let plans = [Plan::Free, Plan::Pro, Plan::Enterprise];
    plans.into_iter().find(|plan| plan.as_str() == name).ok_or_else(|| "not free, pro or enterprise".to_owned())
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
        Some(Command::Operator(command)) => operate(command, arguments.port).await.map_err(|error| error.to_string()),
        None => serve(options(arguments)?).await.map_err(|error| error.to_string()),
    }
}

async fn operate(command: Operator, port: u16) -> Result<(), Box<dyn Error>> {
    match command {
        Operator::Seed { at, catalogue } => {
            let context = at.context(port).await?;
            let count = catalogue::load(&catalogue_file(catalogue), context.store()).await?;
            println!("{} has the prices of {count} models.", context.config().table_name);
        }
        Operator::Account { at, email, password: Some(password), name, org_name, .. } => {
            let account = operator::registrant(email, password, name, org_name)?;
            let session = operator::account(&at.context(port).await?, account).await?;
            println!("{}", serde_json::to_string(&session)?);
        }
        Operator::Account { at, email, .. } => {
            let user = operator::verify_account(&at.context(port).await?, &Email::known(email)?).await?;
            println!("{user}: the address is proven.");
        }
        Operator::EndSessions { at, email } => {
            let user = operator::end_sessions(&at.context(port).await?, &Email::known(email)?).await?;
            println!("{user}: all sessions have ended.");
        }
        Operator::Member { at, org, email, role } => {
            let user = operator::add_member(&at.context(port).await?, org, &Email::known(email)?, role).await?;
            println!("{user} belongs to {org} as {}.", role.as_str());
        }
        Operator::Plan { at, org: Some(org), plan: Some(plan), .. } => {
            let given = operator::give_plan(&at.context(port).await?, org, plan).await?;
            println!("{org} has the plan {} (version {}).", given.plan.as_str(), given.version);
        }
        Operator::Plan { at, .. } => {
            for org in operator::self_taken_plans(&at.context(port).await?).await? {
                println!("{}\t{}\t{}", org.org_id, org.plan.as_str(), org.name);
            }
        }
        Operator::Spread { at, org } => {
            operator::spread(&at.context(port).await?, org).await?;
            println!("{org}: new items are spread from a minute from now.");
        }
        Operator::RotateCursorKey { at, org } => {
            operator::rotate_cursor_key(&at.context(port).await?, org).await?;
            println!("{org}: cursors of before are refused.");
        }
        Operator::Redrive { at, org, job, since, .. } => {
            let since = since.unwrap_or(Moment::from_millis(0));
            let which = match (org, job) {
                (Some(org_id), Some(job_id)) => Which::Job(JobMessage { org_id, job_id }),
                (Some(org), None) => Which::Of(org, since),
                (None, _) => Which::All(since),
            };
            let Report { queued, not_needed, stay } = redrive_failed(&at.context(port).await?, which).await?;
            for (JobMessage { org_id, job_id }, why) in &stay {
                println!("{job_id} of {org_id} stays: {why}");
            }
            println!("{queued} jobs are in the queue again, {not_needed} needed nothing, {} stay.", stay.len());
        }
        Operator::DeadLetters { at, dead_letter_queue } => {
            let variables = at.variables(port).await?;
            let queue = dead_letter_queue.or_else(|| variables("DEAD_LETTER_QUEUE_URL"));
            let queue = queue.ok_or("--dead-letter-queue is missing")?;
            let context = operator::context(&at.table(), &variables)?;
            let Letters { queued, not_needed, applied, stay } = apply_dead_letters(&context, &queue).await?;
            for (id, why) in &stay {
                println!("{id} stays: {why}");
            }
            println!(
                "{queued} jobs are in the queue again, {not_needed} needed nothing, {applied} notices of the mail service are applied, \
                 {} letters stay.",
                stay.len()
            );
        }
        Operator::SettleEmail { at, org, job, fate } => {
            let message = JobMessage { org_id: org, job_id: job };
            match operator::settle(&at.context(port).await?, message, fate == EmailFate::Sent).await? {
                true => println!("{job} is settled."),
                false => println!("{job} is no e-mail of unknown fate: nothing was changed."),
            }
        }
        Operator::Suppress { at, address, remove } => {
            // One that was listed before domains were judged can be taken off.
            let address = if remove { Email::known(address) } else { address.parse() }?;
            operator::suppress(&at.context(port).await?, &address, !remove).await?;
            println!("{} is {}listed.", address.as_str(), if remove { "no longer " } else { "" });
        }
    }
    Ok(())
}

impl At {
    fn table(&self) -> String {
        self.table.clone().unwrap_or_else(|| TABLE_NAME.to_owned())
    }

    /// What the system's variables are: AWS's own for a table, else those of the system on this machine.
    async fn variables(&self, port: u16) -> Result<Box<dyn Fn(&str) -> Option<String>>, NotRunning> {
        if self.table.is_some() {
            return Ok(Box::new(|name| env::var(name).ok()));
        }
        let variables = running::variables(port).await?;
        Ok(Box::new(move |name| variables.get(name).cloned()))
    }

    async fn context(&self, port: u16) -> Result<Context, Box<dyn Error>> {
        Ok(operator::context(&self.table(), &self.variables(port).await?)?)
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
        catalogue: catalogue_file(None),
        cache_url: env::var("CACHE_URL").unwrap_or_else(|_| "memory:".to_owned()),
        allowed_origins: arguments.allowed_origins,
        environment: chosen(),
        anthropic_api_key: anthropic_api_key(|name| env::var(name).ok())?,
        without_rates: false,
        limits: Limits::default(),
        background: true,
        without: arguments.without,
        unkind: arguments.unkind,
        like_aws: arguments.like_aws.then(LikeAws::default),
    })
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
        .filter_map(|name| Some((name.to_owned(), env::var(name).ok()?)))
        .collect()
}

/// The model provider's key, where that provider is chosen and no secret of AWS's has it.
fn anthropic_api_key(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Secret>, String> {
    let is_chosen = variable("ANALYSIS_PROVIDER").is_some_and(|provider| provider == "anthropic");
    if !is_chosen || variable("ANTHROPIC_SECRET_ID").is_some() {
        return Ok(None);
    }
    let key = variable("ANTHROPIC_API_KEY").ok_or("ANALYSIS_PROVIDER=anthropic needs ANTHROPIC_API_KEY")?;
    Secret::new(&key).map(Some).map_err(|_| "ANTHROPIC_API_KEY is no key: it is empty or has a space in it".to_owned())
}

fn catalogue_file(chosen: Option<PathBuf>) -> PathBuf {
    chosen.unwrap_or_else(|| project_folder().join("data/model-prices.json"))
}

/// Serves until Ctrl-C, SIGTERM or the terminal's end.
async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    // Before anything is made that has to be taken away again.
    let mut stops = Vec::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        stops.push(signal(kind)?);
    }
    if let Ok(level) = env::var("LOG_LEVEL").as_deref().unwrap_or("info").parse() {
        // The embedded database warns of each condition that does not hold.
        let ours = functions::crates().chain(["local", "shared"].map(str::to_owned)).collect();
        logs::init(level, Crates { ours, quiet: vec!["dynoxide".to_owned()] }, io::stdout);
        logs::init_panics();
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
        println!("    curl -X PUT -d well {url}{}", figures::PROVIDERS);
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
