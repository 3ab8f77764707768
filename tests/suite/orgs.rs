//! Plans and settings: renewed on update, versioned.

use crate::api::{Api, redacted, send};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_new_plan_shows_in_the_next_read() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/plan", owner.org_id);
    let free = json!({"org_id": "org_*", "plan": "free", "version": 1, "limits": {"items": 1000, "members": 5,
        "analyses_per_month": 100, "emails_per_month": 100, "input_bytes": 20_000}});
    assert_eq!(redacted(&api.get(&owner, &path).await.body), free);
    for (version, plan) in [(2, "pro"), (3, "enterprise"), (4, "free")] {
        let put = api.put(&owner, &path, json!({"plan": plan})).await;
        assert_eq!((put.status, &put.body["plan"], &put.body["version"]), (200, &json!(plan), &json!(version)));
        let read = api.get(&owner, &path).await;
        assert_eq!(read.body, put.body);
        assert_eq!(read.header("etag"), put.header("etag"));
    }
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
    let changed = json!({"default_model": "claude-sonnet-4-5", "email_recipients": "anyone",
        "timezone": "Europe/Vienna", "monthly_budget_usd": "25.00"});
    let put = api.put(&owner, &path, json!({"settings": changed})).await;
    assert_eq!((put.status, &put.body["settings"]), (200, &changed));
    assert_eq!(api.get(&owner, &path).await.body, put.body);
    let reset = api.put(&owner, &path, json!({"settings": {}})).await;
    assert_eq!((&reset.body["settings"], &reset.body["version"]), (&defaults, &json!(3)));
}

#[tokio::test]
async fn of_simultaneous_replacements_of_one_version_one_wins() {
    let api = Api::new();
    let owner = api.register().await;
    for (path, body) in [
        (format!("/orgs/{}/settings", owner.org_id), json!({"settings": {"timezone": "Asia/Tokyo"}})),
        (format!("/orgs/{}/plan", owner.org_id), json!({"plan": "pro"})),
    ] {
        let put = || {
            let request = api.request(Method::PUT, &path).bearer_auth(&owner.token).header("If-Match", "W/\"1\"");
            send(request.json(&body))
        };
        let replies = join_all((0..10).map(|_| put())).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        replies.iter().find(|reply| reply.status != 200).unwrap().is_problem(412, "precondition_failed");
        assert_eq!(api.get(&owner, &path).await.body["version"], 2);
    }
}

#[tokio::test]
async fn readers_during_writes_see_no_older_plan_than_one_acknowledged() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/plan", owner.org_id);
    for round in 0..20 {
        let plan = ["free", "pro", "enterprise"][round % 3];
        let put = api.put(&owner, &path, json!({"plan": plan}));
        let reads = join_all((0..5).map(|_| api.get(&owner, &path)));
        let (put, _) = tokio::join!(put, reads);
        let after = join_all((0..5).map(|_| api.get(&owner, &path))).await;
        for read in after {
            assert_eq!(read.body, put.body, "round {round}");
        }
    }
}
