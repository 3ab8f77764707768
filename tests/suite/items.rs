//! Items: one, many, pages, versions, limits.

use crate::api::{Api, redacted, send};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::org::Plan;
use std::collections::HashSet;

#[tokio::test]
async fn an_item_is_created_read_changed_and_deleted() {
    let api = Api::new();
    let actor = api.register().await;
    let created = api.post(&actor, "/items", json!({"name": " Lamp ", "description": "bright"})).await;
    assert_eq!(created.status, 201);
    let expected = json!({"id": "itm_*", "org_id": "org_*", "name": "Lamp", "description": "bright",
        "created_at": "<time>", "updated_at": "<time>", "version": 1});
    assert_eq!(redacted(&created.body), expected);
    // Relative, so that it resolves below any stage and base path.
    assert_eq!(created.header("location"), format!("items/{}", created.body["id"].as_str().unwrap()));
    let path = created.location();
    assert_eq!(path, format!("/items/{}", created.body["id"].as_str().unwrap()));
    let read = api.get(&actor, &path).await;
    assert_eq!((read.status, &read.body), (200, &created.body));

    let changed = api.patch(&actor, &path, json!({"description": null})).await;
    assert_eq!(changed.status, 200);
    assert_eq!((&changed.body["name"], &changed.body["description"]), (&json!("Lamp"), &Value::Null));
    assert_eq!(api.get(&actor, &path).await.body, changed.body);

    assert_eq!(api.delete(&actor, &path).await.status, 204);
    api.get(&actor, &path).await.is_problem(404, "not_found");
    api.delete(&actor, &path).await.is_problem(404, "not_found");
    api.patch(&actor, &path, json!({"name": "x"})).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn pages_hold_each_item_once_newest_first() {
    let api = Api::new();
    let actor = api.register().await;
    let names: Vec<Value> = (0..100).map(|number| json!({"name": format!("item {number}")})).collect();
    let batch = api.post(&actor, "/items", json!({"items": names})).await;
    assert_eq!(batch.status, 201, "{}", batch.text);
    assert_eq!(batch.body["failed"], json!([]));
    assert_eq!(batch.body["created"].as_array().unwrap().len(), 100);
    for limit in [1, 7, 50, 99, 100] {
        let (mut seen, mut pages) = (Vec::new(), 0);
        let mut path = format!("/items?limit={limit}");
        loop {
            let page = api.get(&actor, &path).await;
            assert_eq!(page.status, 200, "{}", page.text);
            pages += 1;
            let data = page.body["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            seen.extend(data.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            match page.body["next_cursor"].as_str() {
                Some(cursor) => path = format!("/items?limit={limit}&cursor={cursor}"),
                None => break,
            }
            if limit == 1 && seen.len() == 5 {
                break;
            }
        }
        let expected: Vec<String> = (0..100).rev().map(|number| format!("item {number}")).collect();
        assert_eq!(seen, expected[..seen.len()], "limit {limit}");
        // The last page says that it is, also where it is full.
        assert!(limit == 1 || (seen.len(), pages) == (100, 100usize.div_ceil(limit)), "limit {limit}: {pages} pages");
    }
}

#[tokio::test]
async fn every_write_shows_in_the_next_page() {
    let api = Api::new();
    let actor = api.register().await;
    let list = async || api.get(&actor, "/items").await.body["data"].clone();
    assert_eq!(list().await, json!([]));
    let id = api.item(&actor).await;
    assert_eq!(list().await.as_array().unwrap().len(), 1);
    let path = format!("/items/{id}");
    api.patch(&actor, &path, json!({"name": "renamed"})).await;
    assert_eq!(list().await[0]["name"], "renamed");
    api.post(&actor, "/items", json!({"items": [{"name": "a"}, {"name": "b"}]})).await;
    assert_eq!(list().await.as_array().unwrap().len(), 3);
    api.delete(&actor, &path).await;
    assert_eq!(list().await.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn cursors_are_bound_to_their_organization_and_list() {
    let api = Api::new();
    let (actor, other) = (api.register().await, api.register().await);
    for actor in [&actor, &other] {
        api.post(actor, "/items", json!({"items": [{"name": "a"}, {"name": "b"}]})).await;
    }
    let cursor = api.get(&actor, "/items?limit=1").await.body["next_cursor"].as_str().unwrap().to_owned();
    let with = |cursor: &str| format!("/items?limit=1&cursor={cursor}");
    assert_eq!(api.get(&actor, &with(&cursor)).await.status, 200);
    assert_eq!(api.get(&other, &with(&cursor)).await.pointer(), "query/cursor");
    let flipped = if cursor.ends_with('A') { "B" } else { "A" };
    for altered in [&cursor[..cursor.len() - 1], &format!("{}{flipped}", &cursor[..cursor.len() - 2]), "", "x"] {
        assert_eq!(api.get(&actor, &with(altered)).await.pointer(), "query/cursor", "{altered}");
    }
    let members = format!("/orgs/{}/members?cursor={cursor}", actor.org_id);
    assert_eq!(api.get(&actor, &members).await.pointer(), "query/cursor");
}

#[tokio::test]
async fn of_simultaneous_changes_to_one_version_one_wins() {
    let api = Api::new();
    let actor = api.register().await;
    let path = format!("/items/{}", api.item(&actor).await);
    let first = api.get(&actor, &path).await.header("etag").to_owned();
    let change = |name: usize| {
        let request = api.request(Method::PATCH, &path).bearer_auth(&actor.token).header("If-Match", &first);
        send(request.json(&json!({"name": name.to_string()})))
    };
    let replies = join_all((0..16).map(change)).await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(api.get(&actor, &path).await.body, won[0].body);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.is_problem(412, "precondition_failed");
    }
    let stale = api.request(Method::DELETE, &path).bearer_auth(&actor.token).header("If-Match", &first);
    send(stale).await.is_problem(412, "precondition_failed");
    let current =
        api.request(Method::DELETE, &path).bearer_auth(&actor.token).header("If-Match", won[0].header("etag"));
    assert_eq!(send(current).await.status, 204);
}

#[tokio::test]
async fn the_plans_limit_of_items_is_exact() {
    let api = Api::new();
    let actor = api.register().await;
    let batch = |count: usize| json!({"items": vec![json!({"name": "x"}); count]});
    for _ in 0..9 {
        assert_eq!(api.post(&actor, "/items", batch(100)).await.status, 201);
    }
    assert_eq!(api.post(&actor, "/items", batch(99)).await.status, 201);
    // One place is left: of many simultaneous calls exactly one gets it.
    let single = join_all((0..20).map(|_| api.post(&actor, "/items", json!({"name": "x"}))));
    let double = join_all((0..5).map(|_| api.post(&actor, "/items", batch(2))));
    let (single, double) = tokio::join!(single, double);
    assert_eq!(single.iter().filter(|reply| reply.status == 201).count(), 1);
    let refused: Vec<_> = single.iter().chain(&double).filter(|reply| reply.status != 201).collect();
    assert_eq!(refused.len(), 24);
    for reply in refused {
        reply.is_problem(403, "plan_limit_reached");
        assert_eq!((reply.header("retry-after"), reply.header("ratelimit")), ("", ""));
    }
    // A deleted item's place is free again, once.
    let id = api.get(&actor, "/items?limit=1").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/items/{id}");
    let deleted = join_all((0..4).map(|_| api.delete(&actor, &path))).await;
    assert_eq!(deleted.iter().filter(|reply| reply.status == 204).count(), 1);
    assert_eq!(api.post(&actor, "/items", json!({"name": "x"})).await.status, 201);
    assert_eq!(api.post(&actor, "/items", json!({"name": "x"})).await.status, 403);
    // So does a larger plan make room.
    api.give_plan(&actor, Plan::Pro).await;
    assert_eq!(api.post(&actor, "/items", json!({"name": "x"})).await.status, 201);
}

#[tokio::test]
async fn simultaneous_batches_lose_nothing() {
    let api = Api::new();
    let actor = api.register().await;
    let batch = |part: usize| {
        let items: Vec<Value> = (0..60).map(|number| json!({"name": format!("{part}/{number}")})).collect();
        api.post(&actor, "/items", json!({"items": items}))
    };
    let replies = join_all((0..5).map(batch)).await;
    assert!(replies.iter().all(|reply| reply.status == 201));
    let mut names = HashSet::new();
    let mut path = "/items?limit=100".to_owned();
    loop {
        let page = api.get(&actor, &path).await;
        for item in page.body["data"].as_array().unwrap() {
            assert!(names.insert(item["name"].as_str().unwrap().to_owned()));
        }
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/items?limit=100&cursor={cursor}");
    }
    assert_eq!(names.len(), 300);
}
