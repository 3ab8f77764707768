//! Registration, log-in, sessions, the own account, public profiles.

use crate::api::{Actor, Api, ORIGIN, PASSWORD, redacted, registration, send, unique_email};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn registering_gives_user_organization_and_token() {
    let (api, email) = (Api::new(), unique_email());
    let reply = api.call(None, Method::POST, "/auth/register", Some(registration(&email))).await;
    assert_eq!(reply.status, 201);
    assert_eq!(
        redacted(&reply.body),
        json!({
            "user": {"id": "usr_*", "name": "Ada Lovelace", "email": "<email>", "email_verified": false, "created_at": "<time>"},
            "org": {"id": "org_*", "name": "Analytical Engines", "plan": "free"},
            "token": "<token>", "expires_at": "<time>"
        })
    );
    let me = api.get(&Actor::of(&reply.body, &email), "/me").await;
    assert_eq!(
        redacted(&me.body),
        json!({
            "id": "usr_*", "name": "Ada Lovelace", "email": "<email>", "email_verified": false, "created_at": "<time>",
            "orgs": [{"id": "org_*", "name": "Analytical Engines", "role": "owner", "joined_at": "<time>"}]
        })
    );
}

#[tokio::test]
async fn an_address_registers_once_however_spelled_and_raced() {
    let (api, email) = (Api::new(), unique_email());
    let spellings = [email.clone(), email.to_uppercase(), email.clone(), email.replace("ada", "Ada")];
    let calls = spellings.iter().map(|email| api.call(None, Method::POST, "/auth/register", Some(registration(email))));
    let replies = join_all(calls).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.is_problem(409, "email_taken");
    }
}

#[tokio::test]
async fn logging_in_gives_a_token() {
    let api = Api::new();
    let actor = api.register().await;
    let reply = api.login(&actor.email.to_uppercase(), None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let session = Actor::of(&reply.body, &actor.email);
    assert_eq!((&session.user_id, &session.org_id), (&actor.user_id, &actor.org_id));
    assert_eq!(reply.header("set-cookie"), "");
    assert_eq!(api.get(&session, "/me").await.status, 200);
}

/// A page need not log in twice, and its scripts never see the token.
#[tokio::test]
async fn a_session_for_a_cookie_has_no_token_in_the_body() {
    let api = Api::new();
    let mut registration = crate::api::registration(&unique_email());
    registration["session"] = json!("cookie");
    let credentials = json!({"email": registration["email"], "password": PASSWORD, "session": "cookie"});
    for (path, body, status) in [("/auth/register", registration, 201), ("/auth/login", credentials, 200)] {
        let reply = api.call(None, Method::POST, path, Some(body.clone())).await;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert!(reply.body.get("token").is_none() && !reply.text.contains("cit_"), "{}", reply.text);
        let cookie = reply.header("set-cookie").to_owned();
        assert!(cookie.starts_with("__Host-session=cit_"), "{cookie}");
        for attribute in ["; Path=/;", "; Secure;", "; HttpOnly;", "; SameSite=None"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let session = cookie.split(';').next().unwrap();
        assert_eq!(crate::api::send(api.request(Method::GET, "/me").header("Cookie", session)).await.status, 200);
        for wrong in [json!("token"), json!(true), json!({})] {
            let mut body = body.clone();
            body["session"] = wrong;
            assert_eq!(api.call(None, Method::POST, path, Some(body)).await.pointer(), "/session");
        }
    }
}

#[tokio::test]
async fn unknown_user_and_wrong_password_answer_alike() {
    let api = Api::new();
    let actor = api.register().await;
    let attempt = |email: String| json!({"email": email, "password": "wrong password"});
    let wrong = api.call(None, Method::POST, "/auth/login", Some(attempt(actor.email.clone()))).await;
    let unknown = api.call(None, Method::POST, "/auth/login", Some(attempt(unique_email()))).await;
    wrong.is_problem(401, "wrong_credentials");
    assert_eq!(wrong.text, unknown.text);
    assert_eq!(names(&wrong), names(&unknown));
}

fn names(reply: &crate::api::Reply) -> Vec<&str> {
    let mut names: Vec<&str> = reply.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn successful_log_ins_use_no_attempts_up() {
    let api = Api::new();
    let actor = api.register().await;
    for _ in 0..12 {
        assert_eq!(api.login(&actor.email, None).await.status, 200);
    }
}

#[tokio::test]
async fn a_logged_out_token_is_dead_at_once_and_others_live() {
    let api = Api::new();
    let first = api.register().await;
    let second = Actor::of(&api.login(&first.email, None).await.body, &first.email);
    let out = api.call(Some(&first), Method::POST, "/auth/logout", None).await;
    assert_eq!((out.status, out.text.as_str()), (204, ""));
    api.get(&first, "/me").await.is_problem(401, "invalid_token");
    assert_eq!(api.get(&second, "/me").await.status, 200);
}

/// A page may end a token that it holds beside its own session, and nobody else can remove a cookie that is dead.
#[tokio::test]
async fn log_out_removes_the_cookie_that_it_was_asked_with_and_no_other() {
    let api = Api::new();
    let first = api.register().await;
    let second = Actor::of(&api.login(&first.email, None).await.body, &first.email);
    let out = |origin: &str| {
        let request = api.request(Method::POST, "/auth/logout").header("Origin", origin);
        request.header("Cookie", format!("__Host-session={}", first.token))
    };
    for status in [204, 401] {
        let by_header = send(out(ORIGIN).bearer_auth(&second.token)).await;
        assert_eq!((by_header.status, by_header.header("set-cookie")), (status, ""), "{}", by_header.text);
        assert_eq!(api.get(&first, "/me").await.status, 200);
    }
    let removed = "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=None";
    for status in [204, 401] {
        let elsewhere = send(out("http://evil.example")).await;
        elsewhere.is_problem(403, "forbidden_origin");
        assert_eq!(elsewhere.header("set-cookie"), "");
        let by_cookie = send(out(ORIGIN)).await;
        assert_eq!((by_cookie.status, by_cookie.header("set-cookie")), (status, removed), "{}", by_cookie.text);
    }
}

#[tokio::test]
async fn logging_in_elsewhere_needs_a_membership() {
    let api = Api::new();
    let (actor, other) = (api.register().await, api.register().await);
    api.login(&actor.email, Some(&other.org_id)).await.is_problem(404, "not_found");
}

#[tokio::test]
async fn a_new_name_shows_in_the_next_read_of_the_public_profile() {
    let api = Api::new();
    let actor = api.register().await;
    let path = format!("/users/{}", actor.user_id);
    let before = api.call(None, Method::GET, &path, None).await;
    assert_eq!(
        redacted(&before.body),
        json!({"id": "usr_*", "name": "Ada Lovelace", "created_at": "<time>"}),
        "no e-mail address"
    );
    for name in ["Ada King", "Augusta Ada"] {
        let changed = api.patch(&actor, "/me", json!({"name": name})).await;
        assert_eq!((changed.status, &changed.body["name"]), (200, &json!(name)));
        let after = api.call(None, Method::GET, &path, None).await;
        assert_eq!(after.body["name"], name);
        assert_ne!(after.header("etag"), before.header("etag"));
    }
}

#[tokio::test]
async fn changes_of_the_account_honour_if_match() {
    let api = Api::new();
    let actor = api.register().await;
    let tag = api.get(&actor, "/me").await.header("etag").to_owned();
    let change = || {
        let request = api.request(Method::PATCH, "/me").bearer_auth(&actor.token).header("If-Match", &tag);
        crate::api::send(request.json(&json!({"name": "New Name"})))
    };
    let replies = join_all((0..8).map(|_| change())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    replies.iter().find(|reply| reply.status != 200).unwrap().is_problem(412, "precondition_failed");
}

#[tokio::test]
async fn passwords_are_never_shown() {
    let api = Api::new();
    let actor = api.register().await;
    for reply in [api.get(&actor, "/me").await, api.login(&actor.email, None).await] {
        assert!(!reply.text.contains(PASSWORD) && !reply.text.contains("argon2"));
    }
}
