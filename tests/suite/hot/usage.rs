//! The month's limits and the budget of an organization that is spread: as exact as those that one record counts.

use crate::api::Actor;
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::deadlines::world;
use crate::jobs::limits;
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::{MODEL, Rig};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::ApiError;
use shared::model::job::JobRecord;
use shared::model::usage::month_of;
use std::time::Duration;

#[tokio::test]
async fn of_many_simultaneous_calls_exactly_the_limit_is_accepted() {
    limits::of_simultaneous_calls_the_limit_is_accepted(150, true).await;
}

#[tokio::test]
async fn a_budget_is_never_overshot_and_what_was_not_used_is_free_again() {
    limits::a_budget_is_never_overshot(true).await;
}

#[tokio::test]
async fn runs_that_may_have_cost_all_they_could_use_up_the_budget() {
    limits::runs_use_up_the_budget(true).await;
}

/// What was counted before counts on, and a job that never ran gives its place back.
#[tokio::test]
async fn a_month_that_is_spread_halfway_has_one_limit() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    let accept = async || rig.api.post(&owner, "/analyze", json!({"text": "a"})).await;
    let first = join_all((0..60).map(|_| accept())).await;
    assert!(first.iter().all(|reply| reply.status == 202));
    rig.spread_if(true, &owner).await;
    let others = join_all((0..50).map(|_| accept())).await;
    let accepted: Vec<_> = others.iter().filter(|reply| reply.status == 202).collect();
    assert_eq!(accepted.len(), 40);
    assert_eq!(rig.usage(&owner).await["analyses"], json!({"used": 100, "limit": 100}));
    for reply in [&first[0], accepted[0]] {
        let id = reply.body["id"].as_str().unwrap();
        assert_eq!(rig.api.post(&owner, &format!("/jobs/{id}/cancel"), json!({})).await.status, 200);
        assert_eq!(rig.usage(&owner).await["analyses"]["used"], 99);
        assert_eq!(accept().await.status, 202);
        accept().await.is_problem(429, "quota_exceeded");
    }
    rig.give_plan(&owner, "pro").await;
    assert_eq!(accept().await.status, 202);
    rig.deliver_all().await;
    let listed = rig.api.get(&owner, "/jobs?limit=100").await;
    assert!(
        listed.body["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|job| job["state"] == "succeeded" || job["state"] == "cancelled")
    );
}

/// A smaller budget counts from the next request, though lanes hold more; what no budget bounded counts in the next one.
#[tokio::test]
async fn another_budget_counts_from_the_next_request() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    rig.spread_if(true, &owner).await;
    let accept = async || rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    // Each holds up to 0.0315 dollars and a little, three of them without a budget.
    for _ in 0..3 {
        assert_eq!(accept().await.status, 202);
    }
    for (budget, more) in [("0.10", 0), ("100", 3), ("0.10", 0), ("100", 1), ("0.2", 0), ("0.26", 1)] {
        rig.settings(&owner, json!({"monthly_budget_usd": budget})).await;
        for _ in 0..more {
            assert_eq!(accept().await.status, 202, "{budget}");
        }
        if budget != "100" {
            accept().await.is_problem(402, "budget_exceeded");
        }
    }
    rig.deliver_all().await;
    assert_eq!(rig.usage(&owner).await["cost_usd"], "0.036", "eight runs, a seventh of what they held");
}

/// One that was accepted before, and failed: what lanes hold is not used, wherever the job lies.
#[tokio::test]
async fn a_job_of_before_is_retried_while_lanes_hold_what_it_needs() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.10"})).await;
    let paid = json!({"text": "a", "model": MODEL});
    providers.will([Answer::Refuse(400, None)]);
    let failed = rig.accepted(&owner, "/analyze", paid.clone()).await;
    rig.drain().await;
    assert_eq!(rig.job(&owner, &failed).await["state"], "failed");
    rig.spread_if(true, &owner).await;
    // Three have room at a time, and cost a seventh of what they hold.
    for _ in 0..3 {
        rig.accepted(&owner, "/analyze", paid.clone()).await;
    }
    rig.drain().await;
    let again = rig.api.post(&owner, &format!("/jobs/{failed}/retry"), Value::Null).await;
    assert_eq!(again.status, 202, "{}", again.text);
    rig.drain().await;
    assert_eq!(rig.job(&owner, &failed).await["state"], "succeeded");
    let mut more = 0;
    while rig.api.post(&owner, "/analyze", paid.clone()).await.status == 202 {
        more += 1;
        rig.drain().await;
    }
    let cost: f64 = rig.usage(&owner).await["cost_usd"].as_str().unwrap().parse().unwrap();
    assert!(more > 5 && cost <= 0.10, "{cost} after {more} more");
}

/// What a job of before costs it takes from lanes too: they hold what the month's record counts as spent.
#[tokio::test]
async fn a_job_of_before_has_another_run_while_lanes_hold_what_it_needs() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    let paid = json!({"text": "a", "model": MODEL});
    let before = rig.accepted(&owner, "/analyze", paid.clone()).await;
    rig.spread_if(true, &owner).await;
    let after = rig.accepted(&owner, "/analyze", paid).await;
    rig.settings(&owner, json!({"monthly_budget_usd": "10"})).await;
    providers.will([Answer::Refuse(500, None), Answer::Refuse(500, None)]);
    rig.drain().await;
    for id in [before, after] {
        let job = rig.job(&owner, &id).await;
        assert_eq!((&job["state"], &job["attempts"]), (&json!("succeeded"), &json!(2)), "{job}");
    }
}

/// A month of an organization that is spread, as the test writes it.
struct Month<'a> {
    database: &'a FaultyDatabase,
    org: String,
    month: String,
}

impl Month<'_> {
    async fn write(&self, pk: String, sk: String, mut item: Value) {
        item["pk"] = json!({"S": pk});
        item["sk"] = json!({"S": sk});
        self.database.call("PutItem", &json!({"TableName": local::names::TABLE_NAME, "Item": item})).await;
    }

    async fn out(&self, analyses: u64, spent_nanos: u64) {
        let item = json!({"analyses": {"N": analyses.to_string()}, "spent_nanos": {"N": spent_nanos.to_string()}});
        self.write(format!("USAGE#{}", self.org), self.month.clone(), item).await;
    }

    /// Writes a lane beyond those that requests begin with, unless there are as many.
    async fn lane(&self, what: &str, lane: u8, free: u64, terms: &str) {
        let item = json!({"free_units": {"N": free.to_string()}, "terms": {"S": terms}});
        let pk = format!("USAGE#{}#{}", self.org, lane % 8);
        self.write(pk, format!("{}#{what}#{lane:03}", self.month), item).await;
    }
}

/// An owner with a budget of ten cents, and the terms of the month's limit and of the budget.
async fn with_budget(rig: &Rig) -> (Actor, String, String) {
    let owner = rig.owner("pro").await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.10"})).await;
    rig.spread_if(true, &owner).await;
    let (store, id) = (rig.system.context().store(), owner.org_id.parse().unwrap());
    let (org, settings) = (store.org(id).await.unwrap().unwrap(), store.org_settings(id).await.unwrap().unwrap());
    let limit = org.plan.limits().analyses_per_month;
    (owner, format!("{}/{limit}", org.plan_version), format!("{}/100000000", settings.version))
}

/// Jobs of a larger budget, which go on under it, may have more out than the present one is.
#[tokio::test]
async fn while_more_is_out_than_the_budget_nothing_is_taken_from_lanes() {
    let (_origin, database, _providers, rig) = world().await;
    let (owner, _, budget) = with_budget(&rig).await;
    let month = month_of(rig.system.context().now()).0;
    let month = Month { database: &database, org: owner.org_id.clone(), month };
    month.out(0, 200_000_000).await;
    // Neither is enough for one.
    month.lane("spent", 3, 20_000_000, &budget).await;
    month.lane("spent", 4, 20_000_000, &budget).await;
    let refused = rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    refused.is_problem(402, "budget_exceeded");
}

/// More lanes than one transaction can take from hold what one job needs.
#[tokio::test]
async fn the_last_of_a_budget_is_taken_from_however_many_lanes() {
    let (_origin, database, _providers, rig) = world().await;
    let (owner, _, budget) = with_budget(&rig).await;
    let month = month_of(rig.system.context().now()).0;
    let month = Month { database: &database, org: owner.org_id.clone(), month };
    month.out(0, 100_000_000).await;
    for lane in 0..120 {
        month.lane("spent", lane, 300_000, &budget).await;
    }
    // It needs 31.5 of the 36 million that are left.
    let accepted = rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let refused = rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    refused.is_problem(402, "budget_exceeded");
}

/// So is it by those who read the organization's record before it was spread.
#[tokio::test]
async fn whoever_read_it_before_it_was_spread_finds_the_last_of_a_month_in_the_lanes() {
    let (_origin, database, _providers, rig) = world().await;
    let owner = rig.owner("pro").await;
    rig.settings(&owner, json!({"monthly_budget_usd": "0.10"})).await;
    let first = rig.accepted(&owner, "/analyze", json!({"text": "a", "model": MODEL})).await;
    let (store, org) = (rig.system.context().store(), owner.org_id.parse().unwrap());
    let before = store.org(org).await.unwrap().unwrap();
    let first = store.job(org, first.parse().unwrap()).await.unwrap();
    rig.spread_if(true, &owner).await;
    let (limit, budget) = (before.plan.limits().analyses_per_month, first.budget_nanos.unwrap());
    let month = Month { database: &database, org: owner.org_id.clone(), month: first.month.clone() };
    month.out(limit, budget).await;
    month.lane("analyses", 239, 1, &format!("{}/{limit}", before.plan_version)).await;
    month.lane("spent", 239, 40_000_000, &format!("{}/{budget}", first.budget_version)).await;
    let accept = async || {
        let job_id = before.new_job_id(rig.system.context().now());
        store.accept_job(&before, &JobRecord { job_id, ..first.clone() }, "a", None).await.map(drop)
    };
    accept().await.expect("there is one left");
    assert!(matches!(accept().await, Err(ApiError::QuotaExceeded { .. })));
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], limit);
}

/// What lanes give back while a month is read was used no less for that.
#[tokio::test]
async fn what_comes_back_while_a_month_is_read_hides_nothing() {
    const READ: &str = "GetItem";
    let (_origin, database, _providers, rig) = world().await;
    let (owner, limit, _) = with_budget(&rig).await;
    let month = month_of(rig.system.context().now()).0;
    let month = Month { database: &database, org: owner.org_id.clone(), month };
    month.out(18_000, 0).await;
    for lane in 0..90 {
        month.lane("analyses", lane, 100, &limit).await;
    }
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], 9_000);
    database.inject(READ, Fault::Hold);
    let give_back = async {
        database.holds(READ).await;
        database.release(READ);
        database.inject(READ, Fault::Hold);
        database.holds(READ).await;
        for lane in 0..90 {
            month.lane("analyses", lane, 0, &limit).await;
        }
        month.out(9_000, 0).await;
        database.release(READ);
    };
    let (usage, ()) = tokio::join!(rig.usage(&owner), give_back);
    assert_eq!(usage["analyses"]["used"], 9_000);
}

/// The last of the month's limit and of the budget are in the month's record, which one transaction may not write twice.
#[tokio::test]
async fn the_last_units_of_two_limits_are_taken_together() {
    const WRITE: &str = "TransactWriteItems";
    let (_origin, database, _providers, rig) = world().await;
    let (owner, limit, budget) = with_budget(&rig).await;
    let most: u64 = limit.split_once('/').unwrap().1.parse().unwrap();
    let month = month_of(rig.system.context().now()).0;
    let month = Month { database: &database, org: owner.org_id.clone(), month };
    month.out(most, 85_000_000).await;
    month.lane("analyses", 239, 1, &limit).await;
    month.lane("spent", 239, 20_000_000, &budget).await;
    let seen = database.calls(WRITE);
    database.inject(WRITE, Fault::Hold);
    let others = async {
        for call in 1.. {
            while database.calls(WRITE) < seen + call {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if call == 2 {
                // When it has seen where the last units lie, they move.
                month.lane("analyses", 239, 0, &limit).await;
                month.out(most - 1, 85_000_000).await;
            }
            database.release(WRITE);
            database.inject(WRITE, Fault::Hold);
        }
    };
    let accepted = tokio::select! {
        accepted = rig.api.post(&owner, "/analyze", json!({"text": "a", "model": MODEL})) => accepted,
        () = others => unreachable!("it goes on for ever"),
    };
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    database.release(WRITE);
    rig.api.post(&owner, "/analyze", json!({"text": "a"})).await.is_problem(429, "quota_exceeded");
    assert_eq!(rig.usage(&owner).await["analyses"]["used"], most);
}
