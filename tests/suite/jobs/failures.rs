//! Runs that fail: tried again with growing delays, ended with their reason; and none takes its batch with it. What is only refused is in `refusals.rs`.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::workers::Workers;
use local::names::queue_of;
use local::operator::redrive::{Report, Which, redrive_failed};
use local::sqs::Draft;
use reqwest::Method;
use serde_json::json;
use shared::Context;
use shared::config::Config;
use shared::model::job::JobKind;
use shared::model::time::Moment;
use std::collections::HashMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

/// Each may have cost what a run may cost.
fn failures(count: usize) -> Vec<Answer> {
    vec![Answer::Refuse(500, None); count]
}

#[tokio::test]
async fn after_five_runs_the_job_says_failed_and_leaves_no_letter() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will(failures(50));
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("failed"), Some(5)), "{job}");
    assert_eq!(job["error"]["code"], "attempts_exhausted");
    assert_eq!((rig.dead_letters(), rig.visible()), (0, 0));
}

#[tokio::test]
async fn a_transient_failure_waits_as_long_as_the_provider_asks_for() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Refuse(500, Some(120))]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    assert_eq!(rig.deliver().await.kept.len(), 1);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(1)), "{job}");
    rig.system.clock().jump(Duration::from_secs(119));
    assert_eq!(rig.visible(), 0, "not before");
    rig.system.clock().jump(Duration::from_secs(2));
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
}

/// However long it asks for: at the end of its time the job is tried, and then as often as it has runs left, without that word.
#[tokio::test]
async fn a_failed_run_waits_no_longer_than_its_job_has_time() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.system.clock().jump(HOUR);
    providers.will(vec![Answer::Refuse(500, Some(86_400)); 5]);
    assert_eq!(rig.deliver().await.deleted.len(), 1, "no message can be hidden for so long");
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(1)), "{job}");
    assert_eq!(job["not_before"], job["give_up_at"]);
    rig.system.clock().jump(23 * HOUR);
    for _ in 0..6 {
        rig.system.clock().jump(HOUR / 6);
        rig.sweep_once().await;
        rig.deliver_all().await;
    }
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("failed"), Some(5)), "{job}");
}

#[tokio::test]
async fn a_permanent_failure_ends_the_job_at_once_with_its_reason() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Refuse(400, None)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    assert_eq!(rig.deliver().await.deleted.len(), 1);
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("failed"), Some(1)));
    assert_eq!(job["error"]["code"], "request_refused");
    assert_eq!(rig.dead_letters(), 0);
}

/// A message that names no job: the others of its batch are done. Another version may be able to read it, so it comes again for a day.
#[tokio::test]
async fn a_poison_message_never_takes_its_batch_with_it() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let mut ids = Vec::new();
    for number in 0..9 {
        if number == 4 {
            let draft = Draft { message_body: "{\"poison\":true}".into(), ..Draft::default() };
            rig.system.sqs().send(queue_of(JobKind::Analyze), draft).unwrap();
        }
        ids.push(rig.accepted(&owner, "/analyze", json!({"text": format!("text {number}")})).await);
    }
    let (one, two) = (rig.deliver().await, rig.deliver().await);
    assert_eq!((one.deleted.len() + two.deleted.len(), one.kept.len() + two.kept.len()), (9, 1));
    for id in &ids {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
    let queue = rig.system.context().queue(JobKind::Analyze).unwrap();
    let (begin, hidden) = (rig.system.context().now(), Duration::from_secs(360));
    while rig.dead_letters() == 0 {
        rig.system.clock().jump(hidden);
        queue.receive(hidden, Duration::ZERO).await.unwrap();
    }
    let rests_after = begin.until(rig.system.context().now());
    assert!((24 * HOUR..26 * HOUR).contains(&rests_after), "{rests_after:?}");
}

/// Every way in which the jobs of a batch of five can fail: exactly the failures return, in the real worker.
#[tokio::test]
async fn of_any_pattern_of_failures_only_the_failures_return() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("enterprise").await;
    // All 1,024 patterns of the worker's report are in its own tests, and those of what the queue does with a
    // report in `local`'s event_source tests; here some go through both, with real jobs.
    for pattern in [0b0, 0b1_1111, 0b0_1010, 0b1_0011] {
        let mut ids = Vec::new();
        for bit in 0..5 {
            let text = if pattern >> bit & 1 == 1 { "refuse this" } else { "a text" };
            ids.push(rig.accepted(&owner, "/analyze", json!({"text": text, "model": MODEL})).await);
        }
        let failing: usize = (0..5).filter(|bit| pattern >> bit & 1 == 1).count();
        let delivery = rig.deliver().await;
        assert_eq!((delivery.deleted.len(), delivery.kept.len()), (5 - failing, failing), "{pattern:05b}");
        for (bit, id) in ids.iter().enumerate() {
            let expected = if pattern >> bit & 1 == 1 { "queued" } else { "succeeded" };
            assert_eq!(rig.job(&owner, id).await["state"], expected, "{pattern:05b} {bit}");
        }
        // The refused ones are told to come back; the provider takes them then.
        providers.accept_everything();
        rig.drain().await;
        for id in &ids {
            assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
        }
        providers.refuse_what_asks_for_it();
    }
}

#[tokio::test]
async fn the_worker_begins_nothing_it_cannot_end_in_time() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text"})).await;
    let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none", "attributes": {},
        "body": json!({"org_id": owner.org_id, "job_id": id}).to_string()}]});
    let soon = u64::try_from(rig.system.context().now().as_millis()).unwrap() + 5_000;
    let returned = Workers::of(&rig.system).returned("analysis-worker", &event.to_string(), soon).await;
    assert_eq!(returned.len(), 1, "it comes again");
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("queued"), Some(0)));
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
}

/// All are redriven by the operator's command, and what they cost is counted.
#[tokio::test]
async fn what_failed_is_redriven_by_a_command() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will(failures(10));
    let mut ids = Vec::new();
    for text in ["one", "two"] {
        ids.push(rig.accepted(&owner, "/analyze", json!({"text": text, "model": MODEL})).await);
    }
    rig.drain().await;
    assert_eq!(rig.dead_letters(), 0);

    let report = redrive_failed(rig.system.context(), Which::All(Moment::from_millis(0))).await.unwrap();
    assert_eq!(report, Report { queued: 2, ..Report::default() });
    for id in &ids {
        assert_eq!(rig.job(&owner, id).await["state"], "queued");
    }
    rig.drain().await;
    for id in &ids {
        let job = rig.job(&owner, id).await;
        assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    }
    let usage = rig.usage(&owner).await;
    assert_eq!(
        (&usage["analyses"]["used"], &usage["cost_usd"]),
        (&json!(2), &json!("0.32409")),
        "two that went well, ten that may have cost all they could"
    );
    let cancel = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{}/cancel", ids[0]), None).await;
    cancel.is_problem(409, "job_ended");
}

/// A command that does not know a job's queue leaves it as it is, and says why.
#[tokio::test]
async fn without_its_queue_no_job_is_redriven() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Refuse(400, None)]);
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
    rig.deliver().await;
    let config = Config { queue_urls: HashMap::new(), ..rig.system.context().config().clone() };
    let operator = Context::new(config, rig.system.clock().into());
    let report = redrive_failed(&operator, Which::All(Moment::from_millis(0))).await.unwrap();
    assert_eq!((report.queued, report.not_needed, report.stay.len()), (0, 0, 1));
    assert!(report.stay[0].1.contains("ANALYSES_QUEUE_URL"), "{report:?}");
    assert_eq!(rig.job(&owner, &id).await["state"], "failed");
}
