//! Sessions that begin while all sessions of their user are being ended.

use crate::api::{Actor, Api, PASSWORD, Reply, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, code_of, token_of};
use crate::{email_changes, resets};
use local::operator;
use serde_json::json;
use shared::store::keys::Key;

const ANOTHER: &str = "nine wooden barrels";
const WRITE: &str = "TransactWriteItems";

/// What ends a user's sessions.
const ENDS: [&str; 5] = ["a new password", "the other sessions", "a reset", "another address", "its undoing"];

/// What a mail gives that it takes, if any. What is undone is done with it.
async fn proof_of(rig: &Rig, by: &str, actor: &mut Actor) -> String {
    let (first, second) = (actor.email.clone(), unique_email());
    match by {
        "a reset" => resets::link(rig, &first).await,
        "another address" => code_of(&email_changes::letter(rig, actor, &second).await),
        "its undoing" => {
            let told = email_changes::moved(rig, actor, &first, &second).await;
            actor.email = second;
            token_of(&told)
        }
        _ => String::new(),
    }
}

async fn end(api: &Api, by: &str, actor: &Actor, proof: &str) -> Reply {
    match by {
        "a new password" => api.put(actor, "/me/password", json!({"current": PASSWORD, "password": ANOTHER})).await,
        "the other sessions" => api.delete(actor, "/me/sessions").await,
        "a reset" => resets::reset(api, proof, ANOTHER).await,
        "another address" => email_changes::confirm(api, actor, json!({"code": proof})).await,
        _ => email_changes::undo(api, proof).await,
    }
}

/// The memberships are read, another one is joined and logged in to with the password that is about to go, and only then is the end of
/// the sessions written.
#[tokio::test]
async fn what_is_joined_while_sessions_end_keeps_none_of_before() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    let mut outlived = Vec::new();
    for by in ENDS {
        let (owner, mut actor) = (api.register().await, api.register().await);
        let first = actor.email.clone();
        let proof = proof_of(&rig, by, &mut actor).await;
        database.inject(WRITE, Fault::Hold);
        let end = end(&late, by, &actor, &proof);
        let meanwhile = async {
            database.holds(WRITE).await;
            api.add(&owner, &actor, "member").await;
            let session = api.login(&actor.email, Some(&owner.org_id)).await;
            assert_eq!(session.status, 200, "{by}: {}", session.text);
            database.release(WRITE);
            Actor::of(&session.body, &actor.email)
        };
        let (ended, joined) = tokio::join!(end, meanwhile);
        assert!(matches!(ended.status, 200 | 204), "{by}: {} {}", ended.status, ended.text);
        if api.get(&joined, "/me").await.status != 401 {
            outlived.push(by);
        }
        // What acted stays, or is what a link gave; and the membership is there.
        let acting = if ended.body["token"].is_string() { Actor::of(&ended.body, &first) } else { actor };
        let me = api.get(&acting, "/me").await;
        assert_eq!((me.status, me.body["orgs"].as_array().map(Vec::len)), (200, Some(2)), "{by}: {}", me.text);
    }
    assert_eq!(outlived, [""; 0], "a session of before is left");
}

/// What each way to end sessions answers while somebody interferes with the user's record.
async fn ended_while(interfere: impl Fn(&FaultyDatabase, Key)) -> Vec<(&'static str, Reply)> {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let busy = database.system().await;
    let late = Api::at(busy.url());
    let mut replies = Vec::new();
    for by in ENDS {
        let mut actor = rig.api.register().await;
        let proof = proof_of(&rig, by, &mut actor).await;
        interfere(&database, Key::user(actor.user_id.parse().unwrap()));
        replies.push((by, end(&late, by, &actor, &proof).await));
    }
    replies
}

/// The account joins something before each attempt. That the document has such a reply, whoever sends looks.
#[tokio::test]
async fn an_account_that_keeps_changing_is_a_conflict() {
    for (by, ended) in ended_while(|database, user| database.keep_raising(user, "memberships_made")).await {
        assert!(ended.status == 409, "{by}: {}", ended.text);
        ended.is_problem(409, "concurrent_change");
    }
}

/// Whoever is in an account that is not its own can give it another name all the time. That keeps nobody from ending the sessions.
#[tokio::test]
async fn an_account_that_is_renamed_all_the_time_is_no_conflict() {
    for (by, ended) in ended_while(FaultyDatabase::keep_changing).await {
        assert!(matches!(ended.status, 200 | 204), "{by}: {} {}", ended.status, ended.text);
    }
}

/// It can also end the other sessions all the time: each membership gets another mark, and the log-in record another version. That keeps
/// nobody out who has a link, nor an operator.
#[tokio::test]
async fn an_account_that_ends_its_sessions_all_the_time_is_taken_from_whoever_does() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let busy = database.system().await;
    let late = Api::at(busy.url());
    for (by, with) in
        ["a reset", "its undoing", "an operator"].into_iter().flat_map(|by| [(by, "marks"), (by, "versions")])
    {
        let mut actor = rig.api.register().await;
        let proof = proof_of(&rig, by, &mut actor).await;
        match with {
            "marks" => {
                database.keep_marking(Key::membership(actor.user_id.parse().unwrap(), actor.org_id.parse().unwrap()))
            }
            _ => database.keep_changing(Key::login(&actor.email)),
        }
        if by == "an operator" {
            operator::end_sessions(busy.context(), &actor.email.parse().unwrap()).await.unwrap();
        } else {
            let ended = end(&late, by, &actor, &proof).await;
            assert_eq!(ended.status, 200, "{by} {with}: {}", ended.text);
        }
        assert_eq!(rig.api.get(&actor, "/me").await.status, 401, "{by} {with}");
    }
}

/// A session that has ended while it was about to end the others ends none, and does not come back.
#[tokio::test]
async fn a_session_that_ends_meanwhile_ends_no_other() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    // It has read nothing of the account yet, or all.
    for (held, by) in [("Query", "the other sessions"), (WRITE, "the other sessions"), (WRITE, "a reset")] {
        let mut thief = api.register().await;
        let owner = Actor::of(&api.login(&thief.email, None).await.body, &thief.email);
        let proof = proof_of(&rig, by, &mut thief).await;
        database.inject(held, Fault::Hold);
        let meanwhile = async {
            database.holds(held).await;
            let ended = end(api, by, &owner, &proof).await;
            assert!(matches!(ended.status, 200 | 204), "{held} {by}: {}", ended.text);
            database.release(held);
            if by == "a reset" { Actor::of(&ended.body, &owner.email) } else { owner.clone() }
        };
        let (ended, owner) = tokio::join!(late.delete(&thief, "/me/sessions"), meanwhile);
        ended.is_problem(401, "invalid_token");
        let statuses = (api.get(&thief, "/me").await.status, api.get(&owner, "/me").await.status);
        assert_eq!(statuses, (401, 200), "{held} {by}");
    }
}

/// Twice at once, as by a double click: it goes on under the mark that it gave itself, whatever was read of that before.
#[tokio::test]
async fn a_session_that_ends_the_others_twice_at_once_goes_on() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    for held in ["Query", WRITE] {
        let actor = api.register().await;
        let other = Actor::of(&api.login(&actor.email, None).await.body, &actor.email);
        database.inject(held, Fault::Hold);
        let meanwhile = async {
            database.holds(held).await;
            assert_eq!(api.delete(&actor, "/me/sessions").await.status, 204);
            database.release(held);
        };
        let (ended, ()) = tokio::join!(late.delete(&actor, "/me/sessions"), meanwhile);
        assert_eq!(ended.status, 204, "{held}: {}", ended.text);
        let statuses = (api.get(&actor, "/me").await.status, api.get(&other, "/me").await.status);
        assert_eq!(statuses, (200, 401), "{held}");
    }
}

/// Nor does it end a single one by its id, as that of whoever has ended it.
#[tokio::test]
async fn a_session_that_ends_meanwhile_ends_none_by_its_id() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    let own_path = async |of: &Actor| {
        let listed = api.get(of, "/me/sessions").await;
        let sessions = listed.body["data"].as_array().unwrap();
        let own = sessions.iter().find(|session| session["is_current"] == true).unwrap();
        format!("/me/sessions/{}", own["id"].as_str().unwrap())
    };
    // It has read nothing of the account yet, or all.
    let ends = ["a new password", "the other sessions", "its id", "nobody"];
    for (held, by) in ["Query", WRITE].into_iter().flat_map(|held| ends.map(|by| (held, by))) {
        let thief = api.register().await;
        let owner = Actor::of(&api.login(&thief.email, None).await.body, &thief.email);
        let (of_owner, of_thief) = (own_path(&owner).await, own_path(&thief).await);
        database.inject(held, Fault::Hold);
        let meanwhile = async {
            database.holds(held).await;
            let ended = match by {
                "nobody" => 204,
                "its id" => api.delete(&owner, &of_thief).await.status,
                _ => end(api, by, &owner, "").await.status,
            };
            assert_eq!(ended, 204, "{held} {by}");
            database.release(held);
        };
        let (ended, ()) = tokio::join!(late.delete(&thief, &of_owner), meanwhile);
        let statuses = (ended.status, api.get(&thief, "/me").await.status, api.get(&owner, "/me").await.status);
        let expected = if by == "nobody" { (204, 200, 401) } else { (401, 401, 200) };
        assert_eq!(statuses, expected, "{held} {by}: {}", ended.text);
    }
}

/// In two tabs of one session: while one ends another session by its id, the other ends all others. The pages of what the one reads may be of
/// before that and after it.
#[tokio::test]
async fn a_session_ends_another_by_its_id_while_it_ends_them_all() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    for (held, fault) in [("Query", Fault::Hold), ("Query", Fault::HoldNextPage), (WRITE, Fault::Hold)] {
        let actor = api.register().await;
        let path = format!("/me/sessions/{}", api.another_session(&actor).await);
        database.inject(held, fault);
        let meanwhile = async {
            match fault {
                Fault::HoldNextPage => database.holds_next_page().await,
                _ => database.holds(held).await,
            }
            assert_eq!(api.delete(&actor, "/me/sessions").await.status, 204);
            database.release(held);
        };
        let (ended, ()) = tokio::join!(late.delete(&actor, &path), meanwhile);
        assert_eq!(ended.status, 204, "{held}: {}", ended.text);
        assert_eq!(api.get(&actor, "/me").await.status, 200, "{held}");
    }
}

/// In two tabs: while one gives the password, to be fresh or for another one, the other ends the other sessions, in whatever way. It is right
/// as long as it is the account's.
#[tokio::test]
async fn a_password_is_given_while_the_session_ends_the_others() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    for (by, is_change) in
        ["a new password", "the other sessions", "another address"].into_iter().flat_map(|by| [(by, false), (by, true)])
    {
        for is_acting in [true, false] {
            let mut actor = api.register().await;
            let other = Actor::of(&api.login(&actor.email, None).await.body, &actor.email);
            let proof = proof_of(&rig, by, &mut actor).await;
            database.inject(WRITE, Fault::Hold);
            let meanwhile = async {
                database.holds(WRITE).await;
                let ended = end(api, by, &actor, &proof).await;
                assert!(matches!(ended.status, 200 | 204), "{by}: {}", ended.text);
                database.release(WRITE);
            };
            let caller = if is_acting { &actor } else { &other };
            let given = async {
                match is_change {
                    true => end(&late, "a new password", caller, "").await,
                    false => late.post(caller, "/auth/reauthenticate", json!({"password": PASSWORD})).await,
                }
            };
            let (given, ()) = tokio::join!(given, meanwhile);
            match (is_acting, by) {
                (true, "a new password") => given.is_problem(401, "wrong_credentials"),
                // It is looked for under the address that was read.
                (_, "a new password" | "another address") if is_change => given.is_problem(401, "wrong_credentials"),
                (false, _) => given.is_problem(401, "invalid_token"),
                (true, _) => assert_eq!(given.status, 204, "{by}: {}", given.text),
            }
            assert_eq!(api.get(&actor, "/me").await.status, 200, "{by}");
        }
    }
}

/// In two tabs: while one proves an address, the other ends the other sessions. What the mail said is right all the same.
#[tokio::test]
async fn an_address_is_proven_while_the_session_ends_the_others() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    for (is_another, by_code) in [(true, true), (true, false), (false, true), (false, false)] {
        for is_acting in [true, false] {
            let actor = if is_another { api.register().await } else { api.register_as_everybody().await };
            let other = Actor::of(&api.login(&actor.email, None).await.body, &actor.email);
            let text = if is_another {
                email_changes::letter(&rig, &actor, &unique_email()).await
            } else {
                rig.deliver_account_mail().await;
                Letters::of(&rig).newest_to(&actor.email)
            };
            let proof = if by_code { json!({"code": code_of(&text)}) } else { json!({"token": token_of(&text)}) };
            database.inject(WRITE, Fault::Hold);
            let meanwhile = async {
                database.holds(WRITE).await;
                let ended = api.delete(if is_acting { &actor } else { &other }, "/me/sessions").await;
                assert_eq!(ended.status, 204, "{}", ended.text);
                database.release(WRITE);
            };
            let (proven, ()) = tokio::join!(email_changes::confirm(&late, &actor, proof), meanwhile);
            if is_acting {
                assert_eq!((proven.status, &proven.body["email_verified"]), (200, &json!(true)), "{}", proven.text);
            } else {
                proven.is_problem(401, "invalid_token");
            }
        }
    }
}

/// The memberships are read, and their user with the version that is checked later: an organization that is joined between two pages of
/// that query is in neither of what was read, and its join has to be seen in the version.
#[tokio::test]
async fn what_is_joined_between_two_pages_keeps_no_session_of_before() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (api, late) = (&rig.api, Api::at(slow.url()));
    let (owner, actor) = (api.register().await, api.register().await);
    database.inject("Query", Fault::HoldNextPage);
    let end = late.put(&actor, "/me/password", json!({"current": PASSWORD, "password": ANOTHER}));
    let meanwhile = async {
        database.holds_next_page().await;
        api.add(&owner, &actor, "member").await;
        let session = api.login(&actor.email, Some(&owner.org_id)).await;
        assert_eq!(session.status, 200, "{}", session.text);
        database.release("Query");
        Actor::of(&session.body, &actor.email)
    };
    let (ended, joined) = tokio::join!(end, meanwhile);
    assert_eq!(ended.status, 204, "{}", ended.text);
    assert_eq!(api.get(&joined, "/me").await.status, 401, "a session of before is left");
    assert_eq!(api.get(&actor, "/me").await.status, 200, "the session that acts stays");
}
