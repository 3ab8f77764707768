//! Every function stands everywhere where one must: what is left of a new one is named all at once. And the committed document
//! is what the code says.

mod left;
mod walk;

use crate::api::Api;
use crate::stream::sources;
use crate::workers::{self, Workers};
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;
use local::{Options, System, background, functions, openapi, system::project_folder};
use shared::runtime::event::Event as _;
use std::collections::BTreeSet;
use std::fs;

fn folders() -> BTreeSet<String> {
    left::folders(project_folder())
}

#[tokio::test]
async fn every_function_stands_everywhere() {
    let mut left = left::left(project_folder()).await;
    let mounted: BTreeSet<String> =
        functions::NAMES.iter().chain(&background::NAMES).map(|name| (*name).to_owned()).collect();
    left.extend(folders().difference(&mounted).map(|name| format!("local/src/background.rs: what calls {name}")));
    left.extend(
        mounted.difference(&folders()).map(|name| format!("functions/{name}: is mounted by local, and not there")),
    );
    assert!(left.is_empty(), "left to be said ({}):\n  {}\n", left.len(), left.join("\n  "));
}

/// Who may know whom: functions know `shared`, workers' functions `worker` too, `worker` knows `shared`, `shared` knows `platform`, and
/// none knows a function.
#[test]
fn no_function_imports_another() {
    let root = project_folder();
    let names = folders();
    let manifests = names.iter().map(|name| root.join(format!("functions/{name}/Cargo.toml")));
    let below = ["shared", "shared/platform", "shared/worker"].map(|folder| root.join(folder).join("Cargo.toml"));
    for manifest in manifests.chain(below) {
        let text = fs::read_to_string(&manifest).unwrap();
        let dependencies = text.split("\n[dependencies]\n").nth(1).unwrap();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            let stranger = names.contains(dependency)
                || ["local", "tests"].contains(&dependency)
                || (["shared", "worker"].contains(&dependency) && manifest.ends_with("platform/Cargo.toml"))
                || (dependency == "worker" && manifest.ends_with("shared/Cargo.toml"));
            assert!(!stranger, "{} depends on {dependency}", manifest.display());
        }
    }
}

/// The laboratory may use anything, and nothing else uses the laboratory, in its tests either.
#[test]
fn nothing_outside_of_the_laboratory_imports_it() {
    let root = project_folder();
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = workspace.lines().find(|line| line.starts_with("members = ")).unwrap();
    let members = members.split('"').skip(1).step_by(2);
    let (lab, others): (Vec<&str>, Vec<&str>) = members.partition(|member| member.starts_with("lab/"));
    let packages: Vec<&str> = lab.iter().filter_map(|member| member.strip_prefix("lab/")).collect();
    assert!(packages.contains(&"load"), "{packages:?}");
    let of_functions = folders().into_iter().map(|name| format!("functions/{name}"));
    let others = others.into_iter().filter(|member| *member != "functions/*").map(str::to_owned);
    for folder in of_functions.chain(others) {
        let text = fs::read_to_string(root.join(&folder).join("Cargo.toml")).unwrap();
        let names = text.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
        let of_lab: Vec<&str> = names.filter(|name| packages.contains(name)).collect();
        assert!(of_lab.is_empty(), "{folder} depends on {of_lab:?}");
    }
}

/// `a dependency is unavailable` helps no operator: a line says the causes of its error too (`chain`).
#[test]
fn no_log_line_leaves_out_the_causes_of_its_error() {
    const BARE: [&str; 6] = ["%error", "?error", "%err,", "?err,", "%cause", "error = %"];
    let all: Vec<_> = ["shared", "functions"].iter().flat_map(|folder| sources(folder)).collect();
    let lines = all.iter().flat_map(|(file, text)| text.lines().map(move |line| format!("{file}: {}", line.trim())));
    let is_bare = |line: &String| BARE.iter().any(|bare| line.contains(bare));
    let of_errors = lines.filter(|line| is_bare(line) || line.contains("cause = chain("));
    let (without, with): (Vec<_>, Vec<_>) = of_errors.partition(is_bare);
    assert!(without.is_empty(), "cause = chain(&error) in place of %error:\n  {}", without.join("\n  "));
    assert!(with.len() > 40, "{}: are they recognized?", with.len());
}

#[test]
fn the_committed_document_is_current() {
    let committed = fs::read_to_string(project_folder().join("functions/docs/openapi.json")).unwrap();
    assert!(committed == openapi::document(), "run `just openapi` and commit functions/docs/openapi.json");
}

/// What the events say in place of a session's token.
const TOKEN: &str = "REPLACE_WITH_TOKEN";

/// Each event of `events/` reaches its function: it parses as a REST API event, its route is the function's, and from a session of the
/// organization that it names it is understood (another record, link or code that it names may be unknown).
#[tokio::test]
async fn every_event_is_accepted_by_its_function() {
    let api = Api::new();
    let mut refused = Vec::new();
    for name in functions::NAMES {
        let text = fs::read_to_string(project_folder().join(format!("events/{name}.json"))).unwrap();
        let event: ApiGatewayProxyRequest =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let caller = api.register().await;
        let org = event.path_parameters.get("org_id").map_or("org_", String::as_str);
        let path = event.path.clone().unwrap().replace(org, &caller.org_id);
        let query: Vec<String> =
            event.query_string_parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = api.request(event.http_method.clone(), &format!("{path}?{}", query.join("&")));
        for (header, value) in &event.headers {
            if header != "host" && header != "content-length" && header != "accept-encoding" {
                request = request.header(header, value.to_str().unwrap().replace(TOKEN, &caller.token));
            }
        }
        if let Some(body) = event.body.clone() {
            request = request.body(body);
        }
        let reply = crate::api::send(request).await;
        let code = reply.body["code"].as_str().unwrap_or_default();
        let names_a_record = event.path_parameters.keys().any(|name| name != "org_id");
        let understood = match reply.status {
            200..=299 => true,
            // Nobody has this address here yet, or somebody has it since the last run.
            409 => code == "email_taken",
            401 => code == "wrong_credentials",
            404 => names_a_record,
            _ => ["invalid_link", "invalid_code", "wrong_password", "plan_forbids"].contains(&code),
        };
        if !understood || reply.header("x-request-id").is_empty() {
            refused.push(format!("events/{name}.json: {} {}", reply.status, reply.text));
        }
    }
    assert!(refused.is_empty(), "not understood:\n  {}", refused.join("\n  "));
}

/// The events of the functions that have no route: read, and nothing is left to be tried again.
#[tokio::test]
async fn every_other_event_is_accepted_too() {
    let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
    let event = |name: &str| fs::read_to_string(project_folder().join(format!("events/{name}.json"))).unwrap();
    let workers = Workers::of(&system);
    for name in workers::NAMES {
        // Its job does not exist here: there is nothing to do, now or later.
        assert!(workers.returned(name, &event(name), u64::MAX).await.is_empty(), "{name}");
    }
    let tick = sweeper::Tick::read(&event("sweeper"));
    assert_eq!(
        sweeper::handle(system.contexts().get("sweeper").unwrap(), tick, u64::MAX).await,
        sweeper::Swept::default()
    );
    let changes = invalidator::StreamEvent::read(&event("invalidator"));
    let told = invalidator::handle(system.contexts().get("invalidator").unwrap(), changes, u64::MAX).await;
    assert_eq!(serde_json::to_value(told).unwrap(), serde_json::json!({"batchItemFailures": []}));
}
