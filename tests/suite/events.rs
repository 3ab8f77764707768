//! Whatever a function is invoked with has an answer: the events of `events/corpus`, and each changed in every part.

use crate::workers::Workers;
use invalidator::StreamEvent;
use lambda_http::Body;
use local::{Options, System, functions, system::project_folder};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::response::Reply;
use shared::runtime::event::{Event as _, Incoming};
use std::collections::BTreeSet;
use std::fs;

/// One file of the corpus.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    comes_from: String,
    http: Http,
    /// By both workers of jobs.
    job_returns: Vec<String>,
    notice_returns: Vec<String>,
    event: Box<RawValue>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Http {
    /// A handler answers it.
    Request,
    /// It is answered with what it is not.
    Refused,
}

fn corpus() -> Vec<(String, Sample)> {
    let mut files: Vec<_> = fs::read_dir(project_folder().join("events/corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let sample: Sample = serde_json::from_str(&fs::read_to_string(path).unwrap())
            .unwrap_or_else(|error| panic!("events/corpus/{name}.json: {error}"));
        assert!(!sample.comes_from.is_empty(), "events/corpus/{name}.json does not say where it comes from");
        (name, sample)
    };
    let samples: Vec<_> = files.iter().map(read).collect();
    assert!(samples.len() > 60, "{}", samples.len());
    samples
}

/// A system whose functions are called by the test alone.
async fn system() -> System {
    System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap()
}

/// What an HTTP function answers, as its runtime does.
async fn answer(system: &System, function: &str, event: &str) -> (Http, Reply) {
    let handler = functions::handler(function, system.contexts().get(function).unwrap(), None).unwrap();
    match Incoming::read(event).0 {
        Ok(request) => (Http::Request, handler(request).await),
        Err(reason) => (Http::Refused, reason.into_reply()),
    }
}

#[tokio::test]
async fn every_http_function_answers_every_event() {
    let system = system().await;
    for (name, sample) in corpus() {
        for function in functions::NAMES {
            let (http, reply) = answer(&system, function, sample.event.get()).await;
            let status = reply.status().as_u16();
            assert_eq!(http, sample.http, "{function}, {name}");
            assert!((200..500).contains(&status), "{function}, {name}: {status}");
            let Body::Text(text) = reply.body() else { continue };
            let refused = text.contains("\"code\":\"unsupported_event\"");
            assert_eq!(refused, http == Http::Refused, "{function}, {name}: {status} {text}");
        }
    }
}

/// Nothing is lost, and what nobody can read is alone in that.
#[tokio::test]
async fn the_workers_return_exactly_the_messages_that_they_cannot_read() {
    let system = system().await;
    let workers = Workers::of(&system);
    for (name, sample) in corpus() {
        for (worker, returns) in [
            ("analysis-worker", &sample.job_returns),
            ("email-worker", &sample.job_returns),
            ("account-mail-worker", &sample.job_returns),
            ("mail-event-worker", &sample.notice_returns),
        ] {
            let returned = workers.returned(worker, sample.event.get(), u64::MAX).await;
            assert_eq!(returned, *returns, "{worker}, {name}");
        }
    }
    let suppressed = |address: &str| {
        let store = system.context().store();
        let address = address.parse().unwrap();
        async move { !store.suppressed(&[address]).await.unwrap().is_empty() }
    };
    assert!(suppressed("bounced@example.com").await, "a bounce in angle brackets, through a topic");
    assert!(!suppressed("complained@example.com").await, "a report that it was no spam");
}

#[tokio::test]
async fn the_sweeper_sweeps_whatever_it_gets() {
    let system = system().await;
    let context = system.contexts().get("sweeper").unwrap();
    for (name, sample) in corpus() {
        let swept = sweeper::handle(context, sweeper::Tick::read(sample.event.get()), u64::MAX).await;
        assert_eq!(swept, sweeper::Swept::default(), "{name}");
    }
}

#[tokio::test]
async fn the_invalidator_passes_over_what_is_no_change() {
    let system = system().await;
    let context = system.contexts().get("invalidator").unwrap();
    for (name, sample) in corpus() {
        let reply = invalidator::handle(context, StreamEvent::read(sample.event.get()), u64::MAX).await;
        let whole = name == "sqs-records-are-no-list";
        let expected = if whole { json!([{"itemIdentifier": ""}]) } else { json!([]) };
        assert_eq!(serde_json::to_value(reply).unwrap()["batchItemFailures"], expected, "{name}");
    }
}

/// The event with each of its parts, one at a time, left out or made something else.
fn changed(event: &Value) -> Vec<Value> {
    let mut all =
        [json!(null), json!(5), json!("x"), json!(true), json!([]), json!([null]), json!({}), json!({"x": null})]
            .to_vec();
    match event {
        Value::Object(fields) => {
            for (name, value) in fields {
                let mut without = fields.clone();
                without.remove(name);
                all.push(without.into());
                all.extend(changed(value).into_iter().map(|value| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), value);
                    fields.into()
                }));
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                all.extend(changed(value).into_iter().map(|value| {
                    let mut values = values.clone();
                    values[index] = value;
                    values.into()
                }));
            }
        }
        _ => {}
    }
    all
}

fn event(name: &str) -> Value {
    serde_json::from_str(corpus().iter().find(|(known, _)| known == name).unwrap().1.event.get()).unwrap()
}

#[tokio::test]
async fn a_request_changed_in_any_part_is_answered() {
    let system = system().await;
    let mut seen = BTreeSet::new();
    for event in changed(&event("rest-proxy")) {
        for function in ["health", "list-items", "login", "get-user"] {
            let (_, reply) = answer(&system, function, &event.to_string()).await;
            let status = reply.status().as_u16();
            assert!((200..500).contains(&status), "{function}: {status} to {event}");
            seen.insert(status);
        }
    }
    assert!(seen.len() > 3, "{seen:?}");
}

/// Whatever becomes of one record, the one beside it is done with.
#[tokio::test]
async fn a_record_changed_in_any_part_concerns_no_other() {
    let system = system().await;
    let workers = Workers::of(&system);
    for (name, worker) in
        [("sqs-job", "email-worker"), ("ses-sns", "mail-event-worker"), ("ses-eventbridge", "mail-event-worker")]
    {
        let event = event(name);
        let record = &event["Records"][0];
        let mut other = record.clone();
        other["messageId"] = json!("other");
        let body: Value = serde_json::from_str(record["body"].as_str().unwrap()).unwrap();
        let bodies = changed(&body).into_iter().map(|body| {
            let mut record = record.clone();
            record["body"] = json!(body.to_string());
            record
        });
        for record in changed(record).into_iter().chain(bodies) {
            let id = record["messageId"].as_str().unwrap_or_default().to_owned();
            let both = json!({"Records": [record, other]}).to_string();
            let returned = workers.returned(worker, &both, u64::MAX).await;
            assert!(returned.is_empty() || (returned == [id.as_str()] && !id.is_empty()), "{returned:?} to {record}");
        }
    }
}
