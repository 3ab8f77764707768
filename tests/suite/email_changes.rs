//! Another address for an account: what confirms it, what it ends, how the one before undoes it, and who tries to get by without.

mod owners;

use crate::api::{Actor, Api, PASSWORD, Reply, registration, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, code_of, token_of};
use futures_util::future::join_all;
use local::{Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::ids::{JobId, SessionId};
use shared::store::accounts::UNPROVEN_LIFETIME;
use shared::store::email_changes::UNDO_FOR;
use shared::store::verification::VERIFICATION_LIFETIME;
use std::time::Duration;

const ANOTHER: &str = "nine wooden barrels";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn ask(api: &Api, actor: &Actor, email: &str) {
    let reply = api.put(actor, "/me/email", json!({"email": email})).await;
    assert_eq!((reply.status, reply.text.as_str()), (202, ""));
}

/// What the new address gets.
pub(crate) async fn letter(rig: &Rig, actor: &Actor, email: &str) -> String {
    ask(&rig.api, actor, email).await;
    rig.deliver_account_mail().await;
    Letters::of(rig).newest_to(email)
}

pub(crate) async fn confirm(api: &Api, actor: &Actor, proof: Value) -> Reply {
    api.post(actor, "/auth/verify-email", proof).await
}

/// Moves an account to an address. Returns what the one before gets.
pub(crate) async fn moved(rig: &Rig, actor: &Actor, before: &str, to: &str) -> String {
    let text = letter(rig, actor, to).await;
    let done = confirm(&rig.api, actor, json!({"code": code_of(&text)})).await;
    assert_eq!((done.status, done.body["email"].as_str()), (200, Some(to)), "{}", done.text);
    rig.deliver_account_mail().await;
    Letters::of(rig).newest_to(before)
}

pub(crate) async fn undo(api: &Api, token: &str) -> Reply {
    let body = json!({"token": token, "password": ANOTHER});
    api.call(None, Method::POST, "/auth/reset-password", Some(body)).await
}

async fn log_in(api: &Api, email: &str, password: &str) -> u16 {
    api.call(None, Method::POST, "/auth/login", Some(json!({"email": email, "password": password}))).await.status
}

async fn email_of(api: &Api, actor: &Actor) -> String {
    api.get(actor, "/me").await.body["email"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_goes_to_the_new_address_confirms_it_in_the_session_that_asked() {
    let rig = Rig::new().await;
    for by_code in [true, false] {
        let actor = rig.api.register().await;
        let other = Actor::of(&rig.api.login(&actor.email, None).await.body, &actor.email);
        let stranger = rig.api.register().await;
        let to = unique_email();
        ask(&rig.api, &actor, &format!(" {} ", to.to_uppercase())).await;
        rig.deliver_account_mail().await;
        let text = Letters::of(&rig).newest_to(&to);
        assert!(text.starts_with("Confirm your new e-mail address"), "{text}");
        let proof = if by_code { json!({"code": code_of(&text)}) } else { json!({"token": token_of(&text)}) };
        assert!(token_of(&text).starts_with("citc_"), "{text}");
        for wrong in [&other, &stranger] {
            confirm(&rig.api, wrong, proof.clone()).await.is_problem(400, "invalid_link");
        }
        assert_eq!(email_of(&rig.api, &actor).await, actor.email, "nothing has changed yet");

        let done = confirm(&rig.api, &actor, proof.clone()).await;
        assert_eq!((done.status, &done.body["email"]), (200, &json!(to)), "{}", done.text);
        assert_eq!(done.body["email_verified"], true);
        assert_eq!(email_of(&rig.api, &actor).await, to);
        rig.api.get(&other, "/me").await.is_problem(401, "invalid_token");
        assert_eq!((log_in(&rig.api, &actor.email, PASSWORD).await, log_in(&rig.api, &to, PASSWORD).await), (401, 200));
        confirm(&rig.api, &actor, proof).await.is_problem(400, "invalid_link");
        rig.deliver_account_mail().await;
        let told = Letters::of(&rig).newest_to(&actor.email);
        assert!(told.starts_with("Your e-mail address was changed") && !told.contains(&to), "{told}");
    }
}

#[tokio::test]
async fn it_wants_a_fresh_session() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    rig.system.clock().jump(Duration::from_secs(601));
    let body = json!({"email": unique_email()});
    rig.api.put(&actor, "/me/email", body.clone()).await.is_problem(403, "reauthentication_required");
    assert_eq!(rig.account_mail(), 0);
    assert_eq!(rig.api.post(&actor, "/auth/reauthenticate", json!({"password": PASSWORD})).await.status, 204);
    assert_eq!(rig.api.put(&actor, "/me/email", body).await.status, 202);
}

/// That an address is taken shows in no byte and no work of the request, and not in the answer to a right code either.
#[tokio::test]
async fn a_taken_address_is_answered_as_any_other() {
    let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&origin.database_url()).await;
    let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let (actor, holder) = (Api::of(&origin).register().await, Api::of(&origin).register().await);
    ask(&rig.api, &actor, &unique_email()).await;
    let mut seen = Vec::new();
    for email in [unique_email(), holder.email.clone(), actor.email.clone()] {
        let (calls, jobs) = (database.total(), rig.account_mail());
        let reply = rig.api.put(&actor, "/me/email", json!({"email": email})).await;
        seen.push((reply.status, reply.text, database.total() - calls, rig.account_mail() - jobs));
        // Each before the next one voids it.
        rig.deliver_account_mail().await;
    }
    assert!(seen.iter().all(|one| *one == seen[0]) && seen[0].0 == 202, "{seen:?}");
    assert!(!Letters::of(&rig).is_there(&holder.email), "nobody has it written to by whoever wants its address");
    let wrong = confirm(&rig.api, &actor, json!({"code": "0000-0000"})).await;
    // One that was free when its code went out.
    let later = unique_email();
    let text = letter(&rig, &actor, &later).await;
    let registered = rig.api.elsewhere().call(None, Method::POST, "/auth/register", Some(registration(&later))).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    let taken = confirm(&rig.api, &actor, json!({"code": code_of(&text)})).await;
    taken.is_problem(400, "invalid_link");
    assert_eq!(taken.text, wrong.text);
    assert_eq!(email_of(&rig.api, &actor).await, actor.email);
    assert_eq!(email_of(&rig.api, &Actor::of(&registered.body, &later)).await, later);
}

/// By the code of an address of its own, which it asked for before, nobody sees whether another one got a code. Nor where the worker has both
/// to do at once, in whatever order.
#[tokio::test]
async fn a_code_of_before_is_void_whosever_the_next_address_is() {
    let rig = Rig::new().await;
    let (holder, mover) = (rig.api.register().await, rig.api.register().await);
    let (reserved, wanted) = (mover.email.clone(), unique_email());
    moved(&rig, &mover, &reserved, &unique_email()).await;
    for _ in 0..3 {
        letter(&rig, &rig.api.register().await, &wanted).await;
    }
    for at_once in [false, true] {
        for next in [unique_email(), holder.email.clone(), reserved.clone(), wanted.clone()] {
            let (actor, own) = (rig.api.register().await, unique_email());
            ask(&rig.api, &actor, &own).await;
            if at_once {
                ask(&rig.api, &actor, &next).await;
                rig.deliver_account_mail().await;
                assert!(!Letters::of(&rig).is_there(&own), "it would confirm nothing");
                continue;
            }
            rig.deliver_account_mail().await;
            let text = Letters::of(&rig).newest_to(&own);
            ask(&rig.api, &actor, &next).await;
            for proof in [json!({"code": code_of(&text)}), json!({"token": token_of(&text)})] {
                confirm(&rig.api, &actor, proof.clone()).await.is_problem(400, "invalid_link");
                rig.deliver_account_mail().await;
                confirm(&rig.api, &actor, proof).await.is_problem(400, "invalid_link");
            }
            assert_eq!(email_of(&rig.api, &actor).await, actor.email, "{next}");
        }
    }
}

/// What is asked for while the mail of another address is being written.
#[tokio::test]
async fn what_is_asked_for_meanwhile_voids_what_is_being_written() {
    let rig = Rig::new().await;
    let store = rig.system.context().store();
    let (actor, holder, own) = (rig.api.register().await, rig.api.register().await, unique_email());
    ask(&rig.api, &actor, &own).await;
    ask(&rig.api, &actor, &holder.email).await;
    // The worker has looked before that.
    let user = store.user(actor.user_id.parse().unwrap()).await.unwrap().unwrap();
    let made = store.new_email_change(&user, SessionId::new(), &own, JobId::new()).await.unwrap();
    assert!(made.is_none());
}

/// The mail of the first waits, as on a day that is full, while the second is asked for and confirmed.
#[tokio::test]
async fn what_was_asked_for_before_stays_void_when_the_next_is_confirmed() {
    let rig = Rig::with([("ACCOUNT_MAILS_PER_DAY", "5".to_owned())]).await;
    let store = rig.system.context().store();
    let (actor, first, second) = (rig.api.register().await, unique_email(), unique_email());
    // Four of the five are for addresses that are not proven.
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(store.take_mail_of_day(5).await.unwrap().unwrap());
    }
    ask(&rig.api, &actor, &first).await;
    rig.deliver_account_mail().await;
    assert!(!Letters::of(&rig).is_there(&first), "it waits");
    for one in taken {
        store.give_mail_of_day_back(one).await;
    }
    let text = letter(&rig, &actor, &second).await;
    assert_eq!(confirm(&rig.api, &actor, json!({"code": code_of(&text)})).await.status, 200);
    for _ in 0..3 {
        rig.system.clock().jump(Duration::from_secs(62 * 60));
        rig.sweep_once().await;
        rig.deliver_account_mail().await;
    }
    assert!(!Letters::of(&rig).is_there(&first), "it would confirm an address that is void");
    // Nor where the worker had looked before that.
    let user = store.user(actor.user_id.parse().unwrap()).await.unwrap().unwrap();
    let made = store.new_email_change(&user, SessionId::new(), &first, JobId::new()).await.unwrap();
    assert!(made.is_none());
}

/// Its owner may undo the change for seven days, and a code would confirm nothing.
#[tokio::test]
async fn an_address_that_may_be_given_back_gets_no_code() {
    let rig = Rig::new().await;
    let (actor, holder) = (rig.api.register().await, rig.api.register().await);
    let to = unique_email();
    let notice = moved(&rig, &holder, &holder.email, &to).await;
    ask(&rig.api, &actor, &holder.email).await;
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).newest_to(&holder.email), notice);
    // Its own it may have back.
    let holder_now = Actor { email: to, ..holder.clone() };
    assert_ne!(letter(&rig, &holder_now, &holder.email).await, notice);
}

#[tokio::test]
async fn time_a_newer_code_and_other_changes_void_it() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let (first, second) = (unique_email(), unique_email());
    let older = letter(&rig, &actor, &first).await;
    let newer = letter(&rig, &actor, &second).await;
    for void in [json!({"code": code_of(&older)}), json!({"token": token_of(&older)})] {
        confirm(&rig.api, &actor, void).await.is_problem(400, "invalid_link");
    }
    // The same session changes the password meanwhile.
    let change = json!({"current": PASSWORD, "password": PASSWORD});
    assert_eq!(rig.api.put(&actor, "/me/password", change).await.status, 204);
    confirm(&rig.api, &actor, json!({"token": token_of(&newer)})).await.is_problem(400, "invalid_link");

    let late = letter(&rig, &actor, &unique_email()).await;
    rig.system.clock().jump(VERIFICATION_LIFETIME);
    confirm(&rig.api, &actor, json!({"token": token_of(&late)})).await.is_problem(400, "invalid_link");

    // It voids what changes the password of the address before, and five codes void it.
    let session = Actor::of(&rig.api.login(&actor.email, None).await.body, &actor.email);
    let forgotten = Some(json!({"email": actor.email}));
    assert_eq!(rig.api.call(None, Method::POST, "/auth/forgot-password", forgotten).await.status, 202);
    rig.deliver_account_mail().await;
    let link = token_of(&Letters::of(&rig).newest_to(&actor.email));
    let text = letter(&rig, &session, &unique_email()).await;
    for _ in 0..5 {
        let wrong = json!({"code": if code_of(&text).starts_with('0') { "1111-1111" } else { "0000-0000" }});
        confirm(&rig.api, &session, wrong).await.is_problem(400, "invalid_link");
    }
    confirm(&rig.api, &session, json!({"code": code_of(&text)})).await.is_problem(400, "invalid_link");
    moved(&rig, &session, &actor.email, &unique_email()).await;
    undo(&rig.api, &link).await.is_problem(400, "invalid_link");
}

/// Whoever registered an address and never proved it keeps it from nobody, once that account has ended.
#[tokio::test]
async fn the_address_of_an_account_that_has_ended_is_free() {
    let rig = Rig::new().await;
    let (squatter, actor) = (rig.api.register_as_everybody().await, rig.api.register().await);
    ask(&rig.api, &actor, &squatter.email).await;
    rig.deliver_account_mail().await;
    assert!(Letters::of(&rig).newest_to(&squatter.email).contains("/verify-email#citv_"), "none but the account's own");
    rig.system.clock().jump(UNPROVEN_LIFETIME);
    let session = Actor::of(&rig.api.login(&actor.email, None).await.body, &actor.email);
    moved(&rig, &session, &actor.email, &squatter.email).await;
    rig.system.clock().jump(UNPROVEN_LIFETIME);
    assert_eq!(log_in(&rig.api, &squatter.email, PASSWORD).await, 200, "it does not end as that one did");
    rig.api.get(&squatter, "/me").await.is_problem(401, "invalid_token");
}

#[tokio::test]
async fn of_many_who_want_the_address_at_once_one_gets_it() {
    let rig = Rig::new().await;
    let to = unique_email();
    let mut proofs = Vec::new();
    for _ in 0..3 {
        let actor = rig.api.register().await;
        let text = letter(&rig, &actor, &to).await;
        proofs.push((actor, json!({"token": token_of(&text)})));
    }
    let rounds = (0..20).flat_map(|_| &proofs);
    let calls = rounds.map(|(actor, proof)| confirm(&rig.api, actor, proof.clone()));
    let statuses: Vec<u16> = join_all(calls).await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 400 | 401 | 503)), "{statuses:?}");
    assert_eq!(log_in(&rig.api, &to, PASSWORD).await, 200);
}

/// Somebody who got hold of a session and the password makes off with an account, by two changes of its address and one of its password.
#[tokio::test]
async fn the_address_before_undoes_it_whatever_came_after() {
    let rig = Rig::new().await;
    let thief = rig.api.register().await;
    let victim = thief.email.clone();
    let (first, second) = (unique_email(), unique_email());
    let other = rig.api.register().await;
    let text = letter(&rig, &other, &first).await;
    let told = moved(&rig, &thief, &victim, &first).await;
    let link = token_of(&told);
    let app = &rig.system.context().config().account_mail().unwrap().app_url;
    assert!(told.contains(&format!("{app}/undo-email#citu_")), "{told}");
    rig.system.clock().jump(Duration::from_secs(1));
    let change = json!({"current": PASSWORD, "password": "a thief's own password"});
    assert_eq!(rig.api.put(&thief, "/me/password", change).await.status, 204);
    let of_thief = token_of(&moved(&rig, &thief, &first, &second).await);
    // Nobody else gets an address that it had, so that nothing is in the way.
    let again = rig.api.call(None, Method::POST, "/auth/register", Some(registration(&victim))).await;
    again.is_problem(409, "email_taken");
    confirm(&rig.api, &other, json!({"code": code_of(&text)})).await.is_problem(400, "invalid_link");

    let weak = json!({"token": link, "password": victim});
    let weak = rig.api.call(None, Method::POST, "/auth/reset-password", Some(weak)).await;
    assert_eq!((weak.status, weak.pointer()), (422, "/password"), "{}", weak.text);
    let done = undo(&rig.api, &link).await;
    assert_eq!((done.status, &done.body["user"]["email"]), (200, &json!(victim)), "{}", done.text);
    let owner = Actor::of(&done.body, &victim);
    assert_eq!(email_of(&rig.api, &owner).await, victim);
    rig.api.get(&thief, "/me").await.is_problem(401, "invalid_token");
    for email in [&victim, &first, &second] {
        assert_eq!(log_in(&rig.api, email, "a thief's own password").await, 401);
    }
    assert_eq!(log_in(&rig.api, &victim, ANOTHER).await, 200);
    // Whoever has lost it is told, and gets nothing to undo that.
    rig.deliver_account_mail().await;
    let told = Letters::of(&rig).newest_to(&second);
    assert!(told.starts_with("Your account has another e-mail address again") && !told.contains("://"), "{told}");
    assert!(!Letters::of(&rig).newest_to(&first).starts_with("Your account has another"), "it had lost it before");
    for void in [&link, &of_thief] {
        undo(&rig.api, void).await.is_problem(400, "invalid_link");
    }
}

/// While the undoing is under way, whoever took the account does what it can with it.
#[tokio::test]
async fn an_account_that_is_kept_busy_is_given_back_all_the_same() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let late = Api::at(slow.url());
    for act in ["ends the other sessions", "changes the password", "moves on"] {
        let thief = rig.api.register().await;
        let (victim, first, second) = (thief.email.clone(), unique_email(), unique_email());
        let link = token_of(&moved(&rig, &thief, &victim, &first).await);
        rig.system.clock().jump(Duration::from_secs(1));
        let text = letter(&rig, &thief, &second).await;
        database.inject("TransactWriteItems", Fault::Hold);
        let meanwhile = async {
            database.holds("TransactWriteItems").await;
            let done = match act {
                "ends the other sessions" => rig.api.delete(&thief, "/me/sessions").await,
                "changes the password" => {
                    let change = json!({"current": PASSWORD, "password": "a thief's own password"});
                    rig.api.put(&thief, "/me/password", change).await
                }
                _ => confirm(&rig.api, &thief, json!({"code": code_of(&text)})).await,
            };
            assert!(matches!(done.status, 200 | 204), "{act}: {}", done.text);
            database.release("TransactWriteItems");
        };
        let (done, ()) = tokio::join!(undo(&late, &link), meanwhile);
        assert_eq!((done.status, &done.body["user"]["email"]), (200, &json!(victim)), "{act}: {}", done.text);
        rig.api.get(&thief, "/me").await.is_problem(401, "invalid_token");
        for email in [&victim, &first, &second] {
            assert_eq!(log_in(&rig.api, email, PASSWORD).await, 401, "{act}");
        }
        assert_eq!(log_in(&rig.api, &victim, ANOTHER).await, 200, "{act}");
        // What the thief had meanwhile, it cannot undo.
        rig.deliver_account_mail().await;
        if act == "moves on" {
            assert!(!Letters::of(&rig).newest_to(&first).contains("/undo-email"));
        }
    }
}

#[tokio::test]
async fn after_seven_days_it_is_done() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let link = token_of(&moved(&rig, &actor, &actor.email, &unique_email()).await);
    rig.system.clock().jump(UNDO_FOR);
    undo(&rig.api, &link).await.is_problem(400, "invalid_link");
    let again = rig.api.call(None, Method::POST, "/auth/register", Some(registration(&actor.email))).await;
    assert_eq!(again.status, 201, "{}", again.text);
}

/// An address that was never proven may be a stranger's: it is told nothing, gets no hold of the account, and is free at once.
#[tokio::test]
async fn an_address_that_was_not_proven_gets_nothing() {
    let rig = Rig::new().await;
    let actor = rig.api.register_as_everybody().await;
    rig.deliver_account_mail().await;
    let text = letter(&rig, &actor, &unique_email()).await;
    // Its code is not that of the address that it has.
    assert_eq!(confirm(&rig.api, &actor, json!({"code": code_of(&text)})).await.status, 200);
    assert_eq!(rig.account_mail(), 0);
    let again = rig.api.call(None, Method::POST, "/auth/register", Some(registration(&actor.email))).await;
    assert_eq!(again.status, 201, "{}", again.text);
}

/// What certainly was not stored is none of the ten.
#[tokio::test]
async fn what_was_not_stored_is_none_of_the_weeks() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let (actor, to) = (rig.api.register().await, unique_email());
    database.inject("TransactWriteItems", Fault::Starve(u32::MAX));
    let asks = (0..10).map(|_| rig.api.put(&actor, "/me/email", json!({"email": to})));
    for busy in join_all(asks).await {
        busy.is_problem(503, "unavailable");
    }
    database.release("TransactWriteItems");
    assert!(letter(&rig, &actor, &to).await.starts_with("Confirm your new e-mail address"));
}

#[tokio::test]
async fn an_address_gets_three_a_day_and_an_account_sends_ten_a_week() {
    let rig = Rig::new().await;
    let (actor, to) = (rig.api.register().await, unique_email());
    let others = [rig.api.register().await, rig.api.register().await];
    for who in [&actor, &others[0], &others[1], &actor] {
        ask(&rig.api, who, &to).await;
        rig.deliver_account_mail().await;
    }
    assert_eq!(Letters::of(&rig).count(), 3);
    for _ in 0..10 {
        ask(&rig.api, &actor, &unique_email()).await;
        rig.deliver_account_mail().await;
    }
    assert_eq!(Letters::of(&rig).count(), 3 + 8, "two of the ten went to the first");
    rig.system.clock().jump(7 * DAY);
    let session = Actor::of(&rig.api.login(&actor.email, None).await.body, &actor.email);
    letter(&rig, &session, &unique_email()).await;
}
