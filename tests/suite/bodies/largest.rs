//! The largest body that each operation takes, in the widest spelling: what is kept of it fits, and is given again.

use crate::api::{Actor, Api, PASSWORD, Reply, send, unique_email};
use local::like_aws::LikeAws;
use local::system::project_folder;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use std::time::Duration;

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
    let (length, reckoned) = (page.text.len(), reckoned("list-items"));
    assert!(
        length <= reckoned && length > reckoned / 100 * 99,
        "{length} bytes; deploy/money.py takes it for {reckoned}"
    );
    assert_eq!(page.body["data"].as_array().unwrap().len(), 100, "it goes on where a query of the table ends");
}

/// What deploy/money.py takes for the largest reply of a function, in bytes.
fn reckoned(function: &str) -> usize {
    let script = std::fs::read_to_string(project_folder().join("deploy/money.py")).unwrap();
    let sizes = script.lines().find(|line| line.starts_with("REPLY_BYTES")).unwrap();
    let (_, number) = sizes.split_once(&format!("\"{function}\": ")).unwrap();
    let digits =
        number.chars().take_while(|digit| digit.is_ascii_digit() || *digit == '_').filter(|digit| *digit != '_');
    digits.collect::<String>().parse().unwrap()
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
