//! The template's queues, and the functions that a queue, a schedule or the table's stream calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{TemplateError, node::Node};

/// A queue, under its logical id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its logical id, which is its name here.
    pub id: String,
    /// SQS attributes but for the redrive policy.
    pub attributes: BTreeMap<String, String>,
    /// Where messages go that were received too often, and how often that is.
    pub redrive: Option<(String, u64)>,
}

/// What calls a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Batches of a queue's messages.
    Queue { queue: String, batch_size: usize, window: Duration, maximum_concurrency: usize, reports_failures: bool },
    /// A rate, as the template writes it.
    Schedule { expression: String },
    /// Batches of the table's stream.
    Stream(StreamMapping),
}

/// How the changes of the table reach a function, with the names of `AWS::Lambda::EventSourceMapping`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMapping {
    pub batch_size: usize,
    /// Older records are not delivered, nor again.
    pub maximum_record_age: Duration,
    /// How often a batch is tried again; `None` is until it is too old.
    pub maximum_retry_attempts: Option<u32>,
    /// Whether a batch that fails as a whole comes again in two halves.
    pub bisects: bool,
    pub reports_failures: bool,
    /// Patterns in JSON, any of which lets a record through.
    pub filters: Vec<String>,
}

/// A function that no request calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFunction {
    /// Its folder's name.
    pub function: String,
    pub trigger: Trigger,
    pub timeout: Duration,
}

/// All queues, dead-letter queues before the queues that name them.
pub(super) fn queues(resources: &Node) -> Result<Vec<Queue>, TemplateError> {
    let mut queues = Vec::new();
    for (id, resource) in resources.entries()? {
        if resource.require("Type")?.text()? == "AWS::SQS::Queue" {
            queues.push(queue(id, resource)?);
        }
    }
    queues.sort_by_key(|queue: &Queue| queue.redrive.is_some());
    Ok(queues)
}

fn queue(id: &str, resource: &Node) -> Result<Queue, TemplateError> {
    let mut queue = Queue { id: id.to_owned(), attributes: BTreeMap::new(), redrive: None };
    let Some(properties) = resource.get("Properties") else { return Ok(queue) };
    for name in ["VisibilityTimeout", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "DelaySeconds"] {
        if let Some(value) = properties.get(name) {
            queue.attributes.insert(name.to_owned(), value.number()?.to_string());
        }
    }
    if let Some(policy) = properties.get("RedrivePolicy") {
        let target = attribute_of(policy.require("deadLetterTargetArn")?)?;
        queue.redrive = Some((target, policy.require("maxReceiveCount")?.number()?));
    }
    Ok(queue)
}

/// The logical id in `!GetAtt <id>.Arn`.
fn attribute_of(node: &Node) -> Result<String, TemplateError> {
    let id = node.attribute().and_then(|attribute| attribute.strip_suffix(".Arn"));
    id.map(str::to_owned).ok_or_else(|| node.error("must be !GetAtt <queue>.Arn"))
}

/// The functions that a queue, a schedule or the table's stream calls, in the file's order.
pub(super) fn event_functions(root: &Node, resources: &Node) -> Result<Vec<EventFunction>, TemplateError> {
    let globals = root.get("Globals").and_then(|globals| globals.get("Function"));
    let function = |id: &str, properties: &Node, trigger| {
        let timeout = properties.get("Timeout").or_else(|| globals.and_then(|globals| globals.get("Timeout")));
        let seconds = timeout.ok_or_else(|| properties.error("Timeout is missing"))?.number()?;
        let function = super::functions::function_name(id, properties)?;
        Ok(EventFunction { function, trigger, timeout: Duration::from_secs(seconds) })
    };
    let mut found = Vec::new();
    for (id, resource) in resources.entries()? {
        let kind = resource.require("Type")?.text()?;
        if kind == "AWS::Lambda::EventSourceMapping" {
            let properties = resource.require("Properties")?;
            let name = properties.require("FunctionName")?;
            let id = name.reference().and_then(|alias| alias.strip_suffix(".Alias"));
            let id = id.ok_or_else(|| name.error("must be !Ref <function>.Alias"))?;
            let called = resources.require(id)?.require("Properties")?;
            found.push(function(id, called, mapping(properties)?)?);
        }
        if kind != "AWS::Serverless::Function" {
            continue;
        }
        let properties = resource.require("Properties")?;
        let Some(events) = properties.get("Events") else { continue };
        for (_, event) in events.entries()? {
            if let Some(trigger) = trigger(event)? {
                found.push(function(id, properties, trigger)?);
            }
        }
    }
    Ok(found)
}

/// What an `AWS::Lambda::EventSourceMapping` brings: a stream is read from a position, a queue from its front.
fn mapping(properties: &Node) -> Result<Trigger, TemplateError> {
    match properties.get("StartingPosition") {
        Some(_) => Ok(Trigger::Stream(stream_mapping(properties)?)),
        None => queue_mapping(properties),
    }
}

fn queue_mapping(properties: &Node) -> Result<Trigger, TemplateError> {
    for (name, value) in properties.entries()? {
        match name.as_str() {
            // A region that stands by has it off; here there is one, which runs its jobs.
            "Enabled" => {}
            "EventSourceArn" | "FunctionName" | "BatchSize" | "MaximumBatchingWindowInSeconds" => {}
            "ScalingConfig" | "FunctionResponseTypes" => {}
            _ => return Err(value.error("is not known locally")),
        }
    }
    let number = |name: &str, unset: u64| properties.get(name).map_or(Ok(unset), Node::number);
    let scaling = properties.get("ScalingConfig").and_then(|scaling| scaling.get("MaximumConcurrency"));
    Ok(Trigger::Queue {
        queue: attribute_of(properties.require("EventSourceArn")?)?,
        batch_size: usize::try_from(number("BatchSize", 10)?).unwrap_or(usize::MAX),
        window: Duration::from_secs(number("MaximumBatchingWindowInSeconds", 0)?),
        maximum_concurrency: scaling.map_or(Ok(1000), Node::number)?.try_into().unwrap_or(usize::MAX),
        reports_failures: reports_failures(properties)?,
    })
}

fn stream_mapping(properties: &Node) -> Result<StreamMapping, TemplateError> {
    for (name, value) in properties.entries()? {
        match (name.as_str(), value) {
            ("EventSourceArn", arn) if arn.own_table().unwrap_or(arn).attribute() != Some("Table.StreamArn") => {
                return Err(arn.error("must be !GetAtt Table.StreamArn"));
            }
            ("StartingPosition", position) if position.text()? != "TRIM_HORIZON" => {
                return Err(position.error("must be TRIM_HORIZON: the local system knows no other"));
            }
            // There is one shard here, and one batch of it at a time.
            ("EventSourceArn" | "StartingPosition" | "FunctionName" | "ParallelizationFactor", _) => {}
            ("BatchSize" | "MaximumRecordAgeInSeconds" | "MaximumRetryAttempts" | "FilterCriteria", _) => {}
            ("BisectBatchOnFunctionError" | "FunctionResponseTypes", _) => {}
            ("MaximumBatchingWindowInSeconds", window) if window.number()? == 0 => {}
            _ => return Err(value.error("is not known locally")),
        }
    }
    let attempts = properties.require("MaximumRetryAttempts")?;
    let filters = match properties.get("FilterCriteria") {
        Some(criteria) => criteria.require("Filters")?.items()?,
        None => &[],
    };
    let pattern = |filter: &Node| Ok(filter.require("Pattern")?.text()?.to_owned());
    Ok(StreamMapping {
        batch_size: usize::try_from(properties.require("BatchSize")?.number()?).unwrap_or(usize::MAX),
        maximum_record_age: Duration::from_secs(properties.require("MaximumRecordAgeInSeconds")?.number()?),
        maximum_retry_attempts: match attempts.text()? {
            "-1" => None,
            _ => Some(attempts.number()?.try_into().unwrap_or(u32::MAX)),
        },
        bisects: properties.require("BisectBatchOnFunctionError")?.text()? == "true",
        reports_failures: reports_failures(properties)?,
        filters: filters.iter().map(pattern).collect::<Result<_, _>>()?,
    })
}

fn reports_failures(properties: &Node) -> Result<bool, TemplateError> {
    let Some(types) = properties.get("FunctionResponseTypes") else { return Ok(false) };
    Ok(types.items()?.iter().any(|one| one.text() == Ok("ReportBatchItemFailures")))
}

fn trigger(event: &Node) -> Result<Option<Trigger>, TemplateError> {
    let kind = event.require("Type")?;
    if kind.text()? == "Api" {
        return Ok(None);
    }
    let properties = event.require("Properties")?;
    match kind.text()? {
        "Schedule" | "ScheduleV2" => {
            let expression = properties.get("Schedule").or_else(|| properties.get("ScheduleExpression"));
            let expression = expression.ok_or_else(|| properties.error("Schedule is missing"))?.text()?.to_owned();
            Ok(Some(Trigger::Schedule { expression }))
        }
        other => Err(kind.error(format!("{other} events are not known locally"))),
    }
}
