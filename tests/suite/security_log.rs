//! Each security event is one line, whatever the log level, and says who it was without an address.

use crate::api::{Actor, Api, PASSWORD};
use crate::canary::Logging;
use local::{Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::telemetry::logs::{self, Crates};

/// A process with a whole system that logs errors only.
#[test]
#[ignore = "a role of the other test"]
fn quiet_process() {
    logs::init(tracing::Level::ERROR, Crates::default(), std::io::stdout);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
        println!("URL {}", system.url());
        let line = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        line.await.unwrap().unwrap();
    });
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
async fn do_everything(api: &Api) -> (Vec<Actor>, Vec<Value>) {
    let owner = api.register().await;
    let user = api.register().await;
    let path = format!("/orgs/{}/members/{}", owner.org_id, user.user_id);
    let change = async |role: &str| api.put(&owner, &path, json!({"role": role})).await.status;
    assert_eq!((change("member").await, change("admin").await, change("admin").await), (201, 200, 200));
    let member = Actor::of(&api.login(&user.email, Some(&owner.org_id)).await.body, &user.email);
    api.login(&user.email, Some(&api.item(&owner).await)).await.is_problem(422, "validation_failed");
    let settings = format!("/orgs/{}/settings", owner.org_id);
    assert_eq!(api.put(&member, &settings, json!({"settings": {}})).await.status, 200);
    assert_eq!(api.call(Some(&user), Method::POST, "/auth/logout", None).await.status, 204);
    let mut expected = vec![
        by(&owner, "registered"),
        by(&user, "registered"),
        to(&owner, "member_added", &user, json!({"role": "member"})),
        to(&owner, "role_changed", &user, json!({"role_before": "member", "role": "admin"})),
        by(&member, "logged_in"),
        by(&member, "settings_changed"),
        by(&user, "logged_out"),
    ];
    expected[5]["version"] = json!(2);
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
    for (actor, member) in [(&other, &other), (&owner, &member)] {
        let path = format!("/orgs/{}/members/{}", owner.org_id, member.user_id);
        assert_eq!(api.delete(actor, &path).await.status, 204);
    }
    let registered = Actor { org_id: String::new(), ..other.clone() };
    expected.push(json!({"event": "registered", "user_id": registered.user_id}));
    expected.push(to(&owner, "member_added", &other, json!({"role": "member"})));
    expected.push(by(&other, "logged_in"));
    expected.push(to(&other, "member_removed", &other, json!({"role_before": "member"})));
    expected.push(to(&owner, "member_removed", &member, json!({"role_before": "admin"})));
    (vec![owner, user, member, other], expected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_one_line_with_ids_and_without_addresses() {
    let mut logging = Logging::start("security_log::quiet_process");
    let api = Api::at(logging.wait_for("URL "));
    let (actors, expected) = do_everything(&api).await;
    logging.go_on();
    let lines = logging.end();

    let lines: Vec<&String> = lines.iter().filter(|line| line.starts_with('{')).collect();
    let tokens = actors.iter().flat_map(|actor| [actor.token.as_str(), actor.email.as_str()]);
    let secrets: Vec<&str> = tokens.chain([PASSWORD, "a wrong one", "\"127.", "example.com", "Ada"]).collect();
    for line in &lines {
        assert!(!secrets.iter().any(|secret| line.contains(secret)), "{line}");
    }
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(&expected) {
        let fields = ["event", "user_id", "org_id", "member_id", "role_before", "role", "version"];
        for field in fields.iter().filter(|field| **field != "org_id" || expected["event"] != "registered") {
            assert_eq!(line[field], expected[field], "{field}: {line}");
        }
        assert_eq!((&line["target"], &line["level"]), (&json!("security"), &json!("INFO")), "{line}");
        assert!(line["request_id"].is_string() && line["function"].is_string(), "{line}");
        let failed = line["event"].as_str().unwrap().starts_with("login_");
        assert_eq!(line["session_id"].as_str().is_some_and(|id| id.starts_with("ses_")), !failed, "{line}");
        assert_eq!(line["org_id"].as_str().is_some_and(|id| id.starts_with("org_")), !failed, "{line}");
        let with_email = failed || ["registered", "logged_in"].iter().any(|event| line["event"] == *event);
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
