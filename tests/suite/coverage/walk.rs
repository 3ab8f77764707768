//! The walk of docs/adding-an-endpoint.md, in a copy of the repository: what `just new` makes stands, and what it cannot know is
//! named.

use super::left::{folders, left};
use local::system::project_folder;
use local::template::Template;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `just new` and [`left`] read and write.
const PARTS: [&str; 16] = [
    ".ci/new_function.py",
    "deploy/smoke.py",
    "deploy/test_smoke.py",
    "deploy/throttles.py",
    "README.md",
    "docs",
    "events",
    "functions",
    "lab/bench/scenarios.py",
    "lab/load/tests/growth/endpoints.rs",
    "local/Cargo.toml",
    "local/src/functions.rs",
    "local/src/openapi.rs",
    "template.yaml",
    "tests/suite/bodies.rs",
    "tests/suite/matrix.rs",
];

/// A copy that goes with this.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Self {
        let copy = Self(std::env::temp_dir().join(format!("citizen-new-{}", uuid::Uuid::now_v7().simple())));
        PARTS.iter().for_each(|part| copy_all(&project_folder().join(part), &copy.0.join(part)));
        copy
    }

    /// `just new`; `None` where there is no Python. Whoever has the project's tools has one.
    fn just_new(&self, arguments: [&str; 3]) -> Option<Output> {
        match Command::new("python3").arg(self.0.join(".ci/new_function.py")).args(arguments).output() {
            Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os("CITIZEN_TOOLS").is_none() => {
                eprintln!("without python3, `just new` is not tried");
                None
            }
            output => Some(output.unwrap()),
        }
    }

    /// Writes a line before the first that has `before`.
    fn write(&self, file: &str, before: &str, line: &str) {
        let text = fs::read_to_string(self.0.join(file)).unwrap();
        let at = text[..text.find(before).unwrap()].rfind('\n').unwrap() + 1;
        fs::write(self.0.join(file), format!("{}{line}\n{}", &text[..at], &text[at..])).unwrap();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_all(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

#[tokio::test]
async fn all_that_a_new_function_lacks_is_named_at_once() {
    let copy = Copy::new();
    // Not of this function: somebody is on the way of adding another.
    let before = left(&copy.0).await;
    let left = async || left(&copy.0).await.into_iter().filter(|line| !before.contains(line)).collect::<Vec<_>>();
    let Some(made) = copy.just_new(["take-walk", "POST", "/orgs/{org_id}/walks"]) else { return };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let named = left().await;
    let has = |what: &str| assert!(named.iter().any(|line| line.contains(what)), "{what}: {named:#?}");
    has("tests/suite/matrix.rs: row(\"take_walk\", […]) in ROWS");
    has("tests/suite/privileges.rs: a call of take-walk that needs its grants");
    has("lab/load/tests/growth/endpoints.rs: plain(\"take-walk\") in ENDPOINTS");
    has("| `take-walk` | `POST /orgs/{org_id}/walks` | … | in the table of functions");
    has("functions/docs/openapi.json: `just openapi` writes it");
    has("functions/take-walk/src/lib.rs:");
    has("lab/bench/scenarios.py:");
    has("deploy/smoke.py: a call of POST /orgs/{org_id}/walks");
    has("docs/access-patterns.md: a row of its calls (take-walk)");
    assert_eq!(named.len(), 9, "{named:#?}");

    // All that can be said without a build.
    copy.write("tests/suite/matrix.rs", "row(\"login\"", "    row(\"take_walk\", [401, 403, 403, 204, 404]),");
    copy.write("lab/load/tests/growth/endpoints.rs", "plain(\"health\")", "    plain(\"take-walk\"),");
    copy.write(
        "deploy/smoke.py",
        "self.call(\"PUT\"",
        "            self.call(\"POST\", f\"/orgs/{self.org}/walks\", 204)",
    );
    let table = named.iter().find_map(|line| line.split_once(": | `take-walk`")).unwrap().0;
    copy.write(table, "| `health` |", "| `take-walk` | `POST /orgs/{org_id}/walks` | owner |");
    copy.write("docs/access-patterns.md", "| `get-item` |", "| `take-walk` | `GetItem` organization | – |");
    for file in ["functions/take-walk/src/lib.rs", "lab/bench/scenarios.py"] {
        let text = fs::read_to_string(copy.0.join(file)).unwrap();
        fs::write(copy.0.join(file), text.replace("just new:", "")).unwrap();
    }
    let named = left().await;
    assert_eq!(named.len(), 2, "{named:#?}");
    assert!(
        named.iter().any(|line| line.contains("openapi.json")) && named.iter().any(|line| line.contains("privileges"))
    );
}

/// Its path begins as none did, or ends as another's does; and it takes a body.
#[tokio::test]
async fn what_follows_from_a_path_and_from_a_body_is_named() {
    let copy = Copy::new();
    for arguments in [["list-notes", "GET", "/notes"], ["put-plan", "PUT", "/orgs/{org_id}/plan"]] {
        let Some(made) = copy.just_new(arguments) else { return };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let handler = copy.0.join("functions/put-plan/src/lib.rs");
    let text = fs::read_to_string(&handler).unwrap();
    fs::write(&handler, text.replace("    responses((", "    request_body = GivenPlan,\n    responses((")).unwrap();
    let named = left(&copy.0).await;
    for what in [
        "local/src/openapi.rs: (name = \"notes\", description = …) among its tags (list-notes)",
        "deploy/smoke.py: a call of GET /notes, or why not in NOT_WALKED of deploy/test_smoke.py (list-notes)",
        "deploy/smoke.py: a call of PUT /orgs/{org_id}/plan, or why not in NOT_WALKED of deploy/test_smoke.py (put-plan)",
        "tests/suite/matrix.rs: \"put_plan\" => … in `body` (put-plan)",
        "tests/suite/bodies.rs: \"put_plan\" => … in `samples` (put-plan)",
    ] {
        assert!(named.iter().any(|line| line == what), "{what}: {named:#?}");
    }
}

/// An id that a path of the API names, a new path may name too.
#[test]
fn a_new_path_may_name_whatever_another_does() {
    let copy = Copy::new();
    let template = Template::read(&copy.0.join("template.yaml")).unwrap();
    let parts = template.routes.iter().flat_map(|route| route.path.split('/'));
    let names: BTreeSet<&str> = parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let path: String = names.iter().map(|name| format!("/{{{name}}}")).collect();
    let Some(made) = copy.just_new(["take-walk", "POST", &format!("/walks{path}")]) else { return };
    assert!(names.len() > 5 && made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in ["lab/load/tests/growth/endpoints.rs", "tests/suite/matrix.rs"] {
        let text = fs::read_to_string(copy.0.join(file)).unwrap();
        let unknown: Vec<_> = names.iter().filter(|name| !text.contains(&format!("\"{name}\" => "))).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[tokio::test]
async fn a_path_that_function_and_template_say_differently_is_named() {
    let copy = Copy::new();
    let template = fs::read_to_string(copy.0.join("template.yaml")).unwrap();
    let template = template.replace("\"/usage\"", "\"/use\"").replace(" /usage: {", " /use: {");
    fs::write(copy.0.join("template.yaml"), template).unwrap();
    let named = left(&copy.0).await;
    for what in
        ["GET /use stands only in template.yaml (get-usage)", "GET /usage stands not in template.yaml (get-usage)"]
    {
        assert!(named.contains(&format!("functions/get-usage/src/lib.rs: {what}")), "{named:#?}");
    }
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_is_written() {
    let copy = Copy::new();
    let template = fs::read_to_string(copy.0.join("template.yaml")).unwrap();
    for (arguments, message) in [
        (["get-item", "GET", "/other"], "functions/get-item is there already"),
        (["Take_Walk", "POST", "/walks"], "Take_Walk: a name is verb-resource, in small letters"),
        (["take-walk", "WALK", "/walks"], "WALK: one of GET, POST, PUT, PATCH, DELETE"),
        (["take-walk", "POST", "walks"], "walks: a path is like /orgs/{org_id}/close"),
        (["get-walk", "GET", "/walks/{walk_id}"], "walk_id is not known"),
        (["fetch-item", "GET", "/items/{item_id}"], "template.yaml has GET /items/{item_id} already"),
    ] {
        let Some(refused) = copy.just_new(arguments) else { return };
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(message), "{arguments:?}: {said}");
    }
    assert_eq!(folders(&copy.0), folders(project_folder()));
    assert_eq!(fs::read_to_string(copy.0.join("template.yaml")).unwrap(), template);
}
