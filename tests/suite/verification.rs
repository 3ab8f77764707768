//! Proving one's address: the mail, its code and its link, and who tries to get by without.

use crate::api::{Actor, PASSWORD, Reply, registration, unique_email};
use crate::faults::{Fault, FaultyDatabase, updates_of};
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, code_of, token_of};
use crate::{email_changes, resets};
use futures_util::future::join_all;
use local::{Clock, Options};
use reqwest::Method;
use serde_json::{Value, json};
use shared::store::account_mail::MailLimit;
use shared::store::accounts::UNPROVEN_LIFETIME;
use shared::store::keys::Key;
use shared::store::verification::VERIFICATION_LIFETIME;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An account as everybody registers one, and the mail that it got.
async fn registered(rig: &Rig) -> (Actor, String) {
    let actor = rig.api.register_as_everybody().await;
    rig.deliver_account_mail().await;
    let text = Letters::of(rig).newest_to(&actor.email);
    (actor, text)
}

async fn verify(rig: &Rig, actor: &Actor, proof: Value) -> Reply {
    rig.api.post(actor, "/auth/verify-email", proof).await
}

async fn resend(rig: &Rig, actor: &Actor) {
    let reply = rig.api.call(Some(actor), Method::POST, "/auth/verify-email/resend", None).await;
    assert_eq!((reply.status, reply.text.as_str()), (202, ""));
}

async fn is_verified(rig: &Rig, actor: &Actor) -> bool {
    rig.api.get(actor, "/me").await.body["email_verified"].as_bool().unwrap()
}

#[tokio::test]
async fn the_mails_code_or_link_proves_the_address_once() {
    let rig = Rig::new().await;
    for by_code in [true, false] {
        let (actor, text) = registered(&rig).await;
        assert!(!is_verified(&rig, &actor).await);
        let proof = |by_code: bool| match by_code {
            true => json!({"code": code_of(&text).to_lowercase()}),
            false => json!({"token": token_of(&text)}),
        };
        let reply = verify(&rig, &actor, proof(by_code)).await;
        assert_eq!((reply.status, &reply.body["email_verified"]), (200, &json!(true)), "{}", reply.text);
        assert!(is_verified(&rig, &actor).await);
        for again in [by_code, !by_code] {
            verify(&rig, &actor, proof(again)).await.is_problem(400, "invalid_link");
        }
        resend(&rig, &actor).await;
        assert_eq!(rig.account_mail(), 0, "there is nothing to prove any more");
    }
}

/// The link leads to the app, whatever host the request named, and says nothing to a server: what it carries is behind the `#`.
#[tokio::test]
async fn the_link_leads_to_the_app() {
    let rig = Rig::new().await;
    let email = unique_email();
    // The gateway itself refuses another name in `Host`.
    let request = rig.api.request(Method::POST, "/auth/register");
    let request = request.header("x-forwarded-host", "evil.example").header("origin", "https://evil.example");
    let reply = crate::api::send(request.json(&registration(&email))).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    rig.deliver_account_mail().await;
    let text = Letters::of(&rig).newest_to(&email);
    let app = &rig.system.context().config().account_mail().unwrap().app_url;
    let links: Vec<&str> = text.split_whitespace().filter(|word| word.contains("://")).collect();
    assert_eq!(links.len(), 1, "{text}");
    assert!(links[0].starts_with(&format!("{app}/verify-email#citv_")), "{text}");
}

/// Whoever registers a stranger's address says nothing to the stranger.
#[tokio::test]
async fn nothing_that_somebody_chose_stands_in_the_mail() {
    let rig = Rig::new().await;
    let mut account = registration(&unique_email());
    account["name"] = json!("Pay at http://evil.example/login");
    account["org_name"] = json!("www.evil.example");
    let reply = rig.api.call(None, Method::POST, "/auth/register", Some(account.clone())).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    rig.deliver_account_mail().await;
    let text = Letters::of(&rig).newest_to(account["email"].as_str().unwrap());
    assert!(!text.contains("evil"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_proves_nothing_and_says_nothing_else() {
    let rig = Rig::new().await;
    let (actor, text) = registered(&rig).await;
    let (other, of_other) = registered(&rig).await;
    let (code, token) = (code_of(&text), token_of(&text));
    let cut = &token[..token.len() - 1];
    let session = &actor.token;
    let mut replies = Vec::new();
    for wrong in [
        json!({"token": token_of(&of_other)}),
        json!({"token": cut}),
        json!({"token": format!("{cut}{}", if token.ends_with('A') { "B" } else { "A" })}),
        json!({"token": ""}),
        json!({"token": session}),
        json!({"token": code}),
        json!({"code": token}),
        json!({"code": ""}),
        json!({"code": code_of(&of_other)}),
    ] {
        let reply = verify(&rig, &actor, wrong).await;
        reply.is_problem(400, "invalid_link");
        replies.push(reply.text);
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    for (wrong, pointer) in [
        (json!({}), ""),
        (json!({"code": code, "token": token}), ""),
        (json!({"code": 7}), "/code"),
        (json!({"code": code, "more": 1}), "/more"),
        (json!([]), ""),
    ] {
        assert_eq!(verify(&rig, &actor, wrong).await.pointer(), pointer);
    }
    let nobody = rig.api.call(None, Method::POST, "/auth/verify-email", Some(json!({"code": code}))).await;
    nobody.is_problem(401, "authentication_required");
    assert!(!is_verified(&rig, &actor).await && !is_verified(&rig, &other).await);
    assert_eq!(verify(&rig, &actor, json!({"token": token})).await.status, 200, "it is still good");
}

#[tokio::test]
async fn after_five_codes_all_are_void() {
    let rig = Rig::new().await;
    let (actor, text) = registered(&rig).await;
    let wrong = json!({"code": if code_of(&text).starts_with('0') { "1111-1111" } else { "0000-0000" }});
    for _ in 0..5 {
        verify(&rig, &actor, wrong.clone()).await.is_problem(400, "invalid_link");
    }
    verify(&rig, &actor, json!({"code": code_of(&text)})).await.is_problem(400, "invalid_link");
    resend(&rig, &actor).await;
    rig.deliver_account_mail().await;
    let newer = Letters::of(&rig).newest_to(&actor.email);
    assert_eq!(verify(&rig, &actor, json!({"code": code_of(&newer)})).await.status, 200);
}

/// The database takes each try, and its replies come too late: what the SDK sends again is one try all the same.
#[tokio::test]
async fn a_try_whose_replies_are_lost_counts_once() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let (actor, text) = registered(&rig).await;
    let user = actor.user_id.parse().unwrap();
    let compares = async |of: Key, text: String| {
        let (tries, code) = (updates_of(&of), json!({"code": code_of(&text)}));
        database.inject(&tries, Fault::LoseReply(6));
        for _ in 0..2 {
            verify(&rig, &actor, code.clone()).await.is_problem(503, "unavailable");
        }
        database.release(&tries);
        let proven = verify(&rig, &actor, code).await;
        assert_eq!(proven.status, 200, "{}", proven.text);
    };
    compares(Key::verification(user), text).await;
    compares(Key::email_change(user), email_changes::letter(&rig, &actor, &unique_email()).await).await;
}

#[tokio::test]
async fn a_newer_mail_voids_the_older_and_time_voids_both() {
    let rig = Rig::new().await;
    let (actor, older) = registered(&rig).await;
    resend(&rig, &actor).await;
    rig.deliver_account_mail().await;
    let newer = Letters::of(&rig).newest_to(&actor.email);
    for void in [json!({"code": code_of(&older)}), json!({"token": token_of(&older)})] {
        verify(&rig, &actor, void).await.is_problem(400, "invalid_link");
    }
    rig.system.clock().jump(VERIFICATION_LIFETIME);
    for late in [json!({"code": code_of(&newer)}), json!({"token": token_of(&newer)})] {
        verify(&rig, &actor, late).await.is_problem(400, "invalid_link");
    }
}

/// Whoever reads the mail of before, and no longer has the password, proves nothing with it.
#[tokio::test]
async fn another_password_voids_the_code_and_the_link() {
    let rig = Rig::new().await;
    for by_code in [true, false] {
        let (actor, text) = registered(&rig).await;
        let change = json!({"current": PASSWORD, "password": "nine wooden barrels"});
        assert_eq!(rig.api.put(&actor, "/me/password", change).await.status, 204);
        let proof = |text: &str| match by_code {
            true => json!({"code": code_of(text)}),
            false => json!({"token": token_of(text)}),
        };
        verify(&rig, &actor, proof(&text)).await.is_problem(400, "invalid_link");
        assert!(!is_verified(&rig, &actor).await);
        resend(&rig, &actor).await;
        rig.deliver_account_mail().await;
        let newer = Letters::of(&rig).newest_to(&actor.email);
        assert_eq!(verify(&rig, &actor, proof(&newer)).await.status, 200);
    }
}

/// Ending the other sessions changes neither address nor password.
#[tokio::test]
async fn the_end_of_the_other_sessions_voids_nothing() {
    let rig = Rig::new().await;
    let (actor, text) = registered(&rig).await;
    assert_eq!(rig.api.delete(&actor, "/me/sessions").await.status, 204);
    assert_eq!(verify(&rig, &actor, json!({"code": code_of(&text)})).await.status, 200);
    let text = email_changes::letter(&rig, &actor, &unique_email()).await;
    assert_eq!(rig.api.delete(&actor, "/me/sessions").await.status, 204);
    assert_eq!(verify(&rig, &actor, json!({"code": code_of(&text)})).await.status, 200);
}

/// A proof of the version before does not say which password it is of.
#[tokio::test]
async fn a_proof_of_before_is_good() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    for by_code in [true, false] {
        let (actor, text) = registered(&rig).await;
        let Key { pk, sk } = Key::verification(actor.user_id.parse().unwrap());
        let older = json!({"TableName": rig.system.context().config().table_name, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": "REMOVE password_digest", "ConditionExpression": "attribute_exists(pk)"});
        database.call("UpdateItem", &older).await;
        let proof = if by_code { json!({"code": code_of(&text)}) } else { json!({"token": token_of(&text)}) };
        assert_eq!(verify(&rig, &actor, proof).await.status, 200);
    }
}

#[tokio::test]
async fn of_many_who_bring_the_proof_at_once_one_wins() {
    let rig = Rig::new().await;
    for by_code in [true, false] {
        let (actor, text) = registered(&rig).await;
        let proof = if by_code { json!({"code": code_of(&text)}) } else { json!({"token": token_of(&text)}) };
        let calls = (0..100).map(|_| verify(&rig, &actor, proof.clone()));
        let replies = futures_util::future::join_all(calls).await;
        let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        // What is beside the right code counts as wrong ones do.
        let is_known = |status: &u16| matches!(status, 200 | 400 | 503) || by_code && *status == 429;
        assert!(statuses.iter().all(is_known), "{statuses:?}");
    }
}

/// However many mails it asks for, a session tries ten codes in a quarter of an hour.
#[tokio::test]
async fn ten_wrong_codes_are_compared_in_a_quarter_of_an_hour() {
    let rig = Rig::new().await;
    let (actor, mut text) = registered(&rig).await;
    let wrong = |text: &str| json!({"code": if code_of(text).starts_with('0') { "1111-1111" } else { "0000-0000" }});
    for _ in 0..2 {
        for _ in 0..5 {
            verify(&rig, &actor, wrong(&text)).await.is_problem(400, "invalid_link");
        }
        resend(&rig, &actor).await;
        rig.deliver_account_mail().await;
        text = Letters::of(&rig).newest_to(&actor.email);
        rig.system.clock().jump(MINUTE);
    }
    for code in [wrong(&text), json!({"code": code_of(&text)})] {
        let refused = verify(&rig, &actor, code).await;
        refused.is_problem(429, "too_many_attempts");
        assert_eq!(refused.header("ratelimit-policy"), "\"guesses\";q=10");
    }
    // Links are not guessed, and passwords are others' guesses.
    assert_eq!(rig.api.login(&actor.email, None).await.status, 200);
    rig.system.clock().jump(15 * MINUTE);
    for _ in 0..3 {
        verify(&rig, &actor, wrong(&text)).await.is_problem(400, "invalid_link");
    }
    assert_eq!(verify(&rig, &actor, json!({"code": code_of(&text)})).await.status, 200, "it was not compared before");
}

/// Whoever registers a stranger's address and moves on with the account, so that the address is free again, has us write to it six times a day.
#[tokio::test]
async fn an_address_is_asked_to_prove_itself_six_times_a_day() {
    let rig = Rig::new().await;
    let victim = unique_email();
    for _ in 0..10 {
        // From ten networks.
        let registered =
            rig.api.elsewhere().call(None, Method::POST, "/auth/register", Some(registration(&victim))).await;
        assert_eq!(registered.status, 201, "{}", registered.text);
        let squatter = Actor::of(&registered.body, &victim);
        rig.deliver_account_mail().await;
        let text = email_changes::letter(&rig, &squatter, &unique_email()).await;
        assert_eq!(verify(&rig, &squatter, json!({"code": code_of(&text)})).await.status, 200);
    }
    assert_eq!(Letters::of(&rig).all_to(&victim).len(), 6);
    // Its owner comes in by a reset.
    let registered = rig.api.elsewhere().call(None, Method::POST, "/auth/register", Some(registration(&victim))).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).all_to(&victim).len(), 6);
    let token = resets::link(&rig, &victim).await;
    let done = resets::reset(&rig.api, &token, "nine wooden barrels").await;
    assert_eq!(done.body["user"]["email_verified"], true, "{}", done.text);
}

#[tokio::test]
async fn another_is_sent_once_a_minute_and_five_times_a_day() {
    let rig = Rig::new().await;
    let (actor, _) = registered(&rig).await;
    resend(&rig, &actor).await;
    resend(&rig, &actor).await;
    assert_eq!(rig.account_mail(), 1, "one a minute");
    for _ in 0..6 {
        rig.system.clock().jump(MINUTE);
        resend(&rig, &actor).await;
    }
    assert_eq!(rig.account_mail(), 5, "five a day");
    rig.system.clock().jump(DAY);
    resend(&rig, &actor).await;
    assert_eq!(rig.account_mail(), 6, "the next day");
}

/// The day begins with the first of five, and ends between two that come within a minute.
#[tokio::test]
async fn another_is_sent_once_a_minute_where_a_day_ends_too() {
    const SECOND: Duration = Duration::from_secs(1);
    let clock = Clock::stopped();
    let rig = Rig::start(Options { clock: clock.clone(), ..Options::ephemeral() }).await;
    let (actor, _) = registered(&rig).await;
    resend(&rig, &actor).await;
    clock.jump(DAY - SECOND);
    resend(&rig, &actor).await;
    assert_eq!(rig.account_mail(), 2);
    for _ in 0..2 {
        clock.jump(2 * SECOND);
        resend(&rig, &actor).await;
    }
    assert_eq!(rig.account_mail(), 2, "four seconds later");
    clock.jump(56 * SECOND);
    resend(&rig, &actor).await;
    assert_eq!(rig.account_mail(), 3, "a minute later");
    // DynamoDB deletes the record some time after this: not before it is over what it says.
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let Key { pk, sk } = Key::mails_to(&actor.email, MailLimit::RESENT_VERIFICATION.purpose);
    let table = &rig.system.context().config().table_name;
    let wanted = json!({"TableName": table, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}});
    let counted = database.ask("GetItem", &wanted).await;
    let number = |name: &str| counted["Item"][name]["N"].as_str().unwrap().parse::<i64>().unwrap();
    assert!(number("ttl") >= number("window_ends") / 1000 + 60, "{counted}");
}

/// What certainly was not stored is none of the five, and nobody waits a minute for it.
#[tokio::test]
async fn another_that_was_not_stored_is_none_of_the_days() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
    let (actor, _) = registered(&rig).await;
    database.inject("TransactWriteItems", Fault::Starve(u32::MAX));
    for _ in 0..5 {
        let busy = rig.api.call(Some(&actor), Method::POST, "/auth/verify-email/resend", None).await;
        busy.is_problem(503, "unavailable");
    }
    database.release("TransactWriteItems");
    resend(&rig, &actor).await;
    assert_eq!(rig.account_mail(), 1);
    resend(&rig, &actor).await;
    assert_eq!(rig.account_mail(), 1, "one a minute");
}

/// A flood of registrations opens accounts and costs no more mail than the day's; what is more waits, and no run is used up by it.
#[tokio::test]
async fn mail_beyond_the_days_number_waits_for_the_next_day() {
    let rig = Rig::with([("ACCOUNT_MAILS_PER_DAY", "2".to_owned())]).await;
    for _ in 0..3 {
        rig.api.register_as_everybody().await;
    }
    rig.deliver_account_mail().await;
    for _ in 0..7 {
        rig.system.clock().jump(62 * MINUTE);
        rig.sweep_once().await;
        rig.deliver_account_mail().await;
    }
    assert_eq!(Letters::of(&rig).count(), 2);
    rig.system.clock().jump(DAY);
    rig.sweep_once().await;
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), 3, "it has only waited");
}

/// A worker looks at the day first, and several may see its last place.
#[tokio::test]
async fn mails_at_once_take_no_more_than_the_days_number() {
    let rig = Rig::new().await;
    let store = rig.system.context().store();
    let taken = join_all((0..10).map(|_| store.take_mail_of_day(3))).await;
    assert_eq!(taken.into_iter().filter(|one| matches!(one, Ok(Some(_)))).count(), 3);
}

/// A refusal of the mail service sends nothing, so it takes none of the day's number, however often it comes.
#[tokio::test]
async fn what_the_mail_service_refused_takes_none_of_the_days_number() {
    let providers = Providers::start().await;
    let one = [("ACCOUNT_MAILS_PER_DAY", "1".to_owned())];
    let environment = providers.environment().into_iter().chain(one);
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { environment, ..Options::ephemeral() }).await;
    providers.will(vec![Answer::Refuse(503, None); 2]);
    rig.api.register_as_everybody().await;
    for _ in 0..3 {
        rig.deliver_account_mail().await;
        rig.system.clock().jump(2 * MINUTE);
    }
    assert_eq!((providers.refused(), providers.emails().len()), (2, 1));
    let (today, yesterday) = rig.system.context().store().mail_days().await.unwrap();
    assert_eq!(today.handed_over + yesterday.handed_over, 1);
}

#[tokio::test]
async fn account_mail_pauses_while_too_much_of_it_bounces() {
    let rig = Rig::new().await;
    let store = rig.system.context().store();
    for _ in 0..5 {
        assert!(store.take_mail_of_day(100).await.unwrap().is_some());
        store.note_bounced_account_mail().await.unwrap();
    }
    let actor = rig.api.register_as_everybody().await;
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), 0);
    rig.system.clock().jump(2 * DAY);
    rig.sweep_once().await;
    rig.deliver_account_mail().await;
    assert!(Letters::of(&rig).newest_to(&actor.email).contains("Confirm") || Letters::of(&rig).count() == 1);
}

/// Whoever registers addresses that are none stops nothing that goes to those who have proven theirs.
#[tokio::test]
async fn bounces_keep_no_mail_from_a_proven_address() {
    let rig = Rig::new().await;
    let (store, proven, moving) = (rig.system.context().store(), rig.api.register().await, rig.api.register().await);
    let text = email_changes::letter(&rig, &moving, &unique_email()).await;
    for _ in 0..5 {
        assert!(store.take_mail_of_day(100).await.unwrap().is_some());
        store.note_bounced_account_mail().await.unwrap();
    }
    let unproven = rig.api.register_as_everybody().await;
    let forgotten = Some(json!({"email": unproven.email}));
    assert_eq!(rig.api.call(None, Method::POST, "/auth/forgot-password", forgotten).await.status, 202);
    // A link for a forgotten password, that the password was changed, and what undoes a change of the address.
    let token = resets::link(&rig, &proven.email).await;
    assert_eq!(resets::reset(&rig.api, &token, "nine wooden barrels").await.status, 200);
    assert_eq!(verify(&rig, &moving, json!({"code": code_of(&text)})).await.status, 200);
    rig.deliver_account_mail().await;
    assert!(Letters::of(&rig).newest_to(&proven.email).starts_with("Your password was changed"));
    assert!(token_of(&Letters::of(&rig).newest_to(&moving.email)).starts_with("citu_"));
    assert!(!Letters::of(&rig).is_there(&unproven.email), "anybody can have it written to");
}

/// A fifth of the day's number is kept for them, too.
#[tokio::test]
async fn strangers_do_not_use_up_the_day_for_a_proven_address() {
    let rig = Rig::with([("ACCOUNT_MAILS_PER_DAY", "5".to_owned())]).await;
    let (first, second) = (rig.api.register().await, rig.api.register().await);
    for _ in 0..10 {
        rig.api.register_as_everybody().await;
    }
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), 4);
    resets::link(&rig, &first.email).await;
    let forgotten = Some(json!({"email": second.email}));
    assert_eq!(rig.api.call(None, Method::POST, "/auth/forgot-password", forgotten).await.status, 202);
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), 5, "the day's number holds for all of it");
}

/// It is nobody's job, and counts in no organization's month.
#[tokio::test]
async fn account_mail_shows_in_no_organization() {
    let rig = Rig::new().await;
    let (actor, _) = registered(&rig).await;
    assert_eq!(rig.api.get(&actor, "/jobs").await.body["data"], json!([]));
    assert_eq!(rig.usage(&actor).await["emails"]["used"], 0);
}

/// Whoever registers an address and never proves it does not keep it from its owner.
#[tokio::test]
async fn an_account_that_nobody_proves_ends_after_seven_days() {
    let rig = Rig::new().await;
    let (ended, proven) = (registered(&rig).await.0, registered(&rig).await);
    let by = json!({"code": code_of(&proven.1)});
    assert_eq!(verify(&rig, &proven.0, by).await.status, 200);
    let log_in = async |email: &str| rig.api.login(email, None).await.status;
    rig.system.clock().jump(UNPROVEN_LIFETIME - MINUTE);
    let again = Some(registration(&ended.email));
    rig.api.call(None, Method::POST, "/auth/register", again.clone()).await.is_problem(409, "email_taken");
    let late = Actor::of(&rig.api.login(&ended.email, None).await.body, &ended.email);
    resend(&rig, &late).await;
    rig.deliver_account_mail().await;
    let code = code_of(&Letters::of(&rig).newest_to(&ended.email));
    rig.system.clock().jump(MINUTE);
    for session in [&ended, &late] {
        rig.api.get(session, "/me").await.is_problem(401, "invalid_token");
    }
    assert_eq!((log_in(&ended.email).await, log_in(&proven.0.email).await), (401, 200));
    for (of, status) in [(&ended, 404), (&proven.0, 200)] {
        assert_eq!(rig.api.call(None, Method::GET, &format!("/users/{}", of.user_id), None).await.status, status);
    }
    let forgotten = Some(json!({"email": ended.email}));
    assert_eq!(rig.api.call(None, Method::POST, "/auth/forgot-password", forgotten).await.status, 202);
    let before = Letters::of(&rig).count();
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), before, "nobody has the address");

    // Its owner registers it, and nothing of before opens the new account.
    let reply = rig.api.call(None, Method::POST, "/auth/register", again).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let owner = Actor::of(&reply.body, &ended.email);
    assert_ne!(owner.user_id, ended.user_id);
    verify(&rig, &owner, json!({"code": code})).await.is_problem(400, "invalid_link");
    for session in [&ended, &late] {
        rig.api.get(session, "/me").await.is_problem(401, "invalid_token");
    }
    assert_eq!(rig.api.get(&owner, "/me").await.body["orgs"].as_array().unwrap().len(), 1);
}
