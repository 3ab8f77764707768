//! What runs beside the API: the embedded queue service, and the functions that a queue, a schedule or the table's stream
//! calls.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use dynoxide::DynoxideError;
use shared::Context;
use shared::config::ConfigError;
use shared::queue::batch::Batch;
use shared::runtime::event::Event as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, millis};
use crate::environment::Contexts;
use crate::event_source::{EventSource, Mapping, MappingError};
use crate::layers::embedded::EmbeddedDatabase;
use crate::names::{REGION, TABLE_NAME};
use crate::schedule::{Rate, RateError};
use crate::sqs::{Sqs, SqsError};
use crate::stream_source::{StreamSource, UnknownPattern};
use crate::table_stream::TableStream;
use crate::template::{EventFunction, Queue, StreamMapping, Template, Trigger};

/// Folder names of the functions that events call: by a queue, a schedule and the table's stream.
pub const NAMES: [&str; 5] = [ANALYSIS_WORKER, EMAIL_WORKER, MAIL_EVENT_WORKER, SWEEPER, INVALIDATOR];
const ANALYSIS_WORKER: &str = "analysis-worker";
const EMAIL_WORKER: &str = "email-worker";
const MAIL_EVENT_WORKER: &str = "mail-event-worker";
const SWEEPER: &str = "sweeper";
const INVALIDATOR: &str = "invalidator";

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum BackgroundError {
    /// No port for the queue service.
    #[error("embedded queue service: {0}")]
    Port(#[from] io::Error),
    /// The template's queue is not one that SQS takes.
    #[error("embedded queue service: {0}")]
    Queue(#[from] SqsError),
    /// The template's mapping is not one that Lambda takes.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The template's schedule is not one that EventBridge takes.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// The template's filter of the table's stream is not known here.
    #[error(transparent)]
    Filter(#[from] UnknownPattern),
    /// The template's table has no stream that could call a function.
    #[error("the table's stream: {0}")]
    Stream(#[from] DynoxideError),
    /// A worker's configuration is wrong.
    #[error(transparent)]
    Worker(#[from] ConfigError),
    /// The template names a function that this program does not have.
    #[error("no handler for the function {0}")]
    UnknownFunction(String),
}

/// The queue service, with the template's queues.
#[derive(Debug)]
pub struct Queues {
    sqs: Sqs,
    listener: TcpListener,
    url: String,
}

impl Queues {
    /// Makes the template's queues.
    ///
    /// # Errors
    /// [`BackgroundError`].
    pub async fn open(template: &Template, clock: Clock) -> Result<Self, BackgroundError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let sqs = Sqs::new(&url, REGION, clock);
        for queue in &template.queues {
            create(&sqs, queue)?;
        }
        Ok(Self { sqs, listener, url })
    }

    /// The service.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// Where the service answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where one of its queues is.
    #[must_use]
    pub fn queue_url(&self, id: &str) -> String {
        self.sqs.queue_url(id)
    }
}

fn create(sqs: &Sqs, queue: &Queue) -> Result<(), SqsError> {
    let mut attributes = queue.attributes.clone();
    if let Some((target, count)) = &queue.redrive {
        let arn = sqs.queue_arn(target)?;
        let policy = serde_json::json!({"deadLetterTargetArn": arn, "maxReceiveCount": count});
        attributes.insert("RedrivePolicy".to_owned(), policy.to_string());
    }
    sqs.create_queue(&queue.id, &attributes).map(|_| ())
}

/// Running background work. Dropping it ends it, without waiting.
#[derive(Debug)]
pub struct Background {
    sqs: Sqs,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Background {
    /// Starts the queue service and the functions that events call.
    ///
    /// # Errors
    /// [`BackgroundError`].
    pub(crate) fn start(
        queues: Queues,
        database: EmbeddedDatabase,
        events: &[EventFunction],
        contexts: &Contexts,
    ) -> Result<Self, BackgroundError> {
        let Queues { sqs, listener, .. } = queues;
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let (service, ended) = (sqs.clone(), stopped(&stop));
        tasks.spawn(async move { service.serve(listener, ended).await });
        for event in events {
            match &event.trigger {
                Trigger::Queue { .. } => {
                    let (source, ended) = (from_queue(&sqs, event, contexts)?, stopped(&stop));
                    tasks.spawn(async move {
                        if let Err(error) = source.run(ended).await {
                            tracing::error!(%error, "a queue no longer feeds its worker");
                        }
                    })
                }
                Trigger::Schedule { expression } => tasks.spawn(on_schedule(&sqs, event, expression, contexts, &stop)?),
                Trigger::Stream(mapping) => {
                    let changes = TableStream::from_oldest(database.clone(), TABLE_NAME)?;
                    tasks.spawn(from_stream(changes, event, mapping, contexts, sqs.clock(), &stop)?)
                }
            };
        }
        Ok(Self { sqs, stop, tasks })
    }

    /// The queue service.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// Lets what runs end.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stop = stop.subscribe();
    async move {
        // An error means that the system is gone: a stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

/// The end of an invocation that begins now, in epoch milliseconds.
fn deadline_ms(event: &EventFunction, clock: &Clock) -> u64 {
    clock.now_ms().saturating_add(millis(event.timeout))
}

/// The context of the one function that this program calls so.
fn known(event: &EventFunction, function: &str, contexts: &Contexts) -> Result<&'static Context, BackgroundError> {
    let context = if event.function == function { contexts.get(function) } else { None };
    context.ok_or_else(|| BackgroundError::UnknownFunction(event.function.clone()))
}

/// What feeds a function from its queue.
pub(crate) fn from_queue(
    sqs: &Sqs,
    event: &EventFunction,
    contexts: &Contexts,
) -> Result<EventSource, BackgroundError> {
    let unknown = || BackgroundError::UnknownFunction(event.function.clone());
    let Trigger::Queue { queue, batch_size, window, maximum_concurrency, reports_failures } = event.trigger.clone()
    else {
        return Err(unknown());
    };
    let context = contexts.get(&event.function).ok_or_else(unknown)?;
    let (config, clock) = (context.config().clone(), sqs.clock());
    let function = match event.function.as_str() {
        ANALYSIS_WORKER => {
            let worker = analysis_worker::Worker::new(config, clock.into())?;
            called(worker, clock, event, analysis_worker::handle)
        }
        EMAIL_WORKER => called(email_worker::Worker::new(config, clock.into())?, clock, event, email_worker::handle),
        MAIL_EVENT_WORKER => called(Context::new(config, clock.into()), clock, event, mail_event_worker::handle),
        _ => return Err(unknown()),
    };
    let mapping = Mapping {
        queue,
        batch_size,
        maximum_batching_window: window,
        maximum_concurrency,
        report_batch_item_failures: reports_failures,
        function_timeout: event.timeout,
    };
    Ok(EventSource::new(sqs.clone(), mapping, function)?)
}

/// A handler as Lambda calls it, with an environment that lives as long as the process.
fn called<W, F>(
    worker: W,
    clock: &Clock,
    event: &EventFunction,
    handle: impl Fn(&'static W, Batch, u64) -> F + Copy + Send + Sync + 'static,
) -> crate::event_source::Function
where
    W: Sync + 'static,
    F: Future<Output = SqsBatchResponse> + Send + 'static,
{
    let worker: &'static W = Box::leak(Box::new(worker));
    let (clock, event) = (clock.clone(), event.clone());
    Arc::new(move |batch| {
        let deadline = deadline_ms(&event, &clock);
        Box::pin(
            async move { Ok(serde_json::to_value(handle(worker, crate::event_source::read(&batch), deadline).await)?) },
        )
    })
}

fn on_schedule(
    sqs: &Sqs,
    event: &EventFunction,
    expression: &str,
    contexts: &Contexts,
    stop: &watch::Sender<bool>,
) -> Result<impl Future<Output = ()> + Send + 'static, BackgroundError> {
    let rate: Rate = expression.parse()?;
    let context = known(event, SWEEPER, contexts)?;
    let (event, clock, stopped) = (event.clone(), sqs.clock().clone(), stopped(stop));
    let invoked = clock.clone();
    let function: crate::schedule::ScheduledFunction = Arc::new(move |tick| {
        let deadline = deadline_ms(&event, &invoked);
        Box::pin(async move {
            sweeper::handle(context, sweeper::Tick::read(&tick.to_string()), deadline).await;
            Ok(())
        })
    });
    Ok(async move { rate.run(&clock, REGION, function, stopped).await })
}

fn from_stream(
    changes: TableStream,
    event: &EventFunction,
    mapping: &StreamMapping,
    contexts: &Contexts,
    clock: &Clock,
    stop: &watch::Sender<bool>,
) -> Result<impl Future<Output = ()> + Send + 'static, BackgroundError> {
    let context = known(event, INVALIDATOR, contexts)?;
    let (invoked, called) = (clock.clone(), event.clone());
    let function: crate::stream_source::StreamFunction = Arc::new(move |batch| {
        let deadline = deadline_ms(&called, &invoked);
        Box::pin(async move {
            let batch = invalidator::StreamEvent::read(&batch.to_string());
            Ok(serde_json::to_value(invalidator::handle(context, batch, deadline).await)?)
        })
    });
    let source = StreamSource::new(mapping.clone(), event.timeout, function, clock.clone())?;
    let stopped = stopped(stop);
    Ok(async move { source.run(changes, stopped).await })
}
