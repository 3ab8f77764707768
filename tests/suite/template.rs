//! What the template states of itself: concurrency adds up to what cache, provider and account can take, and each
//! function is on the right side of the cache's network.

use local::system::project_folder;
use std::collections::BTreeMap;
use std::fs;

/// A function's part of the template, and its code.
struct Function {
    block: String,
    code: String,
}

impl Function {
    /// Environments that it may have.
    fn reserved(&self) -> u32 {
        let line = self.block.lines().find_map(|line| line.trim().strip_prefix("ReservedConcurrentExecutions: "));
        let number =
            line.and_then(|line| line.strip_prefix("!If [ReservesConcurrency, ")?.strip_suffix(", !Ref AWS::NoValue]"));
        number.unwrap_or_else(|| panic!("no concurrency in {}", self.block)).parse().unwrap()
    }

    /// Whether its code asks for the cache, and the template does not give it one of its own process.
    fn uses_cache(&self) -> bool {
        self.code.contains(".cache()") && !self.block.contains("CACHE_URL: \"memory:\"")
    }

    fn is_inside(&self) -> bool {
        self.block.contains("VpcConfig: ")
    }
}

fn template() -> String {
    fs::read_to_string(project_folder().join("template.yaml")).unwrap()
}

/// All functions by the name of their folder.
fn functions() -> BTreeMap<String, Function> {
    let template = template();
    let functions: BTreeMap<_, _> = template
        .split("\n\n")
        .filter_map(|block| {
            let name = block.lines().find_map(|line| line.trim().strip_prefix("CodeUri: target/lambda/"))?;
            let name = name.trim_end_matches('/').to_owned();
            let sources = fs::read_dir(project_folder().join("functions").join(&name).join("src")).unwrap();
            let files = sources.map(|file| file.unwrap().path()).filter(|path| path.is_file());
            let code = files.map(|path| fs::read_to_string(path).unwrap()).collect();
            Some((name, Function { block: block.to_owned(), code }))
        })
        .collect();
    assert_eq!(functions.len(), fs::read_dir(project_folder().join("functions")).unwrap().count());
    functions
}

/// A number of the template's `Metadata`.
fn stated(section: &str, name: &str) -> u32 {
    let template = template();
    let start = format!("{section}: {{");
    let line = template.lines().find_map(|line| line.trim().strip_prefix(start.as_str())).unwrap();
    let number = line.split([',', '}']).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(": "));
    number.unwrap().parse().unwrap()
}

#[test]
fn an_account_has_the_environments_that_are_reserved() {
    let reserved: u32 = functions().values().map(Function::reserved).sum();
    assert_eq!(stated("Environments", "Reserved"), reserved, "state the sum in template.yaml");
    // What Lambda keeps unreserved in each account, and what an account has unless it was raised.
    // <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
    assert_eq!((stated("Environments", "Unreserved"), stated("Environments", "Account")), (100, 1000));
    assert!(reserved + 100 <= 1000, "{reserved}");
}

#[test]
fn the_cache_can_hold_the_connections_of_all_environments() {
    let functions = functions();
    let cached: Vec<_> = functions.values().filter(|function| function.uses_cache()).collect();
    assert!(cached.len() >= 12, "{}", cached.len());
    let environments: u32 = cached.iter().map(|function| function.reserved()).sum();
    assert_eq!(stated("CacheConnections", "Environments"), environments, "state the sum in template.yaml");
    let each = stated("CacheConnections", "PerEnvironment");
    assert!(environments * each <= stated("CacheConnections", "Limit"));
    assert!(template().contains(&format!("{environments} environments × {each} connections")), "the comment");
}

#[test]
fn the_model_provider_takes_the_calls_of_all_workers() {
    let worker = &functions()["worker"];
    let line = worker.code.lines().find_map(|line| line.strip_prefix("const AT_ONCE: usize = ")).unwrap();
    let at_once: u32 = line.trim_end_matches(';').parse().unwrap();
    let environments = worker.reserved();
    assert!(worker.block.contains(&format!("MaximumConcurrency: {environments} }}")), "no messages for nobody");
    assert_eq!(
        (stated("ProviderCalls", "Environments"), stated("ProviderCalls", "PerEnvironment")),
        (environments, at_once)
    );
    assert!(environments * at_once <= stated("ProviderCalls", "Limit"));
}

/// From inside the network only cache and database can be reached.
#[test]
fn who_uses_the_cache_is_in_its_network_and_who_uses_anything_else_is_not() {
    for (name, function) in functions() {
        assert_eq!(function.is_inside(), function.uses_cache(), "{name}");
        let others = ["JOBS_QUEUE_URL", "sqs:", "ses:", "secretsmanager:"];
        let needs_internet = others.iter().any(|other| function.block.contains(other));
        assert!(!(function.is_inside() && needs_internet), "{name} needs both");
        let connects = function.block.contains("connect-to-cache");
        assert_eq!(connects, function.is_inside(), "{name}'s role may log in to the cache");
    }
}

#[test]
fn a_message_is_hidden_for_six_times_the_time_that_its_worker_has() {
    let template = template();
    let number = |text: &str, name: &str| -> u32 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let worker = &functions()["worker"].block;
    assert!(number(&template, "VisibilityTimeout: ") >= 6 * number(worker, "Timeout: "));
}
