//! What holds for every reply: request id, CORS, timings, validators, compression.

use crate::api::{Actor, Api, ORIGIN, send};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::template::Template;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

#[tokio::test]
async fn every_reply_has_its_own_request_id_and_names_what_took_time() {
    let api = Api::new();
    let actor = api.register().await;
    let mut ids = HashSet::new();
    for path in ["/me", "/items", "/items/itm_0", "/health", "/users/nobody"] {
        let request = api.request(Method::GET, path).bearer_auth(&actor.token).header("X-Request-Id", "mine");
        let reply = send(request).await;
        assert!(ids.insert(reply.header("x-request-id").to_owned()), "{path}");
        assert!(reply.header("x-request-id").len() >= 8, "{path}");
    }
    assert!(!ids.contains("mine"));
    let timing = api.get(&actor, "/items").await.header("server-timing").to_owned();
    assert!(timing.starts_with("auth;dur="), "{timing}");
}

#[tokio::test]
async fn allowed_origins_and_no_others_get_cors_headers() {
    let api = Api::new();
    for path in ["/health", "/users/nobody", "/me"] {
        for (origin, allowed) in [
            (ORIGIN, true),
            ("http://localhost:3000", true),
            ("http://localhost:51730", false),
            ("https://localhost:5173", false),
            ("null", false),
            ("http://evil.example", false),
        ] {
            let reply = send(api.request(Method::GET, path).header("Origin", origin)).await;
            let expected = if allowed { origin } else { "" };
            assert_eq!(reply.header("access-control-allow-origin"), expected, "{path} {origin}");
            assert_eq!(reply.header("access-control-allow-credentials") == "true", allowed);
            assert_eq!(reply.header("access-control-expose-headers").contains("X-Request-Id"), allowed);
            let vary = reply.headers.get_all("vary").iter().map(|value| value.to_str().unwrap().to_lowercase());
            assert!(vary.collect::<Vec<_>>().join(",").contains("origin"), "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn a_cookie_reads_anywhere_and_writes_from_allowed_origins_only() {
    let api = Api::new();
    let actor = api.register().await;
    let with = |method: Method, path: &str, origin: Option<&str>| {
        let request = api.request(method, path).header("Cookie", format!("a=b; __Host-session={}", actor.token));
        match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        }
    };
    assert_eq!(send(with(Method::GET, "/me", None)).await.status, 200);
    let body = json!({"name": "thing"});
    for origin in [None, Some("http://evil.example"), Some("null")] {
        send(with(Method::POST, "/items", origin).json(&body)).await.is_problem(403, "forbidden_origin");
    }
    assert_eq!(send(with(Method::POST, "/items", Some(ORIGIN)).json(&body)).await.status, 201);
}

#[tokio::test]
async fn reads_with_validators_answer_304() {
    let api = Api::new();
    let actor = api.register().await;
    let item = api.item(&actor).await;
    for path in [
        format!("/users/{}", actor.user_id),
        format!("/orgs/{}/plan", actor.org_id),
        format!("/orgs/{}/settings", actor.org_id),
        format!("/items/{item}"),
        "/items".to_owned(),
        "/models/pricing?provider=anthropic".to_owned(),
        "/openapi.json".to_owned(),
        "/docs".to_owned(),
    ] {
        let first = api.get(&actor, &path).await;
        assert_eq!(first.status, 200, "{path}");
        let tag = first.header("etag");
        assert!(tag.starts_with("W/\""), "{path}: {tag}");
        assert!(!first.header("cache-control").is_empty(), "{path}");
        let again = api.request(Method::GET, &path).bearer_auth(&actor.token).header("If-None-Match", tag);
        let again = send(again).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""), "{path}");
        // What the 200 says to caches (RFC 9110, 15.4.5).
        for name in ["etag", "cache-control", "vary", "content-location", "expires"] {
            let values =
                |reply: &crate::api::Reply| format!("{:?}", reply.headers.get_all(name).iter().collect::<Vec<_>>());
            assert_eq!(values(&again), values(&first), "{path}: {name}");
        }
        assert!(again.header("vary").contains("Accept-Encoding"), "{path}");
    }
}

/// Wherever GET is, in its own spelling and with slashes behind it; `send` looks at what every reply must have.
#[tokio::test]
async fn head_and_slashes_work_on_every_path() {
    let api = Api::new();
    let actor = api.register().await;
    let item = api.item(&actor).await;
    let template = Template::read(&local::system::project_folder().join("template.yaml")).unwrap();
    let filled = |path: &str| {
        let path = path.replace("{user_id}", &actor.user_id).replace("{org_id}", &actor.org_id);
        path.replace("{item_id}", &item).replace("{job_id}", &format!("job_{}", "0".repeat(32)))
    };
    let mut heads = 0;
    for route in &template.routes {
        let path = filled(&route.path);
        let ask = |method: Method, path: &str| {
            send(api.request(method, path).bearer_auth(&actor.token).header("Origin", ORIGIN))
        };
        for path in [format!("{path}/"), format!("/{path}"), path.replace('/', "//")] {
            let preflight = ask(Method::OPTIONS, &path).await;
            assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, ORIGIN), "{path}");
        }
        if route.method != Method::GET {
            continue;
        }
        let (get, head) = (ask(Method::GET, &path).await, ask(Method::HEAD, &path).await);
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        let hidden = ["x-request-id", "server-timing", "date"];
        let shown = |reply: &crate::api::Reply| {
            let mut headers: Vec<_> =
                reply.headers.iter().filter(|(name, _)| !hidden.contains(&name.as_str())).collect();
            headers.sort_by_key(|(name, _)| name.as_str());
            format!("{headers:?}")
        };
        assert_eq!(shown(&head), shown(&get), "{path}");
        let slashed = ask(Method::GET, &format!("{path}/")).await;
        let same = slashed.text == get.text || get.header("cache-control") == "no-store";
        assert!(slashed.status == get.status && same, "{path}/: {}", slashed.text);
        heads += 1;
    }
    assert!(heads > 10, "{heads}");
    let document = api.call(None, Method::GET, "/openapi.json/", None).await;
    assert!(document.body["openapi"].is_string() && document.body["servers"][0]["url"] == ".");
    let created =
        send(api.request(Method::POST, "//items//").bearer_auth(&actor.token).json(&json!({"name": "x"}))).await;
    let found = api.get(&actor, &created.location()).await;
    assert_eq!((found.status, &found.body), (200, &created.body), "{}", created.header("location"));
    // However many slashes a caller adds, the reply does not grow.
    let path = format!("/items{}", "/".repeat(8));
    let most = send(api.request(Method::POST, &path).bearer_auth(&actor.token).json(&json!({"name": "x"}))).await;
    assert_eq!(api.get(&actor, &most.location()).await.body, most.body, "{}", most.header("location"));
    for slashes in [9, 9_000] {
        let path = format!("/items{}", "/".repeat(slashes));
        let refused =
            send(api.request(Method::POST, &path).bearer_auth(&actor.token).json(&json!({"name": "x"}))).await;
        refused.is_problem(404, "not_found");
    }
    assert_eq!(api.get(&actor, "/items").await.body["data"].as_array().map(Vec::len), Some(3), "nothing was made");
}

#[tokio::test]
async fn preflights_allow_what_clients_send_and_pages_read_what_we_say() {
    let api = Api::new();
    let preflight = send(api.request(Method::OPTIONS, "/items").header("Origin", ORIGIN)).await;
    let allowed = preflight.header("access-control-allow-headers").to_lowercase();
    for name in
        ["authorization", "content-type", "traceparent", "tracestate", "x-requested-with", "if-none-match", "prefer"]
    {
        assert!(allowed.split(',').any(|one| one == name), "{name}");
    }
    let exposed = send(api.request(Method::GET, "/health").header("Origin", ORIGIN)).await;
    let exposed = exposed.header("access-control-expose-headers").to_lowercase();
    for name in ["preference-applied", "location", "etag", "retry-after", "idempotent-replayed", "x-request-id"] {
        assert!(exposed.split(", ").any(|one| one == name), "{name}");
    }
    let documented: Value = api.call(None, Method::GET, "/openapi.json", None).await.body;
    for operation in
        documented["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "header") {
            let name = parameter["name"].as_str().unwrap().to_lowercase();
            assert!(allowed.split(',').any(|one| one == name), "{name} is documented");
        }
    }
    // A script reads `Cache-Control` as it is, and `Set-Cookie` never (Fetch, "CORS-safelisted response-header name"). `Vary` is for caches.
    for name in documented["components"]["headers"].as_object().unwrap().keys() {
        let is_exposed = exposed.split(", ").any(|one| name.eq_ignore_ascii_case(one));
        assert!(is_exposed || ["Cache-Control", "Set-Cookie", "Vary"].contains(&name.as_str()), "{name} is documented");
    }
}

#[tokio::test]
async fn preflights_have_a_request_id_of_their_own() {
    let api = Api::new();
    let mut ids = HashSet::new();
    for path in ["/items", "/auth/login", "/openapi.json"] {
        let preflight = api.request(Method::OPTIONS, path).header("Origin", ORIGIN).header("X-Request-Id", "mine");
        let reply = send(preflight).await;
        assert_eq!((reply.status, reply.header("x-request-id").len()), (200, 36), "{path}");
        assert!(ids.insert(reply.header("x-request-id").to_owned()), "{path}");
    }
}

#[tokio::test]
async fn another_organizations_resource_and_a_missing_one_answer_alike() {
    let api = Api::new();
    let (actor, other) = (api.register().await, api.register().await);
    let item = api.item(&other).await;
    let missing = format!("itm_{}", "0".repeat(32));
    let replies = async |path: String| api.get(&actor, &path).await;
    let foreign = replies(format!("/items/{item}")).await;
    for path in [format!("/items/{missing}"), "/items/nonsense".into(), format!("/orgs/{}/plan", other.org_id)] {
        let reply = replies(path).await;
        reply.is_problem(404, "not_found");
        assert_eq!(reply.text, foreign.text);
        let shape = |reply: &crate::api::Reply| {
            // `x-amz…`: what API Gateway adds by itself, among it more ids of the request.
            let hidden =
                |name: &str| ["x-request-id", "server-timing", "date"].contains(&name) || name.starts_with("x-amz");
            let mut headers: Vec<_> = reply.headers.iter().filter(|(name, _)| !hidden(name.as_str())).collect();
            headers.sort_by_key(|(name, _)| name.as_str());
            format!("{headers:?}")
        };
        assert_eq!(shape(&reply), shape(&foreign));
    }
}

#[tokio::test]
async fn health_looks_deep_when_asked() {
    let api = Api::new();
    assert_eq!(api.call(None, Method::GET, "/health", None).await.body, json!({"status": "ok"}));
    let deep = api.call(None, Method::GET, "/health?deep=1", None).await;
    assert_eq!((deep.status, &deep.body["status"]), (200, &json!("ok")), "{}", deep.text);
    let dependencies = deep.body["dependencies"].as_array().unwrap();
    assert_eq!(dependencies[0], json!({"name": "database", "state": "up"}));
    assert_eq!(dependencies[1]["name"], "cache");
    assert_eq!(api.call(None, Method::GET, "/health?deep=2", None).await.pointer(), "query/deep");
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let api = Api::new();
    let page = api.call(None, Method::GET, "/docs", None).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for (directive, begin, end) in [("script-src", "<script>", "</script>"), ("style-src", "<style>", "</style>")] {
        let inside = page.text.split_once(begin).unwrap().1.split_once(end).unwrap().0;
        assert_eq!(page.text.matches(begin).count(), 1, "one {begin} has the hash");
        let hash = STANDARD.encode(Sha256::digest(inside));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{policy}");
    }
    for inline in ["style=\"", "onclick=\"", "onload=\"", "<script ", "<style "] {
        assert!(!page.text.contains(inline), "{inline} is not in the hashes");
    }
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    for outside in ["src=\"http", "src='http", "href=\"http", "@import", "url(http"] {
        assert!(!page.text.contains(outside), "{outside}");
    }
    let document = api.call(None, Method::GET, "/openapi.json", None).await;
    assert!(document.body["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[tokio::test]
async fn a_mutilated_token_is_refused_and_several_are_ambiguous() {
    let api = Api::new();
    let actor = api.register().await;
    let other = api.register().await;
    let last = if actor.token.ends_with('A') { "B" } else { "A" };
    for token in [&actor.token[..40], "", "x", &format!("{}{last}", &actor.token[..actor.token.len() - 1])] {
        let forged = Actor { token: token.to_owned(), ..actor.clone() };
        api.get(&forged, "/me").await.is_problem(401, "invalid_token");
    }
    let twice = api
        .request(Method::GET, "/me")
        .header("Authorization", format!("Bearer {}", actor.token))
        .header("Authorization", format!("Bearer {}", other.token));
    send(twice).await.is_problem(400, "ambiguous_credentials");
    let reply = send(api.request(Method::GET, "/me").header("X-Org-Id", &other.org_id)).await;
    reply.is_problem(401, "authentication_required");
    assert_eq!(reply.header("x-amzn-remapped-www-authenticate"), "Bearer");
    assert!(!reply.headers.contains_key("www-authenticate"), "API Gateway gives it another name");
}
