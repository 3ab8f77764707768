//! Failed jobs that are run again: found by an index or by their id, under the limits of now.

use super::deadlines::world;
use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::{Actor, Api, Reply};
use crate::faults::{Fault, FaultyDatabase};
use local::Options;
use local::clock::Clock;
use local::names::{DEAD_LETTER_QUEUE, queue_of};
use local::operator::dead_letters::{Letters, apply_dead_letters};
use local::operator::redrive::{Report, Which, redrive_failed};
use local::sqs::Draft;
use serde_json::{Value, json};
use shared::jobs::JobMessage;
use shared::model::job::{JobKind, JobRecord};
use shared::model::time::Moment;
use shared::store::keys::Key;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const EVER: Moment = Moment::from_millis(0);

fn letter(owner: &Actor) -> Value {
    json!({"to": owner.email, "subject": "s", "text": "t"})
}

fn analysis() -> Value {
    json!({"text": "a text", "model": MODEL})
}

/// A job whose runs all failed.
async fn failed(rig: &Rig, providers: &Providers, owner: &Actor) -> String {
    providers.will(vec![Answer::Refuse(500, None); 5]);
    let id = rig.accepted(owner, "/analyze", analysis()).await;
    rig.drain().await;
    assert_eq!(rig.job(owner, &id).await["error"]["code"], "attempts_exhausted");
    id
}

async fn retry(rig: &Rig, who: &Actor, id: &str) -> Reply {
    rig.api.post(who, &format!("/jobs/{id}/retry"), Value::Null).await
}

fn message(owner: &Actor, id: &str) -> JobMessage {
    JobMessage { org_id: owner.org_id.parse().unwrap(), job_id: id.parse().unwrap() }
}

async fn redriven(rig: &Rig, which: Which) -> (u32, u32, usize) {
    let Report { queued, not_needed, stay } = redrive_failed(rig.system.context(), which).await.unwrap();
    (queued, not_needed, stay.len())
}

/// A job with two messages whose five runs they share: neither becomes a letter.
#[tokio::test]
async fn a_job_that_failed_is_found_without_a_letter() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will(vec![Answer::Refuse(500, None); 5]);
    let id = rig.accepted(&owner, "/analyze", analysis()).await;
    let second = Draft { message_body: json!({"org_id": owner.org_id, "job_id": id}).to_string(), ..Draft::default() };
    rig.system.sqs().send(queue_of(JobKind::Analyze), second).unwrap();
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("failed"), Some(5)), "{job}");
    assert_eq!(rig.dead_letters(), 0);

    assert_eq!(redriven(&rig, Which::All(EVER)).await, (1, 0, 0));
    rig.drain().await;
    let job = rig.job(&owner, &id).await;
    assert_eq!((job["state"].as_str(), job["attempts"].as_u64()), (Some("succeeded"), Some(1)), "{job}");
    assert_eq!(redriven(&rig, Which::All(EVER)).await, (0, 0, 0), "its entry went with its retry");
}

#[tokio::test]
async fn a_retried_job_has_all_its_runs_and_its_whole_time() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will(vec![Answer::Refuse(529, Some(90_000)); 2]);
    let id = rig.accepted(&owner, "/analyze", analysis()).await;
    rig.deliver_all().await;
    rig.system.clock().jump(DAY + Duration::from_secs(1));
    rig.sweep_once().await;
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["error"]["code"], "gave_up");

    let again = retry(&rig, &owner, &id).await;
    assert_eq!(again.status, 202, "{}", again.text);
    assert_eq!((&again.body["state"], &again.body["attempts"]), (&json!("queued"), &json!(0)));
    let stored = stored(&rig, &owner, &id).await;
    let left = rig.system.context().now().until(stored.give_up_at.unwrap());
    assert!(left > DAY - Duration::from_secs(60) && left <= DAY, "{left:?}");
    assert!(again.body.get("error").is_none());
    retry(&rig, &owner, &id).await.is_problem(409, "job_not_failed");
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    retry(&rig, &owner, &id).await.is_problem(409, "job_not_failed");
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 2, "it counts like a new one");
}

async fn stored(rig: &Rig, owner: &Actor, id: &str) -> JobRecord {
    rig.system.context().store().job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn only_an_admin_retries_and_only_what_failed() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let (admin, member) = (rig.api.join(&owner, "admin").await, rig.api.join(&owner, "member").await);
    let stranger = rig.owner("pro").await;
    let id = failed(&rig, &providers, &owner).await;
    retry(&rig, &member, &id).await.is_problem(403, "forbidden_role");
    retry(&rig, &stranger, &id).await.is_problem(404, "not_found");
    assert_eq!(retry(&rig, &admin, &id).await.status, 202);
    let cancelled = rig.api.post(&owner, &format!("/jobs/{id}/cancel"), Value::Null).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    retry(&rig, &owner, &id).await.is_problem(409, "job_not_failed");

    providers.will([Answer::Refuse(500, None)]);
    let mail = rig.accepted(&owner, "/send-email", letter(&owner)).await;
    rig.deliver_of(JobKind::SendEmail).await;
    assert_eq!(rig.job(&owner, &mail).await["state"], "unknown");
    retry(&rig, &owner, &mail).await.is_problem(409, "outcome_unknown");
    assert_eq!(redriven(&rig, Which::Job(message(&owner, &mail))).await, (0, 0, 1));
}

/// Between the request's authority read and its write the caller loses the role.
#[tokio::test]
async fn the_role_is_checked_in_the_write() {
    let (origin, database, providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    let admin = rig.api.join(&owner, "admin").await;
    let id = failed(&rig, &providers, &owner).await;
    database.inject("TransactWriteItems", Fault::Hold);
    let demotion = async {
        database.holds("TransactWriteItems").await;
        let member = format!("/orgs/{}/members/{}", owner.org_id, admin.user_id);
        assert_eq!(Api::of(&origin).put(&owner, &member, json!({"role": "member"})).await.status, 200);
        database.release("TransactWriteItems");
    };
    let (late, ()) = tokio::join!(retry(&rig, &admin, &id), demotion);
    late.is_problem(403, "forbidden_role");
    assert_eq!(rig.job(&owner, &id).await["state"], "failed");
}

#[tokio::test]
async fn one_key_retries_once_and_for_one_job() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let (one, other) = (failed(&rig, &providers, &owner).await, failed(&rig, &providers, &owner).await);
    let keyed =
        async |id: &str| rig.post_with(&owner, &format!("/jobs/{id}/retry"), &[("Idempotency-Key", "a-key")], "").await;
    let first = keyed(&one).await;
    assert_eq!(first.status, 202, "{}", first.text);
    rig.deliver_all().await;
    let second = keyed(&one).await;
    assert_eq!((second.status, &second.text), (202, &first.text));
    assert_eq!(second.header("idempotent-replayed"), "true");
    keyed(&other).await.is_problem(422, "idempotency_key_reuse");
    assert_eq!((rig.visible(), rig.job(&owner, &other).await["state"].as_str()), (0, Some("failed")));
}

/// A run that may have cost something is followed by another one if the budget of now has room for it, whatever it was at the acceptance.
#[tokio::test]
async fn another_run_is_judged_by_the_budget_of_now() {
    for is_spread in [false, true] {
        let providers = Providers::start().await;
        let rig = Rig::over(&providers).await;
        let owner = rig.owner("pro").await;
        rig.spread_if(is_spread, &owner).await;
        let analyze = || rig.accepted(&owner, "/analyze", json!({"text": "A text.", "model": MODEL}));
        // Room for one run of some 0.0315 dollars.
        rig.settings(&owner, json!({"monthly_budget_usd": "0.04"})).await;
        let raised = analyze().await;
        rig.settings(&owner, json!({"monthly_budget_usd": "10"})).await;
        providers.will([Answer::Refuse(500, None)]);
        rig.drain().await;
        assert_eq!(rig.job(&owner, &raised).await["state"], "succeeded", "spread: {is_spread}");

        let lowered = analyze().await;
        rig.settings(&owner, json!({"monthly_budget_usd": "0.08"})).await;
        providers.will([Answer::Refuse(500, None)]);
        rig.drain().await;
        assert_eq!(rig.job(&owner, &lowered).await["error"]["code"], "budget_exceeded", "spread: {is_spread}");
    }
}

/// What was in force at the first acceptance is not asked: the limits, the budget, the plan and the settings are those of now.
#[tokio::test]
async fn limits_budget_and_plan_are_those_of_now_in_the_month_that_pays() {
    for is_spread in [false, true] {
        let providers = Providers::start().await;
        let environment = providers.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // The 18th of November: the month ends before the input does.
        let clock = Clock::at_ms(1_795_000_000_000);
        let rig = Rig::start(Options { clock, environment, ..Options::ephemeral() }).await;
        let owner = rig.owner("pro").await;
        rig.spread_if(is_spread, &owner).await;
        // Room for five runs of 0.0315 dollars.
        rig.settings(&owner, json!({"monthly_budget_usd": "0.17"})).await;
        let id = failed(&rig, &providers, &owner).await;
        retry(&rig, &owner, &id).await.is_problem(402, "budget_exceeded");
        assert_eq!(redriven(&rig, Which::Job(message(&owner, &id))).await, (0, 0, 1));
        rig.settings(&owner, json!({"monthly_budget_usd": "10"})).await;
        assert_eq!(retry(&rig, &owner, &id).await.status, 202);
        providers.will(vec![Answer::Refuse(500, None); 5]);
        rig.drain().await;

        rig.give_plan(&owner, "free").await;
        retry(&rig, &owner, &id).await.is_problem(403, "plan_forbids");
        rig.give_plan(&owner, "pro").await;
        rig.settings(&owner, json!({"monthly_budget_usd": "0.17"})).await;
        retry(&rig, &owner, &id).await.is_problem(402, "budget_exceeded");
        let before = rig.usage(&owner).await;
        rig.system.clock().jump(13 * DAY);
        let owner = Actor::of(&rig.api.login(&owner.email, None).await.body, &owner.email);
        let again = retry(&rig, &owner, &id).await;
        assert_eq!(again.status, 202, "another month has room: {}", again.text);
        rig.drain().await;
        assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
        let usage = rig.usage(&owner).await;
        assert_eq!((&usage["month"], &usage["analyses"]["used"]), (&json!("2026-12"), &json!(1)));
        let after = rig.api.get(&owner, "/usage?month=2026-11").await.body;
        assert_eq!((&after["cost_usd"], &after["analyses"]), (&before["cost_usd"], &before["analyses"]));
    }
}

#[tokio::test]
async fn a_full_month_takes_no_retry_but_an_operators() {
    for is_spread in [false, true] {
        let providers = Providers::start().await;
        let rig = Rig::over(&providers).await;
        let owner = rig.owner("free").await;
        rig.spread_if(is_spread, &owner).await;
        providers.will([Answer::Refuse(400, None)]);
        let id = rig.accepted(&owner, "/send-email", letter(&owner)).await;
        rig.drain().await;
        assert_eq!(rig.job(&owner, &id).await["state"], "failed");
        for _ in 1..200 {
            rig.accepted(&owner, "/send-email", letter(&owner)).await;
        }
        rig.drain().await;
        retry(&rig, &owner, &id).await.is_problem(429, "quota_exceeded");
        assert_eq!(redriven(&rig, Which::Job(message(&owner, &id))).await, (1, 0, 0));
        // A place that earlier runs used up does not come back.
        let cancelled = rig.api.post(&owner, &format!("/jobs/{id}/cancel"), Value::Null).await;
        assert_eq!(cancelled.status, 200, "{}", cancelled.text);
        assert_eq!(rig.usage(&owner).await["emails"]["used"], 200, "spread: {is_spread}");
        rig.api.post(&owner, "/send-email", letter(&owner)).await.is_problem(429, "quota_exceeded");
    }
}

#[tokio::test]
async fn whoever_may_no_longer_be_written_to_is_not() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    providers.will([Answer::Refuse(400, None)]);
    let stranger = json!({"to": "stranger@example.com", "subject": "s", "text": "t"});
    let id = rig.accepted(&owner, "/send-email", stranger).await;
    rig.drain().await;
    rig.settings(&owner, json!({"email_recipients": "members"})).await;
    assert_eq!(retry(&rig, &owner, &id).await.status, 422);
    rig.give_plan(&owner, "free").await;
    retry(&rig, &owner, &id).await.is_problem(403, "plan_forbids");
    assert_eq!(redriven(&rig, Which::All(EVER)).await, (0, 0, 1));
}

/// A death between the commit and the message: the sweeper sends it.
#[tokio::test]
async fn a_retry_whose_message_was_not_sent_is_swept() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = failed(&rig, &providers, &owner).await;
    assert_eq!(retry(&rig, &owner, &id).await.status, 202);
    let queue = rig.system.context().queue(JobKind::Analyze).unwrap();
    for lost in queue.receive(DAY, Duration::ZERO).await.unwrap() {
        queue.delete(&lost.receipt_handle).await.unwrap();
    }
    assert_eq!(rig.visible(), 0);
    rig.system.clock().jump(Duration::from_secs(31));
    assert_eq!(rig.sweep_once().await.queued, 1);
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
}

#[tokio::test]
async fn an_input_that_is_gone_is_said() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = failed(&rig, &providers, &owner).await;
    rig.system.clock().jump(31 * DAY);
    let owner = Actor::of(&rig.api.login(&owner.email, None).await.body, &owner.email);
    retry(&rig, &owner, &id).await.is_problem(409, "input_expired");
}

/// A redrive of a console's gives each letter to the worker, which finds its job failed. The job is found all the same.
#[tokio::test]
async fn a_consoles_redrive_swallows_no_job() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = failed(&rig, &providers, &owner).await;
    let moved = Draft { message_body: json!({"org_id": owner.org_id, "job_id": id}).to_string(), ..Draft::default() };
    rig.system.sqs().send(queue_of(JobKind::Analyze), moved).unwrap();
    rig.drain().await;
    assert_eq!((rig.dead_letters(), rig.visible()), (0, 0));
    assert_eq!(redriven(&rig, Which::All(EVER)).await, (1, 0, 0));
    rig.drain().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
}

/// One that stays is in nobody's way, and what fails anew while it goes on does not keep it going.
#[tokio::test]
async fn a_redrive_goes_on_where_one_stays_and_says_why() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let (poor, rich) = (rig.owner("pro").await, rig.owner("pro").await);
    let mut ids = Vec::new();
    for owner in [&poor, &rich, &poor, &rich] {
        ids.push(failed(&rig, &providers, owner).await);
    }
    rig.settings(&poor, json!({"monthly_budget_usd": "0.01"})).await;
    let report = redrive_failed(rig.system.context(), Which::All(EVER)).await.unwrap();
    assert_eq!((report.queued, report.not_needed, report.stay.len()), (2, 0, 2));
    assert!(report.stay.iter().all(|(job, why)| job.org_id.to_string() == poor.org_id && why.contains("budget")));
    let later = rig.system.context().now().plus(DAY);
    assert_eq!(redriven(&rig, Which::All(later)).await, (0, 0, 0), "none failed since");
    rig.settings(&poor, json!({})).await;
    assert_eq!(redriven(&rig, Which::Of(poor.org_id.parse().unwrap(), EVER)).await, (2, 0, 0));
    rig.drain().await;
    for (id, owner) in ids.iter().zip([&poor, &rich, &poor, &rich]) {
        assert_eq!(rig.job(owner, id).await["state"], "succeeded");
    }
}

/// A job of the version before, which has no entry in the index.
#[tokio::test]
async fn what_failed_before_there_was_an_index_is_found() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let (one, two) = (failed(&rig, &providers, &owner).await, failed(&rig, &providers, &owner).await);
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    for id in [&one, &two] {
        let job = stored(&rig, &owner, id).await;
        let Key { pk, sk } = Key::failed(job.due_shard.unwrap(), job.job_id, job.finished_at.unwrap());
        let delete = json!({"TableName": rig.system.context().config().table_name,
            "Key": {"pk": {"S": pk}, "sk": {"S": sk}}});
        database.call("DeleteItem", &delete).await;
    }
    assert_eq!(redriven(&rig, Which::All(EVER)).await, (0, 0, 0));
    assert_eq!(retry(&rig, &owner, &one).await.status, 202);
    assert_eq!(redriven(&rig, Which::Of(owner.org_id.parse().unwrap(), EVER)).await, (1, 0, 0));
    rig.drain().await;
    for id in [&one, &two] {
        assert_eq!(rig.job(&owner, id).await["state"], "succeeded");
    }
}

/// What is in the dead-letter queue is dealt with once each, whatever stays there; letters of before name jobs.
#[tokio::test]
async fn dead_letters_that_stay_do_not_keep_the_command_going() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let id = failed(&rig, &providers, &owner).await;
    let of_job = json!({"org_id": owner.org_id, "job_id": id}).to_string();
    for body in [of_job.clone(), of_job, "poison".into(), "poison".into()] {
        let draft = Draft { message_body: body, ..Draft::default() };
        rig.system.sqs().send(DEAD_LETTER_QUEUE, draft).unwrap();
    }
    let url = rig.system.sqs().queue_url(DEAD_LETTER_QUEUE);
    // Those that stay are no longer hidden while the command goes on.
    let time_passes = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            rig.system.clock().jump(Duration::from_secs(61));
        }
    };
    let (letters, ()) = tokio::join!(apply_dead_letters(rig.system.context(), &url), time_passes);
    let Letters { queued, not_needed, applied, stay } = letters.unwrap();
    assert_eq!((queued, not_needed, applied, stay.len()), (1, 1, 0, 2));
}

/// In two tabs: its session ends the user's others meanwhile, and goes on under the mark that it gave itself.
#[tokio::test]
async fn a_retry_is_accepted_while_its_session_ends_the_others() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (late, owner) = (Api::at(slow.url()), rig.owner("pro").await);
    providers.will([Answer::Refuse(400, None)]);
    let id = rig.accepted(&owner, "/send-email", letter(&owner)).await;
    rig.deliver().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "failed");
    let other = Actor::of(&rig.api.login(&owner.email, None).await.body, &owner.email);
    let path = format!("/jobs/{id}/retry");
    for (who, status) in [(&other, 401), (&owner, 202)] {
        database.inject("TransactWriteItems", Fault::Hold);
        let meanwhile = async {
            database.holds("TransactWriteItems").await;
            assert_eq!(rig.api.delete(&owner, "/me/sessions").await.status, 204);
            database.release("TransactWriteItems");
        };
        let (again, ()) = tokio::join!(late.post(who, &path, Value::Null), meanwhile);
        assert_eq!(again.status, status, "{}", again.text);
    }
}

/// What this version cannot read is said to be so, and is no error of ours.
#[tokio::test]
async fn a_job_of_another_version_is_no_internal_error() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text"})).await;
    let Key { pk, sk } = Key::job(owner.org_id.parse().unwrap(), id.parse().unwrap());
    let update = json!({"TableName": rig.system.context().config().table_name, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
        "UpdateExpression": "SET kind = :kind", "ExpressionAttributeValues": {":kind": {"S": "export"}}});
    FaultyDatabase::before(&rig.system.database_url()).await.call("UpdateItem", &update).await;
    let path = format!("/jobs/{id}");
    rig.api.get(&owner, &path).await.is_problem(409, "job_unreadable");
    for change in ["cancel", "retry"] {
        rig.api.post(&owner, &format!("{path}/{change}"), Value::Null).await.is_problem(409, "job_unreadable");
    }
    assert_eq!(rig.deliver().await.deleted.len(), 1, "the index of what is due watches over it");
}
