//! The template's queues, and the functions that a queue or a schedule calls.

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

/// The functions that a queue or a schedule calls, in the file's order.
pub(super) fn event_functions(root: &Node, resources: &Node) -> Result<Vec<EventFunction>, TemplateError> {
    let globals = root.get("Globals").and_then(|globals| globals.get("Function"));
    let mut found = Vec::new();
    for (id, resource) in resources.entries()? {
        if resource.require("Type")?.text()? != "AWS::Serverless::Function" {
            continue;
        }
        let properties = resource.require("Properties")?;
        let Some(events) = properties.get("Events") else { continue };
        for (_, event) in events.entries()? {
            let Some(trigger) = trigger(event)? else { continue };
            let timeout = properties.get("Timeout").or_else(|| globals.and_then(|globals| globals.get("Timeout")));
            let seconds = timeout.ok_or_else(|| properties.error("Timeout is missing"))?.number()?;
            let function = super::functions::function_name(id, properties)?;
            found.push(EventFunction { function, trigger, timeout: Duration::from_secs(seconds) });
        }
    }
    Ok(found)
}

fn trigger(event: &Node) -> Result<Option<Trigger>, TemplateError> {
    let kind = event.require("Type")?;
    if kind.text()? == "Api" {
        return Ok(None);
    }
    let properties = event.require("Properties")?;
    match kind.text()? {
        "SQS" => {
            let number = |name: &str, unset: u64| properties.get(name).map_or(Ok(unset), Node::number);
            let scaling = properties.get("ScalingConfig").and_then(|scaling| scaling.get("MaximumConcurrency"));
            let reports = match properties.get("FunctionResponseTypes") {
                Some(types) => types.items()?.iter().any(|one| one.text() == Ok("ReportBatchItemFailures")),
                None => false,
            };
            Ok(Some(Trigger::Queue {
                queue: attribute_of(properties.require("Queue")?)?,
                batch_size: usize::try_from(number("BatchSize", 10)?).unwrap_or(usize::MAX),
                window: Duration::from_secs(number("MaximumBatchingWindowInSeconds", 0)?),
                maximum_concurrency: scaling.map_or(Ok(1000), Node::number)?.try_into().unwrap_or(usize::MAX),
                reports_failures: reports,
            }))
        }
        "Schedule" | "ScheduleV2" => {
            let expression = properties.get("Schedule").or_else(|| properties.get("ScheduleExpression"));
            let expression = expression.ok_or_else(|| properties.error("Schedule is missing"))?.text()?.to_owned();
            Ok(Some(Trigger::Schedule { expression }))
        }
        other => Err(kind.error(format!("{other} events are not known locally"))),
    }
}
