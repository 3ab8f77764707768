//! The cache can hold as many connections as the template's concurrency allows to be made.

use local::system::project_folder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What Lambda keeps unreserved in each account, and what an account has unless it was raised.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
const UNRESERVED: u32 = 100;
const ACCOUNT: u32 = 1000;

/// The folders of the functions whose code asks for the cache.
fn functions_with_a_cache() -> Vec<String> {
    let folders = fs::read_dir(project_folder().join("functions")).unwrap();
    let uses = |name: &String| {
        let sources = fs::read_dir(project_folder().join("functions").join(name).join("src")).unwrap();
        sources.map(|file| file.unwrap().path()).filter(|path| path.is_file()).any(|path| {
            let code = fs::read_to_string(path).unwrap();
            code.contains(".cache()")
        })
    };
    folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).filter(uses).collect()
}

/// The folders of the functions to which the template gives the cache of their own process only.
fn with_memory_only(template: &str) -> BTreeSet<&str> {
    let mut function = "";
    let mut found = BTreeSet::new();
    for line in template.lines().map(str::trim) {
        if let Some(folder) = line.strip_prefix("CodeUri: target/lambda/") {
            function = folder.trim_end_matches('/');
        } else if line == "CACHE_URL: \"memory:\"" {
            found.insert(function);
        }
    }
    found
}

/// Environments reserved by each function that reserves any, by folder.
fn reserved(template: &str) -> BTreeMap<String, u32> {
    let mut reserved = BTreeMap::new();
    let mut function = "";
    for line in template.lines().map(str::trim) {
        if let Some(folder) = line.strip_prefix("CodeUri: target/lambda/") {
            function = folder.trim_end_matches('/');
        }
        if let Some(value) = line.strip_prefix("ReservedConcurrentExecutions: ") {
            let count = value
                .strip_prefix("!If [HasCacheServer, ")
                .and_then(|rest| rest.strip_suffix(", !Ref AWS::NoValue]"))
                .unwrap_or(value);
            reserved.insert(function.to_owned(), count.parse().unwrap_or_else(|_| panic!("{function}: {line}")));
        }
    }
    reserved
}

/// A number of `Metadata: CacheConnections`.
fn stated(template: &str, name: &str) -> u32 {
    let line = template.lines().find_map(|line| line.trim().strip_prefix("CacheConnections: {")).unwrap();
    let number = line.split(['{', ',', '}']).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(": "));
    number.unwrap().parse().unwrap()
}

#[test]
fn the_cache_can_hold_the_connections_of_all_environments() {
    let template = fs::read_to_string(project_folder().join("template.yaml")).unwrap();
    let reserved = reserved(&template);
    let alone = with_memory_only(&template);
    let functions: Vec<_> =
        functions_with_a_cache().into_iter().filter(|name| !alone.contains(name.as_str())).collect();
    assert!(functions.len() >= 12, "{functions:?}");
    let environments: u32 = functions
        .iter()
        .map(|name| *reserved.get(name).unwrap_or_else(|| panic!("{name} uses the cache and reserves no concurrency")))
        .sum();
    assert_eq!(stated(&template, "Environments"), environments, "state the sum in template.yaml");
    let connections = environments * stated(&template, "PerEnvironment");
    assert!(connections <= stated(&template, "Limit"), "{connections} connections");
    let stated_too = format!("{environments} environments × {} connections", stated(&template, "PerEnvironment"));
    assert!(template.contains(&stated_too), "the comment says {stated_too:?}");
    assert!(reserved.values().sum::<u32>() + UNRESERVED <= ACCOUNT, "{reserved:?}");
}
