//! Forgotten passwords: the mail, its link, and who tries to get by without.

use crate::api::{Actor, Api, PASSWORD, Reply, registration, unique_email};
use crate::email_changes;
use crate::faults::{Fault, FaultyDatabase};
use crate::guesses::Browser;
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, token_of};
use crate::networks::{ELSEWHERE, HOME, Networks};
use futures_util::future::join_all;
use local::{Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::store::keys::Key;
use shared::store::resets::RESET_LIFETIME;
use std::time::Duration;

const ANOTHER: &str = "nine wooden barrels";
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn forgot(api: &Api, email: &str) -> Reply {
    api.elsewhere().call(None, Method::POST, "/auth/forgot-password", Some(json!({"email": email}))).await
}

pub(crate) async fn reset(api: &Api, token: &str, password: &str) -> Reply {
    let body = json!({"token": token, "password": password});
    api.call(None, Method::POST, "/auth/reset-password", Some(body)).await
}

async fn log_in(api: &Api, email: &str, password: &str) -> u16 {
    api.call(None, Method::POST, "/auth/login", Some(json!({"email": email, "password": password}))).await.status
}

/// The token of the link that somebody who forgot the password gets.
pub(crate) async fn link(rig: &Rig, email: &str) -> String {
    let reply = forgot(&rig.api, email).await;
    assert_eq!((reply.status, reply.text.as_str()), (202, ""));
    rig.deliver_account_mail().await;
    let token = token_of(&Letters::of(rig).newest_to(email));
    assert!(token.starts_with("citr_"), "{token}");
    token
}

#[tokio::test]
async fn the_mails_link_gives_another_password_once_and_ends_all_else() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let owner = rig.api.register().await;
    rig.api.add(&owner, &actor, "member").await;
    let elsewhere = Actor::of(&rig.api.login(&actor.email, Some(&owner.org_id)).await.body, &actor.email);

    let token = link(&rig, &actor.email).await;
    for weak in ["password", "ANALYTICAL-engines", &actor.email] {
        let refused = reset(&rig.api, &token, weak).await;
        assert_eq!((refused.status, refused.pointer()), (422, "/password"), "{}", refused.text);
    }
    assert_eq!(rig.api.get(&actor, "/me").await.status, 200, "nothing has changed yet");
    let done = reset(&rig.api, &token, ANOTHER).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.body["org"]["id"].as_str(), Some(actor.org_id.as_str()), "the one joined first");
    let new = Actor::of(&done.body, &actor.email);
    assert_eq!(rig.api.get(&new, "/me").await.status, 200);
    for dead in [&actor, &elsewhere] {
        rig.api.get(dead, "/me").await.is_problem(401, "invalid_token");
    }
    assert_eq!(
        (log_in(&rig.api, &actor.email, PASSWORD).await, log_in(&rig.api, &actor.email, ANOTHER).await),
        (401, 200)
    );
    reset(&rig.api, &token, "a third good password").await.is_problem(400, "invalid_link");
    // The new session is a fresh one, and its address is told.
    assert_eq!(rig.api.delete(&new, "/me/sessions").await.status, 204);
    rig.deliver_account_mail().await;
    let told = Letters::of(&rig).newest_to(&actor.email);
    assert!(told.starts_with("Your password was changed"), "{told}");
    let app = &rig.system.context().config().account_mail().unwrap().app_url;
    assert!(told.contains(&format!("{app}/forgot-password")) && !told.contains('#'), "{told}");
}

/// The link is used up by then: whoever was told to try again would be refused.
#[tokio::test]
async fn what_is_done_is_answered_whatever_cannot_be_read_then() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let busy = database.system().await;
    let api = Api::at(busy.url());
    let actor = rig.api.register().await;
    let token = link(&rig, &actor.email).await;
    database.inject("TransactWriteItems", Fault::Hold);
    let meanwhile = async {
        database.holds("TransactWriteItems").await;
        for read in ["GetItem", "Query"] {
            database.inject(read, Fault::Throttle(3));
        }
        database.release("TransactWriteItems");
    };
    let (done, ()) = tokio::join!(reset(&api, &token, ANOTHER), meanwhile);
    assert_eq!((done.status, done.body["org"]["id"].as_str()), (200, Some(actor.org_id.as_str())), "{}", done.text);
    assert_eq!(rig.api.get(&Actor::of(&done.body, &actor.email), "/me").await.status, 200);
}

/// Whoever was removed from its last organization comes back in.
#[tokio::test]
async fn whoever_belongs_to_no_organization_gets_a_session_in_none() {
    let rig = Rig::new().await;
    let (actor, other) = (rig.api.register().await, rig.api.register().await);
    let path = |user: &Actor| format!("/orgs/{}/members/{}", actor.org_id, user.user_id);
    rig.api.add(&actor, &other, "owner").await;
    assert_eq!(rig.api.delete(&actor, &path(&actor)).await.status, 204);
    for password in [ANOTHER, PASSWORD] {
        let token = link(&rig, &actor.email).await;
        let done = reset(&rig.api, &token, password).await;
        assert_eq!((done.status, &done.body["org"]), (200, &Value::Null), "{}", done.text);
        let token = done.body["token"].as_str().unwrap().to_owned();
        let new = Actor { token, ..actor.clone() };
        assert_eq!(rig.api.get(&new, "/me").await.body["orgs"], json!([]));
        rig.api.get(&new, "/items").await.is_problem(403, "no_organization");
    }
}

#[tokio::test]
async fn a_browsers_session_is_its_cookies() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let token = link(&rig, &actor.email).await;
    let body = json!({"token": token, "password": ANOTHER, "session": "cookie"});
    let done = rig.api.call(None, Method::POST, "/auth/reset-password", Some(body)).await;
    assert_eq!((done.status, done.body.get("token")), (200, None), "{}", done.text);
    let cookies: Vec<_> = done.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("__Host-session=cit_") && cookies[1].starts_with("__Host-device="), "{cookies:?}");
}

/// Whether an account has an address shows in no byte of the reply, and in nothing that is done before it.
#[tokio::test]
async fn every_address_is_answered_alike_and_costs_the_same() {
    let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&origin.database_url()).await;
    let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let (known, unproven) = (Api::of(&origin).register().await, Api::at(origin.url()).register_as_everybody().await);
    let odd = format!("  {} ", known.email.to_uppercase());
    // The first of an environment reads the key of the security log.
    forgot(&rig.api, "first@example.com").await;
    let mut seen = Vec::new();
    for email in [known.email.clone(), unproven.email, unique_email(), odd, known.email] {
        let (calls, jobs) = (database.total(), rig.account_mail());
        let reply = forgot(&rig.api, &email).await;
        let mut headers: Vec<_> = reply.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        headers.retain(|header| !["date", "server-timing", "x-"].iter().any(|varies| header.starts_with(varies)));
        headers.sort();
        seen.push((reply.status, reply.text, headers, database.total() - calls, rig.account_mail() - jobs));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
    assert_eq!((seen[0].0, seen[0].3, seen[0].4), (202, 2, 1), "a counter, and one transaction with one job");
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_says_nothing_else() {
    let rig = Rig::new().await;
    let (actor, other) = (rig.api.register().await, rig.api.register_as_everybody().await);
    rig.deliver_account_mail().await;
    let proof = token_of(&Letters::of(&rig).newest_to(&other.email));
    let (token, of_other) = (link(&rig, &actor.email).await, link(&rig, &other.email).await);
    let cut = &token[..token.len() - 1];
    let guessed = format!("{}{}", &token[..30], &of_other[30..]);
    let mut replies = Vec::new();
    for wrong in [
        "",
        "citr_",
        cut,
        &format!("{cut}{}", if token.ends_with('A') { "B" } else { "A" }),
        &guessed,
        &proof,
        &proof.replacen("citv_", "citr_", 1),
        &actor.token,
        &token.to_uppercase(),
        &format!("{token} "),
    ] {
        let reply = reset(&rig.api, wrong, ANOTHER).await;
        reply.is_problem(400, "invalid_link");
        replies.push(reply.text);
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert_eq!(rig.account_mail(), 0, "nobody is told of nothing");
    // It proves no address either.
    rig.api.post(&actor, "/auth/verify-email", json!({"token": token})).await.is_problem(400, "invalid_link");
    assert_eq!(rig.api.get(&actor, "/me").await.status, 200);
    assert_eq!(reset(&rig.api, &token, ANOTHER).await.status, 200, "it is still good");
    assert_eq!(log_in(&rig.api, &other.email, PASSWORD).await, 200);
}

#[tokio::test]
async fn time_a_newer_link_and_another_password_void_a_link() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let (older, newer) = (link(&rig, &actor.email).await, link(&rig, &actor.email).await);
    reset(&rig.api, &older, ANOTHER).await.is_problem(400, "invalid_link");
    rig.system.clock().jump(RESET_LIFETIME);
    reset(&rig.api, &newer, ANOTHER).await.is_problem(400, "invalid_link");

    // It crosses another password, if only in its salt.
    rig.system.clock().jump(HOUR);
    let session = Actor::of(&rig.api.login(&actor.email, None).await.body, &actor.email);
    let crossed = link(&rig, &actor.email).await;
    let change = json!({"current": PASSWORD, "password": PASSWORD});
    assert_eq!(rig.api.put(&session, "/me/password", change).await.status, 204);
    reset(&rig.api, &crossed, ANOTHER).await.is_problem(400, "invalid_link");
    assert_eq!(rig.api.get(&session, "/me").await.status, 200);
}

/// Whoever has got into an account keeps its owner out by no number of calls that end the other sessions.
#[tokio::test]
async fn a_link_outlives_the_end_of_the_other_sessions() {
    let rig = Rig::new().await;
    let thief = rig.api.register().await;
    let token = link(&rig, &thief.email).await;
    for _ in 0..3 {
        assert_eq!(rig.api.delete(&thief, "/me/sessions").await.status, 204);
    }
    assert_eq!(reset(&rig.api, &token, ANOTHER).await.status, 200);
    rig.api.get(&thief, "/me").await.is_problem(401, "invalid_token");
}

/// An account of a stranger's address. The day is UTC's.
async fn squatter_at_noon(rig: &Rig) -> Actor {
    let squatter = rig.api.register_as_everybody().await;
    let today = u64::try_from(rig.system.context().now().as_millis()).unwrap() % 86_400_000;
    rig.system.clock().jump(36 * HOUR - Duration::from_millis(today));
    Actor::of(&rig.api.login(&squatter.email, None).await.body, &squatter.email)
}

/// Whoever registered a stranger's address knows its password, and each change of that voids a link. There are three a day, and three links an
/// hour.
#[tokio::test]
async fn a_squatter_voids_three_links_a_day_and_no_more() {
    let rig = Rig::new().await;
    let squatter = squatter_at_noon(&rig).await;
    let change = async |password: &str| {
        let change = json!({"current": password, "password": "a squatter's password"});
        rig.api.put(&squatter, "/me/password", change).await
    };
    for password in [PASSWORD, "a squatter's password", "a squatter's password"] {
        let token = link(&rig, &squatter.email).await;
        assert_eq!(change(password).await.status, 204);
        reset(&rig.api, &token, ANOTHER).await.is_problem(400, "invalid_link");
    }
    rig.system.clock().jump(HOUR);
    let token = link(&rig, &squatter.email).await;
    // It voids nothing that the other sessions end.
    let again = json!({"password": "a squatter's password"});
    assert_eq!(rig.api.post(&squatter, "/auth/reauthenticate", again).await.status, 204);
    assert_eq!(rig.api.delete(&squatter, "/me/sessions").await.status, 204);
    let refused = change("a squatter's password").await;
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.header("ratelimit-policy"), "\"password-changes\";q=3");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=11 * 60 * 60).contains(&wait), "{wait}");
    let done = reset(&rig.api, &token, ANOTHER).await;
    assert_eq!((done.status, &done.body["user"]["email_verified"]), (200, &json!(true)), "{}", done.text);
    rig.api.get(&squatter, "/me").await.is_problem(401, "invalid_token");
    for password in [PASSWORD, "a squatter's password"] {
        assert_eq!(log_in(&rig.api, &squatter.email, password).await, 401);
    }
}

/// A change that certainly did not come about voids nothing, so it is none of the three.
#[tokio::test]
async fn a_password_that_was_not_changed_is_none_of_the_days() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let squatter = squatter_at_noon(&rig).await;
    let change = async || {
        let change = json!({"current": PASSWORD, "password": PASSWORD});
        rig.api.put(&squatter, "/me/password", change).await
    };
    database.inject("TransactWriteItems", Fault::Starve(u32::MAX));
    for _ in 0..3 {
        change().await.is_problem(503, "unavailable");
    }
    database.release("TransactWriteItems");
    for _ in 0..3 {
        assert_eq!(change().await.status, 204);
    }
    change().await.is_problem(429, "rate_limited");
}

/// Nor are there three more for another account, which the address may have once the one of before has moved away from it.
#[tokio::test]
async fn an_address_that_is_registered_again_has_no_more_passwords() {
    let rig = Rig::new().await;
    let squatter = squatter_at_noon(&rig).await;
    let address = squatter.email.as_str();
    let change =
        async |by: &Actor| rig.api.put(by, "/me/password", json!({"current": PASSWORD, "password": PASSWORD})).await;
    for _ in 0..3 {
        assert_eq!(change(&squatter).await.status, 204);
    }
    email_changes::moved(&rig, &squatter, address, &unique_email()).await;
    let registered = rig.api.elsewhere().call(None, Method::POST, "/auth/register", Some(registration(address))).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    let again = Actor::of(&registered.body, address);
    rig.deliver_account_mail().await;
    let token = link(&rig, address).await;
    change(&again).await.is_problem(429, "rate_limited");
    assert_eq!(reset(&rig.api, &token, ANOTHER).await.status, 200);
    // The one that has moved is held by nothing.
    assert_eq!(change(&squatter).await.status, 204);
}

/// What is done between the look-up of a link and its use voids it as what was done before: another password does, and ended sessions do not.
#[tokio::test]
async fn what_an_account_does_while_its_link_is_used_is_seen() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let late = Api::at(slow.url());
    for (is_proven, change, expected) in [
        (true, "/me/sessions", 200),
        (true, "/me/password", 400),
        (false, "/me/sessions", 200),
        (false, "/me/password", 400),
    ] {
        let actor = if is_proven { rig.api.register().await } else { rig.api.register_as_everybody().await };
        let token = link(&rig, &actor.email).await;
        database.inject("TransactWriteItems", Fault::Hold);
        let meanwhile = async {
            database.holds("TransactWriteItems").await;
            let body = json!({"current": PASSWORD, "password": "a thief's own password"});
            let changed = match change {
                "/me/sessions" => rig.api.delete(&actor, change).await,
                _ => rig.api.put(&actor, change, body).await,
            };
            assert_eq!(changed.status, 204, "{}", changed.text);
            database.release("TransactWriteItems");
        };
        let (done, ()) = tokio::join!(reset(&late, &token, ANOTHER), meanwhile);
        assert_eq!(done.status, expected, "{is_proven} {change}: {}", done.text);
        let is_out = rig.api.get(&actor, "/me").await.status == 401;
        assert_eq!(is_out, expected == 200, "{is_proven} {change}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_who_bring_a_link_at_once_one_wins() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let token = link(&rig, &actor.email).await;
    let calls = (0..1_000).map(|number| {
        let (api, token) = (&rig.api, &token);
        async move { reset(api, token, &format!("{ANOTHER} {number}")).await.status }
    });
    let statuses = join_all(calls).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 400 | 503)), "{statuses:?}");
    let won = statuses.iter().position(|status| *status == 200).unwrap();
    assert_eq!(log_in(&rig.api, &actor.email, &format!("{ANOTHER} {won}")).await, 200);
}

/// Either way round: what was compared with the old password gives no session under the new one.
#[tokio::test]
async fn a_log_in_under_way_gives_no_session_when_the_password_is_reset() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let late = Api::at(slow.url());
    let actor = rig.api.register().await;
    let token = link(&rig, &actor.email).await;
    database.inject("TransactWriteItems", Fault::Hold);
    let change = async {
        database.holds("TransactWriteItems").await;
        assert_eq!(reset(&rig.api, &token, ANOTHER).await.status, 200);
        database.release("TransactWriteItems");
    };
    let (log_in, ()) = tokio::join!(late.login(&actor.email, None), change);
    log_in.is_problem(401, "wrong_credentials");
}

/// Three an hour go to an address, whoever asks; what waits or is sent again does not count twice.
#[tokio::test]
async fn an_address_gets_three_links_an_hour() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let (actor, stranger) = (rig.api.register().await, unique_email());
    let sent = || providers.emails().len();
    providers.will([Answer::Refuse(503, None)]);
    for _ in 0..5 {
        assert_eq!(forgot(&rig.api, &actor.email).await.status, 202);
        assert_eq!(forgot(&rig.api, &stranger).await.status, 202);
    }
    rig.deliver_account_mail().await;
    rig.system.clock().jump(Duration::from_secs(400));
    rig.deliver_account_mail().await;
    assert_eq!(sent(), 3, "one of them at the second try");
    rig.system.clock().jump(HOUR);
    assert_eq!(forgot(&rig.api, &actor.email).await.status, 202);
    rig.deliver_account_mail().await;
    assert_eq!(sent(), 4);
}

/// While the mail service refuses everybody, mail is held back before its first run. It counts all the same when it goes out.
#[tokio::test]
async fn links_that_were_held_back_count_too() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let actor = rig.api.register().await;
    providers.will(vec![Answer::Refuse(503, None); 3]);
    for _ in 0..3 {
        let other = rig.api.register().await;
        assert_eq!(forgot(&rig.api, &other.email).await.status, 202);
    }
    rig.deliver_account_mail().await;
    assert_eq!(providers.refused(), 3, "the breaker is open now");
    for _ in 0..5 {
        assert_eq!(forgot(&rig.api, &actor.email).await.status, 202);
    }
    rig.deliver_account_mail().await;
    assert_eq!((providers.refused(), providers.emails().len()), (3, 0));
    for _ in 0..12 {
        rig.system.clock().jump(Duration::from_secs(120));
        rig.sweep_once().await;
        rig.deliver_account_mail().await;
    }
    let to = |email: &str| providers.emails().iter().filter(|mail| mail.to_string().contains(email)).count();
    assert_eq!((to(&actor.email), providers.emails().len()), (3, 6));
}

/// An address of before domains were judged, which no new account may have, is written to as any other.
#[tokio::test]
async fn an_address_of_before_gets_its_link() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let old = format!("ada@ex_ample{}.com", actor.user_id.trim_start_matches("usr_").to_lowercase());
    rename(&rig, &actor, &old).await;
    let token = link(&rig, &old).await;
    assert_eq!(reset(&rig.api, &token, ANOTHER).await.status, 200);
    assert_eq!(log_in(&rig.api, &old, ANOTHER).await, 200);
}

/// Gives an account an address past all functions.
async fn rename(rig: &Rig, actor: &Actor, to: &str) {
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let key = |key: Key| json!({"pk": {"S": key.pk}, "sk": {"S": key.sk}});
    let table = &rig.system.context().config().table_name;
    let mut found = database.ask("GetItem", &json!({"TableName": table, "Key": key(Key::login(&actor.email))})).await;
    let mut login = found["Item"].take();
    login["pk"] = key(Key::login(to))["pk"].take();
    database.call("PutItem", &json!({"TableName": table, "Item": login})).await;
    let user = key(Key::user(actor.user_id.parse().unwrap()));
    let renamed = json!({"TableName": table, "Key": user, "UpdateExpression": "SET email = :to",
        "ExpressionAttributeValues": {":to": {"S": to}}});
    database.call("UpdateItem", &renamed).await;
}

/// Whoever registered a stranger's address keeps nothing of it, once the stranger proves that it is his.
#[tokio::test]
async fn a_reset_proves_the_address_and_ends_what_a_squatter_left() {
    let rig = Rig::new().await;
    let squatter = rig.api.register_as_everybody().await;
    rig.deliver_account_mail().await;
    let proof = token_of(&Letters::of(&rig).newest_to(&squatter.email));
    // Nobody writes to an address that is not proven but to prove it.
    let change = json!({"current": PASSWORD, "password": "a squatter's password"});
    assert_eq!(rig.api.put(&squatter, "/me/password", change).await.status, 204);
    assert_eq!(rig.account_mail(), 0);

    let token = link(&rig, &squatter.email).await;
    let done = reset(&rig.api, &token, ANOTHER).await;
    assert_eq!((done.status, &done.body["user"]["email_verified"]), (200, &json!(true)), "{}", done.text);
    let owner = Actor::of(&done.body, &squatter.email);
    assert_eq!(rig.api.get(&owner, "/me").await.body["email_verified"], true);
    rig.api.get(&squatter, "/me").await.is_problem(401, "invalid_token");
    let by_proof = rig.api.post(&squatter, "/auth/verify-email", json!({"token": proof})).await;
    by_proof.is_problem(401, "invalid_token");
    for password in [PASSWORD, "a squatter's password"] {
        assert_eq!(log_in(&rig.api, &squatter.email, password).await, 401);
    }
}

#[tokio::test]
async fn a_changed_password_is_told_to_a_proven_address() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    let change = json!({"current": PASSWORD, "password": ANOTHER});
    assert_eq!(rig.api.put(&actor, "/me/password", change).await.status, 204);
    rig.deliver_account_mail().await;
    let told = Letters::of(&rig).newest_to(&actor.email);
    assert!(told.starts_with("Your password was changed"), "{told}");
    // Its user cannot fill the day's mail with it.
    for _ in 0..6 {
        let same = json!({"current": ANOTHER, "password": ANOTHER});
        assert_eq!(rig.api.put(&actor, "/me/password", same).await.status, 204);
    }
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), 5);
}

#[tokio::test]
async fn twenty_a_day_are_asked_for_from_one_network() {
    let networks = Networks::new().await;
    let ask = async |from: &str| {
        networks
            .post(from, "/auth/forgot-password", json!({"email": unique_email()}), &[("x-forwarded-for", ELSEWHERE)])
            .await
    };
    for _ in 0..20 {
        assert_eq!(ask(HOME).await.status, 202);
    }
    ask(HOME).await.is_limited("reset-links-a-day", 20, 24 * 60 * 60);
    assert_eq!(ask(ELSEWHERE).await.status, 202);
    networks.clock.jump(24 * HOUR);
    assert_eq!(ask(HOME).await.status, 202);
}

/// A request that was certainly not stored is none of a network's.
#[tokio::test]
async fn a_link_that_was_not_stored_is_none_of_its_networks() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone()), ("RESET_LINKS_PER_DAY", "1".to_owned())];
    let rig = Rig::with(environment).await;
    let ask = async || {
        let asked = Some(json!({"email": unique_email()}));
        rig.api.call(None, Method::POST, "/auth/forgot-password", asked).await
    };
    database.inject("TransactWriteItems", Fault::Starve(u32::MAX));
    ask().await.is_problem(503, "unavailable");
    database.release("TransactWriteItems");
    assert_eq!(ask().await.status, 202);
    ask().await.is_problem(429, "rate_limited");
}

/// A stranger's guesses keep nobody from a new password; and what was known before it is known no more.
#[tokio::test]
async fn a_reset_works_beyond_the_guesses_and_ends_known_devices() {
    let networks = Networks::new().await;
    let worker = networks.system.event_source("account-mail-worker").unwrap();
    let email = unique_email();
    let with = |mut body: Value| {
        body["session"] = json!("cookie");
        body
    };
    let registered = networks.post(ELSEWHERE, "/auth/register", with(registration(&email)), &[]).await;
    let before = Browser::of(&registered).device;
    let guess = async |device: &str, password: &str| {
        let credentials = with(json!({"email": email, "password": password}));
        networks.post(HOME, "/auth/login", credentials, &[("cookie", device)]).await.status
    };
    for _ in 0..10 {
        assert_eq!(guess("", "a wrong password").await, 401);
    }
    networks.clock.jump(Duration::from_secs(60));
    assert_eq!((guess("", PASSWORD).await, guess(&before, PASSWORD).await), (429, 200));
    assert_eq!(networks.post(HOME, "/auth/forgot-password", json!({"email": email}), &[]).await.status, 202);
    while networks.system.sqs().counts("AccountMailQueue").unwrap().visible > 0 {
        worker.deliver().await.unwrap();
    }
    let token = token_of(&Letters::of_system(&networks.system).newest_to(&email));
    let body = with(json!({"token": token, "password": ANOTHER}));
    let done = networks.post(HOME, "/auth/reset-password", body, &[("cookie", &before)]).await;
    assert_eq!(done.status, 200, "{}", done.body);
    let after = Browser::of(&done).device;
    assert_eq!((guess(&before, ANOTHER).await, guess(&after, ANOTHER).await), (429, 200));
}
