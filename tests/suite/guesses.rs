//! Guesses at one account: what strangers may try, and that its owner comes in all the while.

use crate::api::{self, Api, PASSWORD, registration, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::letters::{Letters, code_of, token_of};
use crate::networks::{ELSEWHERE, HOME, Networks, Reply};
use futures_util::future::join_all;
use local::{Options, System, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::ApiError;
use shared::model::text::Email;
use shared::store::guesses::{Guessed, Guesser};
use std::net::IpAddr;
use std::time::Duration;

/// Not the password.
const WRONG: &str = "a wrong password";
const MINUTE: Duration = Duration::from_secs(60);

/// A browser: its cookies, as they were set.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    session: String,
    pub(crate) device: String,
}

impl Browser {
    pub(crate) fn of(reply: &Reply) -> Self {
        let cookies: Vec<&str> =
            reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
        let [session, device] = cookies[..] else { panic!("{cookies:?}") };
        for attribute in ["; Path=/;", "; Secure;", "; HttpOnly;", "; SameSite=None", "Max-Age=34560000;"] {
            assert!(device.contains(attribute), "{device}");
        }
        let pair = |cookie: &str| cookie.split(';').next().unwrap().to_owned();
        let device = pair(device);
        // 128 bits for each account that was logged in to there, which say nothing.
        let devices = device.strip_prefix("__Host-device=").unwrap().split('.');
        assert!(devices.clone().all(|one| one.len() == 22) && devices.count() <= 8, "{device}");
        Self { session: pair(session), device }
    }
}

/// An account, and the browser that it was made in.
async fn account(networks: &Networks) -> (String, Browser) {
    let email = unique_email();
    let mut body = registration(&email);
    body["session"] = json!("cookie");
    let registered = networks.post(HOME, "/auth/register", body, &[]).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    (email, Browser::of(&registered))
}

fn credentials(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password, "session": "cookie"})
}

async fn log_in(networks: &Networks, from: &str, email: &str, password: &str, device: &str) -> Reply {
    networks.post(from, "/auth/login", credentials(email, password), &[("cookie", device)]).await
}

/// The address of a network of its own.
fn network(number: usize) -> String {
    format!("198.18.{}.{}", number / 250, number % 250 + 1)
}

/// Hands all account mail that is on its queue to its worker.
async fn deliver_account_mail(networks: &Networks) {
    let worker = networks.system.event_source("account-mail-worker").unwrap();
    while networks.system.sqs().counts("AccountMailQueue").unwrap().visible > 0 {
        worker.deliver().await.unwrap();
    }
}

#[track_caller]
fn is_closed(reply: &Reply, limit: u64, seconds: u64) {
    assert_eq!((reply.status, reply.body["code"].as_str()), (429, Some("too_many_attempts")), "{}", reply.body);
    let header = |name| reply.headers[name].to_str().unwrap();
    let wait: u64 = header("retry-after").parse().unwrap();
    assert!((1..=seconds).contains(&wait), "{wait}");
    assert_eq!(header("ratelimit-policy"), format!("\"guesses\";q={limit}"));
}

/// The purpose of all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_networks_get_a_hundred_guesses_an_hour_and_the_owner_comes_in() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    // All at once.
    let guesses = (0..1_000).map(|number| {
        let (networks, email) = (&networks, &email);
        async move { networks.guess(&network(number), email, WRONG).await }
    });
    let replies = join_all(guesses).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 100);
    replies.iter().filter(|reply| reply.status != 401).for_each(|refused| is_closed(refused, 100, 60 * 60));
    // The right password from a device that is not known is not compared either; from the owner's own it is, wherever that is.
    is_closed(&networks.guess(ELSEWHERE, &email, PASSWORD).await, 100, 60 * 60);
    for from in [HOME, &network(7)] {
        assert_eq!(log_in(&networks, from, &email, PASSWORD, &browser.device).await.status, 200);
    }
    networks.clock.jump(59 * MINUTE);
    is_closed(&networks.guess(ELSEWHERE, &email, PASSWORD).await, 100, 60);
    networks.clock.jump(MINUTE);
    assert_eq!(networks.guess(ELSEWHERE, &email, PASSWORD).await.status, 200);
}

/// How long a stranger is to wait says nothing of when an account's owner logged in, nor whether anybody has the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_say_when_the_owner_logged_in() {
    let networks = Networks::new().await;
    let (email, _) = account(&networks).await;
    assert_eq!(networks.guess(HOME, &email, PASSWORD).await.status, 200);
    networks.clock.jump(30 * MINUTE);
    let mut waits = Vec::new();
    for address in [email, unique_email()] {
        let guesses = (0..100).map(|number| {
            let (networks, address) = (&networks, &address);
            async move { networks.guess(&network(number), address, WRONG).await }
        });
        assert!(join_all(guesses).await.iter().all(|reply| reply.status == 401));
        let refused = networks.guess(ELSEWHERE, &address, WRONG).await;
        is_closed(&refused, 100, 60 * 60);
        waits.push(refused.headers["retry-after"].clone());
    }
    assert_eq!(waits, ["3600", "3600"], "each window begins with the first wrong one");
}

#[tokio::test]
async fn one_network_gets_ten_guesses_at_an_account_in_a_quarter_of_an_hour() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    // Its own limit for all accounts is ten a minute.
    for _ in 0..2 {
        for _ in 0..5 {
            assert_eq!(networks.guess(ELSEWHERE, &email, WRONG).await.status, 401);
        }
        networks.clock.jump(MINUTE);
    }
    is_closed(&networks.guess(ELSEWHERE, &email, PASSWORD).await, 10, 15 * 60);
    // Only this network, only this account.
    assert_eq!(networks.guess(HOME, &email, PASSWORD).await.status, 200);
    let (other, _) = account(&networks).await;
    assert_eq!(networks.guess(ELSEWHERE, &other, PASSWORD).await.status, 200);
    assert_eq!(log_in(&networks, ELSEWHERE, &email, PASSWORD, &browser.device).await.status, 200);
    networks.clock.jump(13 * MINUTE);
    assert_eq!(networks.guess(ELSEWHERE, &email, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_networks_limit_is_not_held_against_a_known_device() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
    assert_eq!(networks.guess(HOME, &email, PASSWORD).await.body["code"], "rate_limited");
    assert_eq!(log_in(&networks, HOME, &email, PASSWORD, &browser.device).await.status, 200);
    // What is no device that this account knows is none.
    let (other, another) = account(&networks).await;
    let twice = format!("{}; {}", browser.device, browser.device);
    for device in
        [another.device.as_str(), "__Host-device=AAAAAAAAAAAAAAAAAAAAAA", "__Host-device=x", &twice, &browser.session]
    {
        let reply = log_in(&networks, HOME, &email, PASSWORD, device).await;
        assert_eq!(reply.body["code"], "rate_limited", "{device}");
    }
    assert_eq!(log_in(&networks, HOME, &other, PASSWORD, &another.device).await.status, 200);
}

#[tokio::test]
async fn a_known_device_has_ten_guesses_of_its_own() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let second = Browser::of(&log_in(&networks, ELSEWHERE, &email, PASSWORD, "").await);
    assert_ne!(second.device, browser.device);
    // Wherever it is.
    for number in 0..10 {
        let wrong = log_in(&networks, &network(number), &email, WRONG, &browser.device).await;
        assert_eq!(wrong.status, 401, "{}", wrong.body);
    }
    is_closed(&log_in(&networks, HOME, &email, PASSWORD, &browser.device).await, 10, 15 * 60);
    // Whoever lost it is no worse off than a stranger.
    assert_eq!(networks.guess(HOME, &email, PASSWORD).await.status, 200);
    assert_eq!(log_in(&networks, HOME, &email, PASSWORD, &second.device).await.status, 200);
    networks.clock.jump(15 * MINUTE);
    let again = log_in(&networks, HOME, &email, PASSWORD, &browser.device).await;
    assert_eq!(Browser::of(&again).device, browser.device, "a known device stays what it is");
}

/// One for work, one at home, say: whatever is done with one of them takes the browser from none of the others.
#[tokio::test]
async fn one_browser_is_known_to_all_its_accounts() {
    let networks = Networks::new().await;
    let (first, Browser { mut device, .. }) = account(&networks).await;
    let (second, _) = account(&networks).await;
    let third = unique_email();
    let with_cookie = |mut body: Value| {
        body["session"] = json!("cookie");
        body
    };
    // One is made there, one is logged in to, and one has its password reset.
    let begins = async |path: &str, body: Value, device: &str| {
        let begun = networks.post(ELSEWHERE, path, with_cookie(body), &[("cookie", device)]).await;
        assert!(matches!(begun.status, 200 | 201), "{path}: {}", begun.body);
        Browser::of(&begun)
    };
    device = begins("/auth/register", registration(&third), &device).await.device;
    device = begins("/auth/login", json!({"email": second, "password": PASSWORD}), &device).await.device;
    assert_eq!(networks.post(HOME, "/auth/forgot-password", json!({"email": third}), &[]).await.status, 202);
    deliver_account_mail(&networks).await;
    let token = token_of(&Letters::of_system(&networks.system).newest_to(&third));
    device = begins("/auth/reset-password", json!({"token": token, "password": PASSWORD}), &device).await.device;
    join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
    for _ in 0..2 {
        for email in [&first, &second, &third] {
            let reply = log_in(&networks, HOME, email, PASSWORD, &device).await;
            assert_eq!(reply.status, 200, "{email}: {}", reply.body);
            device = Browser::of(&reply).device;
        }
    }
    // Also where one of them ends its other sessions.
    let Browser { session, device } = Browser::of(&log_in(&networks, HOME, &second, PASSWORD, &device).await);
    let both = format!("{session}; {device}");
    let headers = [("cookie", both.as_str()), ("origin", "http://localhost:5173")];
    assert_eq!(networks.send("DELETE", HOME, "/me/sessions", Value::Null, &headers).await.status, 204);
    for email in [&first, &second, &third] {
        assert_eq!(log_in(&networks, HOME, email, PASSWORD, &device).await.status, 200, "{email}");
    }
    // None of them knows what another one was given; and what the reset has voided is nobody's.
    let devices = device.strip_prefix("__Host-device=").unwrap().split('.');
    let mut knowing = Vec::new();
    for one in devices.map(|one| format!("__Host-device={one}")) {
        let mut of_one = Vec::new();
        for email in [&first, &second, &third] {
            if log_in(&networks, HOME, email, PASSWORD, &one).await.status == 200 {
                of_one.push(email);
            }
        }
        knowing.push(of_one);
    }
    assert_eq!(knowing, [vec![], vec![&first], vec![&third], vec![&second]]);
}

/// Log-ins from private windows, each of which is a device of its own, do not take the place of a browser that is in use.
#[tokio::test]
async fn a_device_that_is_used_stays_known() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let is_known = async || {
        let reply = log_in(&networks, HOME, &email, PASSWORD, &browser.device).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        Browser::of(&reply).device == browser.device
    };
    let private_windows = async |count: usize| {
        for _ in 0..count {
            assert_eq!(log_in(&networks, ELSEWHERE, &email, PASSWORD, "").await.status, 200);
        }
    };
    // Within a day.
    for _ in 0..2 {
        private_windows(9).await;
        assert!(is_known().await);
    }
    // A few a day: each notes when it came, and so when devices were noted last.
    for _ in 0..5 {
        networks.clock.jump(24 * 60 * MINUTE);
        private_windows(3).await;
        assert!(is_known().await);
    }
    private_windows(10).await;
    assert!(!is_known().await, "ten others have come since its last log-in");
}

/// The database is days late to remove what is over, and in a restored table it removes nothing until it is told to.
#[tokio::test]
async fn a_device_is_a_strangers_after_400_days() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    operator::verify_account(networks.system.context(), &email.parse().unwrap()).await.unwrap();
    let log_in_at_home = async |device: &str| {
        // It is closed to strangers.
        join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
        log_in(&networks, HOME, &email, PASSWORD, device).await
    };
    networks.clock.jump(399 * 24 * 60 * MINUTE);
    assert_eq!(log_in_at_home(&browser.device).await.status, 200);
    networks.clock.jump(400 * 24 * 60 * MINUTE);
    assert_eq!(log_in_at_home(&browser.device).await.body["code"], "rate_limited");
    // Nor is another one kept out by what is there of it.
    let another = Browser::of(&log_in(&networks, ELSEWHERE, &email, PASSWORD, &browser.device).await);
    assert_ne!(another.device, browser.device);
    assert_eq!(log_in_at_home(&another.device).await.status, 200);
}

#[tokio::test]
async fn no_device_is_known_after_a_new_password() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let change = json!({"current": PASSWORD, "password": "nine wooden barrels"});
    let headers = [("cookie", browser.session.as_str()), ("origin", "http://localhost:5173")];
    let changed = networks.send("PUT", HOME, "/me/password", change, &headers).await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
    let reply = log_in(&networks, HOME, &email, "nine wooden barrels", &browser.device).await;
    assert_eq!(reply.body["code"], "rate_limited", "it is a stranger's now");
    let known = Browser::of(&log_in(&networks, ELSEWHERE, &email, "nine wooden barrels", &browser.device).await);
    assert_ne!(known.device, browser.device);
    assert_eq!(log_in(&networks, HOME, &email, "nine wooden barrels", &known.device).await.status, 200);
}

/// A log-in under way has compared the password of before: what it notes last is not in the place of what the reset has noted.
#[tokio::test]
async fn a_log_in_under_way_takes_no_device_from_a_new_password() {
    let networks = Networks::new().await;
    let (email, _) = account(&networks).await;
    let database = FaultyDatabase::before(&networks.system.database_url()).await;
    let slow = database.system().await;
    assert_eq!(networks.post(HOME, "/auth/forgot-password", json!({"email": email}), &[]).await.status, 202);
    deliver_account_mail(&networks).await;
    let token = token_of(&Letters::of_system(&networks.system).newest_to(&email));
    // The password is compared, and its account is read.
    database.inject("Query", Fault::Hold);
    let late = Api::at(slow.url());
    let log_in = late.call(None, Method::POST, "/auth/login", Some(credentials(&email, PASSWORD)));
    let reset = async {
        database.holds("Query").await;
        let body = json!({"token": token, "password": "nine wooden barrels", "session": "cookie"});
        let done = networks.post(HOME, "/auth/reset-password", body, &[]).await;
        assert_eq!(done.status, 200, "{}", done.body);
        database.release("Query");
        Browser::of(&done)
    };
    let (late, browser) = tokio::join!(log_in, reset);
    late.is_problem(401, "wrong_credentials");
    join_all((0..12).map(|_| networks.guess(ELSEWHERE, "nobody@example.com", WRONG))).await;
    let reply = self::log_in(&networks, ELSEWHERE, &email, "nine wooden barrels", &browser.device).await;
    assert_eq!(reply.status, 200, "the device of the reset is known: {}", reply.body);
}

/// Whoever ends all other sessions, as after a theft, is not kept from the own device by the next guesses. The others are strangers' from then on.
#[tokio::test]
async fn the_device_that_ends_the_other_sessions_stays_known() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let other = Browser::of(&log_in(&networks, ELSEWHERE, &email, PASSWORD, "").await);
    let both = format!("{}; {}", browser.session, browser.device);
    let headers = [("cookie", both.as_str()), ("origin", "http://localhost:5173")];
    let ended = networks.send("DELETE", HOME, "/me/sessions", Value::Null, &headers).await;
    assert_eq!(ended.status, 204, "{}", ended.body);
    join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
    let again = log_in(&networks, HOME, &email, PASSWORD, &browser.device).await;
    assert_eq!((again.status, Browser::of(&again).device), (200, browser.device.clone()), "{}", again.body);
    assert_eq!(log_in(&networks, HOME, &email, PASSWORD, &other.device).await.body["code"], "rate_limited");
    // What is no device of the account stays none.
    let both = format!("{}; {}", Browser::of(&again).session, other.device);
    let headers = [("cookie", both.as_str()), ("origin", "http://localhost:5173")];
    assert_eq!(networks.send("DELETE", HOME, "/me/sessions", Value::Null, &headers).await.status, 204);
    for device in [&other.device, &browser.device] {
        assert_eq!(log_in(&networks, HOME, &email, PASSWORD, device).await.body["code"], "rate_limited");
    }
}

/// Whoever moves to another address is not kept from the own device by those who guess there. The others are strangers' from then on.
#[tokio::test]
async fn the_device_that_confirms_another_address_stays_known() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let other = Browser::of(&log_in(&networks, ELSEWHERE, &email, PASSWORD, "").await);
    let moves = async |session: &str, device: &str, to: &str| {
        let both = format!("{session}; {device}");
        let headers = [("cookie", both.as_str()), ("origin", "http://localhost:5173")];
        let asked = networks.send("PUT", HOME, "/me/email", json!({"email": to}), &headers).await;
        assert_eq!(asked.status, 202, "{}", asked.body);
        deliver_account_mail(&networks).await;
        let code = code_of(&Letters::of_system(&networks.system).newest_to(to));
        let moved = networks.post(HOME, "/auth/verify-email", json!({"code": code}), &headers).await;
        assert_eq!((moved.status, moved.body["email"].as_str()), (200, Some(to)), "{}", moved.body);
    };
    let (second, third) = (unique_email(), unique_email());
    moves(&browser.session, &browser.device, &second).await;
    join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
    let again = log_in(&networks, HOME, &second, PASSWORD, &browser.device).await;
    assert_eq!((again.status, Browser::of(&again).device), (200, browser.device.clone()), "{}", again.body);
    assert_eq!(log_in(&networks, HOME, &second, PASSWORD, &other.device).await.body["code"], "rate_limited");
    // What is no device of the account stays none.
    moves(&Browser::of(&again).session, &other.device, &third).await;
    for device in [&other.device, &browser.device] {
        assert_eq!(log_in(&networks, HOME, &third, PASSWORD, device).await.body["code"], "rate_limited");
    }
}

/// In two tabs: while one confirms the address, the other ends the other sessions, which gives the log-in record another version.
#[tokio::test]
async fn the_device_that_confirms_stays_known_while_its_session_ends_the_others() {
    let networks = Networks::new().await;
    let (_, browser) = account(&networks).await;
    let database = FaultyDatabase::before(&networks.system.database_url()).await;
    let slow = database.system().await;
    let both = format!("{}; {}", browser.session, browser.device);
    let headers = [("cookie", both.as_str()), ("origin", "http://localhost:5173")];
    let to = unique_email();
    let asked = networks.send("PUT", HOME, "/me/email", json!({"email": to}), &headers).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    deliver_account_mail(&networks).await;
    let code = json!({"code": code_of(&Letters::of_system(&networks.system).newest_to(&to))});
    database.inject("TransactWriteItems", Fault::Hold);
    let late = Api::at(slow.url());
    let confirm = late.request(Method::POST, "/auth/verify-email").header("cookie", both.as_str());
    let confirm = confirm.header("origin", "http://localhost:5173").json(&code);
    let end_others = async {
        database.holds("TransactWriteItems").await;
        assert_eq!(networks.send("DELETE", HOME, "/me/sessions", Value::Null, &headers).await.status, 204);
        database.release("TransactWriteItems");
    };
    let (moved, ()) = tokio::join!(api::send(confirm), end_others);
    assert_eq!((moved.status, moved.body["email"].as_str()), (200, Some(to.as_str())), "{}", moved.text);
    join_all((0..12).map(|_| networks.guess(HOME, "nobody@example.com", WRONG))).await;
    assert_eq!(log_in(&networks, HOME, &to, PASSWORD, &browser.device).await.status, 200);
}

/// Whatever others have guessed from its network, and whoever has its session elsewhere.
#[tokio::test]
async fn a_known_device_has_ten_codes_of_its_own() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let both = format!("{}; {}", browser.session, browser.device);
    let prove = async |proof: &Value, cookies: &str| {
        let headers = [("cookie", cookies), ("origin", "http://localhost:5173")];
        networks.post(HOME, "/auth/verify-email", proof.clone(), &headers).await
    };
    deliver_account_mail(&networks).await;
    for _ in 0..10 {
        assert_eq!(prove(&json!({"code": "0000-0000"}), &browser.session).await.status, 400);
    }
    let headers = [("cookie", browser.session.as_str()), ("origin", "http://localhost:5173")];
    assert_eq!(networks.post(HOME, "/auth/verify-email/resend", Value::Null, &headers).await.status, 202);
    deliver_account_mail(&networks).await;
    let code = json!({"code": code_of(&Letters::of_system(&networks.system).newest_to(&email))});
    is_closed(&prove(&code, &browser.session).await, 10, 15 * 60);
    // What the account does not know is no device of it.
    let (_, another) = account(&networks).await;
    is_closed(&prove(&code, &format!("{}; {}", browser.session, another.device)).await, 10, 15 * 60);
    let proven = prove(&code, &both).await;
    assert_eq!((proven.status, &proven.body["email_verified"]), (200, &json!(true)), "{}", proven.body);
    for _ in 0..10 {
        assert_eq!(prove(&code, &both).await.status, 400);
    }
    is_closed(&prove(&code, &both).await, 10, 15 * 60);
}

/// From however many networks its session comes.
#[tokio::test]
async fn a_hundred_wrong_codes_of_an_account_are_compared_in_an_hour() {
    let networks = Networks::new().await;
    let (_, browser) = account(&networks).await;
    let headers = [("cookie", browser.session.as_str()), ("origin", "http://localhost:5173")];
    let guess = async |number: usize| {
        let code = json!({"code": "0000-0000"});
        networks.post(&network(number), "/auth/verify-email", code, &headers).await
    };
    for number in 0..100 {
        assert_eq!(guess(number / 10).await.status, 400);
    }
    is_closed(&guess(10).await, 100, 60 * 60);
    networks.clock.jump(60 * MINUTE);
    assert_eq!(guess(10).await.status, 400);
}

/// A right password uses no guess up, also while it is compared: whoever comes eleventh waits for ten others.
#[tokio::test]
async fn right_passwords_at_once_are_all_taken() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let headers = [("cookie", browser.session.as_str()), ("origin", "http://localhost:5173")];
    let right =
        (0..20).map(|_| networks.post(ELSEWHERE, "/auth/reauthenticate", json!({"password": PASSWORD}), &headers));
    let statuses: Vec<u16> = join_all(right).await.iter().map(|reply| reply.status).collect();
    assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    // Many at once from a network that may fail more often.
    let networks = Networks::with([("FAILED_LOG_INS_PER_MINUTE", 100)]).await;
    let registered = networks.post(HOME, "/auth/register", registration(&email), &[]).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let replies = join_all((0..12).map(|_| networks.guess(HOME, &email, PASSWORD))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
}

/// Wrong ones are not waited for.
#[tokio::test]
async fn what_has_failed_is_not_waited_for() {
    let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let counted = database.system().await;
    let (owner, late) = (Api::of(&system).register().await, Api::at(counted.url()));
    let guess = async |password: &str| late.post(&owner, "/auth/reauthenticate", json!({"password": password})).await;
    for _ in 0..10 {
        guess(WRONG).await.is_problem(401, "wrong_credentials");
    }
    let before = database.calls("UpdateItem");
    guess(PASSWORD).await.is_problem(429, "too_many_attempts");
    assert_eq!(database.calls("UpdateItem") - before, 3, "one refuses it; of the other it is taken and given back");
}

/// What is under way from a network may yet turn out to be right. Where the limit of all is full of wrong ones, that helps nobody.
#[tokio::test]
async fn a_limit_full_of_wrong_ones_waits_for_no_other() {
    let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let counted = database.system().await;
    let store = counted.context().store();
    let email = Email::try_from(unique_email()).unwrap();
    let take = async |host: u8| {
        let network = IpAddr::from([198, 51, 100, host]).into();
        store.take_guess(Guessed::Password(&email), Guesser::Network(Some(network))).await
    };
    // The hour of all ends before the quarter of the network.
    take(100).await.unwrap();
    counted.clock().jump(59 * MINUTE);
    for _ in 0..10 {
        take(101).await.unwrap();
    }
    counted.clock().jump(MINUTE);
    for host in 0..100 {
        store.note_wrong(&take(host).await.unwrap()).await;
    }
    let before = database.calls("UpdateItem");
    assert!(matches!(take(101).await, Err(ApiError::TooManyAttempts { limit: 100, .. })));
    assert_eq!(database.calls("UpdateItem") - before, 2, "it is asked for once, of each");
}

/// Wherever a password is compared; the session of whoever guesses has no network's limit.
#[tokio::test]
async fn guesses_with_a_session_count_as_others_do() {
    let networks = Networks::new().await;
    let (email, browser) = account(&networks).await;
    let reauthenticate = async |from: &str, password: &str, cookies: &str| {
        let headers = [("cookie", cookies), ("origin", "http://localhost:5173")];
        networks.post(from, "/auth/reauthenticate", json!({"password": password}), &headers).await
    };
    for _ in 0..10 {
        assert_eq!(reauthenticate(ELSEWHERE, WRONG, &browser.session).await.status, 401);
    }
    is_closed(&reauthenticate(ELSEWHERE, PASSWORD, &browser.session).await, 10, 15 * 60);
    is_closed(&networks.guess(ELSEWHERE, &email, PASSWORD).await, 10, 15 * 60);
    let both = format!("{}; {}", browser.session, browser.device);
    assert_eq!(reauthenticate(ELSEWHERE, PASSWORD, &both).await.status, 204);
}

#[tokio::test]
async fn a_session_in_the_body_sets_no_cookie() {
    let networks = Networks::new().await;
    let email = unique_email();
    let registered = networks.post(HOME, "/auth/register", registration(&email), &[]).await;
    let entered = networks.guess(HOME, &email, PASSWORD).await;
    for reply in [registered, entered] {
        assert!(reply.body["token"].is_string() && !reply.headers.contains_key("set-cookie"), "{:?}", reply.headers);
    }
}
