//! Conditions (RFC 9110, 13) on everything that has a version: whoever names another state changes nothing.

use crate::api::{Actor, Api, Reply, send};
use crate::documented;
use crate::matrix;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

/// What may be changed under conditions: the path that shows it, method and body of a change.
async fn versioned(api: &Api, owner: &Actor) -> Vec<(String, Method, Value)> {
    let org = format!("/orgs/{}", owner.org_id);
    let item = format!("/items/{}", api.item(owner).await);
    vec![
        ("/me".to_owned(), Method::PATCH, json!({"name": "Another"})),
        (format!("{org}/settings"), Method::PUT, json!({"settings": {"timezone": "Asia/Tokyo"}})),
        (item.clone(), Method::PATCH, json!({"name": "another"})),
        (item, Method::DELETE, json!(null)),
    ]
}

async fn with(
    api: &Api,
    owner: &Actor,
    (method, path): (&Method, &str),
    fields: &[(&str, &[u8])],
    body: &Value,
) -> Reply {
    let mut request = api.request(method.clone(), path).bearer_auth(&owner.token);
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
    }
    send(if body.is_null() { request } else { request.json(body) }).await
}

#[tokio::test]
async fn a_write_under_a_condition_that_fails_changes_nothing() {
    let api = Api::new();
    let owner = api.register().await;
    for (path, method, body) in versioned(&api, &owner).await {
        let before = api.get(&owner, &path).await;
        let tag = before.header("etag").as_bytes().to_vec();
        let digest = &tag[3..tag.len() - 1];
        for (name, value) in [
            ("If-None-Match", b"*".as_slice()),
            ("If-None-Match", &tag),
            ("If-None-Match", &[b"\"a,b\", \"", digest, b"\""].concat()),
            ("If-None-Match", b"\xe9"),
            ("If-Match", b"\"1\""),
            ("If-Match", b"W/\"1\""),
            ("If-Match", b"\"+1\""),
            ("If-Match", b"\"01\""),
            ("If-Match", b""),
            ("If-Match", b"\xe9"),
            ("If-Match", b"\"\xe9\""),
            ("If-Match", digest),
            ("If-Match", &[b"\"", digest.to_ascii_uppercase().as_slice(), b"\""].concat()),
            ("If-Match", &[b"\"a,", digest, b"\""].concat()),
        ] {
            let refused = with(&api, &owner, (&method, &path), &[(name, value)], &body).await;
            assert_eq!(refused.status, 412, "{method} {path} {name}: {value:?}: {}", refused.text);
            refused.is_problem(412, "precondition_failed");
        }
        let after = api.get(&owner, &path).await;
        assert_eq!((after.header("etag"), &after.body), (before.header("etag"), &before.body), "{path}");
    }
}

#[tokio::test]
async fn a_write_under_a_condition_that_holds_is_done_and_shows_the_tag_of_the_next_read() {
    let api = Api::new();
    let owner = api.register().await;
    for (path, method, body) in versioned(&api, &owner).await {
        let tag = api.get(&owner, &path).await.header("etag").as_bytes().to_vec();
        let listed = [b"\"a,b\", , ", tag.as_slice()].concat();
        let fields = [("If-Match", listed.as_slice()), ("If-None-Match", b"\"another\"".as_slice())];
        let written = with(&api, &owner, (&method, &path), &fields, &body).await;
        assert!((200..300).contains(&written.status), "{path}: {}", written.text);
        if method != Method::DELETE {
            assert_eq!(written.header("etag"), api.get(&owner, &path).await.header("etag"), "{path}");
            assert_ne!(written.header("etag").as_bytes(), tag, "{path}");
        }
    }
}

#[tokio::test]
async fn a_condition_on_what_is_not_there_is_404() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/items/itm_{}", "0".repeat(32));
    for (name, value) in [("If-None-Match", b"*".as_slice()), ("If-Match", b"\"1\"".as_slice())] {
        for (method, body) in [(Method::PATCH, json!({"name": "x"})), (Method::DELETE, json!(null))] {
            with(&api, &owner, (&method, &path), &[(name, value)], &body).await.is_problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_read_under_if_match_is_412_for_another_tag() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/plan", owner.org_id);
    let tag = api.get(&owner, &path).await.header("etag").to_owned();
    let read = async |tag: &str| {
        with(&api, &owner, (&Method::GET, &path), &[("If-Match", tag.as_bytes())], &json!(null)).await
    };
    read("\"1\"").await.is_problem(412, "precondition_failed");
    assert_eq!(read(&tag).await.status, 200);
}

/// Whether a resource has a tag or not: whoever names one that it does not have, or wants none to be there, gets nothing done.
#[tokio::test]
async fn no_operation_passes_over_a_condition() {
    let api = Api::new();
    let owner = api.register().await;
    for (template, method, operation) in documented::operations() {
        let id = operation["operationId"].as_str().unwrap();
        let path = matrix::path_of(&api, &owner, template).await;
        let body = matrix::body(id, &owner.email).unwrap_or_default();
        let mut conditions = vec![("If-Match", b"\"1\"".as_slice()), ("If-Match", b"\xe9"), ("If-Match", b"")];
        if method != Method::GET {
            conditions.extend([("If-None-Match", b"*".as_slice()), ("If-None-Match", b"\xe9")]);
        }
        for (name, value) in conditions {
            let refused = with(&api, &owner, (&method, &path), &[(name, value)], &body).await;
            assert_eq!(refused.status, 412, "{id}, {name}: {value:?}: {}", refused.text);
            refused.is_problem(412, "precondition_failed");
        }
    }
    // Nothing was done, and what asks for nothing is done.
    let fields = [("If-Match", b"*".as_slice()), ("If-None-Match", b"\"another\"".as_slice())];
    for (template, method, operation) in documented::operations() {
        let id = operation["operationId"].as_str().unwrap();
        let actor = api.register().await;
        let path = matrix::path_of(&api, &actor, template).await;
        let body = matrix::body(id, &actor.email).unwrap_or_default();
        let done = with(&api, &actor, (&method, &path), &fields, &body).await;
        assert_ne!(done.status, 412, "{id}: {}", done.text);
    }
}

#[tokio::test]
async fn every_read_with_a_tag_answers_who_has_it() {
    let api = Api::new();
    let owner = api.register().await;
    for (template, method, operation) in documented::operations().filter(|(_, method, _)| *method == Method::GET) {
        let id = operation["operationId"].as_str().unwrap();
        let path = matrix::path_of(&api, &owner, template).await;
        let whole = with(&api, &owner, (&method, &path), &[], &json!(null)).await;
        let tag = whole.header("etag").as_bytes();
        if tag.is_empty() {
            continue;
        }
        for method in [Method::GET, Method::HEAD] {
            let held = with(&api, &owner, (&method, &path), &[("If-None-Match", tag)], &json!(null)).await;
            assert_eq!((held.status, held.text.as_str()), (304, ""), "{method} {id}");
            assert_eq!(held.header("etag").as_bytes(), tag, "{method} {id}");
            let same = with(&api, &owner, (&method, &path), &[("If-Match", tag)], &json!(null)).await;
            assert_eq!(same.status, 200, "{method} {id}");
        }
    }
}
