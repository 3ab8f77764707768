//! Lambda's event source mapping for the table's stream: reads, filters, invokes, and goes on only behind what succeeded or is
//! too old. One shard, and one batch of it at a time.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html>

mod filter;

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::clock::{Clock, millis};
use crate::event_source::{Invocation, invoke, report};
use crate::like_aws::stream::Batches;
use crate::table_stream::TableStream;
use crate::template::StreamMapping;
use filter::Filter;
pub use filter::UnknownPattern;

/// A function that takes a batch of a stream and answers with JSON, as Lambda sees it.
pub type StreamFunction = Arc<dyn Fn(Json) -> Invocation + Send + Sync>;

/// How often an idle stream is asked: Lambda does it four times a second. A batch that failed waits as long.
pub const PAUSE: Duration = Duration::from_millis(250);

/// A mapping, its function, and the clock that both go by.
pub struct StreamSource {
    mapping: StreamMapping,
    filter: Filter,
    function: StreamFunction,
    function_timeout: Duration,
    clock: Clock,
    /// None where the stream is quick and gives each batch once.
    batches: Option<Batches>,
}

/// A record that passed the filter.
#[derive(Clone)]
struct Record {
    json: Json,
    sequence_number: String,
    /// When it was written, by this system's clock: the engine goes by the machine's.
    written_ms: u64,
}

/// Records that one invocation gets, and how often they failed.
struct Batch {
    records: Vec<Record>,
    failures: u32,
}

impl StreamSource {
    /// # Errors
    /// A filter that is not known here.
    pub fn new(
        mapping: StreamMapping,
        function_timeout: Duration,
        function: StreamFunction,
        clock: Clock,
    ) -> Result<Self, UnknownPattern> {
        let filter = Filter::new(&mapping.filters)?;
        Ok(Self { mapping, filter, function, function_timeout, clock, batches: None })
    }

    /// The same with a stream as AWS's is.
    pub(crate) fn like_aws(self, batches: Batches) -> Self {
        Self { batches: Some(batches), ..self }
    }

    /// Feeds the function until `stop` completes; what runs then may come again after the next start.
    pub(crate) async fn run(&self, mut stream: TableStream, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        loop {
            let records = match stream.read(self.mapping.batch_size) {
                Ok(records) => records,
                Err(error) => return tracing::error!(%error, "the stream no longer feeds its function"),
            };
            let idle = records.is_empty();
            let next = async {
                if !idle {
                    self.hand_over(records).await;
                }
                if idle {
                    self.clock.sleep(PAUSE).await;
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = next => {}
            }
        }
    }

    /// Hands a batch over, as late and as often as the stream does.
    async fn hand_over(&self, records: Vec<Json>) {
        let Some(world) = &self.batches else { return self.deliver(records).await };
        self.clock.sleep(world.delay()).await;
        self.deliver(records.clone()).await;
        if world.repeats() {
            self.deliver(records).await;
        }
    }

    /// Hands records over, again and again if need be, until all succeeded or were given up.
    pub async fn deliver(&self, records: Vec<Json>) {
        let records = records.into_iter().filter(|record| self.filter.lets_through(record));
        let records = records.map(Self::record).collect();
        let mut batches = VecDeque::from([Batch { records, failures: 0 }]);
        while let Some(mut batch) = batches.pop_front() {
            let oldest_ms = self.clock.now_ms().saturating_sub(millis(self.mapping.maximum_record_age));
            let before = batch.records.len();
            batch.records.retain(|record| record.written_ms >= oldest_ms);
            if batch.records.len() < before {
                tracing::warn!(records = before - batch.records.len(), "records of the stream are too old");
            }
            if batch.records.is_empty() {
                continue;
            }
            let mut left = self.invoke(batch).await;
            left.retain(|batch| {
                let tries = self.mapping.maximum_retry_attempts.is_none_or(|most| batch.failures <= most);
                if !tries {
                    tracing::warn!(records = batch.records.len(), "records of the stream failed too often");
                }
                tries
            });
            if !left.is_empty() {
                self.clock.sleep(PAUSE).await;
            }
            left.into_iter().rev().for_each(|batch| batches.push_front(batch));
        }
    }

    fn record(json: Json) -> Record {
        let seconds = json["dynamodb"]["ApproximateCreationDateTime"].as_f64().unwrap_or_default();
        let written = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Record {
            sequence_number: json["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default().to_owned(),
            written_ms: millis(written),
            json,
        }
    }

    /// Runs the function once; what is left to be tried again, in order.
    async fn invoke(&self, mut batch: Batch) -> Vec<Batch> {
        let event = json!({ "Records": batch.records.iter().map(|record| &record.json).collect::<Vec<_>>() });
        let answer = invoke((self.function)(event), &self.clock, self.function_timeout).await;
        let ids: HashSet<&str> = batch.records.iter().map(|record| record.sequence_number.as_str()).collect();
        let failed = match answer {
            Ok(_) if !self.mapping.reports_failures => return Vec::new(),
            Ok(answer) => report::failures(&answer, &ids).map_err(|malformed| malformed.to_string()),
            Err(error) => Err(error),
        };
        match failed {
            // Whatever else is named: it goes on at the first.
            Ok(failed) => match batch.records.iter().position(|record| failed.contains(&record.sequence_number)) {
                Some(first) => vec![Batch { records: batch.records.split_off(first), failures: batch.failures + 1 }],
                None => Vec::new(),
            },
            Err(error) => {
                tracing::warn!(error, records = batch.records.len(), "a batch of the stream failed");
                if self.mapping.bisects && batch.records.len() > 1 {
                    // Lambda does not count the cutting.
                    let second = batch.records.split_off(batch.records.len() / 2);
                    return vec![batch, Batch { records: second, failures: 0 }];
                }
                vec![Batch { failures: batch.failures + 1, ..batch }]
            }
        }
    }
}

#[cfg(test)]
mod tests;
