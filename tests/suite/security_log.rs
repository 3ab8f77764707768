//! Each security event is one line, whatever the log level, and says who it was without an address.

use crate::api::{Actor, Api, PASSWORD, registration, send, unique_email};
use crate::canary::Logging;
use crate::faults::FaultyDatabase;
use crate::letters::{Letters, code_of, token_of};
use local::{Options, System, operator};
use reqwest::Method;
use reqwest::header::COOKIE;
use serde_json::{Value, json};
use shared::model::org::Plan;
use shared::security_log::SecurityEvent;
use shared::store::keys::Key;
use shared::telemetry::logs::{self, Crates};
use std::collections::BTreeSet;
use std::time::Duration;

/// A process with a whole system that logs errors only.
#[test]
#[ignore = "a role of the other test"]
fn quiet_process() {
    logs::init(tracing::Level::ERROR, Crates::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let system = System::start(Options::ephemeral()).await.unwrap();
        println!("MAILBOX {}", system.mailbox().display());
        println!("URL {}", system.url());
        loop {
            let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
            let Some(org) = line.await.unwrap().map(Result::unwrap).filter(|line| !line.is_empty()) else { break };
            operator::give_plan(system.context(), org.parse().unwrap(), Plan::Pro).await.unwrap();
        }
    });
}

/// The same, over a database in which an account's log-in record changes before each transaction, once its address is told.
#[test]
#[ignore = "a role of the other test"]
fn process_whose_log_in_records_change() {
    logs::init(tracing::Level::ERROR, Crates::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
        let database = FaultyDatabase::before(&origin.database_url()).await;
        let system = database.system().await;
        println!("URL {}", system.url());
        let mut email = String::new();
        std::io::stdin().read_line(&mut email).unwrap();
        database.keep_changing(Key::login(email.trim()));
        println!("CHANGING");
        std::io::stdin().read_line(&mut email).unwrap();
    });
}

/// Each event by its name. A new one does not compile before it stands here, and what stands here is to be seen in the log.
macro_rules! events {
    ($($variant:ident $name:literal),* $(,)?) => {
        const NAMES: &[&str] = &[$($name),*];

        fn name(event: &SecurityEvent<'_>) -> &'static str {
            match event { $(SecurityEvent::$variant { .. } => $name),* }
        }
    };
}

events! {
    Registered "registered",
    LoggedIn "logged_in",
    LoginFailed "login_failed",
    LoginLimitReached "login_limit_reached",
    RegistrationLimitReached "registration_limit_reached",
    AddressTaken "address_taken",
    Denied "denied",
    LoggedOut "logged_out",
    Reauthenticated "reauthenticated",
    EmailVerified "email_verified",
    CodeFailed "code_failed",
    CodeLimitReached "code_limit_reached",
    PasswordResetRequested "password_reset_requested",
    ResetLimitReached "reset_limit_reached",
    PasswordReset "password_reset",
    EmailChangeRequested "email_change_requested",
    EmailChanged "email_changed",
    EmailChangeUndone "email_change_undone",
    PasswordChanged "password_changed",
    SessionEnded "session_ended",
    OtherSessionsEnded "other_sessions_ended",
    Invited "member_invited",
    InvitationWithdrawn "invitation_withdrawn",
    MemberAdded "member_added",
    RoleChanged "role_changed",
    MemberRemoved "member_removed",
    SettingsChanged "settings_changed",
    PlanChanged "plan_changed",
}

/// What a line is to say of a session's user.
fn by(actor: &Actor, event: &str) -> Value {
    json!({"event": event, "user_id": actor.user_id, "org_id": actor.org_id})
}

/// The same, of what is done to a member.
fn to(actor: &Actor, event: &str, member: &Actor, more: Value) -> Value {
    let mut line = by(actor, event);
    line["member_id"] = json!(member.user_id);
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line
}

/// Does all that is an event, and some that is none. Returns what each line is to say, in order.
async fn do_everything(api: &Api, letters: &Letters) -> (Vec<Actor>, Vec<Value>) {
    let (owner, user) = (api.register_as_everybody().await, api.register_as_everybody().await);
    for new in [&owner, &user] {
        let code = code_of(&arrived(letters, &new.email, "#citv_").await);
        assert_eq!(api.post(new, "/auth/verify-email", json!({"code": code})).await.status, 200);
    }
    let invitations = format!("/orgs/{}/invitations", owner.org_id);
    let invite = async |email: &str| {
        let invited = api.post(&owner, &invitations, json!({"email": email, "role": "member"})).await;
        assert_eq!(invited.status, 201, "{}", invited.text);
        invited.body["id"].as_str().unwrap().to_owned()
    };
    let withdrawn = format!("{invitations}/{}", invite("grace@example.com").await);
    assert_eq!(api.delete(&owner, &withdrawn).await.status, 204);
    invite(&user.email).await;
    let token = token_of(&arrived(letters, &user.email, "#citi_").await);
    assert_eq!(api.post(&user, "/invitations/accept", json!({"token": token})).await.status, 200);
    let path = format!("/orgs/{}/members/{}", owner.org_id, user.user_id);
    let change = async |role: &str| api.put(&owner, &path, json!({"role": role})).await.status;
    assert_eq!((change("admin").await, change("admin").await), (200, 200));
    let member = Actor::of(&api.login(&user.email, Some(&owner.org_id)).await.body, &user.email);
    api.login(&user.email, Some(&api.item(&owner).await)).await.is_problem(422, "validation_failed");
    let settings = format!("/orgs/{}/settings", owner.org_id);
    assert_eq!(api.put(&member, &settings, json!({"settings": {}})).await.status, 200);
    assert_eq!(api.call(Some(&user), Method::POST, "/auth/logout", None).await.status, 204);
    // By the session that it had, in the organization that it is in now.
    let there = Actor { org_id: owner.org_id.clone(), ..user.clone() };
    let invited = |event: &str| {
        let mut line = by(&owner, event);
        line["role"] = json!("member");
        line
    };
    let mut expected = vec![
        by(&owner, "registered"),
        by(&user, "registered"),
        by(&owner, "email_verified"),
        by(&user, "email_verified"),
        invited("member_invited"),
        invited("invitation_withdrawn"),
        invited("member_invited"),
        to(&there, "member_added", &user, json!({"role": "member"})),
        to(&owner, "role_changed", &user, json!({"role_before": "member", "role": "admin"})),
        by(&member, "logged_in"),
        by(&member, "settings_changed"),
        by(&user, "logged_out"),
    ];
    expected[10]["version"] = json!(2);
    // Elsewhere: ten of a network's log-ins fail.
    let (stranger, another) = (api.elsewhere(), api.elsewhere());
    let guess = async |api: &Api, email: &str| {
        let wrong = json!({"email": email, "password": "a wrong one"});
        api.call(None, Method::POST, "/auth/login", Some(wrong)).await.status
    };
    assert_eq!(guess(&another, "nobody@example.com").await, 401);
    expected.push(json!({"event": "login_failed"}));
    for _ in 0..10 {
        assert_eq!(guess(&stranger, &member.email).await, 401);
        expected.push(json!({"event": "login_failed", "user_id": member.user_id}));
    }
    assert_eq!(stranger.login(&member.email, None).await.status, 429);
    expected.push(json!({"event": "login_limit_reached"}));
    let other = api.join(&owner, "member").await;
    let mut refusals = Vec::new();
    try_what_is_forbidden(api, &owner, &other, &mut refusals).await;
    for (actor, member) in [(&other, &other), (&owner, &member)] {
        let path = format!("/orgs/{}/members/{}", owner.org_id, member.user_id);
        assert_eq!(api.delete(actor, &path).await.status, 204);
    }
    expected.push(by(&other, "logged_in"));
    expected.extend(refusals);
    expected.push(to(&other, "member_removed", &other, json!({"role_before": "member"})));
    expected.push(to(&owner, "member_removed", &member, json!({"role_before": "admin"})));
    change_the_own_account(api, &owner, letters, &mut expected).await;
    let guesser = register_too_often(api, &mut expected).await;
    guess_codes(api, &guesser, &mut expected).await;
    forget_too_often(api, &mut expected).await;
    (vec![owner, user, member, other], expected)
}

/// Whoever is refused what it may not do, whatever refuses it.
async fn try_what_is_forbidden(api: &Api, owner: &Actor, member: &Actor, expected: &mut Vec<Value>) {
    let denied = |actor: &Actor, code: &str| {
        let mut line = by(actor, "denied");
        line["code"] = json!(code);
        line
    };
    let settings = format!("/orgs/{}/settings", owner.org_id);
    api.put(member, &settings, json!({"settings": {}})).await.is_problem(403, "forbidden_role");
    expected.push(denied(member, "forbidden_role"));
    let elsewhere = format!("/orgs/org_{}/plan", "0".repeat(31) + "1");
    api.get(member, &elsewhere).await.is_problem(404, "not_found");
    expected.push(denied(member, "foreign_organization"));
    api.get(member, "/orgs/acme/plan").await.is_problem(404, "not_found");
    let letter = json!({"to": "stranger@example.com", "subject": "s", "text": "t"});
    api.post(owner, "/send-email", letter).await.is_problem(403, "plan_forbids");
    expected.push(denied(owner, "plan_forbids"));
    let cookie = api.request(Method::PATCH, "/me").header(COOKIE, format!("__Host-session={}", owner.token));
    send(cookie.json(&json!({"name": "Eve"}))).await.is_problem(403, "forbidden_origin");
    expected.push(json!({"event": "denied", "code": "forbidden_origin"}));
}

/// What a user does with its own account and sessions.
async fn change_the_own_account(api: &Api, owner: &Actor, letters: &Letters, expected: &mut Vec<Value>) {
    assert_eq!(api.post(owner, "/auth/reauthenticate", json!({"password": PASSWORD})).await.status, 204);
    expected.push(by(owner, "reauthenticated"));
    let another = api.another_session(owner).await;
    assert_eq!(api.delete(owner, &format!("/me/sessions/{another}")).await.status, 204);
    expected.extend([by(owner, "logged_in"), by(owner, "session_ended")]);
    assert_eq!(api.delete(owner, "/me/sessions").await.status, 204);
    expected.push(by(owner, "other_sessions_ended"));
    let change = json!({"current": PASSWORD, "password": "another horse battery"});
    assert_eq!(api.put(owner, "/me/password", change).await.status, 204);
    expected.push(by(owner, "password_changed"));
    let forgotten = json!({"email": owner.email});
    assert_eq!(api.call(None, Method::POST, "/auth/forgot-password", Some(forgotten)).await.status, 202);
    expected.push(json!({"event": "password_reset_requested"}));
    let token = token_of(&arrived(letters, &owner.email, "#citr_").await);
    let link = json!({"token": token, "password": "another horse battery, again"});
    let reset = api.call(None, Method::POST, "/auth/reset-password", Some(link)).await;
    assert_eq!(reset.status, 200, "{}", reset.text);
    expected.push(by(owner, "password_reset"));
    let (renewed, to) = (Actor::of(&reset.body, &owner.email), unique_email());
    assert_eq!(api.put(&renewed, "/me/email", json!({"email": to})).await.status, 202);
    let code = code_of(&arrived(letters, &to, "#citc_").await);
    assert_eq!(api.post(&renewed, "/auth/verify-email", json!({"code": code})).await.status, 200);
    let token = token_of(&arrived(letters, &owner.email, "#citu_").await);
    let link = json!({"token": token, "password": "another horse battery, undone"});
    assert_eq!(api.call(None, Method::POST, "/auth/reset-password", Some(link)).await.status, 200);
    expected.extend(["email_change_requested", "email_changed", "email_change_undone"].map(|event| by(owner, event)));
}

/// The newest mail to an address, once it has this in it.
async fn arrived(letters: &Letters, email: &str, part: &str) -> String {
    for _ in 0..300 {
        if letters.is_there(email) && letters.newest_to(email).contains(part) {
            return letters.newest_to(email);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no mail with {part} comes");
}

/// More registrations than a network may make in a minute, one of them with an address that is taken. Returns the first who registered.
async fn register_too_often(api: &Api, expected: &mut Vec<Value>) -> Actor {
    let crowd = api.elsewhere();
    let register =
        async |email: &str| crowd.call(None, Method::POST, "/auth/register", Some(registration(email))).await;
    let email = unique_email();
    let first = register(&email).await;
    expected.push(json!({"event": "registered", "user_id": first.body["user"]["id"]}));
    for _ in 0..3 {
        let registered = register(&unique_email()).await;
        expected.push(json!({"event": "registered", "user_id": registered.body["user"]["id"]}));
    }
    register(&email).await.is_problem(409, "email_taken");
    expected.push(json!({"event": "address_taken"}));
    register(&unique_email()).await.is_problem(429, "rate_limited");
    expected.push(json!({"event": "registration_limit_reached"}));
    Actor::of(&first.body, &email)
}

/// Wrong codes of a session, and one more than are compared.
async fn guess_codes(api: &Api, guesser: &Actor, expected: &mut Vec<Value>) {
    let guess = async || api.post(guesser, "/auth/verify-email", json!({"code": "0000-0000"})).await;
    for _ in 0..10 {
        guess().await.is_problem(400, "invalid_link");
        expected.push(by(guesser, "code_failed"));
    }
    guess().await.is_problem(429, "too_many_attempts");
    expected.push(by(guesser, "code_limit_reached"));
}

/// More links to change a password than are sent for a network in a day.
async fn forget_too_often(api: &Api, expected: &mut Vec<Value>) {
    let crowd = api.elsewhere();
    let forget = async || {
        let forgotten = Some(json!({"email": "nobody@example.com"}));
        crowd.call(None, Method::POST, "/auth/forgot-password", forgotten).await
    };
    for _ in 0..20 {
        assert_eq!(forget().await.status, 202);
        expected.push(json!({"event": "password_reset_requested"}));
    }
    forget().await.is_problem(429, "rate_limited");
    expected.push(json!({"event": "reset_limit_reached"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_one_line_with_ids_and_without_addresses() {
    let mut logging = Logging::start("security_log::quiet_process");
    let letters = Letters::at(logging.wait_for("MAILBOX ").into());
    let api = Api::of_running(logging.wait_for("URL ")).await;
    let (actors, expected) = do_everything(&api, &letters).await;
    logging.tell(&actors[0].org_id);
    let given = logging.wait_for(r#""event":"plan_changed""#);
    for part in [&actors[0].org_id, r#""plan":"pro""#, r#""version":2"#, r#""target":"security""#] {
        assert!(given.contains(part), "{part}: {given}");
    }
    let seen: BTreeSet<&str> = expected.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let all: BTreeSet<&str> = NAMES.iter().copied().filter(|name| *name != "plan_changed").collect();
    assert_eq!(seen, all);
    let _each: fn(&SecurityEvent<'_>) -> &'static str = name;
    logging.go_on();
    let lines = logging.end();

    let lines: Vec<&String> = lines.iter().filter(|line| line.starts_with('{')).collect();
    let tokens = actors.iter().flat_map(|actor| [actor.token.as_str(), actor.email.as_str()]);
    let secrets: Vec<&str> =
        tokens.chain([PASSWORD, "a wrong one", "another horse", "\"127.", "example.com", "Ada"]).collect();
    for line in &lines {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
    let mut lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Where this machine is busy, a library says at `ERROR` that one of the workers behind came too late.
    lines.retain(|line| line["target"] == "security");
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        let fields = ["event", "user_id", "org_id", "member_id", "role_before", "role", "version", "code"];
        for field in fields.iter().filter(|field| **field != "org_id" || expected["event"] != "registered") {
            assert_eq!(line[field], expected[field], "{field}: {line}");
        }
        assert_eq!((&line["target"], &line["level"]), (&json!("security"), &json!("INFO")), "{line}");
        assert!(line["request_id"].is_string() && line["function"].is_string(), "{line}");
        let event = line["event"].as_str().unwrap();
        // Nobody's session.
        let failed = event.starts_with("login_")
            || event.starts_with("password_reset_")
            || ["registration_limit_reached", "reset_limit_reached", "address_taken"].contains(&event)
            || line["code"] == "forbidden_origin";
        assert_eq!(line["session_id"].as_str().is_some_and(|id| id.starts_with("ses_")), !failed, "{line}");
        assert_eq!(line["org_id"].as_str().is_some_and(|id| id.starts_with("org_")), !failed, "{line}");
        let with_email = failed && event != "denied"
            || ["registered", "logged_in", "member_invited", "invitation_withdrawn"]
                .iter()
                .any(|event| line["event"] == *event);
        assert_eq!(line["email_hash"].as_str().map(str::len), with_email.then_some(22), "{line}");
        assert_eq!(line["source_hash"].as_str().map(str::len), Some(22), "{line}");
        // What was done by a session came from one address.
        if !failed && line["event"] != "registered" {
            assert_eq!(line["source_hash"], lines[2]["source_hash"], "{line}");
        }
    }
    let of = |event: &str| lines.iter().filter(move |line| line["event"] == event).collect::<Vec<_>>();
    // Who registered is who logged in and whose account was closed, and nobody else.
    let user = &of("registered")[1]["email_hash"];
    assert_eq!((user, user), (&of("logged_in")[0]["email_hash"], &of("login_limit_reached")[0]["email_hash"]));
    assert!(of("login_failed")[1..].iter().all(|line| line["email_hash"] == *user));
    assert!(of("login_failed")[0]["email_hash"] != *user && of("registered")[0]["email_hash"] != *user);
    // A session is followed from its beginning to its end.
    assert_eq!(of("logged_out")[0]["session_id"], of("registered")[1]["session_id"]);
    assert_eq!(of("settings_changed")[0]["session_id"], of("logged_in")[0]["session_id"]);
}

/// A right password is answered as a wrong one where the log-in record changes before it is used, and stands in the log as one. A change of the
/// password looks at the record again, until it is changed too often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_record_that_changes_meanwhile_is_a_failed_log_in() {
    let mut logging = Logging::start("security_log::process_whose_log_in_records_change");
    let api = Api::at(logging.wait_for("URL "));
    let user = api.register_as_everybody().await;
    logging.tell(&user.email);
    logging.wait_for("CHANGING");
    api.post(&user, "/auth/reauthenticate", json!({"password": PASSWORD})).await.is_problem(401, "wrong_credentials");
    let change = json!({"current": PASSWORD, "password": "another horse battery"});
    api.put(&user, "/me/password", change).await.is_problem(409, "concurrent_change");
    logging.go_on();
    let lines = logging.end();
    let is_failed = |line: &&String| line.contains(r#""event":"login_failed""#) && line.contains(&user.user_id);
    assert_eq!(lines.iter().filter(is_failed).count(), 1, "{lines:#?}");
}
