//! What the functions share that take a kind of jobs off its queue: batches of messages, claims, outcomes, and the way to the
//! mail service. A worker names its kind and does it ([`Work`]); [`handle`] is the rest.

pub mod batch;
mod limiter;
pub mod mail;
mod outcome;
pub mod plan;
mod run;
mod time;
pub mod transport;

pub use limiter::{Limiter, RateLimits};
pub use outcome::RunOutcome;
pub use run::note_effect;
pub use time::TimeLeft;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use batch::Verdict;
use lambda_http::http::HeaderValue;
use limiter::Calls;
use shared::clock::Clock;
use shared::config::{Config, ConfigError};
use shared::error::chain;
use shared::jobs::JobMessage;
use shared::model::job::{ATTEMPTS_MAX, JobKind, JobRecord};
use shared::model::limiter::Provider;
use shared::queue::batch::{Batch, Record};
use shared::runtime::Environment;
use shared::runtime::event::object;
use shared::{ApiError, Context};
use std::time::Duration;

/// When a message comes again that is sent anew.
const AWAY: Duration = Duration::from_secs(300);

/// One kind of job, and how it is done.
pub trait Work: Sized + Send + Sync + 'static {
    /// Its queue is where this worker's messages come from.
    const KIND: JobKind;
    /// The function's name, for the log.
    const FUNCTION: &'static str;
    /// Jobs of one batch that run at a time.
    const AT_ONCE: usize;
    /// The longest that a provider may take. No run begins with less time than this and the writing of its outcome.
    const LONGEST_CALL: Duration;

    /// Whom a configuration chooses to do it.
    ///
    /// # Errors
    /// [`ConfigError`] names what is missing or wrong.
    fn of(config: &Config) -> Result<Self, ConfigError>;

    /// What it knows of the rates and breakers of those that it calls.
    fn limiter(&self) -> &Limiter;

    /// Whom a job calls; none for one that needs nobody.
    fn provider(&self, job: &JobRecord) -> Option<Provider>;

    /// What ends a job, or has it wait, for which its provider need not be called: asked before a call is leased for it, so that it uses none
    /// up. `None` if the job is to be run. An error has it wait. Asked only of jobs that call somebody and cost nothing.
    fn without_call(
        &self,
        _: &Context,
        _: &JobRecord,
    ) -> impl Future<Output = Result<Option<RunOutcome>, ApiError>> + Send {
        std::future::ready(Ok(None))
    }

    /// Does a job that was claimed. It asks `time` right before a call how long that may take. `None` if there is nothing more to be
    /// written of it. An error says that nothing was begun: the run does not count.
    fn run(
        &self,
        context: &Context,
        job: JobRecord,
        time: &TimeLeft<'_>,
    ) -> impl Future<Output = Result<Option<(JobRecord, RunOutcome)>, ApiError>> + Send;
}

/// What the jobs of a kind run in, made once per environment.
pub struct Worker<W> {
    context: Context,
    work: W,
}

impl<W: Work> Worker<W> {
    /// A worker for a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names what is missing or wrong.
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        config.queue_url(W::KIND)?;
        let work = W::of(&config)?;
        Ok(Self { context: Context::new(config, clock), work })
    }
}

impl<W: Work> Environment for Worker<W> {
    const CRATES: &'static [&'static str] = &["shared", env!("CARGO_CRATE_NAME")];

    type Error = ConfigError;

    fn from_env() -> Result<Self, ConfigError> {
        Self::new(Config::from_env()?, Clock::system())
    }

    fn log_level(&self) -> tracing::Level {
        self.context.config().log_level
    }

    fn deployment(&self) -> &str {
        &self.context.config().table_name
    }

    fn allowed_origins(&self) -> &[HeaderValue] {
        &[]
    }

    // Nothing goes on after a batch: what it started has ended or is another run's.
    async fn after_reply(&self) {}
}

/// Runs the jobs of a batch until `deadline_ms` (epoch milliseconds), and names the messages that are to come again.
pub async fn handle<W: Work>(worker: &Worker<W>, batch: Batch, deadline_ms: u64) -> SqsBatchResponse {
    let time = TimeLeft::until(&worker.context, deadline_ms, W::LONGEST_CALL);
    let calls = Calls::for_batch(worker.work.limiter());
    batch::handle(W::FUNCTION, batch, W::AT_ONCE, |record| returns(worker, record, &calls, &time)).await
}

/// Whether a message is to come again, and if so, when.
async fn returns<W: Work>(worker: &Worker<W>, record: Record, calls: &Calls<'_>, time: &TimeLeft<'_>) -> bool {
    let Verdict::Return(after) = receive(worker, &record, calls, time).await else { return false };
    if let (Some(after), Some(handle)) = (after, &record.receipt_handle)
        && let Ok(queue) = worker.context.queue(W::KIND)
        && let Err(error) = queue.change_visibility(handle, after).await
    {
        tracing::warn!(cause = chain(&error), "a message returns when its visibility ends");
    }
    true
}

async fn receive<W: Work>(worker: &Worker<W>, record: &Record, calls: &Calls<'_>, time: &TimeLeft<'_>) -> Verdict {
    let Some(message) = record.body.as_deref().and_then(object::<JobMessage>) else {
        // This version can make no sense of it. It comes again for a day, in case another one can, and then rests in the dead-letter queue.
        tracing::error!(message_id = record.message_id(), "a message names no job");
        return Verdict::Return(None);
    };
    message.note();
    let receives = record.receives().unwrap_or(1);
    if time.for_a_call().is_none() {
        return if receives < ATTEMPTS_MAX {
            Verdict::Return(Some(Duration::ZERO))
        } else {
            replace(worker, message, record, Duration::ZERO).await
        };
    }
    match run::run(worker, message, receives, calls, time).await {
        Ok(verdict) => verdict,
        Err(error) => {
            tracing::warn!(cause = chain(&error), "a job's state could not be read or written");
            if receives < ATTEMPTS_MAX { Verdict::Return(None) } else { replace(worker, message, record, AWAY).await }
        }
    }
}

/// Sends a message anew that was received often: its receives are counted from none again. So the queue buries only what no worker has got
/// for a day, and what none could read.
async fn replace<W: Work>(worker: &Worker<W>, message: JobMessage, record: &Record, delay: Duration) -> Verdict {
    let Ok(queue) = worker.context.queue(W::KIND) else { return Verdict::Return(None) };
    let again = message.outgoing(record.trace_header().map(str::to_owned), delay);
    match queue.send(&again).await {
        Ok(_) => Verdict::Delete,
        Err(error) => {
            tracing::warn!(cause = chain(&error), "a message could not be replaced");
            Verdict::Return(None)
        }
    }
}
