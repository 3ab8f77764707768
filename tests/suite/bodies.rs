//! The bodies of every operation: what is no JSON object of the right shape is refused, with all that is wrong in it.

mod largest;

use crate::api::{Actor, Api, PASSWORD, Reply, send};
use crate::documented;
use crate::matrix;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Bodies that an operation accepts: between them they have each field that it knows.
pub(crate) fn samples(operation: &str) -> Vec<Value> {
    let (email, text) = ("ada@example.com", "A line.");
    let item = json!({"name": "thing", "description": "a thing"});
    match operation {
        "register" => vec![
            json!({"email": email, "password": PASSWORD, "name": "Ada", "org_name": "Engines", "session": "cookie"}),
            json!({"email": email, "password": PASSWORD, "name": "Ada", "invitation": "citi_"}),
        ],
        "login" => {
            let org_id = "org_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e";
            vec![json!({"email": email, "password": PASSWORD, "org_id": org_id, "session": "cookie"})]
        }
        "update_me" => vec![json!({"name": "Ada"})],
        "put_org_settings" => vec![json!({"settings": {"default_model": "builtin", "email_recipients": "members",
            "timezone": "Europe/Vienna", "monthly_budget_usd": "1.00"}})],
        "change_password" => vec![json!({"current": PASSWORD, "password": PASSWORD})],
        "verify_email" => vec![json!({"code": "0000-0000"}), json!({"token": "citv_"})],
        "change_email" => vec![json!({"email": email})],
        "forgot_password" => vec![json!({"email": email})],
        "reset_password" => vec![json!({"token": "citr_", "password": PASSWORD, "session": "cookie"})],
        "reauthenticate" => vec![json!({"password": PASSWORD})],
        "create_invitation" => vec![json!({"email": email, "role": "member"})],
        "accept_invitation" => vec![json!({"token": "citi_"})],
        "put_member" => vec![json!({"role": "member"})],
        "create_item" => vec![item.clone(), json!({"items": [item.clone(), item]})],
        "update_item" => vec![item],
        "analyze" => vec![json!({"text": text, "model": "builtin"})],
        "send_email" => vec![
            json!({"to": email, "subject": "Hello", "text": text}),
            json!({"to": [email, email], "template": "welcome", "data": {"name": "Ada", "org_name": "Engines"}}),
        ],
        other => panic!("{other} takes a body: give a sample of it"),
    }
}

/// An operation that takes a body.
struct Operation {
    id: String,
    method: Method,
    path: String,
    schema: Value,
}

struct Bench {
    api: Api,
    owner: Actor,
    document: Value,
}

impl Bench {
    async fn new() -> (Self, Vec<Operation>) {
        let api = Api::new();
        let document = api.call(None, Method::GET, "/openapi.json", None).await.body;
        let owner = api.register().await;
        let mut operations = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
                if operation["requestBody"].is_null() {
                    continue;
                }
                operations.push(Operation {
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                    path: path
                        .replace("{org_id}", &owner.org_id)
                        .replace("{user_id}", &owner.user_id)
                        .replace("{item_id}", "itm_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e"),
                    schema: schema.clone(),
                });
            }
        }
        assert!(operations.len() >= 9, "{}", operations.len());
        (Self { api, owner, document }, operations)
    }

    async fn send(&self, operation: &Operation, body: String) -> Reply {
        let request = self.api.request(operation.method.clone(), &operation.path).bearer_auth(&self.owner.token);
        send(request.header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// Sends a body that must be refused as invalid, and returns where.
    async fn refused(&self, operation: &Operation, body: &Value) -> BTreeSet<String> {
        let reply = self.send(operation, body.to_string()).await;
        let shown = format!("{} {body}: {}", operation.id, reply.text);
        assert_eq!((reply.status, reply.body["code"].as_str()), (422, Some("validation_failed")), "{shown}");
        let errors = reply.body["errors"].as_array().unwrap();
        for error in errors {
            let message = error["message"].as_str().unwrap();
            let is_ours =
                ["must ", "is ", "needs ", "does not ", "has "].iter().any(|start| message.starts_with(start));
            assert!(is_ours && !message.contains('`') && !message.contains("::"), "{shown}");
        }
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }

    /// A schema's alternatives, without references.
    fn alternatives(&self, schema: &Value) -> Vec<Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            return self.alternatives(self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap());
        }
        let choices = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
        match choices {
            Some(choices) => choices.iter().flat_map(|choice| self.alternatives(choice)).collect(),
            None => vec![schema.clone()],
        }
    }

    fn types(&self, schemas: &[Value]) -> BTreeSet<String> {
        let names = |of: &Value| match of {
            Value::String(name) => vec![name.clone()],
            Value::Array(names) => names.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
            _ => vec![],
        };
        schemas.iter().flat_map(|schema| names(&schema["type"])).collect()
    }

    /// Each place of a sample with the types that the document gives it, the sample itself first.
    fn places(
        &self,
        sample: &Value,
        schemas: Vec<Value>,
        pointer: String,
        places: &mut Vec<(String, BTreeSet<String>)>,
    ) {
        places.push((pointer.clone(), self.types(&schemas)));
        let part = |of: &dyn Fn(&Value) -> Value| -> Vec<Value> {
            let parts = schemas.iter().map(of).filter(|part| !part.is_null());
            parts.flat_map(|part| self.alternatives(&part)).collect()
        };
        match sample {
            Value::Object(members) => {
                for (name, value) in members {
                    let schemas = part(&|schema| schema["properties"][name].clone());
                    self.places(value, schemas, format!("{pointer}/{name}"), places);
                }
            }
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.places(value, part(&|schema| schema["items"].clone()), format!("{pointer}/{index}"), places);
                }
            }
            _ => {}
        }
    }
}

/// Values of each JSON type, among them those that serde's derived code takes for a struct or an enum.
fn wrong_values(of: &Value, allowed: &BTreeSet<String>) -> Vec<Value> {
    let values: Vec<Value> = match of {
        Value::Object(members) => members.values().cloned().collect(),
        other => vec![other.clone()],
    };
    let name = of.as_str().unwrap_or("x");
    let all = [
        ("number", json!(5)),
        ("boolean", json!(true)),
        ("null", json!(null)),
        ("array", Value::Array(values)),
        ("object", json!({name: null})),
        ("string", json!("")),
    ];
    let kind = kind(of);
    all.into_iter().filter(|(name, _)| *name != kind && !allowed.contains(*name)).map(|(_, value)| value).collect()
}

fn kind(of: &Value) -> &'static str {
    match of {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[tokio::test]
async fn a_wrong_type_anywhere_is_named_where_it_is() {
    let (bench, operations) = Bench::new().await;
    for operation in &operations {
        for sample in samples(&operation.id) {
            let mut places = Vec::new();
            bench.places(&sample, bench.alternatives(&operation.schema), String::new(), &mut places);
            for (pointer, allowed) in places {
                let mut wrong = wrong_values(sample.pointer(&pointer).unwrap(), &allowed);
                assert!(wrong.len() >= 3, "{} {pointer}", operation.id);
                if sample.pointer(&pointer).unwrap().is_object() {
                    wrong.push(json!([]));
                }
                // Without what says which of two kinds a body is, it is of the other one, which lacks other fields.
                let of_a_kind =
                    ["send_email/template", "verify_email/code", "verify_email/token", "register/invitation"];
                let says_which = of_a_kind.contains(&format!("{}{pointer}", operation.id).as_str());
                wrong.retain(|value| !says_which || !value.is_null());
                for value in wrong {
                    let mut body = sample.clone();
                    *body.pointer_mut(&pointer).unwrap() = value;
                    let named = bench.refused(operation, &body).await;
                    assert!(named.contains(&pointer), "{} {pointer} {body}: {named:?}", operation.id);
                }
            }
        }
    }
}

#[tokio::test]
async fn all_that_is_wrong_is_named_at_once() {
    let (bench, operations) = Bench::new().await;
    for operation in &operations {
        let schemas = bench.alternatives(&operation.schema);
        for sample in samples(&operation.id) {
            let mut places = Vec::new();
            bench.places(&sample, schemas.clone(), String::new(), &mut places);
            // Every leaf is wrong, and each object has a member that it does not know.
            let (mut body, mut expected) = (sample.clone(), BTreeSet::new());
            for (pointer, _) in places {
                match body.pointer_mut(&pointer).unwrap() {
                    Value::Object(members) => {
                        members.insert("zz~/".to_owned(), json!(1));
                        expected.insert(format!("{pointer}/zz~0~1"));
                    }
                    Value::Array(_) => {}
                    // Of an e-mail with a template: which fields its data has depends on it.
                    leaf if pointer == "/template" => assert!(leaf.is_string()),
                    leaf => {
                        *leaf = json!(5);
                        expected.insert(pointer);
                    }
                }
            }
            assert_eq!(bench.refused(operation, &body).await, expected, "{} {body}", operation.id);
        }
        let required: Vec<_> = schemas.iter().filter_map(|schema| schema["required"].as_array()).collect();
        if let [required] = required.as_slice() {
            let named = bench.refused(operation, &json!({})).await;
            let missing = required.iter().map(|name| format!("/{}", name.as_str().unwrap()));
            assert!(missing.clone().all(|pointer| named.contains(&pointer)), "{}: {named:?}", operation.id);
        }
    }
}

/// Small values take more room than their text: a function has none for five megabytes of them.
#[tokio::test]
async fn more_values_than_anybody_sends_are_refused_unread() {
    let (bench, operations) = Bench::new().await;
    let body = json!({"name": vec![json!({"": 0}); 30_000]});
    for operation in &operations {
        let named = bench.refused(operation, &body).await;
        assert_eq!(named, BTreeSet::from([String::new()]), "{}", operation.id);
    }
}

/// Nothing is done. What says nothing is as good as no body.
#[tokio::test]
async fn a_body_is_refused_where_none_is_taken() {
    let api = Api::new();
    let mut tried = 0;
    for (template, method, operation) in documented::operations() {
        if method == Method::GET || !operation["requestBody"].is_null() {
            continue;
        }
        let (id, owner) = (operation["operationId"].as_str().unwrap(), api.register().await);
        let path = matrix::path_of(&api, &owner, template).await;
        let sent = async |body: &str| {
            let request = api.request(method.clone(), &path).bearer_auth(&owner.token);
            send(request.header(CONTENT_TYPE, "application/json").body(body.to_owned())).await
        };
        for body in ["[]", r#"{"x":1}"#, "{", "0"] {
            assert_eq!(sent(body).await.pointer(), "", "{id}: {body}");
        }
        let done = sent("{}").await;
        let of_an_ended_job = template.contains("{job_id}") && done.status == 409;
        assert!(matches!(done.status, 202 | 204) || of_an_ended_job, "{id}: {} {}", done.status, done.text);
        tried += 1;
    }
    assert_eq!(tried, 9);
}

#[tokio::test]
async fn a_repeated_name_is_malformed() {
    let (bench, operations) = Bench::new().await;
    for operation in &operations {
        for sample in samples(&operation.id) {
            let text = sample.to_string();
            let first = sample.as_object().unwrap().iter().next().unwrap();
            let twice = format!("{{{}:{},{}", json!(first.0), first.1, &text[1..]);
            let reply = bench.send(operation, twice).await;
            reply.is_problem(400, "malformed_json");
        }
    }
}

/// A field that no sample has would not be tried.
#[tokio::test]
async fn the_samples_have_every_field() {
    let (bench, operations) = Bench::new().await;
    for operation in &operations {
        let samples = samples(&operation.id);
        let given: BTreeSet<&String> = samples.iter().flat_map(|sample| sample.as_object().unwrap().keys()).collect();
        let schemas = bench.alternatives(&operation.schema);
        let known = schemas.iter().filter_map(|schema| schema["properties"].as_object()).flat_map(Map::keys);
        assert_eq!(given, known.collect(), "{}", operation.id);
        for schema in schemas {
            assert_eq!(schema["additionalProperties"], false, "{}: unknown fields are refused", operation.id);
        }
    }
}
