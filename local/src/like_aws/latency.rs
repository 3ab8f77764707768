//! How long calls take: each operation's time is drawn, half of it passes before the service acts and half after.
//!
//! Sources: alexdebrie/dynamodb-performance-testing, 2020 (third-party measurement from Lambda: `PutItem`, batches of 25 and
//! transactions of 5 and 25 items); "single-digit milliseconds" is all that AWS publishes of reads. Of SQS's own calls nothing is
//! published: they are inferred.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value as Json;

use super::random::{Lognormal, SeededRng};
use super::record::writes;
use crate::clock::{Clock, millis};
use crate::layers::{Call, Layer};

/// Of calls to AWS's services, as their callers wait.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// `GetItem` and each item of a `BatchGetItem`, which is as slow as its slowest. Inferred.
    pub get: Lognormal,
    /// `Query`. Inferred.
    pub query: Lognormal,
    /// `PutItem`, `UpdateItem`, `DeleteItem`. Measured.
    pub write: Lognormal,
    /// `BatchWriteItem`. Measured with 25 items.
    pub batch_write: Lognormal,
    /// `TransactWriteItems`, hold included. Measured with 5 items.
    pub transaction: Lognormal,
    /// By how much a transaction's 99th percentile grows with each ten items. Fits the measurement with 25.
    pub transaction_growth: f64,
    /// Any call to SQS. Inferred.
    pub queue: Lognormal,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            get: Lognormal::ms(4.0, 12.0),
            query: Lognormal::ms(5.0, 20.0),
            write: Lognormal::ms(7.6, 16.0),
            batch_write: Lognormal::ms(10.0, 28.0),
            transaction: Lognormal::ms(25.0, 93.0),
            transaction_growth: 0.05,
            queue: Lognormal::ms(6.0, 30.0),
        }
    }
}

impl Latencies {
    /// What a call takes; `None` for one of a service that is not modelled.
    fn of(&self, rng: &SeededRng, service: &str, operation: &str, body: &Json) -> Option<Duration> {
        let drawn = match (service, operation) {
            ("dynamodb", "GetItem") => self.get,
            ("dynamodb", "BatchGetItem") => {
                let count = super::record::reads(operation, body).len();
                return (0..count.max(1)).map(|_| self.get.draw(rng)).max();
            }
            ("dynamodb", "Query" | "Scan") => self.query,
            ("dynamodb", "PutItem" | "UpdateItem" | "DeleteItem") => self.write,
            ("dynamodb", "BatchWriteItem") => self.batch_write,
            ("dynamodb", "TransactWriteItems" | "TransactGetItems") => {
                #[expect(clippy::cast_precision_loss, reason = "a hundred at most")]
                let tens = writes(operation, body).len() as f64 / 10.0;
                let Lognormal { p50_ms, p99_ms } = self.transaction;
                Lognormal::ms(p50_ms, p99_ms * (1.0 + self.transaction_growth * tens))
            }
            ("sqs", _) => self.queue,
            _ => return None,
        };
        Some(drawn.draw(rng))
    }
}

/// The layer.
#[derive(Debug)]
pub(crate) struct Latency {
    settings: Latencies,
    rng: SeededRng,
    clock: Clock,
}

impl Latency {
    pub(crate) fn new(settings: Latencies, rng: SeededRng, clock: Clock) -> Arc<Self> {
        Arc::new(Self { settings, rng, clock })
    }

    fn drawn(&self, request: &HttpRequest) -> Option<Duration> {
        let call = Call::of(request)?;
        let body = serde_json::from_slice(call.body).unwrap_or_default();
        self.settings.of(&self.rng, call.service, call.operation().unwrap_or_default(), &body)
    }
}

impl Layer for Latency {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let Some(drawn) = self.drawn(&request) else { return next.call(request) };
        let (clock, next) = (self.clock.clone(), next.clone());
        HttpConnectorFuture::new(async move {
            let begun_ms = clock.now_ms();
            clock.sleep(drawn / 2).await;
            let reply = next.call(request).await;
            // What the service itself took, a transaction's hold say, is part of it.
            clock.sleep_until(begun_ms + millis(drawn)).await;
            reply
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::like_aws::LikeAws;
    use crate::like_aws::tests_rig::{Rig, key};
    use serde_json::json;

    #[test]
    fn operations_take_what_was_measured_of_them() {
        let (settings, rng) = (Latencies::default(), SeededRng::new(3, 1));
        let keys: Vec<Json> = (0..100).map(|_| json!({ "pk": { "S": "a" }, "sk": { "S": "b" } })).collect();
        let batch = json!({ "RequestItems": { "t": { "Keys": keys } } });
        let median = |operation: &str, body: &Json| {
            let mut drawn: Vec<_> = (0..2000).filter_map(|_| settings.of(&rng, "dynamodb", operation, body)).collect();
            drawn.sort();
            drawn[1000].as_secs_f64() * 1000.0
        };
        assert!((3.7..4.3).contains(&median("GetItem", &json!({}))));
        assert!((7.2..8.0).contains(&median("PutItem", &json!({}))));
        assert!((23.0..27.0).contains(&median("TransactWriteItems", &json!({}))));
        assert!(median("BatchGetItem", &batch) > 10.0, "as slow as its slowest");
        assert!(settings.of(&rng, "sqs", "SendMessage", &json!({})).is_some());
        assert!(settings.of(&rng, "secretsmanager", "GetSecretValue", &json!({})).is_none());
    }

    #[tokio::test]
    async fn a_call_takes_its_time_and_acts_in_the_middle_of_it() {
        let at_once = Lognormal::ms(1e-6, 1e-6);
        let latencies = Some(Latencies { get: at_once, write: Lognormal::ms(1000.0, 1000.0), ..Latencies::default() });
        let rig = Rig::new(|_| LikeAws { latencies, ..LikeAws::nothing() });
        let begun_ms = rig.clock.now_ms();
        let put = rig.client().put_item().table_name(rig.table()).set_item(Some(key("a"))).send();
        let writer = tokio::spawn(put);
        let a_millisecond = async || {
            rig.clock.jump(Duration::from_millis(1));
            for _ in 0..20 {
                // What is due goes on.
                tokio::task::yield_now().await;
            }
        };
        while !rig.exists("a").await {
            a_millisecond().await;
        }
        let acted_ms = rig.clock.now_ms();
        assert!(!writer.is_finished());
        while !writer.is_finished() {
            a_millisecond().await;
        }
        assert!((500..520).contains(&(acted_ms - begun_ms)), "{}", acted_ms - begun_ms);
        assert!((490..520).contains(&(rig.clock.now_ms() - acted_ms)), "{}", rig.clock.now_ms() - acted_ms);
    }
}
