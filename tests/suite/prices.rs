//! The catalogue of model prices: real data, whole and filtered.

use crate::api::{Api, send};
use crate::environment::config;
use crate::faults::{Fault, FaultyDatabase, puts_of};
use local::system::project_folder;
use local::{Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::Context;
use shared::clock::Clock;
use shared::model::price::Catalogue;
use shared::store::keys::Key;

fn file() -> Value {
    let text = std::fs::read_to_string(project_folder().join("data/model-prices.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What the file says of a model, as callers see it.
fn shown(model: &Value) -> Value {
    let mut model = model.clone();
    model.as_object_mut().unwrap().remove("deprecated");
    model
}

#[tokio::test]
async fn the_whole_catalogue_is_the_file() {
    let api = Api::new();
    let reply = api.call(None, Method::GET, "/models/pricing", None).await;
    assert_eq!(reply.status, 200);
    let file = file();
    assert_eq!((&reply.body["as_of"], &reply.body["unit"]), (&file["as_of"], &file["unit"]));
    let models: Vec<Value> = file["models"].as_array().unwrap().iter().map(shown).collect();
    assert_eq!(models.len(), 2125);
    assert_eq!(reply.body["data"].as_array().unwrap(), &models);
}

#[tokio::test]
async fn filters_are_exact_and_combine() {
    let api = Api::new();
    let file = file();
    let all = file["models"].as_array().unwrap();
    for (query, matches) in [
        ("provider=anthropic", Box::new(|m: &Value| m["provider"] == "anthropic") as Box<dyn Fn(&Value) -> bool>),
        ("model=gpt-4o", Box::new(|m: &Value| m["model"] == "gpt-4o")),
        ("provider=openai&model=gpt-4o", Box::new(|m: &Value| m["provider"] == "openai" && m["model"] == "gpt-4o")),
        ("provider=Anthropic", Box::new(|m: &Value| m["provider"] == "anthropic")),
        ("model=nothing", Box::new(|_: &Value| false)),
    ] {
        let reply = api.call(None, Method::GET, &format!("/models/pricing?{query}"), None).await;
        let expected: Vec<Value> = all.iter().filter(|model| matches(model)).map(shown).collect();
        assert_eq!(reply.body["data"], json!(expected), "{query}");
        assert!(expected.is_empty() == (query == "model=nothing"), "{query}");
    }
    let unknown = api.call(None, Method::GET, "/models/pricing?provider=nobody", None).await;
    assert_eq!((unknown.status, unknown.pointer()), (422, "query/provider"));
    assert!(unknown.body["errors"][0]["message"].as_str().unwrap().contains("anthropic, "), "{}", unknown.text);
}

#[tokio::test]
async fn the_catalogue_travels_gzipped_and_is_not_sent_twice() {
    let api = Api::new();
    let zipped = api.request(Method::GET, "/models/pricing").header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let bytes = zipped.bytes().await.unwrap();
    assert!(bytes.len() < 100_000 && bytes.starts_with(&[0x1f, 0x8b]), "{}", bytes.len());
    let tag = api.call(None, Method::GET, "/models/pricing", None).await.header("etag").to_owned();
    let again = send(api.request(Method::GET, "/models/pricing").header("If-None-Match", tag)).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
}

/// One of several chunks, whose models all say which it is.
fn of_month(month: &str) -> Catalogue {
    let name = month.repeat(200);
    let model = |number: usize| {
        json!({"provider": "p", "model": format!("m{number}"), "name": name, "context_window": null,
            "prices_usd_per_mtok": {}})
    };
    let models: Vec<Value> = (0..300).map(model).collect();
    serde_json::from_value(json!({"as_of": month, "unit": "dollars", "models": models})).unwrap()
}

/// Each write of a new one waits while it is read, from the table: environments keep what they have read for a while.
#[tokio::test]
async fn readers_see_the_old_catalogue_or_the_new_one_while_it_is_replaced() {
    let [before, after] = ["2026-10", "2026-11"].map(of_month);
    let system = System::start(Options::ephemeral()).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.as_str()), ("CACHE_URL", "off:")];
    let operator = Context::new(config(&variables), Clock::system());
    let store = system.context().store();
    store.seed_catalogue(&before).await.unwrap();
    let read = async || store.catalogue().await.unwrap().unwrap();
    let mut replaced = std::pin::pin!(operator.store().seed_catalogue(&after));
    database.inject("PutItem", Fault::Hold);
    let mut steps = 0;
    loop {
        tokio::select! {
            done = &mut replaced => break done.unwrap(),
            () = database.holds("PutItem") => {}
        }
        let found = read().await;
        // Later the last write may be done, and have been sent again.
        assert!(found == before || steps > 0 && found == after, "a mixture, or too early");
        steps += 1;
        // What has arrived is done; what follows it waits.
        database.release("PutItem");
        database.inject("PutItem", Fault::Hold);
    }
    assert!(steps > 1, "the manifest follows the chunks");
    assert!(read().await == after);
}

/// It points at chunks that go within a day, for the newer one has superseded them.
#[tokio::test]
async fn a_manifest_that_lands_late_leaves_the_newer_one() {
    let [older, newer] = ["2026-10", "2026-11"].map(of_month);
    let system = System::start(Options::ephemeral()).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.as_str()), ("CACHE_URL", "off:")];
    let operator = Context::new(config(&variables), Clock::system());
    let puts = puts_of(&Key::catalogue_manifest());
    database.inject(&puts, Fault::HoldOnTheWay(1));
    for catalogue in [&older, &newer] {
        operator.store().seed_catalogue(catalogue).await.unwrap();
    }
    database.release(&puts);
    database.has_done(&puts).await;
    assert!(system.context().store().catalogue().await.unwrap().unwrap() == newer);
}
