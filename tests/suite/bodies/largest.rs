//! The largest body that each operation takes, in the widest spelling: what is kept of it fits, and is given again.

use crate::api::{Actor, Api, PASSWORD, Reply, send, unique_email};
use local::like_aws::LikeAws;
use local::system::project_folder;
use local::template::{Route, Template};
use local::{Options, System};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use testkit::meter::Meter;

/// Four bytes in UTF-8, twelve in JSON that is ASCII only (Python's default).
const WIDEST: &str = "😀";

fn wide(chars: usize) -> String {
    WIDEST.repeat(chars)
}

/// As `json.dumps` writes it in Python.
fn ascii(body: &Value) -> String {
    let mut text = String::new();
    for unit in body.to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(byte.into()),
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    text
}

/// A body that nothing longer is taken than, and the longest that its ASCII spelling may be.
fn largest(operation: &str, owner: &Actor) -> Value {
    let name = wide(200);
    let item = json!({"name": name, "description": wide(4_000)});
    match operation {
        "register" => {
            let local = format!("{}{}", "a".repeat(30), unique_email());
            json!({"email": local, "password": format!("{}abc", wide(253)), "name": name, "org_name": name})
        }
        "login" => json!({"email": owner.email, "password": PASSWORD, "org_id": owner.org_id}),
        "update_me" => json!({"name": name}),
        "put_org_settings" => json!({"settings": {"default_model": "builtin", "email_recipients": "members",
            "timezone": "America/Argentina/ComodRivadavia", "monthly_budget_usd": "1000000.00"}}),
        "change_password" => json!({"current": PASSWORD, "password": PASSWORD}),
        "change_email" => json!({"email": format!("{}@{}.example.com", "c".repeat(64), "d".repeat(60))}),
        "forgot_password" => json!({"email": format!("{}@{}.example.com", "a".repeat(64), "b".repeat(60))}),
        "reauthenticate" => json!({"password": PASSWORD}),
        "create_invitation" => json!({"email": format!("{}{}", "a".repeat(30), unique_email()), "role": "member"}),
        "put_member" => json!({"role": "owner"}),
        "create_item" => json!({"items": vec![item; 100]}),
        "update_item" => item,
        // The free plan's 20,000 bytes.
        "analyze" => json!({"text": wide(5_000), "model": "builtin"}),
        // Its lines are stored as JSON, in which a line break has two bytes.
        "send_email" => {
            json!({"to": vec![&owner.email; 10], "subject": wide(255), "text": format!("x{}", "\n".repeat(65_535))})
        }
        other => panic!("{other} takes a body: give its largest"),
    }
}

/// Calls, and in the like-aws world again as long as it is told to: the largest batch takes three seconds of a new table's partition,
/// which other records may lie in.
async fn call(api: &Api, owner: &Actor, call: (&str, &str), key: Option<&str>, body: String) -> Reply {
    let mut times = if LikeAws::from_environment().is_some() { 20 } else { 0 };
    loop {
        let method = Method::from_bytes(call.0.to_uppercase().as_bytes()).unwrap();
        let request = api.request(method, call.1).bearer_auth(&owner.token).header(CONTENT_TYPE, "application/json");
        let request = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
        let reply = send(request.body(body.clone())).await;
        if reply.status != 503 || times == 0 {
            return reply;
        }
        times -= 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn the_largest_of_each_body_is_kept_and_given_again() {
    let api = Api::new();
    let document = api.call(None, Method::GET, "/openapi.json", None).await.body;
    let owner = api.register().await;
    let item = api.item(&owner).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["requestBody"].is_null() {
                continue;
            }
            let id = operation["operationId"].as_str().unwrap();
            if ["verify_email", "reset_password", "accept_invitation"].contains(&id) {
                // What it takes is of one length, and nothing of it is kept.
                continue;
            }
            let path = path.replace("{org_id}", &owner.org_id).replace("{user_id}", &owner.user_id);
            let (path, body) = (path.replace("{item_id}", &item), largest(id, &owner));
            let takes_keys = operation["parameters"].to_string().contains("Idempotency-Key");
            let key = takes_keys.then_some("k");
            let first = call(&api, &owner, (method, &path), key, ascii(&body)).await;
            assert!(matches!(first.status, 200..=202 | 204), "{id}: {} {:.300}", first.status, first.text);
            if takes_keys {
                let again = call(&api, &owner, (method, &path), key, body.to_string()).await;
                assert_eq!(again.header("idempotent-replayed"), "true", "{id}: {} {:.300}", again.status, again.text);
                assert_eq!((again.status, again.text == first.text), (first.status, true), "{id}");
                assert_eq!(again.header("location"), first.header("location"), "{id}");
            }
        }
    }
    assert_eq!(items(&api, &owner).await, 101, "one batch, once, and the item of before");
    let page = api.get(&owner, "/items?limit=100").await;
    assert_eq!(page.body["data"].as_array().unwrap().len(), 100, "it goes on where a query of the table ends");
}

/// The worst day (docs/deployment.md) counts the dearest call of each operation: none that the free plan takes writes more units of the
/// table, or is answered with more bytes.
#[tokio::test]
async fn nothing_costs_more_than_the_worst_day_counts() {
    let database = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let meter = Meter::before(&database.database_url()).await;
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), meter.url.clone())].into();
    let system = System::start(Options { environment, background: false, ..Options::ephemeral() }).await.unwrap();
    let api = Api::of(&system);
    let document = api.call(None, Method::GET, "/openapi.json", None).await.body;
    let owner = widest(&api).await;
    let (small, mut large, mut job) = (api.item(&owner).await, String::new(), String::new());
    let mut bill = Bill::new(meter);
    // What has a body comes first: it makes what the others are about.
    for of_bodies in [true, false] {
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let Some(id) = operation["operationId"].as_str() else { continue };
                let has_body = !operation["requestBody"].is_null();
                let is_left_out =
                    ["verify_email", "reset_password", "accept_invitation"].contains(&id) || method == "head";
                if is_left_out || has_body != of_bodies || !(has_body || method == "get") {
                    continue;
                }
                let takes = |parameter: &str| operation["parameters"].to_string().contains(parameter);
                let key = takes("Idempotency-Key").then_some("k");
                let query = if takes("\"limit\"") { "?limit=100" } else { "" };
                let filled = path.replace("{org_id}", &owner.org_id).replace("{user_id}", &owner.user_id);
                let filled = filled.replace("{item_id}", &small).replace("{job_id}", &job) + query;
                let reply = match has_body {
                    true => call(&api, &owner, (method, &filled), key, largest(id, &owner).to_string()).await,
                    false => api.get(&owner, &filled).await,
                };
                assert!(matches!(reply.status, 200..=202 | 204), "{id}: {} {:.300}", reply.status, reply.text);
                bill.add((method, path), &reply);
                match id {
                    "create_item" => large = reply.body["created"][0]["id"].as_str().unwrap().to_owned(),
                    "analyze" => job = reply.body["id"].as_str().unwrap().to_owned(),
                    _ => {}
                }
            }
        }
    }
    bill.add(("delete", "/items/{item_id}"), &api.delete(&owner, &format!("/items/{large}")).await);
    let canceled = api.post(&owner, &format!("/jobs/{job}/cancel"), json!({})).await;
    bill.add(("post", "/jobs/{job_id}/cancel"), &canceled);
    let wrong = bill.wrong();
    assert!(wrong.is_empty(), "deploy/money.py counts otherwise:\n  {}", wrong.join("\n  "));
}

/// A user whose name and organization are as long as they may be.
async fn widest(api: &Api) -> Actor {
    let mut body = largest("register", &api.register().await);
    body["password"] = json!(PASSWORD);
    let begun = api.call(None, Method::POST, "/auth/register", Some(body.clone())).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let owner = Actor::of(&begun.body, body["email"].as_str().unwrap());
    api.verify(&owner).await;
    owner
}

/// What the calls of each function have cost, against what the worst day counts for them.
struct Bill {
    meter: Meter,
    template: Template,
    /// Of each function, the most units that a call has written, and the longest reply.
    most: BTreeMap<String, (f64, usize)>,
    /// deploy/money.py.
    script: String,
    /// lab/growth.json.
    counted: Value,
}

impl Bill {
    /// From now on.
    fn new(meter: Meter) -> Self {
        let _before = meter.take();
        let read = |file: &str| fs::read_to_string(project_folder().join(file)).unwrap();
        let counted = serde_json::from_str(&read("lab/growth.json")).unwrap();
        let template = Template::read(&project_folder().join("template.yaml")).unwrap();
        Self { meter, template, most: BTreeMap::new(), script: read("deploy/money.py"), counted }
    }

    /// One call of an operation.
    fn add(&mut self, (method, path): (&str, &str), reply: &Reply) {
        let is_its = |route: &&Route| route.path == path && route.method.as_str().eq_ignore_ascii_case(method);
        let route = self.template.routes.iter().find(is_its);
        let function = route.unwrap_or_else(|| panic!("{method} {path} has no route")).function.clone();
        let written = self.meter.take().write_units;
        let (units, bytes) = self.most.entry(function).or_default();
        (*units, *bytes) = ((*units).max(written), (*bytes).max(reply.text.len()));
    }

    /// What costs more than it counts, and what stands in its table and is less than half of that.
    fn wrong(&self) -> Vec<String> {
        let endpoints = self.counted[0]["endpoints"].as_array().unwrap();
        let mut wrong = Vec::new();
        for (function, (units, bytes)) in &self.most {
            let small = endpoints.iter().find(|endpoint| endpoint["endpoint"] == function.as_str());
            let small = small.map_or(0.0, |endpoint| endpoint["costs"][0]["write_units"].as_f64().unwrap());
            let stated = self.number("WRITE_UNITS = ", function).map(f64::from);
            let is_less = |stated: f64| *units > 0.0 && *units < stated / 2.0;
            if *units > stated.unwrap_or(small) || stated.is_some_and(is_less) {
                wrong.push(format!("{function}: {units} written units, and it says {}", stated.unwrap_or(small)));
            }
            let most = self.number("REPLY_BYTES = ", function).or_else(|| self.number("SMALL_REPLY = ", "")).unwrap();
            if *bytes > usize::try_from(most).unwrap() {
                wrong.push(format!("{function}: {bytes} bytes, and it says {most}"));
            }
        }
        wrong
    }

    /// The number of a function in a table of the script's, or the number that stands there alone.
    fn number(&self, table: &str, function: &str) -> Option<u32> {
        let text = self.script.split_once(table).unwrap().1;
        let number = match function {
            "" => text,
            _ => text.split('}').next().unwrap().split_once(&format!("\"{function}\": "))?.1,
        };
        let digits = number.chars().take_while(|digit| digit.is_ascii_digit() || *digit == '_');
        Some(digits.filter(|digit| *digit != '_').collect::<String>().parse().unwrap())
    }
}

/// How many there are.
async fn items(api: &Api, owner: &Actor) -> usize {
    let (mut count, mut query) = (0, String::new());
    loop {
        let page = api.get(owner, &format!("/items?limit=100{query}")).await;
        count += page.body["data"].as_array().unwrap().len();
        let Some(next) = page.body["next_cursor"].as_str() else { return count };
        query = format!("&cursor={next}");
    }
}
