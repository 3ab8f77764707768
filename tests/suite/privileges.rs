//! Least privilege: `local` holds each function to its `Policies` in the template, so tests that call the system show that they suffice.
//! That holds neither of a context that a test makes itself, nor of what a function goes on without. So these show that each grant is
//! needed and none is missing, and that too little and too much are both found.

use crate::api::{Actor, Api, PASSWORD, registration, send, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::emails::happened;
use crate::jobs::idempotency::key_of;
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::{MODEL, Rig};
use crate::workers::Workers;
use local::layers::iam::Privilege;
use local::system::project_folder;
use local::template::{Grant, Template};
use local::{Options, StartError, System, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::ids::JobId;
use shared::model::time::Moment;
use shared::store::items::{BatchWork, SPREAD_BY_OPERATOR_AFTER};
use shared::store::keys::Key;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;
use tokio::sync::OnceCell;

/// What no call to AWS shows, and why each function that has it needs it.
const UNSEEN: [(&str, &str); 1] = [(
    "elasticache:Connect",
    "is asked by the cache at log-in; template.rs compares who has it with who uses the cache",
)];

/// A system that has nothing cached, whose database can fail, with all that jobs call outside.
struct World {
    rig: Rig,
    database: FaultyDatabase,
    providers: Providers,
    /// Has the database, and functions of its own.
    origin: System,
    /// Has a catalogue that nobody has read.
    settings: Rig,
}

impl World {
    async fn start() -> Self {
        let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
        let database = FaultyDatabase::before(&origin.database_url()).await;
        let providers = Providers::start().await;
        let environment = providers.environment().into_iter().chain([
            ("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone()),
            ("SES_CONFIGURATION_SET", "mail-events".to_owned()),
        ]);
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
        let analyses = providers.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let cache_url = "off:".to_owned();
        let rig = Rig::start(Options { cache_url, environment, ..Options::ephemeral() }).await;
        let settings = Rig::start(Options { environment: analyses, ..Options::ephemeral() }).await;
        Self { rig, database, providers, origin, settings }
    }

    /// The token of a kind in the newest mail.
    fn mailed(&self, kind: &str) -> String {
        let letter = self.providers.emails().pop().unwrap().to_string();
        let (_, token) = letter.split_once(&format!("#{kind}")).unwrap();
        format!("{kind}{}", token.split("\\n").next().unwrap())
    }

    /// The same of invitations: one that a member accepts, one that a new user registers with, one that is withdrawn, one that is replaced.
    async fn invitations(&self, owner: &Actor) {
        let api = &self.rig.api;
        let path = format!("/orgs/{}/invitations", owner.org_id);
        let invite = async |email: &str| {
            let invited = api.post(owner, &path, json!({"email": email, "role": "member"})).await;
            ok(invited.status);
            self.rig.deliver_account_mail().await;
            (invited.body["id"].as_str().unwrap().to_owned(), self.mailed("citi_"))
        };
        let user = api.register().await;
        let (_, token) = invite(&user.email).await;
        ok(api.post(&user, "/invitations/accept", json!({"token": token})).await.status);
        let email = unique_email();
        invite(&email).await;
        let (_, invitation) = invite(&email).await;
        let mut new = registration(&email);
        new.as_object_mut().unwrap().remove("org_name");
        new["invitation"] = json!(invitation);
        ok(api.call(None, Method::POST, "/auth/register", Some(new)).await.status);
        let (withdrawn, _) = invite(&unique_email()).await;
        ok(api.get(owner, &path).await.status);
        ok(api.delete(owner, &format!("{path}/{withdrawn}")).await.status);
    }

    /// Calls that together need every grant of the functions of accounts and organizations.
    async fn accounts_and_orgs(&self) {
        let api = &self.rig.api;
        let owner = self.rig.owner("pro").await;
        let stranger = api.register_as_everybody().await;
        self.rig.deliver_account_mail().await;
        ok(api.post(&stranger, "/auth/verify-email/resend", json!(null)).await.status);
        self.providers.will([Answer::Refuse(503, None)]);
        self.rig.deliver_account_mail().await;
        self.rig.system.clock().jump(Duration::from_secs(400));
        self.rig.deliver_account_mail().await;
        ok(api.post(&stranger, "/auth/verify-email", json!({"token": self.mailed("citv_")})).await.status);
        let moved = json!({"email": unique_email()});
        ok(api.put(&stranger, "/me/email", moved.clone()).await.status);
        self.rig.deliver_account_mail().await;
        ok(api.post(&stranger, "/auth/verify-email", json!({"token": self.mailed("citc_")})).await.status);
        self.rig.deliver_account_mail().await;
        let undone = json!({"token": self.mailed("citu_"), "password": PASSWORD});
        ok(api.call(None, Method::POST, "/auth/reset-password", Some(undone)).await.status);
        self.rig.deliver_account_mail().await;
        let asked = json!({"email": stranger.email});
        ok(api.call(None, Method::POST, "/auth/forgot-password", Some(asked)).await.status);
        self.rig.deliver_account_mail().await;
        let reset = json!({"token": self.mailed("citr_"), "password": PASSWORD});
        ok(api.call(None, Method::POST, "/auth/reset-password", Some(reset)).await.status);
        self.rig.deliver_account_mail().await;
        // What never came onto its queue, as far as anybody knows.
        api.register_as_everybody().await;
        self.rig.system.clock().jump(Duration::from_secs(40));
        assert_eq!(self.rig.sweep_once().await.queued, 1);
        self.rig.deliver_account_mail().await;
        let wrong = json!({"email": owner.email, "password": "not the one at all"});
        assert_eq!(api.call(None, Method::POST, "/auth/login", Some(wrong)).await.status, 401);
        ok(api.get(&owner, "/me").await.status);
        ok(api.patch(&owner, "/me", json!({"name": "Ada"})).await.status);
        ok(api.get(&owner, &format!("/users/{}", owner.user_id)).await.status);
        let again = json!({"password": PASSWORD});
        ok(api.post(&owner, "/auth/reauthenticate", again).await.status);
        let change = json!({"current": PASSWORD, "password": PASSWORD});
        ok(api.put(&owner, "/me/password", change).await.status);
        self.rig.deliver_account_mail().await;
        let session = api.another_session(&owner).await;
        ok(api.delete(&owner, &format!("/me/sessions/{session}")).await.status);
        ok(api.delete(&owner, "/me/sessions").await.status);
        let org = format!("/orgs/{}", owner.org_id);
        ok(api.get(&owner, &format!("{org}/plan")).await.status);
        ok(api.get(&owner, &format!("{org}/settings")).await.status);
        self.rig.settings(&owner, json!({"timezone": "Europe/Vienna"})).await;
        conditional(api, &owner, (Method::PUT, &format!("{org}/settings")), json!({"settings": {}})).await;
        let member = api.join(&owner, "member").await;
        let path = format!("{org}/members/{}", member.user_id);
        ok(api.put(&owner, &path, json!({"role": "admin"})).await.status);
        ok(api.get(&owner, &format!("{org}/members")).await.status);
        ok(api.delete(&owner, &path).await.status);
        self.invitations(&owner).await;
        // Whoever belongs to no organization makes itself a place outside.
        api.outside().await;
        ok(api.call(None, Method::GET, "/health?deep=1", None).await.status);
        ok(api.call(Some(&owner), Method::POST, "/auth/logout", None).await.status);
    }

    /// What each function notes whose caller's session was not used for a day.
    async fn a_day_later(&self) {
        let api = &self.rig.api;
        let owner = self.rig.owner("pro").await;
        let org = format!("/orgs/{}", owner.org_id);
        let nothing = |kind: &str| format!("{kind}_{:032x}", 0);
        let (item, job) = (format!("/items/{}", nothing("itm")), format!("/jobs/{}", nothing("job")));
        let parts = ["plan", "settings", "members"].map(|part| format!("{org}/{part}"));
        let paths = ["/me", "/items", "/jobs", "/usage"].map(str::to_owned).into_iter().chain(parts).chain([item, job]);
        let mut sessions = Vec::new();
        for path in paths.chain(["/auth/logout".to_owned()]) {
            let session = Actor::of(&api.login(&owner.email, None).await.body, &owner.email);
            sessions.push((path, session));
        }
        self.rig.system.clock().jump(Duration::from_secs(24 * 60 * 60));
        for (path, session) in sessions {
            let method = if path == "/auth/logout" { Method::POST } else { Method::GET };
            let status = api.call(Some(&session), method, &path, None).await.status;
            assert!([200, 204, 404].contains(&status), "{path}: {status}");
        }
    }

    /// The same of items: among them a batch that the database does not take, which gives its key back.
    async fn items(&self) {
        let api = &self.rig.api;
        let owner = self.rig.owner("pro").await;
        let item = format!("/items/{}", api.item(&owner).await);
        let batch = json!({"items": [{"name": "one"}, {"name": "two"}]});
        let created = api.post(&owner, "/items", batch.clone()).await;
        let of_batch = format!("/items/{}", created.body["created"][0]["id"].as_str().unwrap());
        ok(api.call(Some(&owner), Method::DELETE, &of_batch, None).await.status);
        ok(api.get(&owner, "/items").await.status);
        ok(api.get(&owner, &item).await.status);
        ok(api.patch(&owner, &item, json!({"name": "another"})).await.status);
        conditional(api, &owner, (Method::PATCH, &item), json!({"name": "a third"})).await;
        conditional(api, &owner, (Method::DELETE, &item), json!(null)).await;
        let with_key = async |body: &Value| {
            self.rig.post_with(&owner, "/items", &[("Idempotency-Key", "a-key")], &body.to_string()).await.status
        };
        assert_eq!(with_key(&json!({})).await, 422, "it may repeat something: the key is looked up");
        self.database.inject("BatchWriteItem", Fault::Throttle(u32::MAX));
        assert_eq!(with_key(&batch).await, 503);
        self.database.inject("BatchWriteItem", Fault::Throttle(0));
        assert_eq!(with_key(&batch).await, 201, "nothing came of the first");
        // Where deletions meet on the count: the organization is hot, and its lanes are filled.
        let another = format!("/items/{}", api.item(&owner).await);
        self.database.inject("TransactWriteItems", Fault::ConflictOn(3, 1));
        ok(api.call(Some(&owner), Method::DELETE, &another, None).await.status);
        // Where items are spread, and the lanes hold room of another plan.
        operator::spread(self.rig.system.context(), owner.org_id.parse().unwrap()).await.unwrap();
        self.rig.system.clock().jump(SPREAD_BY_OPERATOR_AFTER);
        self.rig.give_plan(&owner, "free").await;
        api.item(&owner).await;
    }

    /// The catalogue, which an analysis needs too: whoever asks first reads it, and all functions of a system share what was
    /// read. So here another system is asked.
    async fn prices(&self) {
        let api = Api::at(self.origin.url());
        ok(api.call(None, Method::GET, "/models/pricing?provider=anthropic", None).await.status);
        let owner = self.settings.owner("pro").await;
        self.settings.settings(&owner, json!({"default_model": MODEL})).await;
    }

    /// What no call to either system has needed.
    fn unused(&self) -> BTreeSet<Privilege> {
        let (one, other) = (self.rig.system.privileges().unused(), self.origin.privileges().unused());
        let third = self.settings.system.privileges().unused();
        one.intersection(&other).filter(|unused| third.contains(*unused)).cloned().collect()
    }

    /// What any call to a system has asked for without a grant.
    fn missing(&self) -> BTreeSet<Privilege> {
        let systems = [&self.rig.system, &self.origin, &self.settings.system];
        systems.into_iter().flat_map(|system| system.privileges().missing()).collect()
    }

    /// The same of jobs: run, refused for now, cancelled, and left by a dying worker.
    async fn jobs(&self) {
        let (rig, api) = (&self.rig, &self.rig.api);
        let of_accounts = self.providers.emails().len();
        let owner = rig.owner("pro").await;
        let text = json!({"text": "A text.", "model": MODEL});
        let waits = rig.post_with(&owner, "/analyze", &[("Prefer", "wait=1")], &text.to_string()).await;
        assert_eq!(waits.status, 202, "{}", waits.text);
        let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
        rig.accepted(&owner, "/send-email", letter.clone()).await;
        let keyed = rig.post_with(&owner, "/send-email", &[("Idempotency-Key", "a-key")], "{}").await;
        assert_eq!(keyed.status, 422, "it may repeat something: the key is looked up");
        self.providers.will([Answer::Refuse(503, Some(1)), Answer::Refuse(503, Some(1))]);
        rig.drain().await;
        assert_eq!((self.providers.analyses().len(), self.providers.emails().len()), (1, of_accounts + 1));

        ok(api.get(&owner, &format!("/jobs/{}", waits.body["id"].as_str().unwrap())).await.status);
        let cancelled = rig.accepted(&owner, "/analyze", text.clone()).await;
        ok(api.post(&owner, &format!("/jobs/{cancelled}/cancel"), json!(null)).await.status);
        ok(api.get(&owner, "/jobs").await.status);
        ok(api.get(&owner, "/usage").await.status);
        rig.drain().await;

        // Failed, and run again: an analysis that cost nothing, and an e-mail to somebody whose membership is looked up.
        self.providers.will([Answer::Refuse(400, None), Answer::Refuse(400, None)]);
        let (analysis, mail) = (
            rig.accepted(&owner, "/analyze", text.clone()).await,
            rig.accepted(&owner, "/send-email", letter.clone()).await,
        );
        rig.drain().await;
        for id in [&analysis, &mail] {
            ok(api.post(&owner, &format!("/jobs/{id}/retry"), json!(null)).await.status);
        }
        rig.drain().await;

        // Where the organization is spread: limits and budgets that lanes hold, and have too little of.
        // A slice of the largest plan is more than all of the smallest.
        let spread = rig.owner("enterprise").await;
        rig.spread_if(true, &spread).await;
        rig.settings(&spread, json!({"monthly_budget_usd": "0.05"})).await;
        let to_spread = json!({"to": spread.email, "subject": "s", "text": "t"});
        for _ in 0..3 {
            rig.accepted(&spread, "/send-email", to_spread.clone()).await;
        }
        rig.give_plan(&spread, "free").await;
        rig.accepted(&spread, "/send-email", to_spread).await;
        rig.give_plan(&spread, "pro").await;
        rig.drain().await;
        self.providers.will([Answer::Refuse(500, None)]);
        rig.accepted(&spread, "/analyze", text.clone()).await;
        rig.drain().await;
        ok(api.get(&spread, "/usage").await.status);
        rig.settings(&spread, json!({"monthly_budget_usd": "1"})).await;
        self.providers.will([Answer::Refuse(400, None)]);
        let failed = rig.accepted(&spread, "/analyze", text.clone()).await;
        rig.drain().await;
        let path = format!("/jobs/{failed}/retry");
        rig.settings(&spread, json!({"monthly_budget_usd": "0.05"})).await;
        assert_eq!(api.post(&spread, &path, json!(null)).await.status, 402, "no lane has room");
        rig.settings(&spread, json!({"monthly_budget_usd": "1"})).await;
        let retry = [("Idempotency-Key", "a-retry")];
        for _ in 0..2 {
            ok(rig.post_with(&spread, &path, &retry, "").await.status);
        }
        rig.drain().await;
        let done = (self.providers.analyses().len(), self.providers.emails().len());

        self.providers.will([Answer::Silence]);
        let left = rig.accepted(&owner, "/analyze", text.clone()).await;
        let taken = async {
            while self.providers.analyses().len() == done.0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = rig.deliver() => panic!("it is to wait for the provider"),
            () = taken => {}
        }
        ok(api.post(&owner, &format!("/jobs/{left}/cancel"), json!(null)).await.status);
        let lost = rig.accepted(&owner, "/analyze", text).await;
        let lost_mail = rig.accepted(&owner, "/send-email", letter.clone()).await;
        for id in [&left, &lost, &lost_mail] {
            rig.time_passes(&owner, id).await;
        }
        // And an entry of the index whose job is gone.
        let earlier = Moment::from_millis(rig.system.context().now().as_millis() - 1_000);
        let Key { pk, sk } = Key::due(1, JobId::new(), earlier);
        let entry = json!({"pk": {"S": pk}, "sk": {"S": sk}, "org_id": {"S": owner.org_id}});
        let table = &rig.system.context().config().table_name;
        self.database.call("PutItem", &json!({"TableName": table, "Item": entry})).await;
        // And a batch of items whose writer died.
        let org = rig.system.context().store().org(owner.org_id.parse().unwrap()).await.unwrap().unwrap();
        let work =
            BatchWork { due_at: Some(earlier), ..BatchWork::begun(vec![org.new_item_id(true, earlier)], earlier) };
        let key = key_of("create-item", "dead", "{}");
        let claim = key.begin(Some(work.note().unwrap()), Duration::ZERO, earlier.as_millis());
        rig.system.context().store().begin_items(&org, &work, Some(&claim)).await.unwrap();
        let swept = rig.sweep_once().await;
        assert_eq!((swept.queued, swept.ended, swept.left), (2, 3, 0));
        rig.drain().await;

        // A message that comes when there is no time left for a call.
        let event = json!({"Records": [{"messageId": "m", "receiptHandle": "none", "attributes": {},
            "body": json!({"org_id": owner.org_id, "job_id": lost_mail}).to_string()}]});
        let (now, workers) = (rig.system.context().now().as_millis(), Workers::of(&rig.system));
        for name in ["analysis-worker", "email-worker", "account-mail-worker"] {
            assert_eq!(workers.returned(name, &event.to_string(), u64::try_from(now).unwrap()).await, ["m"]);
        }

        // An e-mail that is being handed over while the mail service says that it is out, and bounced.
        self.providers.will([Answer::Silence]);
        let told = rig.accepted(&owner, "/send-email", letter).await;
        let sent = self.providers.emails().len();
        let taken = async {
            while self.providers.emails().len() == sent {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = rig.deliver() => panic!("it is to wait for the mail service"),
            () = taken => {}
        }
        let bounce = json!({"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "gone@example.com"}]});
        happened(rig, &owner, &told, "Bounce", json!({"bounce": bounce}));
        rig.deliver().await;
        assert_eq!(rig.job(&owner, &told).await["state"], "succeeded");
    }
}

/// A write of what is there as it is read.
async fn conditional(api: &Api, owner: &Actor, (method, path): (Method, &str), body: Value) {
    let tag = api.get(owner, path).await.header("etag").to_owned();
    ok(send(api.request(method, path).bearer_auth(&owner.token).header("If-Match", tag).json(&body)).await.status);
}

#[track_caller]
fn ok(status: u16) {
    assert!((200..300).contains(&status), "{status}");
}

/// The grants of the template that no call here needs, and those that a call needs and the template lacks.
struct Grants {
    unneeded: BTreeSet<Privilege>,
    missing: BTreeSet<Privilege>,
}

/// What the calls here show. They are made once, for whoever asks first.
async fn grants() -> &'static Grants {
    static GRANTS: OnceCell<Grants> = OnceCell::const_new();
    let calls = async || {
        let world = World::start().await;
        // Boxed: whoever asks from within a test of its own would not have them on its stack.
        Box::pin(world.a_day_later()).await;
        Box::pin(world.accounts_and_orgs()).await;
        Box::pin(world.items()).await;
        Box::pin(world.jobs()).await;
        Box::pin(world.prices()).await;
        Grants { unneeded: world.unused(), missing: world.missing() }
    };
    GRANTS.get_or_init(calls).await
}

/// The functions of a template that have grants, and that nothing here calls such that it needs one.
pub(crate) async fn uncalled(template: &Template) -> Vec<String> {
    let unneeded = &grants().await.unneeded;
    let ours = Template::read(&project_folder().join("template.yaml")).unwrap();
    let is_needed = |function: &str, grant: &Grant| {
        !unneeded
            .iter()
            .any(|one| one.function == function && one.action == grant.action && one.resource == grant.resource)
    };
    let is_called = |function: &str| {
        ours.grants.get(function).is_some_and(|grants| grants.iter().any(|grant| is_needed(function, grant)))
    };
    let granted = template.grants.iter().filter(|(_, grants)| !grants.is_empty()).map(|(function, _)| function.clone());
    granted.filter(|function| !is_called(function)).collect()
}

#[tokio::test]
async fn every_grant_is_needed() {
    let (unseen, unused): (Vec<_>, Vec<_>) =
        grants().await.unneeded.iter().partition(|one| UNSEEN.iter().any(|(action, _)| *action == one.action));
    let unused: Vec<String> = unused.into_iter().map(Privilege::to_string).collect();
    assert!(unused.is_empty(), "granted in template.yaml, and needed by no call here:\n  {}", unused.join("\n  "));
    for (action, why) in UNSEEN {
        assert!(unseen.iter().any(|one| one.action == action), "nothing is granted {action}, which {why}");
    }
}

/// A worker that may not return a message at once goes on, and only its log says so.
#[tokio::test]
async fn no_grant_is_missing() {
    let missing: Vec<String> = grants().await.missing.iter().map(Privilege::to_string).collect();
    assert!(missing.is_empty(), "called here, and not granted in template.yaml:\n  {}", missing.join("\n  "));
}

/// A system over the template with a function's statement changed.
async fn changed(function: &str, from: &str, to: &str) -> Result<System, StartError> {
    let text = fs::read_to_string(project_folder().join("template.yaml")).unwrap();
    let (before, block) = text.split_once(&format!("\n  {function}:\n")).unwrap();
    let (block, after) = block.split_once("\n\n").unwrap();
    assert!(block.contains(from), "{block}");
    let text = format!("{before}\n  {function}:\n{}\n\n{after}", block.replacen(from, to, 1));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    System::start(Options { background: false, template: file.path().to_owned(), ..Options::ephemeral() }).await
}

#[tokio::test]
async fn what_is_not_granted_is_refused_as_aws_refuses_it() {
    let system = changed("GetItemFunction", "dynamodb:BatchGetItem, dynamodb:GetItem", "dynamodb:BatchGetItem").await;
    let system = system.unwrap();
    let api = Api::of(&system);
    let owner = api.register().await;
    let item = api.item(&owner).await;
    api.get(&owner, &format!("/items/{item}")).await.is_problem(500, "internal_error");
    ok(api.patch(&owner, &format!("/items/{item}"), json!({"name": "another"})).await.status);
    // A function that has no grant at all.
    let error = system.contexts().get("docs").unwrap().store().ping().await.unwrap_err();
    let said = format!("{error:?}");
    assert!(said.contains("AccessDeniedException") && said.contains("assumed-role/docs is not authorized"), "{said}");
}

#[tokio::test]
async fn a_transaction_is_refused_for_one_part_and_writes_nothing() {
    let statement = "dynamodb:Query, dynamodb:UpdateItem";
    let system = changed("DeleteMemberFunction", statement, "dynamodb:Query").await.unwrap();
    let api = Api::of(&system);
    let owner = api.register().await;
    let member = api.join(&owner, "member").await;
    let members = format!("/orgs/{}/members", owner.org_id);
    let path = format!("{members}/{}", member.user_id);
    api.delete(&owner, &path).await.is_problem(500, "internal_error");
    assert_eq!(api.get(&owner, &members).await.body["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_message_that_may_not_be_sent_is_not_on_the_queue() {
    let system = changed("AnalyzeFunction", "sqs:SendMessage", "sqs:GetQueueUrl").await.unwrap();
    let api = Api::of(&system);
    let owner = api.register().await;
    let accepted = api.post(&owner, "/analyze", json!({"text": "A text."})).await;
    assert_eq!(accepted.status, 202, "it is stored, and the sweeper would queue it: {}", accepted.text);
    assert_eq!(system.sqs().counts("AnalysesQueue").unwrap().visible, 0);
}

#[tokio::test]
async fn a_grant_that_nothing_needs_is_reported() {
    let added = "[dynamodb:Scan, dynamodb:BatchGetItem, ";
    let system = changed("GetMeFunction", "[dynamodb:BatchGetItem, ", added).await.unwrap();
    let api = Api::of(&system);
    let owner = api.register().await;
    ok(api.get(&owner, "/me").await.status);
    let unused: Vec<_> = system.privileges().unused().into_iter().filter(|one| one.function == "get-me").collect();
    // The other one is for whoever was away for a day.
    let expected = ["get-me: dynamodb:Scan on Table", "get-me: dynamodb:UpdateItem on Table"];
    assert_eq!(unused.iter().map(Privilege::to_string).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn no_event_source_starts_without_the_right_to_poll() {
    let error = changed("EmailWorkerFunction", ", sqs:ReceiveMessage", "").await.unwrap_err().to_string();
    assert!(error.contains("sqs:ReceiveMessage on resource: EmailsQueue"), "{error}");
}
