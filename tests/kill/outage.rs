//! The queue is away for 30 minutes while jobs are accepted: when it is back, one run of the sweeper queues them all.
//! The sweeper ends itself at its time limit, so a run that is enough is one that takes less than a minute.

use futures_util::{StreamExt as _, stream};
use local::names::queue_of;
use local::{Options, System};
use serde_json::{Value, json};
use shared::model::job::JobKind;
use std::time::{Duration, Instant};
use sweeper::Swept;

/// The template's time limit for the sweeper.
const TIME_LIMIT: Duration = Duration::from_secs(55);
/// Left to a run that finds the queue away, so that it looks once and does not wait in real time.
const ONE_LOOK: Duration = Duration::from_secs(14);

async fn sweep(system: &System, time: Duration) -> Swept {
    let deadline_ms = u64::try_from(system.context().now().plus(time).as_millis()).unwrap();
    sweeper::handle(system.contexts().get("sweeper").unwrap(), sweeper::Tick, deadline_ms).await
}

pub(crate) async fn run(jobs: usize) -> Result<String, Vec<String>> {
    // A port where nobody listens for now.
    let address = ("127.0.0.1", testkit::ports::free_port());
    let environment = [("AWS_ENDPOINT_URL_SQS".to_owned(), format!("http://{}:{}", address.0, address.1))].into();
    let system = System::start(Options { background: false, environment, ..Options::ephemeral() }).await.unwrap();
    let refused = accept(&system, jobs).await;
    if !refused.is_empty() {
        return Err(refused);
    }

    let mut wrong = Vec::new();
    for _ in 0..6 {
        system.clock().jump(Duration::from_secs(5 * 60));
        let swept = sweep(&system, ONE_LOOK).await;
        if swept.queued > 0 || swept.left == 0 {
            wrong.push(format!("{swept:?} while the queue was away"));
        }
    }
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let sqs = system.sqs().clone();
    tokio::spawn(async move { sqs.serve(listener, std::future::pending()).await });
    let back = Instant::now();
    let swept = sweep(&system, TIME_LIMIT).await;
    let took = back.elapsed();
    let counts = system.sqs().counts(queue_of(JobKind::Analyze)).unwrap();
    if (swept.queued, swept.left) != (jobs as u64, 0) {
        wrong.push(format!("{swept:?} in the first run after its return"));
    }
    if counts.visible < jobs {
        wrong.push(format!("{counts:?} for {jobs} jobs"));
    }
    let again = sweep(&system, ONE_LOOK).await;
    if again != Swept::default() {
        wrong.push(format!("{again:?} though all are queued"));
    }
    if wrong.is_empty() {
        Ok(format!(
            "{jobs} jobs accepted while the queue was away for 30 minutes: all queued {took:.1?} after its return"
        ))
    } else {
        Err(wrong)
    }
}

/// Accepts so many jobs over HTTP; says what was refused.
async fn accept(system: &System, jobs: usize) -> Vec<String> {
    let http = reqwest::Client::new();
    let owner = crate::world::Owner::register(&http, system).await;
    let calls = (0..jobs).map(|number| {
        let call = http.post(format!("{}/analyze", system.url())).bearer_auth(&owner.token);
        async move {
            let reply = call.json(&json!({"text": format!("text {number}")})).send().await.unwrap();
            let (status, body) = (reply.status(), reply.json::<Value>().await.unwrap());
            (status != 202).then(|| format!("{status} {body}"))
        }
    });
    let calls: Vec<_> = calls.collect();
    stream::iter(calls).buffer_unordered(128).filter_map(std::future::ready).collect().await
}
