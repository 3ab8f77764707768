//! A user's sessions: shown, ended one by one and all at once; the password that ends them.

use crate::api::{Actor, Api, PASSWORD, redacted, send};
use crate::faults::{Fault, FaultyDatabase};
use futures_util::future::join_all;
use local::{Clock, Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::cursor::CursorKey;
use shared::ids::SessionId;
use shared::store::keys::Key;
use shared::token::Token;
use std::time::Duration;

const ANOTHER: &str = "purple monkey dishwasher";

async fn status(api: &Api, actor: &Actor) -> u16 {
    api.get(actor, "/me").await.status
}

async fn log_in(api: &Api, email: &str, password: &str) -> u16 {
    api.call(None, Method::POST, "/auth/login", Some(json!({"email": email, "password": password}))).await.status
}

/// A user's sessions in several organizations.
async fn sessions_of(api: &Api) -> Vec<Actor> {
    let user = api.register().await;
    let mut sessions = vec![user.clone()];
    for _ in 0..2 {
        let owner = api.register().await;
        api.add(&owner, &user, "member").await;
        sessions.push(Actor::of(&api.login(&user.email, Some(&owner.org_id)).await.body, &user.email));
    }
    sessions.push(Actor::of(&api.login(&user.email, None).await.body, &user.email));
    sessions
}

#[tokio::test]
async fn a_new_password_ends_all_other_sessions() {
    let api = Api::new();
    let sessions = sessions_of(&api).await;
    let (acting, others) = (&sessions[1], [&sessions[0], &sessions[2], &sessions[3]]);
    let change = |current: &str, password: &str| json!({"current": current, "password": password});
    api.put(acting, "/me/password", change("a wrong one", ANOTHER)).await.is_problem(401, "wrong_credentials");
    api.put(acting, "/me/password", change(PASSWORD, "password")).await.is_problem(422, "validation_failed");
    assert_eq!(api.put(acting, "/me/password", change(PASSWORD, "lovelace-1")).await.pointer(), "/password");
    assert_eq!(api.put(acting, "/me/password", change(PASSWORD, "ANALYTICAL-engines")).await.pointer(), "/password");
    for other in others {
        assert_eq!(status(&api, other).await, 200, "nothing has changed yet");
    }
    assert_eq!(api.put(acting, "/me/password", change(PASSWORD, ANOTHER)).await.status, 204);
    for other in others {
        api.get(other, "/me").await.is_problem(401, "invalid_token");
    }
    assert_eq!(status(&api, acting).await, 200);
    assert_eq!((log_in(&api, &acting.email, PASSWORD).await, log_in(&api, &acting.email, ANOTHER).await), (401, 200));
    // And once more, by the session that was written anew.
    assert_eq!(api.put(acting, "/me/password", change(ANOTHER, PASSWORD)).await.status, 204);
}

#[tokio::test]
async fn a_log_in_under_way_gives_no_session_when_the_password_changes() {
    let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (Api::of(&system), Api::at(slow.url()));
    for by in ["/me/password", "/me/sessions"] {
        let actor = api.register().await;
        database.inject("TransactWriteItems", Fault::Hold);
        let change = async {
            database.holds("TransactWriteItems").await;
            let changed = match by {
                "/me/password" => api.put(&actor, by, json!({"current": PASSWORD, "password": ANOTHER})).await,
                _ => api.delete(&actor, by).await,
            };
            assert_eq!(changed.status, 204, "{}", changed.text);
            database.release("TransactWriteItems");
        };
        let (log_in, ()) = tokio::join!(late.login(&actor.email, None), change);
        log_in.is_problem(401, "wrong_credentials");
        assert_eq!(status(&api, &actor).await, 200);
    }
}

#[tokio::test]
async fn of_racing_changes_of_a_password_one_wins() {
    let api = Api::new();
    let actor = api.register().await;
    let sessions = join_all((0..4).map(|_| api.login(&actor.email, None))).await;
    let sessions: Vec<Actor> = sessions.iter().map(|reply| Actor::of(&reply.body, &actor.email)).collect();
    let changes = sessions.iter().enumerate().map(|(at, session)| {
        let password = format!("{ANOTHER} {at}");
        api.put(session, "/me/password", json!({"current": PASSWORD, "password": password}))
    });
    let statuses: Vec<u16> = join_all(changes).await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 204 | 401)), "{statuses:?}");
    let won = statuses.iter().position(|status| *status == 204).unwrap();
    for (at, session) in sessions.iter().enumerate() {
        assert_eq!(status(&api, session).await, if at == won { 200 } else { 401 });
    }
    assert_eq!(log_in(&api, &actor.email, &format!("{ANOTHER} {won}")).await, 200);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let api = Api::new();
    let sessions = sessions_of(&api).await;
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let credentials = json!({"email": sessions[0].email, "password": PASSWORD});
    let log_in = api.request(Method::POST, "/auth/login").header("User-Agent", firefox).json(&credentials);
    let browser = Actor::of(&send(log_in).await.body, &sessions[0].email);
    let list = api.get(&browser, "/me/sessions").await;
    let data = list.body["data"].as_array().unwrap();
    assert_eq!((data.len(), &list.body["next_cursor"]), (5, &Value::Null), "{}", list.text);
    assert_eq!(
        redacted(&data[0]),
        json!({"id": "ses_*", "org_id": "org_*", "is_current": true, "created_at": "<time>", "last_used_at": "<time>", "expires_at": "<time>",
            "network": data[0]["network"], "agent": "Firefox on Linux"})
    );
    assert!(data[0]["network"].as_str().unwrap().ends_with(".0/24"), "{}", list.text);
    assert!(!list.text.contains("cit_") && !list.text.contains("Gecko"), "{}", list.text);
    let id = |at: usize| data[at]["id"].as_str().unwrap().to_owned();

    // The newest but one is the last of the others.
    assert_eq!(api.delete(&browser, &format!("/me/sessions/{}", id(1))).await.status, 204);
    assert_eq!((status(&api, &sessions[3]).await, status(&api, &sessions[2]).await), (401, 200));
    api.delete(&browser, &format!("/me/sessions/{}", id(1))).await.is_problem(404, "not_found");
    let stranger = api.register().await;
    api.delete(&stranger, &format!("/me/sessions/{}", id(2))).await.is_problem(404, "not_found");
    for wrong in ["x", "ses_0", &stranger.user_id] {
        api.delete(&browser, &format!("/me/sessions/{wrong}")).await.is_problem(404, "not_found");
    }
    assert_eq!(api.delete(&browser, "/me/sessions").await.status, 204);
    for other in &sessions {
        assert_eq!(status(&api, other).await, 401);
    }
    let left = api.get(&browser, "/me/sessions").await;
    assert_eq!(left.body["data"].as_array().unwrap().len(), 1, "{}", left.text);
    assert_eq!(api.login(&browser.email, None).await.status, 200, "the password is as it was");
    assert_eq!(status(&api, &stranger).await, 200);
}

/// All sessions of a user, read in pages of `limit`.
async fn listed(api: &Api, actor: &Actor, limit: usize) -> Vec<Value> {
    let (mut all, mut path) = (Vec::new(), format!("/me/sessions?limit={limit}"));
    loop {
        let page = api.get(actor, &path).await;
        let data = page.body["data"].as_array().unwrap();
        assert!((1..=limit).contains(&data.len()), "{}", page.text);
        all.extend(data.iter().cloned());
        let Some(cursor) = page.body["next_cursor"].as_str() else { return all };
        path = format!("/me/sessions?limit={limit}&cursor={cursor}");
    }
}

#[tokio::test]
async fn sessions_come_in_pages() {
    let api = Api::new();
    let sessions = sessions_of(&api).await;
    // The oldest asks: it is on the last page, and known there.
    let oldest = &sessions[0];
    let whole = api.get(oldest, "/me/sessions").await.body["data"].as_array().unwrap().clone();
    let current: Vec<bool> = whole.iter().map(|session| session["is_current"] == true).collect();
    assert_eq!(current, [false, false, false, true]);
    for limit in [1, 2, 3, 4] {
        assert_eq!(listed(&api, oldest, limit).await, whole, "{limit}");
    }
    let outside = api.outside().await;
    assert_eq!(api.login(&outside.email, None).await.status, 200);
    assert_eq!(listed(&api, &outside, 1).await.len(), 2, "in no organization");

    api.item(oldest).await;
    api.item(oldest).await;
    let cursor = async |path: &str| api.get(oldest, path).await.body["next_cursor"].as_str().unwrap().to_owned();
    let (own, foreign) = (cursor("/me/sessions?limit=1").await, cursor("/items?limit=1").await);
    let altered = format!("{}{}", &own[..own.len() - 2], if own.ends_with("AA") { "BB" } else { "AA" });
    for (actor, cursor) in [(oldest, &foreign), (oldest, &altered), (&sessions[3], &own), (&outside, &own)] {
        assert_eq!(api.get(actor, &format!("/me/sessions?cursor={cursor}")).await.pointer(), "query/cursor");
    }
    for (query, pointer) in [("limit=0", "query/limit"), ("limit=101", "query/limit"), ("page=2", "query/page")] {
        assert_eq!(api.get(oldest, &format!("/me/sessions?{query}")).await.pointer(), pointer);
    }
    // Whoever has the token can seal a cursor, and around anything.
    let hash = Token::parse(&oldest.token).unwrap().hash();
    let key: CursorKey = serde_json::from_value(json!(hash.as_str())).unwrap();
    let sealed = async |position: &str| {
        api.get(oldest, &format!("/me/sessions?cursor={}", key.seal("sessions", position))).await
    };
    let newest = whole[0]["id"].as_str().unwrap();
    assert_eq!(sealed(newest).await.body["data"], json!(whole[1..]));
    for position in ["", "x", &oldest.user_id, "ses_"] {
        assert_eq!(sealed(position).await.pointer(), "query/cursor", "{position}");
    }
}

/// Nothing bounds how often somebody logs in to an own account. What that costs to list is bounded; all still end at once.
#[tokio::test]
async fn thousands_of_sessions_are_not_all_read() {
    let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let api = Api::of(&system);
    let (acting, other) = (api.register().await, api.register().await);
    let beyond = Actor::of(&api.login(&acting.email, None).await.body, &acting.email);
    let of_beyond = api.get(&beyond, "/me/sessions").await.body["data"][0]["id"].as_str().unwrap().to_owned();
    let table = &system.context().config().table_name;
    let user = acting.user_id.parse().unwrap();
    let Key { pk, sk } = Key::session(user, &Token::parse(&beyond.token).unwrap().hash());
    let key = json!({"pk": {"S": pk}, "sk": {"S": sk}});
    let mut one = database.ask("GetItem", &json!({"TableName": table, "Key": key})).await;
    // They come before both that were logged in: nothing in base64url comes before hyphens.
    let more = (0..1_000).map(|number| {
        one["Item"]["sk"] = json!({"S": format!("SESSION#------{number:04}")});
        one["Item"]["session_id"] = json!({"S": SessionId::new().to_string()});
        json!({"PutRequest": {"Item": one["Item"]}})
    });
    let more: Vec<Value> = more.collect();
    for some in more.chunks(25) {
        database.call("BatchWriteItem", &json!({"RequestItems": {table.as_str(): some}})).await;
    }
    let listed = listed(&api, &acting, 100).await;
    let current = listed.iter().position(|session| session["is_current"] == true);
    assert_eq!((listed.len(), current), (1_001, Some(1_000)), "the oldest");
    assert!(listed.iter().all(|session| session["id"] != of_beyond));
    let path = |id: &Value| format!("/me/sessions/{}", id.as_str().unwrap());
    api.delete(&acting, &path(&json!(of_beyond))).await.is_problem(404, "not_found");
    assert_eq!(api.delete(&acting, &path(&listed[0]["id"])).await.status, 204);
    assert_eq!(api.delete(&acting, "/me/sessions").await.status, 204);
    assert_eq!((status(&api, &beyond).await, status(&api, &other).await), (401, 200));
    let left = api.get(&acting, "/me/sessions").await;
    assert_eq!(left.body["data"].as_array().unwrap().len(), 1, "{}", left.text);
    assert_eq!(api.delete(&acting, &path(&left.body["data"][0]["id"])).await.status, 204, "its own is found");
    assert_eq!(status(&api, &acting).await, 401);
}

/// Ten minutes after the password, what is dangerous wants it again.
#[tokio::test]
async fn what_is_dangerous_wants_a_fresh_session() {
    let clock = local::clock::Clock::of_tests();
    let system =
        System::start(Options { clock: clock.clone(), background: false, ..Options::ephemeral() }).await.unwrap();
    let api = Api::of(&system);
    let actor = api.register().await;
    let other = api.another_session(&actor).await;
    clock.jump(Duration::from_secs(540));
    assert_eq!(api.delete(&actor, &format!("/me/sessions/{other}")).await.status, 204);
    let other = api.another_session(&actor).await;
    clock.jump(Duration::from_secs(61));
    for path in ["/me/sessions".to_owned(), format!("/me/sessions/{other}")] {
        api.delete(&actor, &path).await.is_problem(403, "reauthentication_required");
    }
    let again = |password: &str| json!({"password": password});
    api.post(&actor, "/auth/reauthenticate", again("a wrong one")).await.is_problem(401, "wrong_credentials");
    api.delete(&actor, "/me/sessions").await.is_problem(403, "reauthentication_required");
    assert_eq!(api.post(&actor, "/auth/reauthenticate", again(PASSWORD)).await.status, 204);
    assert_eq!(api.delete(&actor, &format!("/me/sessions/{other}")).await.status, 204);
    // A wrong password counts here as at a log-in: one is used up.
    for _ in 0..9 {
        api.post(&actor, "/auth/reauthenticate", again("a wrong one")).await.is_problem(401, "wrong_credentials");
    }
    api.post(&actor, "/auth/reauthenticate", again(PASSWORD)).await.is_problem(429, "too_many_attempts");
    let change = json!({"current": PASSWORD, "password": ANOTHER});
    api.put(&actor, "/me/password", change).await.is_problem(429, "too_many_attempts");
}

/// Ending the others asks for no password: whoever holds a session that was fresh once does not keep it so.
#[tokio::test]
async fn only_a_password_makes_a_session_fresh() {
    const NINE_MINUTES: Duration = Duration::from_secs(9 * 60);
    let clock = local::clock::Clock::of_tests();
    let system =
        System::start(Options { clock: clock.clone(), background: false, ..Options::ephemeral() }).await.unwrap();
    let api = Api::of(&system);
    let actor = api.register().await;
    clock.jump(NINE_MINUTES);
    assert_eq!(api.delete(&actor, "/me/sessions").await.status, 204);
    clock.jump(NINE_MINUTES);
    api.delete(&actor, "/me/sessions").await.is_problem(403, "reauthentication_required");
    let change = json!({"current": PASSWORD, "password": ANOTHER});
    assert_eq!(api.put(&actor, "/me/password", change).await.status, 204);
    clock.jump(NINE_MINUTES);
    assert_eq!(api.delete(&actor, "/me/sessions").await.status, 204);
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn an_operator_ends_all_sessions_of_an_account_and_of_no_other() {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let api = Api::of(&system);
    let (sessions, other) = (sessions_of(&api).await, api.register().await);
    let end = async |email: &str| {
        let email = email.to_owned().try_into().unwrap();
        local::operator::end_sessions(system.context(), &email).await.map(|user| user.to_string())
    };
    assert_eq!(end(&sessions[0].email).await.unwrap(), sessions[0].user_id);
    for session in &sessions {
        assert_eq!(status(&api, session).await, 401);
    }
    assert_eq!(status(&api, &other).await, 200);
    assert_eq!(log_in(&api, &sessions[0].email, PASSWORD).await, 200, "the password stays");
    assert!(matches!(end("nobody@example.com").await, Err(shared::ApiError::NotFound)));
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_within_eight_days() {
    let clock = Clock::stopped();
    let options = Options { clock: clock.clone(), background: false, ..Options::ephemeral() };
    let system = System::start(options).await.unwrap();
    let api = Api::of(&system);
    let (used, left) = (api.register().await, api.register().await);
    let last_use = async |actor: &Actor| {
        let list = api.get(actor, "/me/sessions").await;
        list.body["data"][0]["last_used_at"].as_str().unwrap().to_owned()
    };
    let begun = last_use(&used).await;
    // A use within a day is not noted anew.
    clock.jump(DAY - Duration::from_secs(1));
    assert_eq!((last_use(&used).await, last_use(&used).await), (begun.clone(), begun.clone()));
    clock.jump(DAY * 7);
    assert_eq!(status(&api, &used).await, 200);
    for _ in 0..100 {
        if last_use(&used).await != begun {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_ne!(last_use(&used).await, begun, "noted after the reply");
    clock.jump(Duration::from_secs(1));
    api.get(&left, "/me").await.is_problem(401, "invalid_token");
    assert_eq!(status(&api, &used).await, 200);
    // However much it is used, it ends after 30 days.
    for _ in 0..3 {
        clock.jump(DAY * 7);
        assert_eq!(status(&api, &used).await, 200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    clock.jump(DAY);
    assert_eq!(status(&api, &used).await, 401);
}

#[tokio::test]
async fn a_use_is_noted_once_a_day_and_nothing_comes_of_a_failure() {
    let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&origin.database_url()).await;
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), database.url.clone())].into();
    let clock = Clock::stopped();
    let options = Options { clock: clock.clone(), environment, background: false, ..Options::ephemeral() };
    let system = System::start(options).await.unwrap();
    let api = Api::at(system.url());
    let actor = api.register().await;
    let noted = async || {
        for _ in 0..5 {
            assert_eq!(status(&api, &actor).await, 200);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let before = database.calls("UpdateItem");
    noted().await;
    assert_eq!(database.calls("UpdateItem"), before, "it has just begun");
    clock.jump(DAY);
    noted().await;
    assert_eq!(database.calls("UpdateItem"), before + 1);
    clock.jump(DAY);
    database.inject("UpdateItem", Fault::Throttle(u32::MAX));
    noted().await;
    database.release("UpdateItem");
    // A session that ends meanwhile stays ended.
    database.inject("UpdateItem", Fault::Hold);
    assert_eq!(api.call(Some(&actor), Method::POST, "/auth/logout", None).await.status, 204);
    database.release("UpdateItem");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(status(&api, &actor).await, 401);
}
