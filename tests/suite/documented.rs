//! Every reply that any test sees is as the published document says: its status, its headers, its media type. And the document
//! says nothing that is not so.

use crate::api::{Api, Reply, send};
use local::openapi;
use local::system::project_folder;
use local::template::{ResponseType, Template};
use regex_lite::Regex;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::model::text::Name;
use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&openapi::document()).unwrap());

/// What belongs to the connection, not to the reply.
const OF_TRANSPORT: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "transfer-encoding"];

/// What the document's introduction says of every reply, once.
const SAID_ONCE: [&str; 7] = [
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-security-policy",
    "cross-origin-resource-policy",
    "strict-transport-security",
    "x-content-type-options",
];

/// What reads say to caches where it is not `no-store`: what others may keep too, and what its caller may.
const KEPT: [(&str, &str); 8] = [
    ("docs", "public, max-age=300"),
    ("docs_page", "public, max-age=300"),
    ("get_item", "private, no-cache"),
    ("get_model_pricing", "public, max-age=3600, stale-while-revalidate=82800"),
    ("get_org_plan", "private, no-cache"),
    ("get_org_settings", "private, no-cache"),
    ("get_user", "public, no-cache"),
    ("list_items", "private, no-cache"),
];

/// An operation of the document, each once, without those that only leave a body out.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, Method, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().filter(|(method, _)| *method != "head").map(move |(method, operation)| {
            (path.as_str(), Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), operation)
        })
    })
}

/// Follows a reference.
fn resolved(node: &'static Value) -> &'static Value {
    match node["$ref"].as_str() {
        Some(to) => resolved(DOCUMENT.pointer(&to[1..]).unwrap_or_else(|| panic!("{to} is not there"))),
        None => node,
    }
}

/// The operation of a request, if the document has one. A path with more than eight slashes behind it is that of none.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    if path.ends_with(&"/".repeat(9)) {
        return None;
    }
    let segments = |path: &str| path.split('/').filter(|one| !one.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let asked = segments(path);
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let fits = |known: &str| {
        let known = segments(known);
        known.len() == asked.len()
            && known.iter().zip(&asked).all(|(known, asked)| known.starts_with('{') || known == asked)
    };
    let mut found = paths.filter(|(known, _)| fits(known)).map(|(_, methods)| &methods[method.as_str().to_lowercase()]);
    found.find(|operation| !operation.is_null())
}

/// Fails unless the document knows of this reply.
#[track_caller]
pub(crate) fn fits(method: &Method, reply: &Reply) {
    let path = reply.below_base(reply.url.path());
    let Some(operation) = operation(method, &path) else { return };
    let (status, all) = (reply.status.to_string(), &operation["responses"]);
    let shown = || format!("{method} {}: {status} {}", reply.url, reply.text);
    let class = format!("{}XX", &status[..1]);
    let response = [&status, &class].into_iter().map(|status| &all[status]).find(|response| !response.is_null());
    let Some(response) = response.map(resolved) else { panic!("not documented: {}", shown()) };
    let known = response["headers"].as_object().unwrap();
    let media_type = reply.header("content-type").split(';').next().unwrap();
    let is_known = match response["content"].as_object() {
        Some(content) => content.contains_key(media_type),
        None => reply.text.is_empty() || *method == Method::HEAD,
    };
    assert!(is_known, "{media_type:?} is not documented: {}", shown());
    for (name, header) in known {
        // The gateway's own refusals know no timing and no policy of ours, and say so little.
        if resolved(header)["required"] == true {
            assert!(reply.headers.contains_key(name), "without {name}: {}", shown());
        }
    }
    // The introduction says so of each.
    assert!(reply.status != 503 || reply.headers.contains_key("retry-after"), "without Retry-After: {}", shown());
    if reply.body.is_object()
        && let Some(content) = response["content"].get(media_type)
        && let Some(lacking) = lacking(&content["schema"], &reply.body)
    {
        panic!("{lacking} is always there, says the document: {}", shown());
    }
    let id = operation["operationId"].as_str().unwrap();
    let kept = KEPT.iter().find(|(read, _)| *read == id.trim_end_matches("_head"));
    let kept = kept.map_or("no-store", |(_, kept)| *kept);
    let is_read = matches!(*method, Method::GET | Method::HEAD) && matches!(reply.status, 200 | 304);
    let has_token = matches!(reply.status, 200 | 201)
        && (reply.headers.contains_key("set-cookie") || reply.body["token"].is_string());
    if is_read || has_token {
        assert_eq!(reply.header("cache-control"), kept, "{}", shown());
    }
    // What stands in front of a deployed system adds to it.
    if std::env::var_os("CITIZEN_URL").is_some() {
        return;
    }
    for name in reply.headers.keys().map(|name| name.as_str()) {
        let documented = known.keys().any(|known| known.eq_ignore_ascii_case(name));
        let elsewhere = OF_TRANSPORT.contains(&name) || SAID_ONCE.contains(&name);
        // The page's alone (functions/docs).
        let of_page = ["referrer-policy", "cross-origin-opener-policy"].contains(&name);
        assert!(documented || elsewhere || of_page, "{name} is not documented: {}", shown());
    }
}

/// A member that a schema requires and a value has not.
fn lacking(schema: &'static Value, value: &Value) -> Option<String> {
    let schema = resolved(schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let mut tried = choices.iter().map(|choice| match resolved(choice)["type"].as_str() {
            Some("null") if !value.is_null() => Some("null".to_owned()),
            Some("object") if !value.is_object() => Some("an object".to_owned()),
            _ => lacking(choice, value),
        });
        return tried.clone().all(|found| found.is_some()).then(|| tried.next().flatten()).flatten();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().find_map(|part| lacking(part, value));
    }
    match value {
        Value::Object(members) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let missing = required.map(|name| name.as_str().unwrap()).find(|name| !members.contains_key(*name));
            let inside = || {
                let known = members.iter().filter(|(name, _)| !schema["properties"][name.as_str()].is_null());
                known.filter_map(|(name, value)| lacking(&schema["properties"][name.as_str()], value)).next()
            };
            missing.map(str::to_owned).or_else(inside)
        }
        Value::Array(values) => values.iter().find_map(|value| lacking(&schema["items"], value)),
        _ => None,
    }
}

/// Every text of the document, with where it stands.
fn texts(node: &'static Value, at: String, found: &mut Vec<(String, &'static str)>) {
    match node {
        Value::String(text) => found.push((at, text)),
        Value::Array(all) => all.iter().enumerate().for_each(|(index, one)| texts(one, format!("{at}/{index}"), found)),
        Value::Object(all) => all.iter().for_each(|(name, one)| texts(one, format!("{at}/{name}"), found)),
        _ => {}
    }
}

#[test]
fn every_operation_says_what_it_is() {
    let tags: Vec<&str> =
        DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeSet::new();
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
        let names: BTreeSet<&str> = methods.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.contains("get"), names.contains("head"), "{path}: HEAD is answered where GET is");
        for (method, operation) in methods.as_object().unwrap() {
            let shown = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{shown}: its id is another's");
            let [tag] = operation["tags"].as_array().unwrap().as_slice() else { panic!("{shown}: one tag") };
            assert!(tags.contains(&tag.as_str().unwrap()), "{shown}: {tag} is not declared");
            assert!(operation["security"].is_array(), "{shown}: says not who may call");
            for response in operation["responses"].as_object().unwrap().values() {
                assert!(!resolved(response)["headers"]["X-Request-Id"].is_null(), "{shown}");
            }
        }
    }
    let introduction = DOCUMENT["info"]["description"].as_str().unwrap().to_lowercase();
    for name in SAID_ONCE {
        assert!(introduction.contains(name), "{name} stands nowhere");
    }
    let mut all = Vec::new();
    texts(&DOCUMENT, String::new(), &mut all);
    for (at, text) in all {
        assert!(!text.contains("[`") && !text.contains("# Errors"), "{at}: for readers of the source: {text}");
        assert!(!text.contains("Page_") && !text.contains("Result0"), "{at}: {text}");
    }
}

/// What a client generator makes of a page: the list's own type, and a cursor that it need not look for.
#[test]
fn pages_refer_to_what_they_hold() {
    let schemas = &DOCUMENT["components"]["schemas"];
    for of in ["Item", "Job", "Member", "ActiveSession"] {
        let page = &schemas[format!("{of}Page")];
        assert_eq!(page["properties"]["data"]["items"]["$ref"], format!("#/components/schemas/{of}"));
        assert_eq!(page["required"], json!(["data", "next_cursor"]));
    }
    // Always there, if only as `null`; what may be missing is never `null`.
    for (name, member) in [("Job", "started_at"), ("Item", "description"), ("Settings", "timezone")] {
        assert!(schemas[name]["required"].as_array().unwrap().contains(&json!(member)), "{name}.{member}");
    }
    for (name, member) in [("Session", "token"), ("Job", "error")] {
        assert!(!schemas[name]["required"].as_array().unwrap().contains(&json!(member)), "{name}.{member}");
    }
    // Of an e-mail one says either its words or a template, each with its own data.
    let kinds = schemas["SendEmail"]["oneOf"].as_array().unwrap();
    let templates: Vec<&Value> =
        kinds.iter().filter_map(|kind| resolved(kind)["properties"].get("template")).map(|one| &one["enum"]).collect();
    assert_eq!(templates, [&json!(["welcome"]), &json!(["invitation"]), &json!(["analysis_ready"])]);
    // And of what proves an address, and of whoever registers, one of two: neither is nothing, nor both.
    for (name, one, other) in [("EmailProof", "code", "token"), ("NewAccount", "org_name", "invitation")] {
        let kinds = schemas[name]["oneOf"].as_array().unwrap_or_else(|| panic!("{name} is one of two"));
        let [first, second] = kinds.as_slice() else { panic!("{name}: {kinds:?}") };
        for (kind, has, has_not) in [(first, one, other), (second, other, one)] {
            let kind = resolved(kind);
            assert!(kind["required"].as_array().unwrap().contains(&json!(has)), "{name}: {kind}");
            assert!(kind["properties"][has_not].is_null(), "{name}: {kind}");
        }
    }
}

/// What the server checks of parameters and texts. Lengths of texts are in bytes there, which JSON Schema does not count.
#[test]
fn limits_are_as_the_server_counts_them() {
    let (mut keys, mut cursors) = (0, 0);
    for (path, method, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let schema = resolved(&parameter["schema"]);
            match parameter["name"].as_str().unwrap() {
                "Idempotency-Key" => {
                    let limits = (&schema["pattern"], &schema["minLength"], &schema["maxLength"]);
                    assert_eq!(limits, (&json!("^[!-~]{1,255}$"), &json!(1), &json!(255)), "{method} {path}");
                    keys += 1;
                }
                "cursor" => {
                    assert_eq!(schema["minLength"], 1, "{method} {path}");
                    cursors += 1;
                }
                "If-Match" => {
                    assert!(parameter["description"].as_str().unwrap().contains("an empty one matches nothing"));
                }
                _ => {}
            }
        }
    }
    assert_eq!((keys, cursors), (5, 5));
    let schemas = &DOCUMENT["components"]["schemas"];
    for text in [&schemas["EmailText"], &schemas["NewAnalysis"]["properties"]["text"], &schemas["PasswordAttempt"]] {
        assert!(text["maxLength"].is_null() && text["type"] == "string", "{text}");
    }
    let name = Regex::new(schemas["Name"]["pattern"].as_str().unwrap()).unwrap();
    for (text, fits) in
        [("Ada", true), ("\u{2003}Ada Lovelace ", true), ("é", true), (" \u{2003}\u{a0}", false), ("a\nb", false)]
    {
        assert_eq!(name.is_match(text), fits, "{text:?}");
        assert_eq!(text.parse::<Name>().is_ok(), fits, "{text:?}");
    }
}

/// What is written on condition of what was read may have changed each time.
#[test]
fn conflicts_name_what_keeps_changing() {
    let named =
        ["change_password", "end_other_sessions", "login", "put_org_settings", "reset_password", "verify_email"];
    let mut found = 0;
    for (path, method, operation) in operations().filter(|(_, method, _)| *method != Method::GET) {
        let (conflict, is_named) = (&operation["responses"]["409"], named.map(|id| operation["operationId"] == id));
        if conflict.is_null() && !is_named.contains(&true) {
            continue;
        }
        let says = conflict["description"].as_str().unwrap_or_default();
        assert!(says.contains("kept changing meanwhile"), "{method} {path}: {says}");
        found += 1;
    }
    assert_eq!(found, 16);
}

/// What was written by a function that is killed then, that takes longer than the gateway waits, or whose database's replies are lost.
#[test]
fn what_may_have_been_done_is_said_where_it_is_shown() {
    let responses = Template::read(&project_folder().join("template.yaml")).unwrap().gateway_responses;
    let by_gateway = |kind| responses.answer(kind, &HeaderMap::new(), "an id").status();
    let killed = by_gateway(ResponseType::IntegrationFailure);
    let shown = [killed, by_gateway(ResponseType::IntegrationTimeout), StatusCode::SERVICE_UNAVAILABLE];
    for (path, method, operation) in operations().filter(|(_, method, _)| *method != Method::GET) {
        for status in shown {
            let response = resolved(&operation["responses"][status.as_str()]);
            let said = response["description"].as_str().unwrap_or_default();
            assert!(said.contains("may have been done"), "{method} {path}: {status}: {said}");
        }
    }
}

/// Mail about accounts is a kind of job that no organization has, and no caller sees.
#[test]
fn kinds_are_those_that_callers_see() {
    assert_eq!(DOCUMENT["components"]["schemas"]["JobKind"]["enum"], json!(["analyze", "send_email"]));
    assert!(!openapi::document().contains("account_mail"));
}

/// Each code that a source can answer with is in the document, and no other.
#[test]
fn the_codes_are_those_of_the_sources() {
    let root = project_folder();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let mut found = BTreeSet::new();
    let errors = read("shared/src/error.rs");
    let public = errors.split_once("fn public").unwrap().1.split_once("impl From<Busy>").unwrap().0;
    let is_code = |text: &str| text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let single = ["throttled", "timeout", "unavailable"];
    let literals = public.split('"').skip(1).step_by(2);
    found.extend(literals.filter(|text| is_code(text) || single.contains(text)).map(str::to_owned));
    for path in ["shared/platform/src/response.rs", "shared/platform/src/runtime.rs"] {
        let source = read(path);
        let made = source.split("#[cfg(test)]").next().unwrap().split("Problem::new(").skip(1);
        found.extend(made.filter_map(|rest| rest.split('"').nth(1)).filter(|text| is_code(text)).map(str::to_owned));
    }
    let template = read("template.yaml") + &read("local/src/template/responses.rs");
    found.extend(template.split("\"code\":\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    let codes = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    let documented: BTreeSet<String> = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(documented, found);
}

/// What the page and readers begin with works as it stands.
#[tokio::test]
async fn every_example_of_a_body_is_accepted() {
    let api = Api::new();
    let owner = api.register().await;
    let mut tried = 0;
    for (path, method, operation) in operations() {
        let Some(content) = operation["requestBody"]["content"].as_object() else { continue };
        for example in examples(resolved(&content["application/json"]["schema"])) {
            let mut body = example.clone();
            if body.get("email").is_some() {
                body["email"] = json!(owner.email);
            }
            if operation["operationId"] == "register" || operation["operationId"] == "create_invitation" {
                body["email"] = json!(crate::api::unique_email());
            }
            if body.get("to").is_some() {
                // The free plan writes to members.
                body["to"] = json!(owner.email);
            }
            let item = api.item(&owner).await;
            let path = path
                .replace("{org_id}", &owner.org_id)
                .replace("{user_id}", &owner.user_id)
                .replace("{item_id}", &item);
            let request = api.request(method.clone(), &path).bearer_auth(&owner.token).json(&body);
            let reply = send(request).await;
            // The one owner stays one.
            let last_owner = operation["operationId"] == "put_member" && reply.status == 409;
            // A code or a link is in nobody's hands but its reader's.
            let of_mail =
                ["verify_email", "reset_password", "accept_invitation"].map(|id| operation["operationId"] == id);
            let is_of_mail = of_mail.contains(&true) || !body["invitation"].is_null();
            let no_code = is_of_mail && reply.status == 400;
            assert!(reply.status < 300 || last_owner || no_code, "{path} {body}: {} {}", reply.status, reply.text);
            tried += 1;
        }
    }
    assert!(tried >= 13, "{tried}");
}

fn examples(schema: &'static Value) -> Vec<&'static Value> {
    match schema["oneOf"].as_array() {
        Some(choices) => choices.iter().flat_map(|choice| examples(resolved(choice))).collect(),
        None => {
            let examples = schema["examples"].as_array();
            examples.unwrap_or_else(|| panic!("no example: {schema}")).iter().collect()
        }
    }
}
