//! Plans and settings: renewed on update, versioned.

use crate::api::{Api, redacted, send};
use futures_util::future::join_all;
use local::names::TABLE_NAME;
use local::operator;
use local::{Options, System};
use reqwest::Method;
use serde_json::json;
use shared::model::org::{OrgPlan, Plan};
use testkit::aws;

#[tokio::test]
async fn a_new_plan_shows_in_the_next_read() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/plan", owner.org_id);
    let free = json!({"org_id": "org_*", "plan": "free", "version": 1, "limits": {"items": 1000, "members": 5,
        "analyses_per_month": 100, "emails_per_month": 200, "input_bytes": 20_000}});
    assert_eq!(redacted(&api.get(&owner, &path).await.body), free);
    for (version, plan) in [(2, Plan::Pro), (3, Plan::Enterprise), (4, Plan::Free)] {
        assert_eq!(api.give_plan(&owner, plan).await, OrgPlan { plan, version });
        let read = api.get(&owner, &path).await;
        assert_eq!((&read.body["plan"], &read.body["version"]), (&json!(plan), &json!(version)));
        assert_eq!(read.body["limits"], json!(plan.limits()));
    }
}

/// Whatever its role, nobody in an organization sets its plan: that is the operator's.
#[tokio::test]
async fn a_plan_is_not_for_the_taking() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/plan", owner.org_id);
    for method in [Method::PUT, Method::PATCH, Method::POST, Method::DELETE] {
        let reply = api.call(Some(&owner), method.clone(), &path, Some(json!({"plan": "enterprise"}))).await;
        assert!((400..500).contains(&reply.status), "{method}: {}", reply.text);
    }
    assert_eq!(api.get(&owner, &path).await.body["plan"], "free");
}

/// What owners could give themselves before, and operators did not.
#[tokio::test]
async fn self_taken_plans_are_listed() {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let api = Api::of(&system);
    let store = system.context().store();
    let [taken, given, _free] = [api.register().await, api.register().await, api.register().await];
    for owner in [&taken, &given] {
        operator::give_plan(system.context(), owner.org_id.parse().unwrap(), Plan::Pro).await.unwrap();
    }
    assert!(store.self_taken_plans().await.unwrap().is_empty());
    // As an owner's `PUT` wrote it: without a word of the operator.
    let key = json!({"pk": {"S": format!("ORG#{}", taken.org_id)}, "sk": {"S": "ORG"}});
    let update = json!({"TableName": TABLE_NAME, "Key": key, "UpdateExpression": "REMOVE plan_given_at"});
    let call = aws::dynamodb("UpdateItem", update.to_string());
    let reply = reqwest::Client::new().post(system.database_url()).headers(call.headers().clone());
    assert_eq!(reply.body(update.to_string()).send().await.unwrap().status(), 200);
    let listed: Vec<_> =
        store.self_taken_plans().await.unwrap().into_iter().map(|org| org.org_id.to_string()).collect();
    assert_eq!(listed, [taken.org_id]);
}

#[tokio::test]
async fn settings_are_replaced_as_a_whole() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/settings", owner.org_id);
    let defaults = json!({"default_model": "builtin", "email_recipients": "anyone", "timezone": "UTC",
        "monthly_budget_usd": null});
    let first = api.get(&owner, &path).await;
    assert_eq!((&first.body["settings"], &first.body["version"]), (&defaults, &json!(1)));
    let changed = json!({"default_model": "builtin", "email_recipients": "members",
        "timezone": "Europe/Vienna", "monthly_budget_usd": "25.00"});
    let put = api.put(&owner, &path, json!({"settings": changed})).await;
    assert_eq!((put.status, &put.body["settings"]), (200, &changed));
    assert_eq!(api.get(&owner, &path).await.body, put.body);
    let reset = api.put(&owner, &path, json!({"settings": {}})).await;
    assert_eq!((&reset.body["settings"], &reset.body["version"]), (&defaults, &json!(3)));
}

/// Settings that cannot work are refused where they are set; what is stored from before is told, and is nobody else's error.
#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let api = Api::of(&system);
    let owner = api.register().await;
    let path = format!("/orgs/{}/settings", owner.org_id);
    for (settings, pointer) in [
        (json!({"timezone": "Foo/Bar"}), "/settings/timezone"),
        (json!({"default_model": "gpt-99"}), "/settings/default_model"),
        // Priced, and of a provider that this deployment does not use.
        (json!({"default_model": "claude-sonnet-4-5"}), "/settings/default_model"),
    ] {
        assert_eq!(api.put(&owner, &path, json!({"settings": settings})).await.pointer(), pointer);
    }
    let both = json!({"settings": {"timezone": "Foo/Bar", "monthly_budget_usd": 5}});
    assert_eq!(api.put(&owner, &path, both).await.body["errors"].as_array().map(Vec::len), Some(2));

    let key = json!({"pk": {"S": format!("ORG#{}", owner.org_id)}, "sk": {"S": "SETTINGS"}});
    let old =
        json!({"default_model": {"S": "gpt-99"}, "email_recipients": {"S": "anyone"}, "timezone": {"S": "Foo/Bar"}});
    let update = json!({"TableName": TABLE_NAME, "Key": key, "UpdateExpression": "SET settings = :old",
        "ExpressionAttributeValues": {":old": {"M": old}}});
    let call = aws::dynamodb("UpdateItem", update.to_string());
    let reply = reqwest::Client::new().post(system.database_url()).headers(call.headers().clone());
    assert_eq!(reply.body(update.to_string()).send().await.unwrap().status(), 200);
    assert_eq!(api.get(&owner, &path).await.body["settings"]["timezone"], "Foo/Bar");
    let text = json!({"text": "A text."});
    api.post(&owner, "/analyze", text).await.is_problem(409, "default_model_unavailable");
    let named = json!({"text": "A text.", "model": "builtin"});
    assert_eq!(api.post(&owner, "/analyze", named).await.status, 202);
    assert_eq!(api.post(&owner, "/analyze", json!({"text": "A text.", "model": "gpt-99"})).await.pointer(), "/model");
}

#[tokio::test]
async fn of_simultaneous_replacements_of_one_version_one_wins() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/settings", owner.org_id);
    let body = json!({"settings": {"timezone": "Asia/Tokyo"}});
    let first = api.get(&owner, &path).await.header("etag").to_owned();
    let put = || {
        let request = api.request(Method::PUT, &path).bearer_auth(&owner.token).header("If-Match", &first);
        send(request.json(&body))
    };
    let replies = join_all((0..10).map(|_| put())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    replies.iter().find(|reply| reply.status != 200).unwrap().is_problem(412, "precondition_failed");
    assert_eq!(api.get(&owner, &path).await.body["version"], 2);
}

#[tokio::test]
async fn readers_during_writes_see_no_older_plan_than_one_acknowledged() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/plan", owner.org_id);
    for round in 0..20 {
        let plan = [Plan::Free, Plan::Pro, Plan::Enterprise][round % 3];
        let reads = join_all((0..5).map(|_| api.get(&owner, &path)));
        let (given, during) = tokio::join!(api.give_plan(&owner, plan), reads);
        for read in during {
            // What was acknowledged before they asked, or what is on its way.
            assert_eq!(read.status, 200, "round {round}: {}", read.text);
            assert!(read.body["version"].as_u64() >= Some(given.version - 1), "round {round}: {}", read.text);
        }
        let after = join_all((0..5).map(|_| api.get(&owner, &path))).await;
        for read in after {
            assert_eq!(read.body["version"], given.version, "round {round}");
        }
    }
}
