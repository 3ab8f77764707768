//! The queue is away for 30 minutes while jobs are accepted: when it is back, one run of the sweeper queues them all.
//! The sweeper ends itself at its time limit. What it may take is counted in the processors' time: what else the machine does takes none.

use futures_util::{StreamExt as _, stream};
use local::names::queue_of;
use local::{Options, System};
use serde_json::{Value, json};
use shared::model::job::JobKind;
use std::time::{Duration, Instant};
use sweeper::Swept;

/// The template's time limit for the sweeper.
const TIME_LIMIT: Duration = Duration::from_secs(55);
/// Two processors may work as long as that; it is given more here.
const PROCESSORS: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(600);
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
    let worked_before = worked(back);
    let swept = sweep(&system, PATIENCE).await;
    let (took, work) = (back.elapsed(), worked(back).saturating_sub(worked_before));
    if work > TIME_LIMIT * PROCESSORS {
        wrong.push(format!("{work:.1?} of the processors' time, and a run has {TIME_LIMIT:?} of {PROCESSORS}"));
    }
    // However little of the machine it has, it works most of that time.
    if took > TIME_LIMIT && work * 4 < took {
        wrong.push(format!("{took:.1?}, of which it worked {work:.1?}: it waits"));
    }
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
            "{jobs} jobs accepted while the queue was away for 30 minutes: all queued {took:.1?} after its return, {work:.1?} of it work"
        ))
    } else {
        Err(wrong)
    }
}

/// How long processors have worked for this process: "utime" and "stime" in ticks of 10 ms (Linux, proc_pid_stat(5)). Where a system does
/// not say that, how long it is since then.
fn worked(since: Instant) -> Duration {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return since.elapsed() };
    let behind_its_name = stat.rsplit_once(')').unwrap().1;
    let ticks = behind_its_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
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
