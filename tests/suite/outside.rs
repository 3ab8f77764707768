//! Whoever belongs to no organization: what it may still do, and what ends its sessions.

use crate::api::{Actor, Api, PASSWORD};
use reqwest::Method;
use serde_json::{Value, json};

const ANOTHER: &str = "purple monkey dishwasher";

#[tokio::test]
async fn users_without_an_organization_reach_their_account_only() {
    let api = Api::new();
    let outside = api.outside().await;
    let me = api.get(&outside, "/me").await;
    assert_eq!((me.status, &me.body["orgs"]), (200, &json!([])), "{}", me.text);
    assert_eq!(api.patch(&outside, "/me", json!({"name": "Ada King"})).await.body["orgs"], json!([]));
    let sessions = api.get(&outside, "/me/sessions").await;
    assert_eq!(sessions.body["data"][0]["org_id"], Value::Null, "{}", sessions.text);
    for path in ["/items", "/jobs", "/usage", "/orgs/org_00000000000000000000000000000000/plan"] {
        api.get(&outside, path).await.is_problem(403, "no_organization");
    }
    let named = api.login(&outside.email, Some("org_00000000000000000000000000000000")).await;
    named.is_problem(404, "not_found");
    assert_eq!(api.call(Some(&outside), Method::POST, "/auth/logout", None).await.status, 204);
    api.get(&outside, "/me").await.is_problem(401, "invalid_token");
}

/// Log-ins that are the first of their user outside, at once.
#[tokio::test]
async fn its_first_log_ins_all_succeed() {
    let api = Api::new();
    let (founder, heir) = (api.register().await, api.register().await);
    let path = |user: &Actor| format!("/orgs/{}/members/{}", founder.org_id, user.user_id);
    api.add(&founder, &heir, "owner").await;
    assert_eq!(api.delete(&founder, &path(&founder)).await.status, 204);
    api.get(&founder, "/me").await.is_problem(401, "invalid_token");
    let replies = futures_util::future::join_all((0..8).map(|_| api.login(&founder.email, None))).await;
    for reply in replies {
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(api.get(&Actor::of(&reply.body, &founder.email), "/me").await.status, 200);
    }
}

#[tokio::test]
async fn its_sessions_end_as_all_others_do() {
    let api = Api::new();
    let outside = api.outside().await;
    let other = Actor::of(&api.login(&outside.email, None).await.body, &outside.email);
    let change = json!({"current": PASSWORD, "password": ANOTHER});
    assert_eq!(api.put(&outside, "/me/password", change).await.status, 204);
    api.get(&other, "/me").await.is_problem(401, "invalid_token");
    assert_eq!(api.get(&outside, "/me").await.status, 200);
}
