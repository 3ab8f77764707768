//! The invariant that no write on the request path meets another caller's record unless docs/architecture.md lists it: two callers
//! of one organization ask each writing endpoint for things of their own, in a world that notes which records they write.

use crate::api::{Actor, Api, PASSWORD, registration, unique_email};
use crate::letters::{Letters, code_in, token_in};
use local::like_aws::record::RecordKey;
use local::like_aws::{Lambda, Ledger, LikeAws, Transactions};
use local::{Clock, Options, System, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::org::Plan;
use shared::store::items::SPREAD_BY_OPERATOR_AFTER;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

/// The partitions that were written to, each with its kind. Numbered ones are one: which of them it is is chance, and they share a bound.
fn partitions(written: &BTreeSet<RecordKey>) -> BTreeMap<String, String> {
    let partition = |key: &RecordKey| {
        let is_number = |end: &str| end.len() <= 3 && end.bytes().all(|one| one.is_ascii_digit());
        let numbered = key.pk.rsplit_once('#').filter(|(_, end)| is_number(end));
        let kind = key.kind().split_once(" / ").unwrap().0.to_owned();
        (numbered.map_or_else(|| key.pk.clone(), |(whole, _)| format!("{whole}#*")), kind)
    };
    written.iter().map(partition).collect()
}

/// A caller, and what is asked.
struct Caller<'a> {
    api: &'a Api,
    letters: Letters,
    asked: &'a Mutex<BTreeSet<(Method, String)>>,
}

impl Caller<'_> {
    /// Asks for what must be done.
    async fn done(&self, actor: Option<&Actor>, method: Method, path: &str, body: Option<Value>) -> Value {
        self.done_at(self.api, actor, method, path, body).await
    }

    /// The same from an address of its own: of what needs no session, one address may ask little.
    async fn done_elsewhere(&self, method: Method, path: &str, body: Value) -> Value {
        self.done_at(&self.api.elsewhere(), None, method, path, Some(body)).await
    }

    async fn done_at(
        &self,
        api: &Api,
        actor: Option<&Actor>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Value {
        let reply = api.call(actor, method.clone(), path, body).await;
        assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text);
        self.asked.lock().unwrap().insert((method, path.to_owned()));
        reply.body
    }

    /// What `of` finds in the newest mail to an address that has such a thing, once there is one.
    async fn mailed(&self, email: &str, of: fn(&str) -> Option<String>) -> String {
        for _ in 0..600 {
            if let Some(found) = self.letters.all_to(email).iter().rev().find_map(|text| of(text)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no such mail to {email}");
    }

    /// What a member of `owner`'s organization writes.
    async fn in_the_organization(&self, owner: &Actor) {
        let (api, actor) = (self.api, &self.api.join(owner, "admin").await);
        let done = async |method, path: &str, body| self.done(Some(actor), method, path, body).await;
        done(Method::PATCH, "/me", Some(json!({"name": "Grace"}))).await;
        let item = done(Method::POST, "/items", Some(json!({"name": "thing"}))).await;
        let item = format!("/items/{}", item["id"].as_str().unwrap());
        let batch = json!({"items": [{"name": "one"}, {"name": "two"}]});
        done(Method::POST, "/items", Some(batch)).await;
        done(Method::PATCH, &item, Some(json!({"name": "other"}))).await;
        done(Method::DELETE, &item, None).await;
        let settings = json!({"settings": {"timezone": "Europe/Vienna"}});
        done(Method::PUT, &format!("/orgs/{}/settings", owner.org_id), Some(settings)).await;
        self.jobs(actor).await;
        let member = api.join(owner, "member").await;
        let path = format!("/orgs/{}/members/{}", owner.org_id, member.user_id);
        done(Method::PUT, &path, Some(json!({"role": "admin"}))).await;
        done(Method::DELETE, &path, None).await;
        let invitations = format!("/orgs/{}/invitations", owner.org_id);
        let withdrawn = json!({"email": unique_email(), "role": "member"});
        let withdrawn = done(Method::POST, &invitations, Some(withdrawn)).await;
        done(Method::DELETE, &format!("{invitations}/{}", withdrawn["id"].as_str().unwrap()), None).await;
        let invited = api.register().await;
        done(Method::POST, &invitations, Some(json!({"email": invited.email, "role": "member"}))).await;
        let token = json!({"token": self.mailed(&invited.email, token_in).await});
        self.done(Some(&invited), Method::POST, "/invitations/accept", Some(token)).await;
        done(Method::POST, "/auth/logout", None).await;
    }

    async fn jobs(&self, actor: &Actor) {
        let done = async |path: &str, body| self.done(Some(actor), Method::POST, path, body).await;
        done("/analyze", Some(json!({"text": "A good text."}))).await;
        let waits = self.api.request(Method::POST, "/analyze").bearer_auth(&actor.token).header("Prefer", "wait=5");
        let waited = crate::api::send(waits.json(&json!({"text": "A better text."}))).await;
        assert!(matches!(waited.status, 200 | 202), "{}", waited.text);
        done("/send-email", Some(json!({"to": [actor.email], "subject": "Hello", "text": "A line."}))).await;
        let failing = json!({"to": LISTED, "subject": "Hello", "text": "A line."});
        let failing = done("/send-email", Some(failing)).await;
        let failing = failing["job_id"].as_str().unwrap();
        assert_eq!(self.api.ended(actor, failing).await["state"], "failed");
        done(&format!("/jobs/{failing}/retry"), None).await;
        let cancelled = done("/analyze", Some(json!({"text": "A good text."}))).await;
        let cancel = format!("/jobs/{}/cancel", cancelled["id"].as_str().unwrap());
        // It may have ended meanwhile.
        assert!(self.api.call(Some(actor), Method::POST, &cancel, None).await.status < 500);
        self.asked.lock().unwrap().insert((Method::POST, cancel));
    }

    /// What somebody writes of an account of their own.
    async fn of_an_account(&self) {
        let (email, other) = (unique_email(), unique_email());
        let registered = self.done_elsewhere(Method::POST, "/auth/register", registration(&email)).await;
        let user = &Actor::of(&registered, &email);
        let sent = json!({"code": self.mailed(&email, code_in).await});
        self.done(Some(user), Method::POST, "/auth/verify-email", Some(sent)).await;
        self.done(Some(user), Method::POST, "/auth/verify-email/resend", None).await;
        self.done(Some(user), Method::POST, "/auth/reauthenticate", Some(json!({"password": PASSWORD}))).await;
        let change = json!({"current": PASSWORD, "password": PASSWORD});
        self.done(Some(user), Method::PUT, "/me/password", Some(change)).await;
        self.done(Some(user), Method::PUT, "/me/email", Some(json!({"email": other}))).await;
        let sent = json!({"code": self.mailed(&other, code_in).await});
        self.done(Some(user), Method::POST, "/auth/verify-email", Some(sent)).await;
        self.done_elsewhere(Method::POST, "/auth/forgot-password", json!({"email": other})).await;
        let chosen = json!({"token": self.mailed(&other, reset_in).await, "password": PASSWORD});
        let reset = self.done_elsewhere(Method::POST, "/auth/reset-password", chosen).await;
        let user = &Actor::of(&reset, &other);
        let ended = self.api.another_session(user).await;
        self.done(Some(user), Method::DELETE, &format!("/me/sessions/{ended}"), None).await;
        self.done(Some(user), Method::DELETE, "/me/sessions", None).await;
        self.done_elsewhere(Method::POST, "/auth/login", json!({"email": other, "password": PASSWORD})).await;
    }
}

/// The token of a link to another password.
fn reset_in(text: &str) -> Option<String> {
    token_in(text).filter(|token| token.starts_with("citr_"))
}

/// Those of the document's operations that write and were asked of none of these paths.
fn not_asked(document: &Value, asked: &BTreeSet<(Method, String)>) -> Vec<String> {
    let is_of = |template: &str, path: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(wanted, is)| wanted.starts_with('{') || wanted == is)
    };
    let mut missing = Vec::new();
    for (template, operations) in document["paths"].as_object().unwrap() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let is_there = operations.get(method.as_str().to_lowercase()).is_some();
            if is_there && !asked.iter().any(|(of, path)| *of == method && is_of(template, path)) {
                missing.push(format!("{method} {template}"));
            }
        }
    }
    missing
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
    let asked = Mutex::new(BTreeSet::new());
    let caller = Caller { api: &api, letters: Letters::of_system(&system), asked: &asked };
    for _ in 0..2 {
        ledger.clear();
        caller.in_the_organization(&owner).await;
        caller.of_an_account().await;
        written.push(ledger.written());
    }
    let document = api.call(None, Method::GET, "/openapi.json", None).await.body;
    let missing = not_asked(&document, &asked.lock().unwrap());
    assert!(missing.is_empty(), "nobody asks for these here: {missing:?}");
    let met: Vec<&RecordKey> = written[0].intersection(&written[1]).collect();
    let listed = listed();
    let kinds: BTreeSet<String> = met.iter().filter(|key| !is_listed(&listed, key)).map(|key| key.kind()).collect();
    assert!(kinds.is_empty(), "two callers write or check these, and \"{HEADING}\" does not list them: {kinds:?}");
    // Records of their own in one partition share what that takes.
    let (first, second) = (partitions(&written[0]), partitions(&written[1]));
    let both = first.iter().filter(|(partition, _)| second.contains_key(*partition)).map(|(_, kind)| kind);
    let unlisted: BTreeSet<&String> = both.filter(|kind| !listed.iter().any(|(known, _)| known == *kind)).collect();
    assert!(unlisted.is_empty(), "two callers write to these partitions, and \"{HEADING}\" lists none: {unlisted:?}");
    // As long as there is one, so that the ledger is known to note.
    assert!(!met.is_empty() && !written[0].is_empty());
    let kinds: BTreeSet<String> = written.iter().flatten().map(RecordKey::kind).collect();
    let lanes = ["ROOM#*#* / *", "USAGE#*#* / *#*#*"].map(|kind| kinds.contains(kind));
    assert_eq!(lanes, [is_spread; 2], "{kinds:?}");
    system.shutdown().await;
}
