//! What the functions of a repository still lack, all of it at once: told from its files, so that a copy can be asked too.

use crate::{privileges, template};
use local::template::Template;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How a comment begins where `just new` leaves something to a function's author.
const MARK: &str = "just new:";

const SCENARIOS: &str = "lab/bench/scenarios.py";
const GROWTH: &str = "lab/load/tests/growth/endpoints.rs";
const MATRIX: &str = "tests/suite/matrix.rs";
const BODIES: &str = "tests/suite/bodies.rs";
const TAGS: &str = "local/src/openapi.rs";
const DOCUMENT: &str = "functions/docs/openapi.json";
const SMOKE: &str = "deploy/smoke.py";
const CALLS: &str = "docs/access-patterns.md";

/// The folder names of all functions.
pub(super) fn folders(root: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(root.join("functions")).unwrap();
    let folders = entries.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What is left to be said in the repository at `root`: file by file.
pub(super) async fn left(root: &Path) -> Vec<String> {
    let template = match Template::read(&root.join("template.yaml")) {
        Ok(template) => template,
        Err(error) => return vec![format!("template.yaml: {error}")],
    };
    let uncalled = privileges::uncalled(&template).await;
    let repository = Repository::read(root, template);
    let mut left: Vec<_> = folders(root).iter().flat_map(|name| repository.left_of(name)).collect();
    left.extend(repository.without_folder());
    left.extend(repository.marks());
    left.extend(
        uncalled.iter().map(|name| format!("tests/suite/privileges.rs: a call of {name} that needs its grants")),
    );
    left.extend(template::over(root).map(|over| format!("template.yaml: {over}")));
    left
}

/// What names functions besides their own folders.
struct Repository<'a> {
    root: &'a Path,
    template: Template,
    template_text: String,
    manifest: String,
    table: String,
    scenarios: String,
    growth: String,
    matrix: String,
    bodies: String,
    tags: String,
    smoke: String,
    not_walked: String,
    document: Value,
    /// `README.md` and the pages of `docs/`, with their texts.
    pages: Vec<(String, String)>,
}

impl<'a> Repository<'a> {
    fn read(root: &'a Path, template: Template) -> Self {
        let text = |file: &str| fs::read_to_string(root.join(file)).unwrap();
        let pages = files(root.join("README.md")).into_iter().chain(files(root.join("docs")));
        let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
        Self {
            root,
            template,
            template_text: text("template.yaml"),
            manifest: text("local/Cargo.toml"),
            table: text("local/src/functions.rs"),
            scenarios: text(SCENARIOS),
            growth: text(GROWTH),
            matrix: text(MATRIX),
            bodies: text(BODIES),
            tags: text(TAGS),
            smoke: text(SMOKE),
            not_walked: text("deploy/test_smoke.py"),
            document: serde_json::from_str(&text(DOCUMENT)).unwrap(),
            pages: pages.map(|path| (relative(root, &path), fs::read_to_string(&path).unwrap())).collect(),
        }
    }

    /// What a function lacks.
    fn left_of(&self, name: &str) -> Vec<String> {
        let dependency = format!("{name} = {{ path = \"../functions/{name}\" }}");
        let mut left = Left::default();
        left.unless(self.template.functions.iter().any(|one| one == name), "template.yaml", "its block");
        left.unless(self.manifest.contains(&format!("\n{dependency}\n")), "local/Cargo.toml", &dependency);
        left.unless(
            self.root.join(format!("events/{name}.json")).exists(),
            &format!("events/{name}.json"),
            "its event",
        );
        left.unless(self.scenarios.contains(&format!("Scenario(\"{name}\"")), SCENARIOS, "its Scenario");
        left.unless(self.growth.contains(&format!("(\"{name}\")")), GROWTH, &format!("plain(\"{name}\") in ENDPOINTS"));
        let routes: BTreeSet<String> = self
            .template
            .routes
            .iter()
            // Stands beside each GET, or the template is refused.
            .filter(|route| route.function == name && route.method != Method::HEAD)
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        for route in self.template.routes.iter().filter(|route| route.function == name) {
            let path = route.path.replace('/', "~1");
            let throttle = format!("ResourcePath: \"/{path}\", HttpMethod: {},", route.method);
            left.unless(
                self.template_text.contains(&throttle),
                "template.yaml",
                "`just throttles` writes its throttle",
            );
        }
        left.0.extend(self.row_left(name, &routes));
        left.unless(self.has_calls(name), CALLS, "a row of its calls");
        if !self.template.event_functions.iter().any(|event| event.function == name) {
            self.operations_left(name, &routes, &mut left);
        }
        left.0.iter().map(|what| format!("{what} ({name})")).collect()
    }

    /// The row in the table of functions, which stands in one of the pages.
    fn row_left(&self, name: &str, routes: &BTreeSet<String>) -> Option<String> {
        let row =
            format!("| `{name}` | {}", routes.iter().map(|route| format!("`{route}`")).collect::<Vec<_>>().join(", "));
        let has_row = |text: &str| text.lines().any(|line| line.starts_with(&row));
        if self.pages.iter().any(|(_, text)| has_row(text)) {
            return None;
        }
        let table = self.pages.iter().find(|(_, text)| text.contains("\n| function | method and path |"));
        let page = table.map_or("README.md", |(page, _)| page.as_str());
        Some(format!("{page}: {row} | … | in the table of functions"))
    }

    /// Whether a row of the page begins with it, or with it and others.
    fn has_calls(&self, name: &str) -> bool {
        let page = self.pages.iter().find(|(page, _)| page == CALLS).map_or("", |(_, text)| text.as_str());
        let mut rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        rows.any(|row| row.split('`').skip(1).step_by(2).any(|named| named.split('?').next() == Some(name)))
    }

    /// What a function with routes lacks: its operations are what the template routes to it, and known everywhere.
    fn operations_left(&self, name: &str, routes: &BTreeSet<String>, left: &mut Left) {
        let file = format!("functions/{name}/src/lib.rs");
        let source = fs::read_to_string(self.root.join(&file)).unwrap_or_default();
        let entry = format!("\"{name}\" => {}", name.replace('-', "_"));
        left.unless(self.table.contains(&entry), "local/src/functions.rs", &entry);
        let operations = operations(&source);
        let documented: BTreeSet<String> = operations.iter().map(|operation| operation.route.clone()).collect();
        for route in routes.symmetric_difference(&documented) {
            let place = if routes.contains(route) { "only in template.yaml" } else { "not in template.yaml" };
            left.0.push(format!("{file}: {route} stands {place}"));
        }
        let head: String = source.lines().take_while(|line| line.starts_with("//!")).collect();
        for operation in &operations {
            let Operation { route, id, .. } = operation;
            left.unless(head.contains(&format!("`{route}")), &file, &format!("`{route}` in its first line"));
            left.unless(
                self.matrix.contains(&format!("row(\"{id}\", ")),
                MATRIX,
                &format!("row(\"{id}\", […]) in ROWS"),
            );
            self.said_by_hand(operation, left);
            let (method, path) = route.split_once(' ').unwrap();
            let committed = &self.document["paths"][path][method.to_lowercase()]["operationId"];
            left.unless(*committed == id.as_str(), DOCUMENT, "`just openapi` writes it");
        }
    }

    /// What an operation has besides its row: a tag that the document describes, a call of the smoke walk, and samples of its body.
    fn said_by_hand(&self, operation: &Operation, left: &mut Left) {
        let Operation { route, id, tag, takes_body } = operation;
        let described = format!("(name = \"{tag}\", description = ");
        left.unless(self.tags.contains(&described), TAGS, &format!("{described}…) among its tags"));
        // That the walk comes so far, its own test says.
        left.unless(
            calls(&self.smoke).iter().any(|call| is_call_of(call, route))
                || self.not_walked.contains(&format!("\"{route}\"")),
            SMOKE,
            &format!("a call of {route}, or why not in NOT_WALKED of deploy/test_smoke.py"),
        );
        for (text, file, what) in [(&self.matrix, MATRIX, "body"), (&self.bodies, BODIES, "samples")] {
            let has_arm = [" =>", " |"].iter().any(|after| text.contains(&format!("\"{id}\"{after}")));
            left.unless(!takes_body || has_arm, file, &format!("\"{id}\" => … in `{what}`"));
        }
    }

    /// What belongs to no function.
    fn without_folder(&self) -> Vec<String> {
        let folders = folders(self.root);
        let events = files(self.root.join("events"));
        let events = events.iter().filter(|path| !path.starts_with(self.root.join("events/corpus")));
        let events = events.map(|path| path.file_stem().unwrap().to_str().unwrap());
        let events =
            events.filter(|name| !folders.contains(*name)).map(|name| format!("events/{name}.json: no function"));
        let template = self.template.functions.iter().filter(|name| !folders.contains(*name));
        events.chain(template.map(|name| format!("template.yaml: {name} has no folder in functions/"))).collect()
    }

    /// What `just new` left to an author.
    fn marks(&self) -> Vec<String> {
        let sources = files(self.root.join("functions")).into_iter();
        let places = sources.chain([self.root.join("template.yaml"), self.root.join(SCENARIOS)]);
        let mut marks = Vec::new();
        for path in places {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for (index, line) in text.lines().enumerate() {
                if let Some((_, what)) = line.split_once(MARK) {
                    marks.push(format!("{}:{}: {}", relative(self.root, &path), index + 1, what.trim()));
                }
            }
        }
        marks
    }
}

/// `file: what` of all that is missing.
#[derive(Default)]
struct Left(Vec<String>);

impl Left {
    fn unless(&mut self, stands: bool, file: &str, what: &str) {
        if !stands {
            self.0.push(format!("{file}: {what}"));
        }
    }
}

/// A `#[utoipa::path(…)]`.
struct Operation {
    /// Method and path.
    route: String,
    id: String,
    tag: String,
    takes_body: bool,
}

fn operations(source: &str) -> Vec<Operation> {
    let operation = |text: &str| {
        let (method, text) = text.split_once(", path = \"")?;
        let (path, text) = text.split_once("\", operation_id = \"")?;
        let (attribute, _) = text.split_once(" fn ")?;
        Some(Operation {
            route: format!("{} {path}", method.to_uppercase()),
            id: text.split('"').next()?.to_owned(),
            tag: attribute.split_once("tag = \"")?.1.split('"').next()?.to_owned(),
            takes_body: attribute.contains("request_body"),
        })
    };
    let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
    source.split("#[utoipa::path(").skip(1).filter_map(|text| operation(text.trim_start())).collect()
}

/// The calls that the smoke walk's text has, each as method and path: of a path in quotes, or of the `path` that was set last.
fn calls(smoke: &str) -> Vec<String> {
    let (mut calls, mut path) = (Vec::new(), "");
    for line in smoke.lines() {
        if let Some(set) = line.trim_start().strip_prefix("path = f\"") {
            path = set.split('"').next().unwrap_or_default();
        }
        for (at, own) in line.match_indices("self.") {
            let Some((function, arguments)) = line[at + own.len()..].split_once('(') else { continue };
            let call = match function {
                "get" => Some(("GET", arguments)),
                "call" | "read" | "refused" => arguments.strip_prefix('"').and_then(|rest| rest.split_once("\", ")),
                _ => None,
            };
            let Some((method, place)) = call else { continue };
            let quoted = place.strip_prefix("f\"").or_else(|| place.strip_prefix('"'));
            let called = match quoted {
                Some(quoted) => quoted.split('"').next().unwrap_or_default().replace("{path}", path),
                None if place.starts_with("path") => path.to_owned(),
                None => continue,
            };
            calls.push(format!("{method} {}", called.split('?').next().unwrap_or_default()));
        }
    }
    calls
}

/// Whether it is a call of a route, whose names stand for anything.
fn is_call_of(call: &str, route: &str) -> bool {
    let (call, route): (Vec<&str>, Vec<&str>) = (call.split('/').collect(), route.split('/').collect());
    call.len() == route.len()
        && call.iter().zip(&route).all(|(part, named)| part == named || (named.starts_with('{') && !part.is_empty()))
}

/// A file, or all files below a folder, in order.
fn files(path: PathBuf) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path];
    }
    let mut below: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    below.sort();
    below.into_iter().flat_map(files).collect()
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().display().to_string()
}
