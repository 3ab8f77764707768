//! The template's functions and the routes that their API events declare.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;

use super::{Route, TemplateError, node::Node};

/// How Lambda runs a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSettings {
    /// `ReservedConcurrentExecutions`, where concurrency is reserved.
    pub reserved: Option<u32>,
    pub timeout: Duration,
    pub memory_mb: u64,
}

/// The settings of all functions, by folder name; what is not said at one is said in `Globals`.
pub(super) fn settings(root: &Node, resources: &Node) -> Result<BTreeMap<String, FunctionSettings>, TemplateError> {
    let globals = root.get("Globals").and_then(|globals| globals.get("Function"));
    let mut settings = BTreeMap::new();
    for (id, resource) in resources.entries()? {
        if resource.require("Type")?.text()? != "AWS::Serverless::Function" {
            continue;
        }
        let properties = resource.require("Properties")?;
        let number = |name: &str| {
            let found = properties.get(name).or_else(|| globals.and_then(|globals| globals.get(name)));
            found.ok_or_else(|| properties.error(format!("{name} is missing")))?.number()
        };
        let reserved = properties.get("ReservedConcurrentExecutions");
        // Where a deployment chooses, the first is what it reserves.
        let reserved = reserved.and_then(|value| value.alternatives().map_or(Some(value), <[Node]>::first));
        let one = FunctionSettings {
            reserved: reserved.map(Node::number).transpose()?.and_then(|slots| slots.try_into().ok()),
            timeout: Duration::from_secs(number("Timeout")?),
            memory_mb: number("MemorySize")?,
        };
        settings.insert(function_name(id, properties)?, one);
    }
    Ok(settings)
}

/// The folder names of all functions, and their routes, in the file's order.
pub(super) fn functions(resources: &Node) -> Result<(Vec<String>, Vec<Route>), TemplateError> {
    let mut functions = Vec::new();
    let mut routes: Vec<Route> = Vec::new();
    for (id, resource) in resources.entries()? {
        if resource.require("Type")?.text()? != "AWS::Serverless::Function" {
            continue;
        }
        let properties = resource.require("Properties")?;
        let function = function_name(id, properties)?;
        if let Some(events) = properties.get("Events") {
            for (_, event) in events.entries()? {
                if event.require("Type")?.text()? != "Api" {
                    continue;
                }
                let route = route(event.require("Properties")?, &function)?;
                if let Some(twin) = routes.iter().find(|other| other.method == route.method && other.path == route.path)
                {
                    return Err(
                        event.error(format!("{} {} is already routed to {}", route.method, route.path, twin.function))
                    );
                }
                routes.push(route);
            }
        }
        functions.push(function);
    }
    let head_of = |get: &Route| Route { method: Method::HEAD, ..get.clone() };
    if let Some(bare) = routes.iter().find(|route| route.method == Method::GET && !routes.contains(&head_of(route))) {
        // A REST API answers HEAD only where it has that method (RFC 9110, 9.1, wants it wherever GET is).
        return Err(resources.error(format!("GET {} has no HEAD", bare.path)));
    }
    Ok((functions, routes))
}

/// The folder name from `CodeUri`, which the logical id must agree with.
pub(super) fn function_name(id: &str, properties: &Node) -> Result<String, TemplateError> {
    let code = properties.require("CodeUri")?;
    let name = code
        .text()?
        .trim_end_matches('/')
        .strip_prefix("target/lambda/")
        .ok_or_else(|| code.error("must be target/lambda/<function>/"))?;
    let expected: String = name
        .split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect();
    if format!("{expected}Function") != id {
        return Err(code.error(format!("{id} must run its own function, but this is that of {expected}Function")));
    }
    Ok(name.to_owned())
}

fn route(event: &Node, function: &str) -> Result<Route, TemplateError> {
    let api = event.require("RestApiId")?;
    if api.reference() != Some("Api") {
        return Err(api.error("must be !Ref Api"));
    }
    let method = event.require("Method")?;
    let path = event.require("Path")?;
    if !path.text()?.starts_with('/') {
        return Err(path.error("must start with a slash"));
    }
    Ok(Route {
        method: method.text()?.to_ascii_uppercase().parse().map_err(|_| method.error("is not an HTTP method"))?,
        path: path.text()?.to_owned(),
        function: function.to_owned(),
    })
}
