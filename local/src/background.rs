//! What runs beside the API: the embedded queue service, and the functions that a queue, a schedule or the table's stream
//! calls.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use dynoxide::DynoxideError;
use shared::Context;
use shared::config::{Config, ConfigError};
use shared::queue::batch::Batch;
use shared::runtime::event::Event as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, millis};
use crate::environment::Contexts;
use crate::event_source::{EventSource, Mapping, MappingError};
use crate::layers::embedded::EmbeddedDatabase;
use crate::like_aws::{Called, LikeAws, Slots};
use crate::names::{REGION, TABLE_NAME};
use crate::schedule::{Rate, RateError};
use crate::sqs::{Sqs, SqsError};
use crate::stream_source::{StreamSource, UnknownPattern};
use crate::table_stream::TableStream;
use crate::template::{EventFunction, Queue, StreamMapping, Template, Trigger};

/// Folder names of the functions that events call: by a queue, a schedule and the table's stream.
pub const NAMES: [&str; 6] =
    [ANALYSIS_WORKER, EMAIL_WORKER, ACCOUNT_MAIL_WORKER, MAIL_EVENT_WORKER, SWEEPER, INVALIDATOR];
const ANALYSIS_WORKER: &str = "analysis-worker";
const EMAIL_WORKER: &str = "email-worker";
const ACCOUNT_MAIL_WORKER: &str = "account-mail-worker";
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

/// What the functions that events call run in.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) contexts: &'a Contexts,
    /// None where functions are always there.
    pub(crate) world: Option<(&'a LikeAws, &'a Template)>,
    /// What the account has for all of them.
    pub(crate) account: Option<&'a Arc<Slots>>,
}

impl Surroundings<'_> {
    /// The function that an event calls, made anew in each environment.
    fn function<E: Send + 'static, R: Send + 'static>(
        &self,
        event: &EventFunction,
        clock: &Clock,
        make: impl Fn(&'static Context) -> Result<Called<E, R>, ConfigError> + Send + Sync + 'static,
    ) -> Result<Called<E, R>, BackgroundError> {
        let (name, unknown) = (&event.function, || BackgroundError::UnknownFunction(event.function.clone()));
        let first = make(self.contexts.get(name).ok_or_else(unknown)?)?;
        let Some((world, template)) = self.world else { return Ok(first) };
        let context = self.contexts.factory(name).ok_or_else(unknown)?;
        let again = move || make(context()).expect("it was made of the same configuration before");
        Ok(world.called_by_events(template, name, (clock, self.account), again))
    }
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
        around: &Surroundings<'_>,
    ) -> Result<Self, BackgroundError> {
        let Queues { sqs, listener, .. } = queues;
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let (service, ended) = (sqs.clone(), stopped(&stop));
        tasks.spawn(async move { service.serve(listener, ended).await });
        for event in events {
            match &event.trigger {
                Trigger::Queue { .. } => {
                    let (source, ended) = (from_queue(&sqs, event, around)?, stopped(&stop));
                    tasks.spawn(async move {
                        if let Err(error) = source.run(ended).await {
                            tracing::error!(%error, "a queue no longer feeds its worker");
                        }
                    })
                }
                Trigger::Schedule { expression } => tasks.spawn(on_schedule(&sqs, event, expression, around, &stop)?),
                Trigger::Stream(mapping) => {
                    let changes = TableStream::from_oldest(database.clone(), TABLE_NAME)?;
                    tasks.spawn(from_stream(changes, event, mapping, around, sqs.clock(), &stop)?)
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

/// Whether this program knows a function of this name for such an event.
fn known(event: &EventFunction, function: &str) -> Result<(), BackgroundError> {
    match event.function == function {
        true => Ok(()),
        false => Err(BackgroundError::UnknownFunction(event.function.clone())),
    }
}

/// What feeds a function from its queue.
pub(crate) fn from_queue(
    sqs: &Sqs,
    event: &EventFunction,
    around: &Surroundings<'_>,
) -> Result<EventSource, BackgroundError> {
    let unknown = || BackgroundError::UnknownFunction(event.function.clone());
    let Trigger::Queue { queue, batch_size, window, maximum_concurrency, reports_failures } = event.trigger.clone()
    else {
        return Err(unknown());
    };
    let clock = sqs.clock();
    let time = shared::clock::Clock::from(clock);
    let function = match event.function.as_str() {
        ANALYSIS_WORKER => {
            let new = move |config| analysis_worker::Worker::new(config, time.clone());
            called(around, event, clock, new, analysis_worker::handle)?
        }
        EMAIL_WORKER => {
            let new = move |config| email_worker::Worker::new(config, time.clone());
            called(around, event, clock, new, email_worker::handle)?
        }
        ACCOUNT_MAIL_WORKER => {
            let new = move |config| account_mail_worker::Worker::new(config, time.clone());
            called(around, event, clock, new, account_mail_worker::handle)?
        }
        MAIL_EVENT_WORKER => {
            let new = move |config| Ok(Context::new(config, time.clone()));
            called(around, event, clock, new, mail_event_worker::handle)?
        }
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
    let source = EventSource::new(sqs.clone(), mapping, function)?;
    Ok(match around.world.and_then(|(world, _)| world.deliveries()) {
        Some(deliveries) => source.like_aws(deliveries),
        None => source,
    })
}

/// A handler as Lambda calls it, with what `new` makes in each environment.
fn called<W, F>(
    around: &Surroundings<'_>,
    event: &EventFunction,
    clock: &Clock,
    new: impl Fn(Config) -> Result<W, ConfigError> + Send + Sync + 'static,
    handle: impl Fn(&'static W, Batch, u64) -> F + Copy + Send + Sync + 'static,
) -> Result<crate::event_source::Function, BackgroundError>
where
    W: Sync + 'static,
    F: Future<Output = SqsBatchResponse> + Send + 'static,
{
    let (invoked, calls) = (clock.clone(), event.clone());
    around.function(event, clock, move |context| {
        // Lives as long as the process, as in a Lambda environment.
        let worker: &'static W = Box::leak(Box::new(new(context.config().clone())?));
        let (clock, event) = (invoked.clone(), calls.clone());
        Ok(Arc::new(move |batch| {
            let deadline = deadline_ms(&event, &clock);
            Box::pin(async move {
                Ok(serde_json::to_value(handle(worker, crate::event_source::read(&batch), deadline).await)?)
            })
        }))
    })
}

fn on_schedule(
    sqs: &Sqs,
    event: &EventFunction,
    expression: &str,
    around: &Surroundings<'_>,
    stop: &watch::Sender<bool>,
) -> Result<impl Future<Output = ()> + Send + 'static, BackgroundError> {
    let rate: Rate = expression.parse()?;
    known(event, SWEEPER)?;
    let (calls, clock, stopped) = (event.clone(), sqs.clock().clone(), stopped(stop));
    let invoked = clock.clone();
    let function = around.function(event, &clock, move |context| {
        let (event, clock) = (calls.clone(), invoked.clone());
        Ok(Arc::new(move |tick: serde_json::Value| {
            let deadline = deadline_ms(&event, &clock);
            Box::pin(async move {
                sweeper::handle(context, sweeper::Tick::read(&tick.to_string()), deadline).await;
                Ok(())
            })
        }))
    })?;
    Ok(async move { rate.run(&clock, REGION, function, stopped).await })
}

fn from_stream(
    changes: TableStream,
    event: &EventFunction,
    mapping: &StreamMapping,
    around: &Surroundings<'_>,
    clock: &Clock,
    stop: &watch::Sender<bool>,
) -> Result<impl Future<Output = ()> + Send + 'static, BackgroundError> {
    known(event, INVALIDATOR)?;
    let (invoked, calls) = (clock.clone(), event.clone());
    let function = around.function(event, clock, move |context| {
        let (event, clock) = (calls.clone(), invoked.clone());
        Ok(Arc::new(move |batch: serde_json::Value| {
            let deadline = deadline_ms(&event, &clock);
            Box::pin(async move {
                let batch = invalidator::StreamEvent::read(&batch.to_string());
                Ok(serde_json::to_value(invalidator::handle(context, batch, deadline).await)?)
            })
        }))
    })?;
    let source = StreamSource::new(mapping.clone(), event.timeout, function, clock.clone())?;
    let source = match around.world.and_then(|(world, _)| world.batches()) {
        Some(batches) => source.like_aws(batches),
        None => source,
    };
    let stopped = stopped(stop);
    Ok(async move { source.run(changes, stopped).await })
}
