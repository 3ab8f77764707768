//! Between the store and the queue, and after a worker's death: what was accepted is run, whatever is away.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::http::{self, Call, Cut, Origin, Reply, Server, StatusCode};

/// What stands before the queue service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// Nothing gets through.
    Shut,
    /// Everything gets through, and no answer comes back.
    LosesReplies,
}

/// The way to the queue service, and where that is.
struct Way {
    url: String,
    state: Arc<Mutex<(Gate, Option<Origin>)>>,
}

impl Way {
    async fn start() -> Self {
        let server = Server::bind().await;
        let way = Self { url: server.url.clone(), state: Arc::new(Mutex::new((Gate::Open, None))) };
        server.start(way.state.clone(), pass);
        way
    }

    fn becomes(&self, gate: Gate) {
        self.state.lock().unwrap().0 = gate;
    }

    /// A rig whose functions go this way to their queue.
    async fn rig(&self) -> Rig {
        let rig = Rig::with([("AWS_ENDPOINT_URL_SQS", self.url.clone())]).await;
        self.state.lock().unwrap().1 = Some(Origin::at(rig.system.sqs_url()));
        rig
    }
}

async fn pass(state: Arc<Mutex<(Gate, Option<Origin>)>>, call: Call) -> Result<Reply, Cut> {
    let (gate, origin) = state.lock().unwrap().clone();
    let gone = http::empty(StatusCode::SERVICE_UNAVAILABLE);
    if gate == Gate::Shut {
        return Ok(gone);
    }
    let reply = origin.unwrap().pass(call).await;
    Ok(if gate == Gate::LosesReplies { gone } else { reply })
}

#[tokio::test]
async fn a_job_that_was_not_queued_is_queued_by_the_sweeper_when_the_queue_is_back() {
    let way = Way::start().await;
    let rig = way.rig().await;
    let owner = rig.owner("free").await;
    way.becomes(Gate::Shut);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text"})).await;
    assert_eq!(rig.visible(), 0);
    assert_eq!(rig.sweep_once().await.queued, 0, "it is not due yet");
    rig.time_passes(&owner, &id).await;
    let swept = rig.sweep_once().await;
    assert_eq!((swept.queued, swept.left), (0, 1), "the queue is away: it stays due");
    way.becomes(Gate::Open);
    let swept = rig.sweep_once().await;
    assert_eq!((swept.queued, swept.left), (1, 0));
    assert_eq!(rig.sweep_once().await.queued, 0, "it is on the queue now");
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
}

/// The message was sent each time and each reply was lost: it lies there several times, and the job runs once.
#[tokio::test]
async fn a_job_with_several_messages_runs_once() {
    let way = Way::start().await;
    let rig = way.rig().await;
    let owner = rig.owner("pro").await;
    way.becomes(Gate::LosesReplies);
    let id = rig.accepted(&owner, "/send-email", json!({"to": "a@example.com", "subject": "s", "text": "t"})).await;
    way.becomes(Gate::Open);
    assert!(rig.visible() > 1, "the client tried again");
    rig.deliver_all().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    assert_eq!(rig.visible() + rig.dead_letters(), 0);
}

/// Delivers to a worker that is gone as soon as the provider has taken the call.
async fn deliver_to_the_dying(rig: &Rig, taken: impl Fn() -> usize) {
    let before = taken();
    let died = async {
        while taken() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = rig.deliver() => panic!("it is to wait for the provider"),
        () = died => {}
    }
}

#[tokio::test]
async fn a_dead_workers_analysis_is_run_again_and_both_runs_are_paid() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Silence]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    deliver_to_the_dying(&rig, || providers.analyses().len()).await;
    assert_eq!(rig.job(&owner, &id).await["state"], "running");
    assert_eq!(rig.sweep_once().await, sweeper::Swept::default(), "its lease runs");
    rig.time_passes(&owner, &id).await;
    assert_eq!(rig.sweep_once().await.queued, 1);
    rig.deliver().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(2)), "{job}");
    assert_eq!(providers.analyses().len(), 2, "one extra call for one crash");
    // 3,001 tokens in at most and 1,500 out for the dead run, 0.0045 for the other.
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0.036003");
    rig.drain().await;
    assert_eq!(providers.analyses().len(), 2, "the first message does nothing any more");
}

#[tokio::test]
async fn a_dead_workers_email_is_unknown_and_not_sent_again() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("free").await;
    providers.will([Answer::Silence]);
    let id = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    deliver_to_the_dying(&rig, || providers.emails().len()).await;
    rig.time_passes(&owner, &id).await;
    let swept = rig.sweep_once().await;
    assert_eq!((swept.queued, swept.ended), (0, 1));
    assert_eq!(rig.job(&owner, &id).await["state"], "unknown");
    rig.drain().await;
    assert_eq!(providers.emails().len(), 1);
}

/// A worker that was thought dead ends after all: what it says no longer counts.
#[tokio::test]
async fn a_run_that_was_taken_over_writes_nothing() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let told = Arc::new(tokio::sync::Notify::new());
    providers.will([Answer::HoldThenRefuse(told.clone(), 400)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let meanwhile = async {
        while providers.analyses().is_empty() {
            tokio::task::yield_now().await;
        }
        rig.time_passes(&owner, &id).await;
        assert_eq!(rig.sweep_once().await.queued, 1);
        rig.deliver().await;
        assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
        told.notify_one();
    };
    tokio::join!(rig.deliver(), meanwhile);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(2)), "{job}");
}

/// The same while the run that took it over goes on: only the fence tells the two apart.
#[tokio::test]
async fn a_run_that_was_taken_over_does_not_end_the_other() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let (first, second) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    providers.will([Answer::HoldThenRefuse(first.clone(), 400), Answer::Hold(second.clone())]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let calls = async |count| {
        while providers.analyses().len() < count {
            tokio::task::yield_now().await;
        }
    };
    let late = async {
        rig.deliver().await;
        assert_eq!(rig.job(&owner, &id).await["state"], "running");
        second.notify_one();
    };
    let taken_over = async {
        calls(1).await;
        rig.time_passes(&owner, &id).await;
        assert_eq!(rig.sweep_once().await.queued, 1);
        let both = async {
            calls(2).await;
            first.notify_one();
        };
        tokio::join!(rig.deliver(), both);
    };
    tokio::join!(late, taken_over);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(2)), "{job}");
}
