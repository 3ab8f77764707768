//! The invariant that no write on the request path meets another caller's record unless docs/architecture.md lists it: two callers
//! of one organization ask each writing endpoint for things of their own, in a world that notes which records they write.

use crate::api::{Actor, Api};
use local::like_aws::record::RecordKey;
use local::like_aws::{Lambda, Ledger, LikeAws, Transactions};
use local::{Clock, Options, System, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::org::Plan;
use shared::store::items::SPREAD_BY_OPERATOR_AFTER;
use std::collections::BTreeSet;
use std::sync::Arc;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/architecture.md");
const HEADING: &str = "## Records that callers share";
/// An address that nobody may write to: a job that does fails.
const LISTED: &str = "listed@example.com";

/// The kinds that the document lists: a partition key's, and a sort key's where one is named, as [`RecordKey::kind`] says them.
fn listed() -> Vec<(String, Option<String>)> {
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let section = text.split_once(HEADING).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let rows = rows.filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let mut names = cells[1].split('`').skip(1).step_by(2).map(kind);
        let pk = names.next()?;
        assert!(cells[3].contains(|one: char| one.is_ascii_digit()), "{line}: its bound a second is missing");
        Some((pk, names.next()))
    });
    rows.collect()
}

/// `ITEMS#<org>` as `ITEMS#*`.
fn kind(name: &str) -> String {
    let parts = name.split('#').map(|part| if part.starts_with('<') { "*" } else { part });
    parts.collect::<Vec<_>>().join("#")
}

fn is_listed(listed: &[(String, Option<String>)], key: &RecordKey) -> bool {
    let kind = key.kind();
    let (pk, sk) = kind.split_once(" / ").unwrap();
    listed.iter().any(|(known, of_it)| known == pk && of_it.as_deref().is_none_or(|known| known == sk))
}

/// Asks for what must be done.
async fn done(api: &Api, actor: &Actor, method: Method, path: &str, body: Option<Value>) -> Value {
    let reply = api.call(Some(actor), method.clone(), path, body).await;
    assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text);
    reply.body
}

/// What one caller asks for, beside being invited, registering and logging in.
async fn all_writes(api: &Api, owner: &Actor) {
    let actor = api.join(owner, "admin").await;
    let actor = &actor;
    done(api, actor, Method::PATCH, "/me", Some(json!({"name": "Grace"}))).await;
    let item = api.item(actor).await;
    let batch = json!({"items": [{"name": "one"}, {"name": "two"}]});
    done(api, actor, Method::POST, "/items", Some(batch)).await;
    done(api, actor, Method::PATCH, &format!("/items/{item}"), Some(json!({"name": "other"}))).await;
    done(api, actor, Method::DELETE, &format!("/items/{item}"), None).await;
    let analysis = done(api, actor, Method::POST, "/analyze", Some(json!({"text": "A good text."}))).await;
    let email = json!({"to": [actor.email], "subject": "Hello", "text": "A line."});
    done(api, actor, Method::POST, "/send-email", Some(email)).await;
    let job = format!("/jobs/{}/cancel", analysis["id"].as_str().unwrap());
    // It may have ended meanwhile.
    assert!(api.call(Some(actor), Method::POST, &job, None).await.status < 500);
    let email = json!({"to": LISTED, "subject": "Hello", "text": "A line."});
    let failing = done(api, actor, Method::POST, "/send-email", Some(email)).await;
    let failing = failing["job_id"].as_str().unwrap();
    assert_eq!(api.ended(actor, failing).await["state"], "failed");
    done(api, actor, Method::POST, &format!("/jobs/{failing}/retry"), None).await;
    let settings = json!({"settings": {"timezone": "Europe/Vienna"}});
    done(api, actor, Method::PUT, &format!("/orgs/{}/settings", owner.org_id), Some(settings)).await;
    let member = api.join(owner, "member").await;
    let path = format!("/orgs/{}/members/{}", owner.org_id, member.user_id);
    done(api, actor, Method::PUT, &path, Some(json!({"role": "admin"}))).await;
    done(api, owner, Method::DELETE, &path, None).await;
    done(api, actor, Method::POST, "/auth/logout", None).await;
}

#[tokio::test]
async fn callers_meet_on_no_record_that_is_not_listed() {
    Box::pin(callers_meet_on_listed_records(false)).await;
}

/// Nor where it is spread, and has lanes and copies.
#[tokio::test]
async fn callers_of_a_spread_organization_meet_on_no_record_that_is_not_listed() {
    Box::pin(callers_meet_on_listed_records(true)).await;
}

async fn callers_meet_on_listed_records(is_spread: bool) {
    let clock = Clock::of_tests();
    let ledger = Arc::new(Ledger::new(clock.clone()));
    let like_aws = LikeAws {
        transactions: Some(Transactions::default()),
        lambda: Some(Lambda { freezes: false, ..Lambda::default() }),
        ledger: Some(Arc::clone(&ledger)),
        ..LikeAws::nothing()
    };
    let options = Options { clock, like_aws: Some(like_aws), ..Options::ephemeral() };
    let system = System::start(options).await.unwrap();
    let api = Api::of(&system);
    let owner = api.register().await;
    operator::give_plan(system.context(), owner.org_id.parse().unwrap(), Plan::Enterprise).await.unwrap();
    operator::suppress(system.context(), &LISTED.to_owned().try_into().unwrap(), true).await.unwrap();
    if is_spread {
        operator::spread(system.context(), owner.org_id.parse().unwrap()).await.unwrap();
        system.clock().jump(SPREAD_BY_OPERATOR_AFTER);
    }
    let mut written: Vec<BTreeSet<RecordKey>> = Vec::new();
    for _ in 0..2 {
        ledger.clear();
        all_writes(&api, &owner).await;
        written.push(ledger.written());
    }
    let met: Vec<&RecordKey> = written[0].intersection(&written[1]).collect();
    let listed = listed();
    let kinds: BTreeSet<String> = met.iter().filter(|key| !is_listed(&listed, key)).map(|key| key.kind()).collect();
    assert!(kinds.is_empty(), "two callers write or check these, and \"{HEADING}\" does not list them: {kinds:?}");
    // As long as there is one, so that the ledger is known to note.
    assert!(!met.is_empty() && !written[0].is_empty());
    let kinds: BTreeSet<String> = written.iter().flatten().map(RecordKey::kind).collect();
    let lanes = ["ROOM#*#* / *", "USAGE#*#* / *#*#*"].map(|kind| kinds.contains(kind));
    assert_eq!(lanes, [is_spread; 2], "{kinds:?}");
    system.shutdown().await;
}
