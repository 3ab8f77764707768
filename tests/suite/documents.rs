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

/// What tells of now: neither the notebook nor the releases of the changelog, which tell of what was.
fn present() -> Vec<(PathBuf, String)> {
    let mut all = documents();
    all.retain(|(path, _)| !path.ends_with("NOTEBOOK.md"));
    for (_, text) in all.iter_mut().filter(|(path, _)| path.ends_with("CHANGELOG.md")) {
        text.truncate(text.find("\n## [0.").unwrap());
    }
    all
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
    for (path, text) in &present() {
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

/// A name of four words or more in code marks is a test's, or a crate's.
#[test]
fn the_tests_they_name_are_there() {
    let texts =
        |extension| files(project_folder(), extension).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let sources: String = texts("rs").chain(texts("toml")).collect();
    let (mut gone, mut names) = (Vec::new(), 0);
    for (path, text) in &present() {
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

/// `local` is a package, which is on nobody's path, and a word of the shell. Decisions tell of what was, too.
#[test]
fn no_command_begins_with_the_package() {
    let template = project_folder().join("template.yaml");
    let described = fs::read_to_string(&template).unwrap();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, text) in present().into_iter().chain([(template, described)]) {
        if path.parent().unwrap().ends_with("docs/decisions") {
            continue;
        }
        for code in text.split('`').skip(1).step_by(2) {
            seen += code.lines().filter(|line| line.starts_with("just ") || line.starts_with("cargo ")).count();
            if code.lines().any(|line| line.starts_with("local ")) {
                wrong.push(format!("{}: {code}", path.display()));
            }
        }
    }
    let wrong = wrong.join("\n  ");
    assert!(seen > 50 && wrong.is_empty(), "`just operate …` or `cargo run --release -- …` can be typed:\n  {wrong}");
}

/// Of one organization that is most of the traffic, and of a thousand others.
#[test]
fn the_readme_has_the_figures_of_the_page_on_hot_tenants() {
    let read = |path: &str| fs::read_to_string(project_folder().join(path)).unwrap();
    let (readme, page) = (read("README.md"), read("docs/hot-tenants.md"));
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let measured = page.split_once("**After**").unwrap().1;
    let p99 = |name: &str| {
        let mut rows = measured.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        rows.find(|cells| cells.get(1) == Some(&name)).unwrap()[6].to_owned()
    };
    let hot = format!("p99 {}.", p99("**the hot organization**"));
    let (beside, alone) = (p99("other organizations, beside it"), p99("the same without it"));
    let others = format!("500 requests a second: all are answered, p99 {beside} beside it, {alone} without it.");
    for figure in [hot, others] {
        assert!(figure.contains(" ms") && readme.contains(&figure), "the README lacks: {figure}");
    }
    for text in [&readme, &page] {
        assert!(text.contains("the cache took no time"), "what was not measured is said beside what was");
    }
}

/// What calls the system under test is tried on a deployed stack too, or the reason stands beside.
#[test]
fn what_a_deployed_stack_is_not_tried_with_has_its_reason() {
    let runner = fs::read_to_string(project_folder().join("deploy/deploy-local.py")).unwrap();
    let folder = project_folder().join("tests/suite");
    let (mut unlisted, mut listed) = (Vec::new(), 0);
    // `Api` itself is no test.
    for path in files(&folder, "rs").into_iter().filter(|path| !path.ends_with("suite/api.rs")) {
        let calls = ["Api", "::", "new()"].concat();
        if !fs::read_to_string(&path).unwrap().contains(&calls) {
            continue;
        }
        let module = path.strip_prefix(&folder).unwrap().with_extension("");
        let module = module.to_str().unwrap().replace('/', "::") + "::";
        let is_listed = module.match_indices("::").any(|(at, _)| runner.contains(&format!("\"{}::\"", &module[..at])));
        if is_listed {
            listed += 1;
        } else {
            unlisted.push(module);
        }
    }
    assert!(listed > 10 && unlisted.is_empty(), "in SUITE of deploy/deploy-local.py, or in NOT_HERE: {unlisted:?}");
}

/// Nothing in production exists for `local`, nor knows what that is made of.
#[test]
fn production_names_nothing_of_the_local_system() {
    let sources = ["shared", "functions"].map(|folder| files(&project_folder().join(folder), "rs")).concat();
    let knows = |path: &&PathBuf| fs::read_to_string(path).unwrap().contains("dynoxide");
    let known: Vec<&PathBuf> = sources.iter().filter(knows).collect();
    assert!(sources.len() > 100 && known.is_empty(), "the embedded database is named in {known:?}");
}
