//! EventBridge's rate schedules: calls a function again and again with a scheduled event.

use std::future::Future;
use std::pin::{Pin, pin};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::event_source::FunctionError;
use crate::names::ACCOUNT_ID;

/// A function that takes a scheduled event and whose answer nobody reads.
pub type ScheduledFunction =
    Arc<dyn Fn(Value) -> Pin<Box<dyn Future<Output = Result<(), FunctionError>> + Send>> + Send + Sync>;

/// A `rate(…)` expression of whole minutes, hours or days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    period: Duration,
}

/// A schedule expression that is no rate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate such as `rate(1 minute)` or `rate(5 minutes)`")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    /// Reads `rate(value unit)`; the unit is singular exactly when the value is 1, as EventBridge
    /// has it (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>).
    fn from_str(text: &str) -> Result<Self, RateError> {
        let refuse = || RateError(text.to_owned());
        let inside = text.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(refuse)?;
        let (value, unit) = inside.split_once(' ').ok_or_else(refuse)?;
        let value: u32 = value.parse().map_err(|_| refuse())?;
        let seconds = match (value, unit) {
            (0, _) => return Err(refuse()),
            (1, "minute") | (2.., "minutes") => 60,
            (1, "hour") | (2.., "hours") => 3_600,
            (1, "day") | (2.., "days") => 86_400,
            _ => return Err(refuse()),
        };
        Ok(Self { period: Duration::from_secs(seconds * u64::from(value)) })
    }
}

impl Rate {
    /// Time from one call to the next.
    pub fn period(self) -> Duration {
        self.period
    }

    /// Calls `function` now and then once a period, until `stop` completes; a call that is running
    /// then may end. The first call comes at once, because a restart is when there is most to
    /// catch up on. One call runs at a time: EventBridge would start the next beside a slow one,
    /// which a function with a reserved concurrency of one refuses. Failures are logged; the next
    /// turn is the retry.
    pub async fn run(
        self,
        clock: &Clock,
        region: &str,
        function: ScheduledFunction,
        stop: impl Future<Output = ()> + Send,
    ) {
        let mut stop = pin!(stop);
        loop {
            let due_ms = clock.now_ms() + crate::clock::millis(self.period);
            let mut call = JoinSet::new();
            call.spawn(function(event(clock.now_ms(), region)));
            match call.join_next().await {
                Some(Ok(Err(error))) => tracing::warn!(error, "a scheduled call failed"),
                // A panic has been logged by its place; what it says may hold a caller's data.
                Some(Err(_)) => tracing::warn!("a scheduled call panicked"),
                Some(Ok(Ok(()))) | None => {}
            }
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = clock.sleep_until(due_ms) => {}
            }
        }
    }
}

fn event(now_ms: u64, region: &str) -> Value {
    let at = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(at).unwrap_or(jiff::Timestamp::MAX);
    json!({
        "version": "0",
        "id": uuid::Uuid::now_v7().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": time.to_string(),
        "region": region,
        "resources": [format!("arn:aws:events:{region}:{ACCOUNT_ID}:rule/schedule")],
        "detail": {},
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[test]
    fn rates_read_as_eventbridge_writes_them() {
        for (text, seconds) in
            [("rate(1 minute)", 60), ("rate(5 minutes)", 300), ("rate(1 hour)", 3_600), ("rate(2 days)", 172_800)]
        {
            let period = text.parse().map(Rate::period);
            assert_eq!(period, Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "rate(1 minutes)",
            "rate(5 minute)",
            "rate(0 minutes)",
            "rate(-1 minutes)",
            "rate(1 second)",
            "rate(1minute)",
            "cron(0 * * * ? *)",
            "",
        ] {
            let refused = text.parse::<Rate>();
            assert_eq!(refused, Err(RateError(text.to_owned())));
        }
    }

    #[tokio::test]
    async fn a_call_comes_at_once_and_then_once_a_period_also_after_a_failure() {
        let (calls, mut called) = mpsc::unbounded_channel();
        let function: ScheduledFunction = Arc::new(move |event| {
            let calls = calls.clone();
            Box::pin(async move {
                calls.send(event)?;
                Err("failed on purpose".into())
            })
        });
        let clock = Clock::system();
        let (stop, stopped) = oneshot::channel();
        let schedule = tokio::spawn({
            let clock = clock.clone();
            async move {
                let rate: Rate = "rate(1 minute)".parse().expect("a rate");
                let stopped = async move { drop(stopped.await) };
                rate.run(&clock, "eu-west-1", function, stopped).await;
            }
        });
        for _ in 0..3 {
            let event = called.recv().await.expect("the schedule runs");
            assert_eq!(event["source"], "aws.events");
            assert_eq!(event["region"], "eu-west-1");
            assert!(called.try_recv().is_err(), "one call a period");
            clock.jump(Duration::from_secs(60));
        }
        stop.send(()).expect("the schedule listens");
        schedule.await.expect("the schedule ends");
    }
}
