//! No text that a caller sends, and no secret, is ever logged: not at the finest level, not when the database fails.

use crate::api::{Actor, Api, send};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::providers::{Answer, KEY, Providers};
use crate::jobs::rig::MODEL;
use crate::{bodies, documented, matrix};
use lambda_http::Request;
use lambda_http::http::HeaderValue;
use local::local_routes::FIGURES;
use local::names::queue_of;
use local::{Options, System, operator};
use reqwest::Method;
use serde_json::{Value, json};
use shared::ApiResult;
use shared::model::job::JobKind;
use shared::model::org::Plan;
use shared::runtime::event::RequestId;
use shared::runtime::respond;
use shared::telemetry::logs::{self, Crates};
use shared::telemetry::metrics;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Part of every text that must not be logged; nothing else has it.
const CANARY: &str = "xanthic-finch";

/// How the tokens begin that mails carry.
const MAILED: [&str; 5] = ["citv_", "citr_", "citc_", "citu_", "citi_"];

/// What refuses a body of the right form: nobody here has what a mail carries, and the last owner stays.
const REFUSING: [&str; 4] = ["verify_email", "reset_password", "accept_invitation", "put_member"];

/// A trace, in a header with more than X-Ray defines.
const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";

/// Whose lines are each about a request or a job.
const REQUESTS: [&str; 4] = ["shared::error", "platform::runtime", "shared::jobs", "shared::store"];

/// A process with a whole system that logs all it can, over a database that fails once a line has been read.
#[test]
#[ignore = "a role of the other test"]
fn logging_process() {
    let ours = local::functions::crates().chain(["local", "shared", "suite"].map(str::to_owned)).collect();
    logs::init(tracing::Level::TRACE, Crates { ours });
    logs::init_panics();
    metrics::init("canary");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
        let database = FaultyDatabase::before(&origin.database_url()).await;
        let providers = Providers::start().await;
        providers.will_always(Answer::Say(format!("no use for {CANARY}")));
        let mut environment: BTreeMap<_, _> =
            providers.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), database.url.clone());
        let system = System::start(Options { environment: environment.clone(), ..Options::ephemeral() }).await.unwrap();
        environment.insert("AWS_ENDPOINT_URL_SQS".to_owned(), providers.url.clone());
        let without_queue =
            System::start(Options { environment, background: false, ..Options::ephemeral() }).await.unwrap();
        println!("WITHOUT A QUEUE {}", without_queue.url());
        println!("URL {}", system.url());
        let mut org_id = String::new();
        std::io::stdin().read_line(&mut org_id).unwrap();
        operator::give_plan(system.context(), org_id.trim().parse().unwrap(), Plan::Pro).await.unwrap();
        let address = format!("{CANARY}@example.com").parse().unwrap();
        operator::verify_account(system.context(), &address).await.unwrap();
        println!("PAYING");
        let line = async || tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
        line().await.unwrap().unwrap();
        for operation in
            ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "BatchGetItem", "TransactWriteItems"]
        {
            database.inject(operation, Fault::Throttle(u32::MAX));
        }
        println!("FAILING");
        line().await.unwrap().unwrap();
        let mut request = Request::default();
        request.extensions_mut().insert(RequestId(HeaderValue::from_static("r-panic")));
        let reply = respond(system.context(), request, |_, _| async {
            let panics: ApiResult = None.ok_or_else(|| panic!("{CANARY} in a panic"));
            panics
        });
        assert_eq!(reply.await.status(), 500);
    });
}

/// The process, and what it says: read all the while, so that it never waits for its reader.
pub(crate) struct Logging {
    process: Child,
    said: Receiver<String>,
    lines: Vec<String>,
}

impl Logging {
    /// As another test's process, by that test's name.
    pub(crate) fn start(role: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", role, "--ignored", "--nocapture"])
            .env_remove("CITIZEN_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, said) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        for stream in streams {
            let send = send.clone();
            std::thread::spawn(move || {
                BufReader::new(stream).lines().for_each(|line| send.send(line.unwrap()).unwrap())
            });
        }
        Self { process, said, lines: Vec::new() }
    }

    /// Waits for a line with this, and gives what follows in it.
    pub(crate) fn wait_for(&mut self, mark: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {mark}"));
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim().to_owned();
            }
            self.lines.push(line);
        }
    }

    /// Lets it go on.
    pub(crate) fn go_on(&mut self) {
        self.tell("");
    }

    /// Gives it a line.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// All that it said, to its end.
    pub(crate) fn end(mut self) -> Vec<String> {
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
        self.lines.extend(self.said);
        self.lines
    }
}

/// A call with a body: of which operation, if that takes it.
type Call = (Option<&'static str>, Method, String, Value);

fn marked(text: &str) -> String {
    format!("{text} {CANARY}")
}

/// With the canary where a text may say anything: such a body is taken.
fn taken(name: &str, text: &str) -> String {
    match name {
        "password" | "current" => marked("password"),
        "name" | "org_name" | "description" | "subject" | "text" => marked(text),
        _ if text.contains('@') && !text.contains(CANARY) => format!("{CANARY}.{text}"),
        _ => text.to_owned(),
    }
}

/// A body whose texts say something else, by their fields' names.
fn with_texts(name: &str, value: &Value, say: &dyn Fn(&str, &str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(say(name, text)),
        Value::Array(all) => all.iter().map(|one| with_texts(name, one, say)).collect(),
        Value::Object(all) => all.iter().map(|(name, one)| (name.clone(), with_texts(name, one, say))).collect(),
        other => other.clone(),
    }
}

/// Of each operation that takes a body: one that it takes, and one with the canary in each text of each field.
fn calls(actor: &Actor, item: &str) -> Vec<Call> {
    let wrong = json!({"email": actor.email, "password": marked("wrong")});
    let paid = json!({"text": marked("A text for the provider."), "model": MODEL});
    let mut calls = vec![
        (None, Method::POST, "/auth/login".to_owned(), wrong),
        (None, Method::POST, "/analyze".to_owned(), paid),
        (None, Method::POST, "/items".to_owned(), json!({CANARY: marked("unknown field")})),
    ];
    for (template, method, operation) in documented::operations() {
        if operation["requestBody"].is_null() {
            continue;
        }
        let id = operation["operationId"].as_str().unwrap();
        let path = template.replace("{org_id}", &actor.org_id).replace("{user_id}", &actor.user_id);
        let path = path.replace("{item_id}", item);
        assert!(!path.contains('{'), "{path}: of what?");
        let body = matrix::body(id, &actor.email).unwrap();
        calls.push((Some(id), method.clone(), path.clone(), with_texts("", &body, &taken)));
        for sample in bodies::samples(id) {
            let spoiled = with_texts("", &sample, &|_, text| marked(text));
            calls.push((None, method.clone(), path.clone(), spoiled));
        }
    }
    calls
}

/// Calls everything that takes a text, with a canary in each.
async fn call_everything(api: &Api, actor: &Actor, calls: &[Call]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (_, method, path, body) in calls {
        let request = api
            .request(method.clone(), path)
            .bearer_auth(&actor.token)
            .header("Idempotency-Key", format!("{CANARY}-{}", statuses.len()))
            .header("X-Amzn-Trace-Id", format!("{TRACE};Name={CANARY}"));
        statuses.push(send(request.json(body)).await.status);
    }
    let odd = [
        api.request(Method::POST, "/items")
            .bearer_auth(&actor.token)
            .header("content-type", "application/json")
            .body(format!("{{{CANARY}")),
        api.request(Method::GET, "/me").bearer_auth(CANARY),
        api.request(Method::GET, "/me").bearer_auth(&actor.token).header("X-Amzn-Trace-Id", CANARY),
        api.request(Method::GET, "/me").header("cookie", format!("__Host-session={CANARY}")),
        api.request(Method::GET, &format!("/items?cursor={CANARY}")).bearer_auth(&actor.token),
        api.request(Method::GET, &format!("/items/{CANARY}")).bearer_auth(&actor.token),
        api.request(Method::GET, &format!("/models/pricing?provider={CANARY}")),
        api.request(Method::GET, &format!("/{CANARY}")),
        api.request(Method::from_bytes(CANARY.as_bytes()).unwrap(), "/me"),
        api.request(Method::GET, "/items")
            .bearer_auth(&actor.token)
            .header("origin", format!("https://{CANARY}.example")),
    ];
    for request in odd {
        statuses.push(send(request).await.status);
    }
    statuses
}

/// Waits until each mail about accounts has been written.
async fn account_mail_is_written(api: &Api) {
    for _ in 0..6_000 {
        let figures = api.request(Method::GET, FIGURES).send().await.unwrap();
        let figures: Value = figures.json().await.unwrap();
        let queue = &figures["queues"][queue_of(JobKind::AccountMail)];
        if ["visible", "in_flight", "delayed"].iter().all(|count| queue[*count] == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("account mail stays on its queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_has_what_callers_sent() {
    let mut logging = Logging::start("canary::logging_process");
    let without_queue = Api::at(logging.wait_for("WITHOUT A QUEUE "));
    let api = Api::at(logging.wait_for("URL "));
    let address = format!("{CANARY}@example.com");
    let registration =
        json!({"email": address, "password": marked("password"), "name": marked("Ada"), "org_name": marked("Org")});
    let registered = api.call(None, Method::POST, "/auth/register", Some(registration)).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    let actor = Actor::of(&registered.body, &address);
    // Only a paid plan has models that are somebody else's, and only whoever has proven the address uses them.
    logging.tell(&actor.org_id);
    logging.wait_for("PAYING");
    let calls = calls(&actor, &api.item(&actor).await);
    let statuses = call_everything(&api, &actor, &calls).await;
    for ((operation, ..), status) in calls.iter().zip(&statuses) {
        let is_as_it_should = operation.is_none_or(|id| *status < 300 || REFUSING.contains(&id));
        assert!(is_as_it_should, "{operation:?}: {status}");
    }
    assert!(statuses.iter().all(|status| *status < 500), "{statuses:?}");
    // Whatever was accepted has been worked on.
    for job in api.get(&actor, "/jobs").await.body["data"].as_array().unwrap() {
        api.ended(&actor, job["id"].as_str().unwrap()).await;
    }
    account_mail_is_written(&api).await;
    let accepted = without_queue
        .request(Method::POST, "/analyze")
        .bearer_auth(&actor.token)
        .header("X-Amzn-Trace-Id", TRACE)
        .json(&json!({"text": marked("A text without a queue.")}));
    assert_eq!(send(accepted).await.status, 202);
    logging.go_on();
    logging.wait_for("FAILING");
    let statuses = call_everything(&api, &actor, &calls).await;
    assert!(statuses.contains(&503), "the database is to fail: {statuses:?}");
    logging.go_on();
    let lines = logging.end();

    let secrets = [&[CANARY, actor.token.as_str(), "$argon2", KEY][..], &MAILED].concat();
    for line in &lines {
        assert!(!secrets.iter().any(|secret| line.contains(*secret)), "{line}");
    }
    let logged: Vec<Value> =
        lines.iter().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    let about = |message: &str, target: &str, names: &[&str]| {
        let mut lines = logged.iter().filter(|line| {
            line["message"].as_str().is_some_and(|text| text.starts_with(message)) && line["target"] == target
        });
        let with_all = lines.clone().any(|line| names.iter().all(|name| line[name].is_string()));
        let first = lines.next().unwrap_or_else(|| panic!("nobody said: {message}"));
        assert!(with_all, "{message}: not with all of {names:?}: {first}");
    };
    about("a dependency is unavailable", "shared::error", &["request_id", "trace_id"]);
    about("a job was stored", "shared::jobs", &["request_id", "trace_id", "org_id", "job_id"]);
    about("the model", "analysis_worker::analysis::anthropic", &["trace_id", "org_id", "job_id"]);
    about("SES did not confirm", "worker::mail::ses", &["trace_id", "org_id", "job_id"]);
    about("panicked", "platform::telemetry::logs", &["request_id", "location"]);
    about("handler panicked", "platform::runtime", &["request_id"]);
    about("answered", "local::gateway::log", &["request_id", "function", "method", "path"]);
    about("answered", "local::gateway::log", &["request_id", "code"]);
    about("called AWS", "local::layers::logging", &["request_id", "function", "org_id", "operation", "resource"]);
    about("called AWS", "local::layers::logging", &["job_id", "function", "operation", "resource"]);
    for line in &logged {
        let target = line["target"].as_str().unwrap_or_default();
        let has = |names: &[&str]| names.iter().all(|name| line[name].is_string());
        let complete = match target.split("::").next().unwrap_or_default() {
            "worker" | "analysis_worker" => has(&["org_id", "job_id"]),
            "shared" | "platform" if REQUESTS.iter().any(|of| target.starts_with(of)) => {
                has(&["request_id", "function"]) || has(&["job_id", "function"])
            }
            "local" if target == "local::gateway::log" => {
                has(&["request_id"]) && line["status"].is_number() && line["ms"].is_number()
            }
            _ => true,
        };
        assert!(complete, "{line}");
    }
    let ended = logged.iter().any(|line| line["Failed"] == 1 && line["Deployment"] == "canary");
    assert!(ended, "a job's end is counted");
}
