//! What a machine can tell of the documents: their links lead somewhere, and the tests that they name are there.

use local::system::project_folder;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The files below a folder with this extension, but for what is hidden or built.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(files(&path, extension));
        } else if path.is_file() && path.extension().is_some_and(|one| one == extension) {
            found.push(path);
        }
    }
    found
}

fn documents() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    files(project_folder(), "md").into_iter().map(read).collect()
}

#[test]
fn links_lead_somewhere() {
    let (mut astray, mut links) = (Vec::new(), 0);
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            links += usize::from(!link.is_empty());
            if !link.contains("://") && !path.parent().unwrap().join(link).exists() {
                astray.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(links > 100 && astray.is_empty(), "of {links} links lead nowhere:\n  {}", astray.join("\n  "));
}

/// What a document tells to run is in the `justfile`.
#[test]
fn the_recipes_they_name_are_there() {
    let justfile = fs::read_to_string(project_folder().join("justfile")).unwrap();
    let names = justfile.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    let recipes: BTreeSet<&str> = names.filter_map(|line| line.split([' ', ':']).next()).collect();
    let (mut gone, mut named) = (Vec::new(), 0);
    for (path, text) in documents().iter().filter(|(path, _)| !PAST.iter().any(|name| path.ends_with(name))) {
        // In code marks, or where a line of a block begins.
        for part in text.split(['`', '\n']) {
            let Some(rest) = part.trim_start().strip_prefix("just ") else { continue };
            let name = rest.split(|one: char| !one.is_ascii_alphanumeric() && one != '-').next().unwrap();
            let is_code = text.contains(&format!("`just {name}")) || text.contains(&format!("\njust {name}"));
            if is_code && !name.is_empty() && !name.starts_with('-') {
                named += 1;
                if !recipes.contains(name) {
                    gone.push(format!("{}: just {name}", path.display()));
                }
            }
        }
    }
    assert!(named > 50 && gone.is_empty(), "of {named} recipes are gone:\n  {}", gone.join("\n  "));
}

/// A row has its record's title, date and status.
#[test]
fn the_index_of_decisions_says_what_the_records_say() {
    let folder = project_folder().join("docs/decisions");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    let rows: BTreeSet<String> = index.lines().filter(|line| line.starts_with("| [")).map(str::to_owned).collect();
    let mut records = BTreeSet::new();
    for path in files(&folder, "md") {
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            let text = fs::read_to_string(&path).unwrap();
            let said = |what: &str| text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
            let (number, title) = said("# ").split_once(". ").unwrap();
            records.insert(format!("| [{number}]({name}) | {title} | {} | {} |", said("- Date: "), said("- Status: ")));
        }
    }
    let differ: Vec<&str> = rows.symmetric_difference(&records).map(String::as_str).collect();
    assert!(records.len() > 50 && differ.is_empty(), "index and records differ:\n  {}", differ.join("\n  "));
}

/// They tell of what was.
const PAST: [&str; 2] = ["NOTEBOOK.md", "CHANGELOG.md"];

/// A name of four words or more in code marks is a test's, or a crate's. The notebook and the changelog tell of what was.
#[test]
fn the_tests_they_name_are_there() {
    let texts =
        |extension| files(project_folder(), extension).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let sources: String = texts("rs").chain(texts("toml")).collect();
    let (mut gone, mut names) = (Vec::new(), 0);
    for (path, text) in documents().iter().filter(|(path, _)| !PAST.iter().any(|name| path.ends_with(name))) {
        for code in text.split('`').skip(1).step_by(2) {
            let name = code.rsplit("::").next().unwrap();
            let is_name = name.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_');
            if is_name && name.matches('_').count() >= 3 {
                names += 1;
                if ![format!("fn {name}("), format!("mod {name} "), format!("{name} = ")]
                    .iter()
                    .any(|one| sources.contains(one))
                {
                    gone.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(names > 50 && gone.is_empty(), "of {names} names are gone:\n  {}", gone.join("\n  "));
}
