//! Sessions that begin while all sessions of their user are being ended.

use crate::api::{Actor, Api, PASSWORD, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::rig::Rig;
use crate::letters::{code_of, token_of};
use crate::{email_changes, resets};
use serde_json::json;

const ANOTHER: &str = "nine wooden barrels";
const WRITE: &str = "TransactWriteItems";

/// What ends a user's sessions.
const ENDS: [&str; 5] = ["a new password", "the other sessions", "a reset", "another address", "its undoing"];

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
        let (first, second) = (actor.email.clone(), unique_email());
        let proof = match by {
            "a reset" => resets::link(&rig, &first).await,
            "another address" => code_of(&email_changes::letter(&rig, &actor, &second).await),
            "its undoing" => token_of(&email_changes::moved(&rig, &actor, &first, &second).await),
            _ => String::new(),
        };
        if by == "its undoing" {
            actor.email = second.clone();
        }
        database.inject(WRITE, Fault::Hold);
        let end = async {
            match by {
                "a new password" => {
                    late.put(&actor, "/me/password", json!({"current": PASSWORD, "password": ANOTHER})).await
                }
                "the other sessions" => late.delete(&actor, "/me/sessions").await,
                "a reset" => resets::reset(&late, &proof, ANOTHER).await,
                "another address" => email_changes::confirm(&late, &actor, json!({"code": proof})).await,
                _ => email_changes::undo(&late, &proof).await,
            }
        };
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
