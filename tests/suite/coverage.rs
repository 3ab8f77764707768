//! Every function's folder has its template resource, local route, event, OpenAPI operation and docs; and
//! the committed document is what the code says.

use crate::api::Api;
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;
use local::{Options, System, background, functions, openapi, system::project_folder};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn folders() -> BTreeSet<String> {
    let entries = fs::read_dir(project_folder().join("functions")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// `get-org-plan` → `GetOrgPlan`.
fn pascal_case(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[test]
fn every_function_stands_everywhere() {
    let root = project_folder();
    let template = fs::read_to_string(root.join("template.yaml")).unwrap();
    let scenarios = fs::read_to_string(root.join("lab/bench/scenarios.py")).unwrap();
    let document: Value = serde_json::from_str(&openapi::document()).unwrap();
    let operations: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let mounted: BTreeSet<String> =
        functions::NAMES.iter().chain(&background::NAMES).map(|name| (*name).to_owned()).collect();
    assert_eq!(mounted, folders(), "local/src/functions.rs or background.rs mounts every folder of functions/");
    for name in folders() {
        assert!(template.contains(&format!("\n  {}Function:\n", pascal_case(&name))), "{name} in template.yaml");
        assert!(template.contains(&format!("CodeUri: target/lambda/{name}/\n")), "{name}'s CodeUri");
        // A function that an event calls has no operation.
        let has_operation = operations.contains(name.replace('-', "_").as_str());
        assert_eq!(has_operation, functions::NAMES.contains(&name.as_str()), "{name} in the OpenAPI document");
        assert!(root.join(format!("events/{name}.json")).exists(), "events/{name}.json");
        assert!(scenarios.contains(&format!("Scenario(\"{name}\"")), "{name} in lab/bench/scenarios.py");
    }
    let events = fs::read_dir(root.join("events")).unwrap().count();
    assert_eq!(events, folders().len(), "an event without a function");
}

/// Who may know whom: functions know `shared` only, `shared` knows `platform`, and neither knows a function.
#[test]
fn no_function_imports_another() {
    let root = project_folder();
    let names = folders();
    let manifests = names.iter().map(|name| root.join(format!("functions/{name}/Cargo.toml")));
    for manifest in manifests.chain([root.join("shared/Cargo.toml"), root.join("shared/platform/Cargo.toml")]) {
        let text = fs::read_to_string(&manifest).unwrap();
        let dependencies = text.split("\n[dependencies]\n").nth(1).unwrap();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            let stranger = names.contains(dependency)
                || ["local", "tests"].contains(&dependency)
                || (dependency == "shared" && manifest.ends_with("platform/Cargo.toml"));
            assert!(!stranger, "{} depends on {dependency}", manifest.display());
        }
    }
}

#[test]
fn the_committed_document_is_current() {
    let committed = fs::read_to_string(project_folder().join("functions/docs/openapi.json")).unwrap();
    assert!(committed == openapi::document(), "run `just openapi` and commit functions/docs/openapi.json");
}

/// Each event of `events/` reaches its function: it parses as a REST API event, its route is the function's,
/// and what it asks is understood (a session or a record that it names may be unknown).
#[tokio::test]
async fn every_event_is_accepted_by_its_function() {
    let api = Api::new();
    for name in functions::NAMES {
        let text = fs::read_to_string(project_folder().join(format!("events/{name}.json"))).unwrap();
        let event: ApiGatewayProxyRequest =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (method, path) = (event.http_method.clone(), event.path.clone().unwrap());
        let query: Vec<String> =
            event.query_string_parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = api.request(method, &format!("{path}?{}", query.join("&")));
        for (header, value) in &event.headers {
            if header != "host" && header != "content-length" && header != "accept-encoding" {
                request = request.header(header, value);
            }
        }
        if let Some(body) = event.body.clone() {
            request = request.body(body);
        }
        let reply = crate::api::send(request).await;
        // No session or record of the event exists here: to be asked for them is to be understood. Unknown
        // routes are 404 too, so only a public read of a record may be one.
        let understood =
            matches!(reply.status, 200 | 201 | 204 | 401 | 409) || (*name == "get-user" && reply.status == 404);
        assert!(understood, "{name}: {} {}", reply.status, reply.text);
        assert!(!reply.header("x-request-id").is_empty());
    }
}

/// The events of the functions that have no route: read, and nothing is left to be tried again.
#[tokio::test]
async fn every_other_event_is_accepted_too() {
    let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let event = |name: &str| fs::read_to_string(project_folder().join(format!("events/{name}.json"))).unwrap();
    let context = system.contexts().get("worker").unwrap();
    let worker = worker::Worker::new(context.config().clone(), system.clock().into()).unwrap();
    // Its job does not exist here: there is nothing to do, now or later.
    let answer = worker::handle(&worker, serde_json::from_str(&event("worker")).unwrap(), u64::MAX).await;
    assert!(answer.batch_item_failures.is_empty());
    let tick = serde_json::from_str(&event("sweeper")).unwrap();
    assert_eq!(
        sweeper::handle(system.contexts().get("sweeper").unwrap(), tick, u64::MAX).await,
        sweeper::Swept::default()
    );
}
