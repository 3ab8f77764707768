//! The operator's commands: each works on the system on this machine, or on a deployed one by its table.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use local::names::TABLE_NAME;
use local::operator::dead_letters::{Letters, apply_dead_letters};
use local::operator::redrive::{Report, Which, redrive_failed};
use local::operator::{self, catalogue};
use local::running::{self, NotRunning};
use local::system::project_folder;
use shared::Context;
use shared::ids::{JobId, OrgId};
use shared::jobs::JobMessage;
use shared::model::org::{Plan, Role};
use shared::model::text::Email;
use shared::model::time::Moment;

/// What an operator does by hand.
#[derive(Subcommand)]
pub(crate) enum Operator {
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
    /// Settles an e-mail whose outcome is unknown.
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
        #[arg(long, alias = "fate")]
        outcome: SettledAs,
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
pub(crate) struct At {
    /// The table of a deployed system, reached by AWS's own environment variables, which `just operate` finds [default: the system on this
    /// machine].
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
pub(crate) enum SettledAs {
    Sent,
    NotSent,
}

pub(crate) async fn operate(command: Operator, port: u16) -> Result<(), Box<dyn Error>> {
    match command {
        Operator::Seed { at, catalogue } => {
            let context = at.context(port).await?;
            let count = catalogue::load(&catalogue_file(catalogue), context.store()).await?;
            println!("{} has the prices of {count} models.", context.config().table_name);
        }
        Operator::Account { at, email, password: Some(password), name, org_name, .. } => {
            let account = operator::registrant(email, password, name, org_name)?;
            let begun = operator::account(&at.context(port).await?, account).await?;
            println!("{}", serde_json::to_string(&begun.session)?);
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
            redrive(&at.context(port).await?, which).await?;
        }
        Operator::DeadLetters { at, dead_letter_queue } => {
            let variables = at.variables(port).await?;
            let queue = dead_letter_queue.or_else(|| variables("DEAD_LETTER_QUEUE_URL"));
            let queue = queue.ok_or("--dead-letter-queue is missing")?;
            dead_letters(&operator::context(&at.table(), &variables)?, &queue).await?;
        }
        Operator::SettleEmail { at, org, job, outcome } => {
            let message = JobMessage { org_id: org, job_id: job };
            match operator::settle(&at.context(port).await?, message, outcome == SettledAs::Sent).await? {
                true => println!("{job} is settled."),
                false => println!("{job} is no e-mail of unknown outcome: nothing was changed."),
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

async fn redrive(context: &Context, which: Which) -> Result<(), Box<dyn Error>> {
    let Report { queued, not_needed, stay } = redrive_failed(context, which).await?;
    for (JobMessage { org_id, job_id }, why) in &stay {
        println!("{job_id} of {org_id} stays: {why}");
    }
    println!("{queued} jobs are in the queue again, {not_needed} needed nothing, {} stay.", stay.len());
    Ok(())
}

async fn dead_letters(context: &Context, queue: &str) -> Result<(), Box<dyn Error>> {
    let Letters { queued, not_needed, applied, stay } = apply_dead_letters(context, queue).await?;
    for (id, why) in &stay {
        println!("{id} stays: {why}");
    }
    println!(
        "{queued} jobs are in the queue again, {not_needed} needed nothing, {applied} notices of the mail service are applied, \
         {} letters stay.",
        stay.len()
    );
    Ok(())
}

impl At {
    fn table(&self) -> String {
        self.table.clone().unwrap_or_else(|| TABLE_NAME.to_owned())
    }

    /// What the system's variables are: AWS's own for a table, else those of the system on this machine.
    async fn variables(&self, port: u16) -> Result<Box<dyn Fn(&str) -> Option<String>>, NotRunning> {
        if self.table.is_some() {
            return Ok(Box::new(crate::variable));
        }
        let variables = running::variables(port).await?;
        Ok(Box::new(move |name| variables.get(name).cloned()))
    }

    async fn context(&self, port: u16) -> Result<Context, Box<dyn Error>> {
        Ok(operator::context(&self.table(), &self.variables(port).await?)?)
    }
}

/// The catalogue that a command names, or the project's.
pub(crate) fn catalogue_file(chosen: Option<PathBuf>) -> PathBuf {
    chosen.unwrap_or_else(|| project_folder().join("data/model-prices.json"))
}
