//! Makes one of each record that the system can store: jobs in each state, keys with each thing that they keep.

use super::samples::{Samples, Table, repeat};
use crate::api::{Actor, registration, unique_email};
use crate::jobs::idempotency::key_of;
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::{MODEL, Rig};
use local::{Options, openapi, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::caps::Cap;
use shared::idempotency::{Begin, StoredReply};
use shared::ids::{ItemId, JobId, OrgId};
use shared::jobs::{JobMessage, settle_email};
use shared::model::analysis::Cost;
use shared::model::item::NewItem;
use shared::model::job::{BacklogPlace, Claim, EmailOutcome, JobRecord, Turn, UsageDelta, WaitingFor};
use shared::model::limiter::{Lease, LimiterRecord, Provider, Rate};
use shared::model::org::Plan;
use shared::model::price::Catalogue;
use shared::model::text::Email;
use shared::store::guesses::{Guessed, Guesser};
use shared::store::items::{BatchWork, SPREAD_BY_OPERATOR_AFTER};
use shared::store::jobs::{Advance, Change};
use shared::store::keys::Key;
use shared::store::suppression::Reason;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// What a request's key has begun has ended an hour later.
const WAIT: [(&str, &str); 2] = [("idempotency-key", "died"), ("prefer", "wait=20")];

/// A small catalogue: each form that a price has.
fn catalogue(as_of: &str) -> Value {
    let tiers = json!({"base": "3", "tiers": [{"above_tokens": 200_000, "price": "6"}]});
    json!({"as_of": as_of, "unit": "US dollars per million tokens", "models": [
        {"provider": "anthropic", "model": MODEL, "name": "Claude", "context_window": 200_000,
            "prices_usd_per_mtok": {"input_mtok": tiers, "output_mtok": "15"}},
        {"provider": "other", "model": "small", "name": null, "context_window": null,
            "prices_usd_per_mtok": {"input_mtok": "0.1"}}]})
}

struct Scenario {
    rig: Rig,
    providers: Providers,
    calls: Vec<Value>,
}

/// Runs it.
pub(super) async fn samples() -> Samples {
    let providers = Providers::start().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(catalogue("2026-10").to_string().as_bytes()).unwrap();
    let environment = providers.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let rig = Rig::start(Options { catalogue: file.path().to_owned(), environment, ..Options::ephemeral() }).await;
    let mut scenario = Scenario { rig, providers, calls: Vec::new() };
    let owners = scenario.make().await;
    let Scenario { rig, calls, .. } = scenario;
    let records = Table::at(&rig.system.database_url()).records().await.into_values().map(Value::Object).collect();
    let owners = owners.into_iter().map(|owner| owner.token).collect();
    Samples { made_at_ms: rig.system.clock().now_ms(), owners, records, calls }
}

impl Scenario {
    async fn make(&mut self) -> Vec<Actor> {
        let newer: Catalogue = serde_json::from_value(catalogue("2026-11")).unwrap();
        let store = self.rig.system.context().store();
        store.seed_catalogue(&newer).await.unwrap();
        let (owner, large, small) =
            (self.rig.owner("pro").await, self.rig.owner("enterprise").await, self.rig.api.register().await);
        operator::spread(self.rig.system.context(), large.org_id.parse().unwrap()).await.unwrap();
        self.rig.system.context().store().note_partitions_known().await.unwrap();
        self.rig.system.clock().jump(SPREAD_BY_OPERATOR_AFTER);
        let spread = self.rig.api.post(&large, "/items", json!({"name": "spread", "description": "d"})).await;
        assert_eq!(spread.status, 201, "{}", spread.text);
        self.rig.settings(&large, json!({"default_model": MODEL, "monthly_budget_usd": "25.00"})).await;
        self.traced(&large, "/analyze", &json!({"text": "A spread text."})).await;
        let long = json!({"text": "A long text. ".repeat(24_000), "model": "builtin"});
        self.rig.accepted(&large, "/analyze", long).await;
        self.rig.deliver_all().await;
        self.providers.will([Answer::Say("no".to_owned())]);
        self.rig.accepted(&large, "/analyze", json!({"text": "A text."})).await;
        self.rig.deliver_all().await;
        self.rig.api.join(&owner, "admin").await;
        let member = self.rig.api.join(&owner, "member").await;
        assert_eq!(self.rig.api.patch(&member, "/me", json!({"name": "Another Name"})).await.status, 200);
        let settings = json!({"default_model": MODEL, "email_recipients": "members", "timezone": "Europe/Vienna",
            "monthly_budget_usd": "25.00"});
        self.rig.settings(&owner, settings).await;
        // A browser, whose device is known.
        let mut browser = registration(&unique_email());
        browser["session"] = json!("cookie");
        let known = self.rig.api.call(None, Method::POST, "/auth/register", Some(browser)).await;
        assert_eq!(known.status, 201, "{}", known.text);
        let listed = ["bounced@example.com", "complained@example.com", "listed@example.com"];
        for (address, reason) in listed.into_iter().zip([Reason::Bounce, Reason::Complaint, Reason::Person]) {
            store.suppress(&Email::try_from(address.to_owned()).unwrap(), reason).await.unwrap();
        }
        let org = owner.org_id.parse().unwrap();
        let _used = store.take_of_cap(Cap::Emails, org, Some(Plan::Pro), 1).await.unwrap();
        let item = self.rig.api.item(&owner).await;
        let changed =
            self.rig.api.patch(&owner, &format!("/items/{item}"), json!({"description": "Two\nlines."})).await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        self.ended_jobs(&owner).await;
        self.keys(&owner).await;
        self.jobs_under_way(&owner, &large).await;
        self.dangling_entry(&owner).await;
        self.account_mail(&owner).await;
        self.ask_for_everything(&owner).await;
        self.locked_account().await;
        vec![owner, large, small]
    }

    /// One that succeeded for each kind and provider, one that failed, one cancelled, an e-mail of unknown outcome.
    async fn ended_jobs(&self, owner: &Actor) {
        let rig = &self.rig;
        let letter = json!({"to": owner.email, "subject": "Grüße", "text": "Two\nlines."});
        for (answer, path, body, state) in [
            (None, "/analyze", json!({"text": "A nice text.", "model": "builtin"}), "succeeded"),
            (None, "/analyze", json!({"text": "A text."}), "succeeded"),
            (None, "/send-email", letter.clone(), "succeeded"),
            (Some(Answer::Say("no".to_owned())), "/analyze", json!({"text": "A text."}), "failed"),
            (Some(Answer::Refuse(500, None)), "/send-email", letter, "unknown"),
        ] {
            self.providers.will(answer);
            let id = rig.accepted(owner, path, body).await;
            rig.deliver().await;
            assert_eq!(rig.job(owner, &id).await["state"], state, "{path}");
        }
        let id = rig.accepted(owner, "/analyze", json!({"text": "A text."})).await;
        assert_eq!(rig.api.post(owner, &format!("/jobs/{id}/cancel"), json!({})).await.status, 200);
        rig.deliver_all().await;
    }

    /// Keys that keep a reply of each form, and keys whose writers died.
    async fn keys(&mut self, owner: &Actor) {
        let letter = json!({"to": owner.email, "subject": "s", "text": "t"}).to_string();
        for (key, path, body) in [
            ("one", "/items", r#"{"name":"one"}"#),
            ("batch", "/items", r#"{"items":[{"name":"a"},{"name":"b","description":"d"}]}"#),
            ("analysis", "/analyze", r#"{"text":"a text"}"#),
            ("letter", "/send-email", &letter),
        ] {
            self.record(Some(owner), "POST", path, json!({"idempotency-key": key}), Some(body)).await;
        }
        let body = r#"{"text":"a text","model":"builtin"}"#;
        let waiting = json!({"idempotency-key": "waited", "prefer": "wait=20"});
        let delivering = async {
            while self.rig.visible() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.rig.deliver_all().await;
        };
        self.rig.deliver_all().await;
        let call = call_of(Some(owner), "POST", "/analyze", waiting, Some(body));
        let (waited, ()) = tokio::join!(repeat(&self.rig.api, &call), delivering);
        self.calls.push(answered(call, waited.status, waited.body));

        // One who waited for its analysis died.
        self.rig.post_to_the_dying(owner, "/analyze", &WAIT, body).await;
        let headers = json!({WAIT[0].0: WAIT[0].1, WAIT[1].0: WAIT[1].1});
        let call = call_of(Some(owner), "POST", "/analyze", headers, Some(body));
        self.expect_later(call, 200, json!({"job": {"state": "succeeded"}}));

        let (store, now) = (self.rig.system.context().store(), self.rig.system.context().now());
        let org: OrgId = owner.org_id.parse().unwrap();
        let record = store.org(org).await.unwrap().unwrap();

        // A reply that its key's record cannot hold.
        let body = r#"{"items":[{"name":"large"}]}"#;
        let json_type = ("content-type".to_owned(), "application/json".to_owned());
        let body_of_reply = json!({"created": [], "failed": []}).to_string() + &" ".repeat(300_000);
        let reply = StoredReply { status: 201, headers: vec![json_type], body: body_of_reply };
        let key = key_of("create-item", "large", body);
        let one = BatchWork::begun(vec![record.new_item_id(true, now)], now);
        let begun = store.begin_items(&record, &one, Some(&key.complete(reply, now.as_millis()))).await.unwrap();
        assert!(matches!(begun, Begin::First(())));
        let call = call_of(Some(owner), "POST", "/items", json!({"idempotency-key": "large"}), Some(body));
        self.calls.push(answered(call, 201, json!({})));

        // One who wrote a batch did, half-way.
        let body = r#"{"items":[{"name":"first"},{"name":"second"}]}"#;
        let ids: Vec<ItemId> = (0..2).map(|_| record.new_item_id(true, now)).collect();
        let work = BatchWork::begun(ids.clone(), now);
        let key = key_of("create-item", "half", body);
        let claim = key.begin(Some(work.note().unwrap()), Duration::ZERO, now.as_millis());
        let begun = store.begin_items(&record, &work, Some(&claim)).await.unwrap();
        assert!(matches!(begun, Begin::First(())));
        let first = NewItem { name: "first".parse().unwrap(), description: None };
        let written = store.write_items(org, &[first.into_record_of(org, ids[0], now)]).await;
        assert!(written.publish(self.rig.system.context().cache()).await.unwrap().absent.is_empty());
        let call = call_of(Some(owner), "POST", "/items", json!({"idempotency-key": "half"}), Some(body));
        self.expect_later(call, 201, json!({"created": [{"id": ids[0]}, {"id": ids[1]}], "failed": []}));

        // And one of a batch was deleted.
        let batch = self.rig.api.post(owner, "/items", json!({"items": [{"name": "deleted"}]})).await;
        let path = format!("/items/{}", batch.body["created"][0]["id"].as_str().unwrap());
        assert_eq!(self.rig.api.call(Some(owner), Method::DELETE, &path, None).await.status, 204);
    }

    /// Jobs that wait, that wait for another run, that run, and whose runs will have died.
    async fn jobs_under_way(&mut self, owner: &Actor, large: &Actor) {
        let rig = &self.rig;
        rig.deliver_all().await;
        self.providers.will([Answer::Refuse(529, None), Answer::Refuse(503, None)]);
        let retried = rig.accepted(owner, "/analyze", json!({"text": "Again."})).await;
        rig.deliver().await;
        let to_itself = json!({"to": large.email, "subject": "s", "text": "t"});
        let waits = rig.accepted(large, "/send-email", to_itself).await;
        rig.deliver().await;
        let job = JobMessage { org_id: large.org_id.parse().unwrap(), job_id: waits.parse().unwrap() };
        let thrown_away = EmailOutcome::ThrownAway { message_id: "ses-first".to_owned() };
        assert!(settle_email(rig.system.context(), job, &thrown_away).await.unwrap());
        let analysis = json!({"text": "A text."});
        let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
        let to_listed = json!({"to": "bounced@example.com", "subject": "s", "text": "t"});
        let running = rig.accepted(owner, "/analyze", analysis.clone()).await;
        self.claimed(owner, &running).await;
        let stopped = rig.accepted(owner, "/analyze", analysis.clone()).await;
        self.claimed(owner, &stopped).await;
        assert_eq!(rig.api.post(owner, &format!("/jobs/{stopped}/cancel"), json!({})).await.status, 202);
        let sending = rig.accepted(owner, "/send-email", letter.clone()).await;
        let job = self.claimed(owner, &sending).await;
        let store = rig.system.context().store();
        let advanced = store.advance_job(&job, &job.sending(), &UsageDelta::default(), None).await.unwrap();
        assert_eq!(advanced, Advance::Done);
        let spread = rig.accepted(large, "/analyze", analysis.clone()).await;
        self.claimed(large, &spread).await;
        let queued = self.traced(owner, "/analyze", &analysis).await;
        let letter = self.traced(owner, "/send-email", &letter).await;
        let refused = rig.accepted(large, "/send-email", to_listed).await;
        let in_turn = self.in_turn(owner, &analysis, Turn::Call).await;
        let in_turn_spread = self.in_turn(large, &analysis, Turn::Backlog).await;
        let owing = self.owing(owner, &analysis).await;
        self.provider_without_credit(owner).await;
        for (actor, id, state) in [
            (owner, owing, "succeeded"),
            (owner, in_turn, "succeeded"),
            (large, in_turn_spread, "succeeded"),
            (owner, retried, "succeeded"),
            (owner, running, "succeeded"),
            (owner, stopped, "cancelled"),
            (owner, sending, "unknown"),
            (owner, queued, "succeeded"),
            (owner, letter, "succeeded"),
            (large, spread, "succeeded"),
            (large, waits, "succeeded"),
            (large, refused, "failed"),
        ] {
            let call = call_of(Some(actor), "GET", &format!("/jobs/{id}"), json!({}), None);
            self.expect_later(call, 200, json!({"id": id, "state": state}));
        }
    }

    /// The id of a job whose last run the operator's cap left no room for another one, until in half a minute.
    async fn owing(&self, owner: &Actor, analysis: &Value) -> String {
        let id = self.rig.accepted(owner, "/analyze", analysis.clone()).await;
        let job = self.claimed(owner, &id).await;
        let (store, now) = (self.rig.system.context().store(), self.rig.system.context().now());
        let (waits, delta) = job.waits_for_cap(Cost::Nothing, now);
        let soon = Some(now.plus(Duration::from_secs(30)));
        let waits = JobRecord { not_before: soon, due_at: soon, ..waits };
        assert_eq!(store.advance_job(&job, &waits, &delta, None).await.unwrap(), Advance::Done);
        id
    }

    /// The id of a job whose turn comes in half a minute: it has a call of its own then, or stands in a backlog.
    async fn in_turn(&self, owner: &Actor, analysis: &Value, turn: Turn) -> String {
        let id = self.rig.accepted(owner, "/analyze", analysis.clone()).await;
        let now = self.rig.system.context().now();
        let why = WaitingFor::new("turn", "Others come before it.");
        let soon = now.plus(Duration::from_secs(30));
        let place = (turn == Turn::Backlog).then_some(BacklogPlace { turn: soon, interval_ms: 1_000 });
        let waits = |job: &JobRecord| {
            let waits = job.waits_for_turn(soon, turn, why.clone(), now).standing_at(place);
            Ok(Change::to((waits, UsageDelta::default()), ()))
        };
        let (org, job) = (owner.org_id.parse().unwrap(), id.parse().unwrap());
        self.rig.system.context().store().change_job(org, job, waits).await.unwrap();
        id
    }

    /// A provider whose rate is known and that has no credit, and jobs that wait for it.
    async fn provider_without_credit(&self, owner: &Actor) {
        let (store, now) = (self.rig.system.context().store(), self.rig.system.context().now());
        let (org, rate) = (owner.org_id.parse().unwrap(), Rate::of(60_000, Duration::from_secs(60)));
        let provider = Provider::of_model("small");
        let first = store.join_backlog(org, &provider, now, (rate, 1), None).await.unwrap();
        assert_eq!(first, None, "nobody is before it");
        store.note_rate(&provider, rate).await.unwrap();
        let lease = store.lease_call(&provider, rate, &mut LimiterRecord::default(), 1, None).await.unwrap();
        assert_eq!(lease, Lease::Now);
        store.empty_bucket(&provider, rate, now.plus(Duration::from_secs(30))).await.unwrap();
        let (account, known) = (Provider::AccountMail, &mut LimiterRecord::default());
        store.lease_call(&account, Rate::of(1, Duration::from_secs(1)), known, 1, None).await.unwrap();
        let why = WaitingFor::new("provider_billing", "No credit.");
        assert!(store.open_breaker(&provider, 1, now.plus(Duration::from_secs(30)), &why).await.unwrap());
    }

    /// The id of a job whose request was traced.
    async fn traced(&self, owner: &Actor, path: &str, body: &Value) -> String {
        let trace = [("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")];
        let reply = self.rig.post_with(owner, path, &trace, &body.to_string()).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let id = reply.body.get("job_id").or(reply.body.get("id")).unwrap();
        id.as_str().unwrap().to_owned()
    }

    /// A job that somebody runs.
    async fn claimed(&self, owner: &Actor, id: &str) -> JobRecord {
        let now = self.rig.system.context().now();
        let claim = |job: &JobRecord| {
            let Claim::Run(mine) = job.claim(now) else { panic!("{job:?}") };
            Ok(Change::to((*mine, UsageDelta::default()), ()))
        };
        let (org, id) = (owner.org_id.parse().unwrap(), id.parse().unwrap());
        self.rig.system.context().store().change_job(org, id, claim).await.unwrap().0
    }

    /// An entry of the index of what is due whose job is gone.
    async fn dangling_entry(&self, owner: &Actor) {
        let Key { pk, sk } = Key::due(1, JobId::new(), self.rig.system.context().now());
        let entry = json!({"pk": {"S": pk}, "sk": {"S": sk}, "org_id": {"S": owner.org_id}});
        Table::at(&self.rig.system.database_url()).put(&[entry]).await;
    }

    /// Each `GET` that answers from a record.
    async fn ask_for_everything(&mut self, owner: &Actor) {
        let ids = |list: &Value| -> Vec<String> {
            list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
        };
        let items = ids(&self.rig.api.get(owner, "/items").await.body);
        let jobs = ids(&self.rig.api.get(owner, "/jobs").await.body);
        let document: Value = serde_json::from_str(&openapi::document()).unwrap();
        for (path, operations) in document["paths"].as_object().unwrap() {
            if operations.get("get").is_none() || ["/docs", "/openapi.json", "/health"].contains(&path.as_str()) {
                continue;
            }
            let path = path.replace("{org_id}", &owner.org_id).replace("{user_id}", &owner.user_id);
            let paths: Vec<String> = if path.contains("{item_id}") {
                items.iter().map(|id| path.replace("{item_id}", id)).collect()
            } else if path.contains("{job_id}") {
                jobs.iter().map(|id| path.replace("{job_id}", id)).collect()
            } else {
                vec![path]
            };
            for path in paths {
                self.record(Some(owner), "GET", &path, json!({}), None).await;
            }
        }
        for list in ["/items", "/jobs"] {
            let page = self.rig.api.get(owner, &format!("{list}?limit=1")).await.body;
            let next = format!("{list}?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
            self.record(Some(owner), "GET", &next, json!({}), None).await;
        }
    }

    /// An account whose address is not proven, with mail that was sent, that is to be sent, and that came back.
    async fn account_mail(&self, owner: &Actor) {
        let invitation = json!({"email": unique_email(), "role": "admin"});
        let invited = self.rig.api.post(owner, &format!("/orgs/{}/invitations", owner.org_id), invitation).await;
        assert_eq!(invited.status, 201, "{}", invited.text);
        let stranger = self.rig.api.register_as_everybody().await;
        self.rig.deliver_account_mail().await;
        let again = self.rig.api.post(&stranger, "/auth/verify-email/resend", Value::Null).await;
        assert_eq!(again.status, 202, "{}", again.text);
        let wrong = self.rig.api.post(&stranger, "/auth/verify-email", json!({"code": "0000-0000"})).await;
        assert_eq!(wrong.status, 400, "{}", wrong.text);
        // One that has another address now, and is to have a third.
        let mover = self.rig.api.register().await;
        for confirmed in [true, false] {
            let to = unique_email();
            let asked = self.rig.api.put(&mover, "/me/email", json!({"email": to})).await;
            assert_eq!(asked.status, 202, "{}", asked.text);
            self.rig.deliver_account_mail().await;
            if confirmed {
                let letter = self.providers.emails().pop().unwrap().to_string();
                let token = letter.split_once("#citc_").unwrap().1.split("\\n").next().unwrap().to_owned();
                let proof = json!({"token": format!("citc_{token}")});
                let done = self.rig.api.post(&mover, "/auth/verify-email", proof).await;
                assert_eq!(done.status, 200, "{}", done.text);
            }
        }
        let forgotten = Some(json!({"email": stranger.email}));
        let asked = self.rig.api.call(None, Method::POST, "/auth/forgot-password", forgotten).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        self.rig.deliver_account_mail().await;
        self.rig.system.context().store().note_bounced_account_mail().await.unwrap();
    }

    /// An account at which all that may be guessed from unknown devices has been.
    async fn locked_account(&mut self) {
        let email = Email::try_from(unique_email()).unwrap();
        for network in 0..100 {
            let network = IpAddr::from([198, 51, 100, network]).into();
            let store = self.rig.system.context().store();
            let (of, from) = (Guessed::Password(&email), Guesser::Network(Some(network)));
            store.note_wrong(&store.take_guess(of, from).await.unwrap()).await;
        }
        let body = json!({"email": email, "password": "a wrong password"}).to_string();
        let call = call_of(None, "POST", "/auth/login", json!({}), Some(&body));
        let reply = repeat(&self.rig.api, &call).await;
        reply.is_problem(429, "too_many_attempts");
        self.calls.push(answered(call, 429, json!({"code": "too_many_attempts"})));
    }

    /// Makes a call and keeps its reply.
    async fn record(&mut self, actor: Option<&Actor>, method: &str, path: &str, headers: Value, body: Option<&str>) {
        let call = call_of(actor, method, path, headers, body);
        let reply = repeat(&self.rig.api, &call).await;
        assert!(matches!(reply.status, 200..=202), "{method} {path}: {}", reply.text);
        self.calls.push(answered(call, reply.status, reply.body));
    }

    fn expect_later(&mut self, call: Value, status: u16, reply: Value) {
        let mut call = answered(call, status, reply);
        call["later"] = json!(true);
        self.calls.push(call);
    }
}

fn call_of(actor: Option<&Actor>, method: &str, path: &str, headers: Value, body: Option<&str>) -> Value {
    json!({"token": actor.map(|actor| &actor.token), "method": method, "path": path, "headers": headers, "body": body})
}

fn answered(mut call: Value, status: u16, reply: Value) -> Value {
    call["status"] = json!(status);
    call["reply"] = reply;
    call
}
