//! Members and roles; authority counts from the next request on.

use crate::api::{Api, redacted};
use crate::faults::FaultyDatabase;
use crate::jobs::rig::Rig;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::store::keys::Key;

fn path(org: &str, user: &str) -> String {
    format!("/orgs/{org}/members/{user}")
}

#[tokio::test]
async fn members_are_listed_with_names_and_roles() {
    let api = Api::new();
    let owner = api.register().await;
    let admin = api.join(&owner, "admin").await;
    let list = api.get(&admin, &format!("/orgs/{}/members", owner.org_id)).await;
    let member = |role: &str| json!({"user_id": "usr_*", "name": "Ada Lovelace", "role": role, "joined_at": "<time>"});
    assert_eq!(redacted(&list.body), json!({"data": [member("owner"), member("admin")], "next_cursor": null}));
    let page = api.get(&admin, &format!("/orgs/{}/members?limit=1", owner.org_id)).await;
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let rest = api.get(&admin, &format!("/orgs/{}/members?limit=1&cursor={cursor}", owner.org_id)).await;
    assert_eq!((&rest.body["data"][0], &rest.body["next_cursor"]), (&list.body["data"][1], &Value::Null));
    let both = api.get(&admin, &format!("/orgs/{}/members?limit=2", owner.org_id)).await;
    assert_eq!(both.body, list.body, "a full page is the last one where nothing is behind it");
    let me = api.get(&admin, "/me").await;
    let roles: Vec<&Value> = me.body["orgs"].as_array().unwrap().iter().map(|org| &org["role"]).collect();
    assert_eq!(roles, ["owner", "admin"]);
}

#[tokio::test]
async fn a_changed_role_and_a_removal_count_from_the_next_request_on() {
    let api = Api::new();
    let owner = api.register().await;
    let member = api.join(&owner, "member").await;
    let settings = format!("/orgs/{}/settings", owner.org_id);
    let body = json!({"settings": {}});
    api.put(&member, &settings, body.clone()).await.is_problem(403, "forbidden_role");
    let promoted = api.put(&owner, &path(&owner.org_id, &member.user_id), json!({"role": "admin"})).await;
    assert_eq!((promoted.status, &promoted.body["role"]), (200, &json!("admin")));
    assert_eq!(api.put(&member, &settings, body.clone()).await.status, 200);
    api.put(&owner, &path(&owner.org_id, &member.user_id), json!({"role": "member"})).await;
    api.put(&member, &settings, body).await.is_problem(403, "forbidden_role");
    assert_eq!(api.delete(&owner, &path(&owner.org_id, &member.user_id)).await.status, 204);
    api.get(&member, &settings).await.is_problem(401, "invalid_token");
    api.delete(&owner, &path(&owner.org_id, &member.user_id)).await.is_problem(404, "not_found");
}

/// A member can end its other sessions all the time, which gives its membership another mark. It is demoted and removed all the same.
#[tokio::test]
async fn a_member_that_ends_its_sessions_all_the_time_is_removed() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let busy = database.system().await;
    let late = Api::at(busy.url());
    let owner = rig.api.register().await;
    let member = rig.api.join(&owner, "admin").await;
    let of_member = path(&owner.org_id, &member.user_id);
    database.keep_marking(Key::membership(member.user_id.parse().unwrap(), owner.org_id.parse().unwrap()));
    let demoted = late.put(&owner, &of_member, json!({"role": "member"})).await;
    assert_eq!((demoted.status, &demoted.body["role"]), (200, &json!("member")), "{}", demoted.text);
    let removed = late.delete(&owner, &of_member).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    let list = rig.api.get(&owner, &format!("/orgs/{}/members", owner.org_id)).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1, "{}", list.text);
}

#[tokio::test]
async fn only_owners_make_owners_or_change_them() {
    let api = Api::new();
    let owner = api.register().await;
    let admin = api.join(&owner, "admin").await;
    let member = api.join(&owner, "member").await;
    let of = |user: &str| path(&owner.org_id, user);
    api.put(&admin, &of(&member.user_id), json!({"role": "owner"})).await.is_problem(403, "forbidden_role");
    api.put(&admin, &of(&owner.user_id), json!({"role": "member"})).await.is_problem(403, "forbidden_role");
    api.delete(&admin, &of(&owner.user_id)).await.is_problem(403, "forbidden_role");
    assert_eq!(api.put(&admin, &of(&member.user_id), json!({"role": "admin"})).await.status, 200);
    assert_eq!(api.put(&owner, &of(&member.user_id), json!({"role": "owner"})).await.status, 200);
}

#[tokio::test]
async fn the_last_owner_stays_however_raced() {
    let api = Api::new();
    let first = api.register().await;
    let last = path(&first.org_id, &first.user_id);
    api.delete(&first, &last).await.is_problem(409, "last_owner");
    api.put(&first, &last, json!({"role": "admin"})).await.is_problem(409, "last_owner");
    let second = api.join(&first, "owner").await;
    let other = path(&first.org_id, &second.user_id);
    // Both leave at once, each by several calls: one of them must stay an owner.
    let demote = json!({"role": "member"});
    let calls = (0..3).map(|_| async {
        tokio::join!(api.put(&first, &last, demote.clone()), api.put(&second, &other, demote.clone()))
    });
    join_all(calls).await;
    let list = api.get(&first, &format!("/orgs/{}/members", first.org_id)).await;
    let owners = list.body["data"].as_array().unwrap().iter().filter(|member| member["role"] == "owner").count();
    assert_eq!(owners, 1, "{}", list.text);
}

#[tokio::test]
async fn nobody_is_added_without_consent() {
    let api = Api::new();
    let (owner, stranger) = (api.register().await, api.register().await);
    let nobody = format!("usr_{}", "0".repeat(32));
    for user in [&stranger.user_id, &nobody] {
        for role in ["member", "owner"] {
            api.put(&owner, &path(&owner.org_id, user), json!({"role": role})).await.is_problem(404, "not_found");
        }
    }
    assert_eq!(api.get(&stranger, "/me").await.body["orgs"].as_array().unwrap().len(), 1);
    assert_eq!(
        api.get(&owner, &format!("/orgs/{}/members", owner.org_id)).await.body["data"].as_array().unwrap().len(),
        1
    );
}
