//! What the functions' roles allow: the statements of their `Policies`, as one grant per action and resource. What could not
//! be held to here (a wildcard, a refusal, an unknown condition) is an error, so that nothing is granted unseen.

use std::collections::{BTreeMap, BTreeSet};

use super::{TemplateError, functions::function_name, node::Node};

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// As IAM names it: `dynamodb:GetItem`.
    pub action: String,
    /// A logical id, `Table.StreamArn`, or the last part of an ARN that the template writes out: `user:citizen-${Environment}`.
    pub resource: String,
    /// Whether only mail from the address `MailFrom` is meant.
    pub is_for_sender: bool,
    /// The records and attributes that are meant, if not all.
    pub within: Option<Within>,
}

/// Part of a table: what `dynamodb:LeadingKeys` and `dynamodb:Attributes` say, and no more than that is returned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within {
    /// Partition keys; a `*` at the end is for any end.
    pub leading_keys: Vec<String>,
    /// The attributes that expressions may name; those of the key are among them.
    pub attributes: Vec<String>,
}

/// The resource of what Lambda needs to poll the table's stream.
pub const STREAM: &str = "Table.StreamArn";

/// The endpoint by which the functions inside the cache's network reach the table.
const ENDPOINT: &str = "DynamoDbEndpoint";

/// The grants of all functions, by folder name.
pub(super) fn grants(resources: &Node) -> Result<BTreeMap<String, Vec<Grant>>, TemplateError> {
    let mut roles = BTreeMap::new();
    let mut through_endpoint = BTreeSet::new();
    for (id, resource) in resources.entries()? {
        if resource.require("Type")?.text()? != "AWS::Serverless::Function" {
            continue;
        }
        let properties = resource.require("Properties")?;
        let mut grants = Vec::new();
        if let Some(policies) = properties.get("Policies") {
            for policy in policies.items()? {
                for statement in policy.require("Statement")?.items()? {
                    read_statement(statement, &mut grants)?;
                }
            }
        }
        if properties.get("VpcConfig").is_some() {
            // Streams are polled from outside: the endpoint leads to tables only.
            let grants = grants.iter().filter(|grant| grant.resource != STREAM);
            let actions = grants.map(|grant| grant.action.clone());
            through_endpoint.extend(actions.filter(|action| action.starts_with("dynamodb:")));
        }
        roles.insert(function_name(id, properties)?, grants);
    }
    if let Some(endpoint) = resources.get(ENDPOINT) {
        check_endpoint(endpoint, &through_endpoint)?;
    }
    Ok(roles)
}

fn read_statement(statement: &Node, grants: &mut Vec<Grant>) -> Result<(), TemplateError> {
    if let Some(alternatives) = statement.alternatives() {
        // Which one a deployment takes depends on its parameters: here what either allows may be used.
        let statements = alternatives.iter().filter(|one| one.reference() != Some("AWS::NoValue"));
        return statements.into_iter().try_for_each(|one| read_statement(one, grants));
    }
    for (key, value) in statement.entries()? {
        if !["Sid", "Effect", "Resource", "Action", "Condition"].contains(&key.as_str()) {
            return Err(value.error("is not known locally"));
        }
    }
    let effect = statement.require("Effect")?;
    if effect.text()? != "Allow" {
        return Err(effect.error("must be Allow"));
    }
    for action in statement.require("Action")?.one_or_more() {
        let name = action.text()?;
        if name.contains('*') || !name.contains(':') {
            return Err(action.error("must be one action by its name"));
        }
        let condition = statement.get("Condition");
        let within = condition.map(within).transpose()?.flatten();
        let is_for_sender = match condition {
            Some(condition) if within.is_none() => sender(condition, name)?,
            _ => false,
        };
        if within.is_some() && name != "dynamodb:UpdateItem" {
            return Err(action.error("is not held to parts of a table locally"));
        }
        for resource in statement.require("Resource")?.one_or_more() {
            let (action, resource) = (name.to_owned(), label(resource)?);
            grants.push(Grant { action, resource, is_for_sender, within: within.clone() });
        }
    }
    Ok(())
}

/// Part of a table, if that is what a condition is about: all three of these, or it is not known.
fn within(condition: &Node) -> Result<Option<Within>, TemplateError> {
    let unknown = || condition.error("is not known locally");
    let entries = condition.entries()?;
    let values = |operator: &str, key: &str| -> Result<Option<Vec<String>>, TemplateError> {
        let Some((_, operands)) = entries.iter().find(|(name, _)| name == operator) else { return Ok(None) };
        let [(name, value)] = operands.entries()? else { return Err(unknown()) };
        if name != key {
            return Err(unknown());
        }
        value.one_or_more().iter().map(|one| one.text().map(str::to_owned)).collect::<Result<_, _>>().map(Some)
    };
    let Some(leading_keys) = values("ForAllValues:StringLike", "dynamodb:LeadingKeys")? else { return Ok(None) };
    let attributes = values("ForAllValues:StringEquals", "dynamodb:Attributes")?.ok_or_else(unknown)?;
    let returned = values("StringEqualsIfExists", "dynamodb:ReturnValues")?.ok_or_else(unknown)?;
    if entries.len() != 3 || returned != ["NONE"] {
        return Err(unknown());
    }
    Ok(Some(Within { leading_keys, attributes }))
}

/// The other condition that is known: `StringEquals: { ses:FromAddress: !Ref MailFrom }`.
fn sender(condition: &Node, action: &str) -> Result<bool, TemplateError> {
    let unknown = || condition.error("is not known locally");
    let [(operator, operands)] = condition.entries()? else { return Err(unknown()) };
    let [(key, value)] = operands.entries()? else { return Err(unknown()) };
    let known = operator == "StringEquals" && key == "ses:FromAddress" && value.reference() == Some("MailFrom");
    if known && action == "ses:SendEmail" { Ok(true) } else { Err(unknown()) }
}

fn label(resource: &Node) -> Result<String, TemplateError> {
    let resource = resource.own_table().unwrap_or(resource);
    if let Some(id) = resource.attribute().and_then(|attribute| attribute.strip_suffix(".Arn")) {
        return Ok(id.to_owned());
    }
    if resource.attribute() == Some(STREAM) {
        return Ok(STREAM.to_owned());
    }
    if let Some(id) = resource.reference() {
        return Ok(id.to_owned());
    }
    // arn:partition:service:region:account:resource; pseudo parameters have colons of their own.
    let arn = resource.substitution().map(|text| text.replace("${AWS::", "${"));
    let part = arn.as_deref().and_then(|arn| arn.splitn(6, ':').nth(5));
    part.map(str::to_owned).ok_or_else(|| resource.error("must be !GetAtt <id>.Arn, !Ref <id> or !Sub of a whole ARN"))
}

/// The network's endpoint asks for permission too: it lets through what the functions inside need, and nothing else.
fn check_endpoint(endpoint: &Node, needed: &BTreeSet<String>) -> Result<(), TemplateError> {
    let policy = endpoint.require("Properties")?.require("PolicyDocument")?;
    let mut allowed = BTreeSet::new();
    for statement in policy.require("Statement")?.items()? {
        for action in statement.require("Action")?.one_or_more() {
            allowed.insert(action.text()?.to_owned());
        }
    }
    if let Some(action) = needed.difference(&allowed).next() {
        return Err(policy.error(format!("lets no {action} through, which a function in its network may do")));
    }
    match allowed.difference(needed).next() {
        Some(action) => Err(policy.error(format!("lets {action} through, which no function in its network may do"))),
        None => Ok(()),
    }
}
