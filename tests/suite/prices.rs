//! The catalogue of model prices: real data, whole and filtered.

use crate::api::{Api, send};
use local::system::project_folder;
use reqwest::Method;
use serde_json::{Value, json};

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
