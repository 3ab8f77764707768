//! Bad input: each kind gets a 4xx that says what is wrong, and nothing is stored.

use crate::api::{Actor, Api, registration, send, unique_email};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use shared::model::org::Plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Posts bytes as JSON.
async fn post_bytes(api: &Api, actor: &Actor, path: &str, bytes: Vec<u8>) -> crate::api::Reply {
    let request = api.request(Method::POST, path).bearer_auth(&actor.token);
    send(request.header(CONTENT_TYPE, "application/json").body(bytes)).await
}

/// Sends a request as it stands and returns its status and body: no client tidies it up.
async fn raw(api: &Api, head: &str) -> (u16, String) {
    let address = api.url().strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("{head}Host: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
    (status, reply.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

/// Where the errors of a `422` point, in order of the pointers.
#[track_caller]
fn pointers(reply: &crate::api::Reply) -> Vec<&str> {
    reply.is_problem(422, "validation_failed");
    let errors = reply.body["errors"].as_array().unwrap().iter();
    let mut pointers: Vec<&str> = errors.map(|error| error["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    pointers
}

async fn item_count(api: &Api, actor: &Actor) -> usize {
    api.get(actor, "/items?limit=100").await.body["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn broken_json_is_malformed_and_stores_nothing() {
    let api = Api::new();
    let actor = api.register().await;
    let nested = |open: &str, close: &str| format!(r#"{{"name":{}1{}}}"#, open.repeat(10_000), close.repeat(10_000));
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (vec![], 400),
        (b"{".to_vec(), 400),
        (br#"{"name":"a""#.to_vec(), 400),
        (br#"{"name":"a"} x"#.to_vec(), 400),
        (b"{\"name\":\"\xff\xfe\"}".to_vec(), 400),
        (br#"{"name":"\ud800"}"#.to_vec(), 400),
        (br#"{"name":"\udc00\ud800"}"#.to_vec(), 400),
        (b"{\"name\":\"a\0b\"}".to_vec(), 400),
        (br#"{'name':'a'}"#.to_vec(), 400),
        (br#"{"name":NaN}"#.to_vec(), 400),
        (nested("[", "]").into_bytes(), 422),
        (nested(r#"{"a":"#, "}").into_bytes(), 422),
        (br#"{"name":"a","name":"b"}"#.to_vec(), 400),
        (br#"{"name":"a","extra":1}"#.to_vec(), 422),
        (br#"{"name":1e400}"#.to_vec(), 422),
        (br#"{"name":123456789012345678901234567890}"#.to_vec(), 422),
        (br#"{"name":null}"#.to_vec(), 422),
        (br#"{"name":"a\u0000b"}"#.to_vec(), 422),
        (br#"{"name":""}"#.to_vec(), 422),
        (br#"{"name":" \t "}"#.to_vec(), 422),
        (br#"[]"#.to_vec(), 422),
        (br#""name""#.to_vec(), 422),
        (b"null".to_vec(), 422),
        (json!({"name": "x".repeat(201)}).to_string().into_bytes(), 422),
        (json!({"name": "x", "description": "x".repeat(4001)}).to_string().into_bytes(), 422),
        (json!({"items": []}).to_string().into_bytes(), 422),
        (json!({"items": vec![json!({"name": "x"}); 101]}).to_string().into_bytes(), 422),
        (json!({"items": [{"name": "x"}, {"name": ""}]}).to_string().into_bytes(), 422),
    ];
    for (body, status) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let reply = post_bytes(&api, &actor, "/items", body).await;
        let code = if status == 400 { "malformed_json" } else { "validation_failed" };
        assert_eq!((reply.status, reply.body["code"].as_str()), (status, Some(code)), "{shown}: {}", reply.text);
    }
    assert_eq!(item_count(&api, &actor).await, 0);
}

#[tokio::test]
async fn other_types_of_content_are_refused() {
    let api = Api::new();
    let actor = api.register().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json", ""] {
        let request = api.request(Method::POST, "/items").bearer_auth(&actor.token).header(CONTENT_TYPE, kind);
        send(request.body(r#"{"name":"a"}"#)).await.is_problem(415, "unsupported_media_type");
    }
    let request = api.request(Method::POST, "/items").bearer_auth(&actor.token).body(r#"{"name":"a"}"#);
    send(request).await.is_problem(415, "unsupported_media_type");
    assert_eq!(item_count(&api, &actor).await, 0);
}

/// What is unambiguous is taken: a tool's byte order mark, its spelling of a charset, a text as it is.
#[tokio::test]
async fn what_is_unambiguous_is_taken() {
    let api = Api::new();
    let actor = api.register().await;
    let item = format!("/items/{}", api.item(&actor).await);
    for (method, path, kind, body, status) in [
        (Method::POST, "/items", "application/json; charset=utf8", "\u{feff}{\"name\":\"a\"}", 201),
        (Method::POST, "/items", "application/vnd.api+json", "{\"name\":\"a\"}", 201),
        (Method::PATCH, &item, "application/merge-patch+json", "{\"description\":null}", 200),
        (Method::POST, "/analyze", "text/plain", "A \"text\"\twith a tab.\n", 202),
        (Method::POST, "/analyze", "text/plain; charset=UTF-8", " \n", 422),
        (Method::POST, "/items", "text/plain", "a", 415),
    ] {
        let request = api.request(method, path).bearer_auth(&actor.token).header(CONTENT_TYPE, kind);
        let reply = send(request.body(body)).await;
        assert_eq!(reply.status, status, "{kind}: {}", reply.text);
    }
}

/// One address, however it is spelt, wherever it is given.
#[tokio::test]
async fn an_address_is_one_everywhere() {
    let api = Api::new();
    let local = unique_email();
    let local = local.split('@').next().unwrap();
    let (unicode, ascii) = (format!(" {local}@MÜNCHEN.example "), format!("{local}@xn--mnchen-3ya.example"));
    let registered = api.call(None, Method::POST, "/auth/register", Some(registration(&unicode))).await;
    assert_eq!((registered.status, &registered.body["user"]["email"]), (201, &json!(ascii)), "{}", registered.text);
    let owner = Actor::of(&registered.body, &ascii);
    api.verify(&owner).await;
    api.call(None, Method::POST, "/auth/register", Some(registration(&ascii))).await.is_problem(409, "email_taken");
    for spelt in [&unicode, &ascii, &ascii.to_uppercase()] {
        assert_eq!(api.login(spelt, None).await.status, 200, "{spelt}");
        let mail = json!({"to": [spelt], "subject": "s", "text": "t"});
        assert_eq!(api.post(&owner, "/send-email", mail).await.status, 202, "{spelt}");
    }
    for wrong in ["a@123.45.67.89", "a@ex_ample.com", "a@-x.com"] {
        let register = api.call(None, Method::POST, "/auth/register", Some(registration(wrong))).await;
        assert_eq!(register.pointer(), "/email", "{wrong}");
        let mail = json!({"to": [wrong], "subject": "s", "text": "t"});
        assert_eq!(api.post(&owner, "/send-email", mail).await.pointer(), "/to/0", "{wrong}");
    }
}

/// One that its domain's conversion would make short is refused unread: what is converted costs as much as it is long.
#[tokio::test]
async fn an_address_is_counted_before_it_is_read() {
    let api = Api::new();
    let owner = api.register().await;
    let long = unique_email().replace("example", &format!("exa{}mple", "\u{ad}".repeat(600)));
    let invitations = format!("/orgs/{}/invitations", owner.org_id);
    let mail = |to: Value| json!({"to": to, "subject": "s", "text": "t"});
    for (method, path, body, pointer) in [
        (Method::POST, "/auth/register", registration(&long), "/email"),
        (Method::POST, "/auth/login", json!({"email": long, "password": "x"}), "/email"),
        (Method::POST, "/auth/forgot-password", json!({"email": long}), "/email"),
        (Method::PUT, "/me/email", json!({"email": long}), "/email"),
        (Method::POST, &invitations, json!({"email": long, "role": "member"}), "/email"),
        (Method::POST, "/send-email", mail(json!(long)), "/to"),
        (Method::POST, "/send-email", mail(json!([owner.email, long])), "/to/1"),
    ] {
        let reply = api.call(Some(&owner), method, path, Some(body)).await;
        assert_eq!(reply.pointer(), pointer, "{path}");
        assert_eq!(reply.body["errors"][0]["message"], "must be an e-mail address", "{path}");
    }
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let api = Api::new();
    let actor = api.register().await;
    for megabytes in [5, 11] {
        let body = json!({"name": "x".repeat(megabytes << 20)}).to_string().into_bytes();
        let reply = post_bytes(&api, &actor, "/items", body).await;
        assert_eq!(reply.status, 413, "{:.200}", reply.text);
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn limits_out_of_range_are_pointed_at() {
    let api = Api::new();
    let actor = api.register().await;
    for limit in ["0", "-1", "101", "1000000000", "99999999999999999999", "1.5", "ten", "", "%00", "1&limit=2"] {
        let reply = api.get(&actor, &format!("/items?limit={limit}")).await;
        assert_eq!(reply.pointer(), "query/limit", "{limit}");
    }
    assert_eq!(api.get(&actor, "/items?page=2").await.pointer(), "query/page");
    assert_eq!(api.get(&actor, "/models/pricing?vendor=x").await.pointer(), "query/vendor");
}

#[tokio::test]
async fn ids_that_are_none_do_not_exist() {
    let api = Api::new();
    let actor = api.register().await;
    let long = "itm_".to_owned() + &"a".repeat(5000);
    for id in ["x", "itm_", "itm_zz", "%00", "..%2f..%2fetc", "itm_%F0%9F%92%A9", "%ff", "%", &actor.user_id, &long] {
        for path in [format!("/items/{id}"), format!("/users/{id}x"), format!("/orgs/{id}/plan")] {
            let reply = api.get(&actor, &path).await;
            assert!(matches!(reply.status, 404), "{path:.60}: {}", reply.text);
            assert_eq!(reply.header("content-type"), "application/problem+json", "{path:.60}");
        }
    }
}

/// REST APIs pass path parameters on as they were sent.
#[tokio::test]
async fn encoded_ids_are_the_same_ids() {
    let api = Api::new();
    let actor = api.register().await;
    let item = api.item(&actor).await;
    for path in [format!("/items/{item}"), format!("/users/{}", actor.user_id), format!("/orgs/{}/plan", actor.org_id)]
    {
        let (plain, encoded) = (api.get(&actor, &path).await, api.get(&actor, &path.replace('_', "%5f")).await);
        assert_eq!((plain.status, &encoded.text), (200, &plain.text), "{path}");
    }
}

#[tokio::test]
async fn dots_in_paths_lead_nowhere() {
    let api = Api::new();
    let actor = api.register().await;
    for path in [
        "/users/%2e%2e",
        "/users/%2e%2e/me",
        "/users/..%2fme",
        "/items/%2e",
        "/orgs/%2e%2e/plan",
        "/items/../me",
        "/ME",
        "/items/%",
        "/items/%zz",
        "/items/%c0%ae",
    ] {
        let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {}\r\n", actor.token);
        let (status, body) = raw(&api, &head).await;
        assert!(matches!(status, 400 | 404), "{path}: {status} {body}");
    }
}

#[tokio::test]
async fn forged_headers_change_nothing() {
    let api = Api::new();
    let (actor, other) = (api.register().await, api.register().await);
    api.item(&other).await;
    let request = api
        .request(Method::GET, "/items")
        .bearer_auth(&actor.token)
        .header("X-Org-Id", &other.org_id)
        .header("X-User-Id", &other.user_id)
        .header("X-Forwarded-For", "127.0.0.1")
        .header("X-HTTP-Method-Override", "DELETE");
    let reply = send(request).await;
    assert_eq!((reply.status, &reply.body["data"]), (200, &json!([])));
}

#[tokio::test]
async fn registrations_are_checked() {
    let api = Api::new();
    let long = "x".repeat(1 << 20);
    let cases = [
        ("email", json!("a@b.cd\r\nBcc: x@y.zz")),
        ("email", json!("no-at.example.com")),
        ("email", json!("a@b")),
        ("email", json!("a b@example.com")),
        ("email", json!("a@example.com\u{0}")),
        ("email", json!("a@example.com, b@example.com")),
        ("email", json!(format!("{}@example.com", "a".repeat(250)))),
        ("email", json!(null)),
        ("email", json!(5)),
        ("password", json!("x")),
        ("password", json!(long)),
        ("password", json!("")),
        ("password", json!("Password1")),
        ("password", json!("        ")),
        ("password", json!("Lovelace1815")),
        ("password", json!("analytical-engines")),
        ("name", json!("")),
        ("name", json!(" \u{2003} ")),
        ("name", json!("a\u{0}")),
        ("name", json!("a\nb")),
        ("org_name", json!("x".repeat(201))),
        ("role", json!("owner")),
    ];
    for (field, value) in cases {
        let mut body = registration(&unique_email());
        body[field] = value;
        let reply = api.call(None, Method::POST, "/auth/register", Some(body)).await;
        assert_eq!(reply.pointer(), format!("/{field}"));
    }
    for field in ["email", "password", "name", "org_name"] {
        let mut body = registration(&unique_email());
        body.as_object_mut().unwrap().remove(field);
        let reply = api.call(None, Method::POST, "/auth/register", Some(body)).await;
        assert_eq!(reply.pointer(), format!("/{field}"));
    }
}

/// Also where a rule spans fields.
#[tokio::test]
async fn all_that_is_wrong_with_a_registration_is_named_at_once() {
    let api = Api::new();
    let mut both = registration("x");
    both["invitation"] = json!("b");
    let own_words = json!({"email": "x", "name": "Ada Lovelace", "password": "Lovelace1815"});
    for (body, named) in [
        (json!({}), &["/email", "/name", "/org_name", "/password"][..]),
        (both, &["/email", "/invitation"]),
        (own_words, &["/email", "/org_name", "/password"]),
    ] {
        let reply = api.call(None, Method::POST, "/auth/register", Some(body.clone())).await;
        assert_eq!(pointers(&reply), named, "{body}");
    }
    let actor = api.register().await;
    let reply = api.post(&actor, "/auth/verify-email", json!({"code": 5, "token": "x"})).await;
    assert_eq!(pointers(&reply), ["", "/code"]);
}

/// Also where a value must be looked up.
#[tokio::test]
async fn what_is_looked_up_is_named_with_what_is_not() {
    let api = Api::new();
    let owner = api.register().await;
    let path = format!("/orgs/{}/settings", owner.org_id);
    let settings = json!({"settings": {"timezone": "Foo/Bar", "default_model": "gpt-99"}});
    let reply = api.put(&owner, &path, settings).await;
    assert_eq!(pointers(&reply), ["/settings/default_model", "/settings/timezone"]);
    let settings = json!({"settings": {"timezone": "Foo/Bar", "default_model": "builtin"}});
    assert_eq!(pointers(&api.put(&owner, &path, settings).await), ["/settings/timezone"]);
    let long = "x".repeat(1 << 20);
    for (body, named) in [
        (json!({"text": " ", "model": "gpt-99"}), &["/model", "/text"][..]),
        (json!({"text": long, "model": "gpt-99"}), &["/model", "/text"]),
        (json!({"text": 5, "model": "gpt-99", "x": 1}), &["/model", "/text", "/x"]),
        (json!({"text": " ", "model": 5}), &["/model", "/text"]),
        (json!({"text": " ", "model": "builtin"}), &["/text"]),
    ] {
        assert_eq!(pointers(&api.post(&owner, "/analyze", body).await), named);
    }

    api.give_plan(&owner, Plan::Pro).await;
    let members = json!({"settings": {"email_recipients": "members"}});
    assert_eq!(api.put(&owner, &path, members).await.status, 200);
    let mail = json!({"to": ["stranger@example.com", owner.email], "subject": "", "text": "t"});
    assert_eq!(pointers(&api.post(&owner, "/send-email", mail).await), ["/subject", "/to/0"]);
}

/// Beside an `Idempotency-Key` that is none, too.
#[tokio::test]
async fn what_is_wrong_beside_a_key_is_named_with_it() {
    let api = Api::new();
    let owner = api.register().await;
    let invitations = format!("/orgs/{}/invitations", owner.org_id);
    for (path, body, named) in [
        ("/items", json!({"name": 5, "x": 1}), &["/name", "/x"][..]),
        ("/analyze", json!({"text": " ", "model": "gpt-99"}), &["/model", "/text"]),
        ("/send-email", json!({"to": [owner.email], "subject": "", "text": 5}), &["/subject", "/text"]),
        (&invitations, json!({"email": "x", "role": "root"}), &["/email", "/role"]),
        ("/items", json!({"name": "a"}), &[]),
    ] {
        let request = api.request(Method::POST, path).bearer_auth(&owner.token).header("Idempotency-Key", "a b");
        let reply = send(request.json(&body)).await;
        let all: Vec<&str> = named.iter().copied().chain(["header/Idempotency-Key"]).collect();
        assert_eq!(pointers(&reply), all, "{path} {body}");
    }
    assert_eq!(item_count(&api, &owner).await, 0);
}

#[tokio::test]
async fn all_that_is_wrong_with_a_query_is_named_at_once() {
    let api = Api::new();
    let actor = api.register().await;
    for path in ["/items".to_owned(), "/jobs".to_owned(), format!("/orgs/{}/members", actor.org_id)] {
        let reply = api.get(&actor, &format!("{path}?limit=0&cursor=x&page=2")).await;
        assert_eq!(pointers(&reply), ["query/cursor", "query/limit", "query/page"], "{path}");
    }
    // A cursor of another filter is none of this list, and of a filter that there is not nobody knows.
    let reply = api.get(&actor, "/jobs?limit=0&state=lost&cursor=x").await;
    assert_eq!(pointers(&reply), ["query/limit", "query/state"]);
    let reply = api.get(&actor, "/items?limit=1&limit=2&page=2&page=3").await;
    assert_eq!(pointers(&reply), ["query/limit", "query/page"]);
}

#[tokio::test]
async fn log_ins_are_checked() {
    let api = Api::new();
    let actor = api.register().await;
    for (password, status) in [("x".to_owned(), 401), ("x".repeat(1 << 20), 422), (String::new(), 422)] {
        let body = json!({"email": actor.email, "password": password});
        assert_eq!(api.call(None, Method::POST, "/auth/login", Some(body)).await.status, status);
    }
}

#[tokio::test]
async fn settings_and_roles_are_checked() {
    let api = Api::new();
    let owner = api.register().await;
    let org = &owner.org_id;
    let cases: [(String, Value, &str); 6] = [
        (format!("/orgs/{org}/settings"), json!({"settings": {"x": 1}}), "/settings/x"),
        (format!("/orgs/{org}/settings"), json!({"settings": {"timezone": "../.."}}), "/settings/timezone"),
        (
            format!("/orgs/{org}/settings"),
            json!({"settings": {"monthly_budget_usd": 1.5}}),
            "/settings/monthly_budget_usd",
        ),
        (
            format!("/orgs/{org}/settings"),
            json!({"settings": {"monthly_budget_usd": "1e9"}}),
            "/settings/monthly_budget_usd",
        ),
        (format!("/orgs/{org}/members/{}", owner.user_id), json!({"role": "root"}), "/role"),
        (format!("/orgs/{org}/members/{}", owner.user_id), json!({"role": "admin", "name": "x"}), "/name"),
    ];
    for (path, body, pointer) in cases {
        assert_eq!(api.put(&owner, &path, body).await.pointer(), pointer, "{path}");
    }
    assert_eq!(api.patch(&owner, "/me", json!({"email": "x@example.com"})).await.pointer(), "/email");
    let item = api.item(&owner).await;
    assert_eq!(api.patch(&owner, &format!("/items/{item}"), json!({})).await.pointer(), "");
    assert_eq!(api.patch(&owner, &format!("/items/{item}"), json!({"version": 9})).await.pointer(), "/version");
    assert_eq!(api.get(&owner, &format!("/items/{item}")).await.body["version"], 1);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let api = Api::new();
    for (method, path) in [(Method::GET, "/nothing"), (Method::DELETE, "/me"), (Method::PUT, "/items")] {
        let reply = api.call(None, method, path, None).await;
        reply.is_problem(404, "not_found");
    }
}
