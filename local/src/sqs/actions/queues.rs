//! Actions on queues: create, find, list, describe, empty, redrive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Nothing, OnQueue, QueueUrl, Sqs};
use crate::sqs::error::{ErrorKind, SqsError, in_range};
use crate::sqs::queues::MoveTask;

/// Attributes that a queue reports but nobody sets.
const REPORTED: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Attributes that may be asked for although a queue need not have them.
const OPTIONAL: [&str; 5] =
    ["KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "RedrivePolicy"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct CreateQueue {
    queue_name: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Url {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct GetQueueUrl {
    queue_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct GetQueueAttributes {
    queue_url: Option<QueueUrl>,
    attribute_names: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct QueueAttributes {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct SetQueueAttributes {
    queue_url: Option<QueueUrl>,
    attributes: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct ListQueues {
    queue_name_prefix: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct ListSources {
    queue_url: Option<QueueUrl>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Serialize)]
pub(in crate::sqs) struct Urls {
    #[serde(rename = "QueueUrls")]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// As [`Urls`]; this one action of SQS writes its list in lower case.
#[derive(Serialize)]
pub(in crate::sqs) struct SourceUrls {
    #[serde(rename = "queueUrls")]
    queue_urls: Vec<String>,
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct StartMove {
    source_arn: Option<String>,
    destination_arn: Option<String>,
    max_number_of_messages_per_second: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct MoveStarted {
    task_handle: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct ListMoves {
    source_arn: Option<String>,
    max_results: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::sqs) struct Moves {
    results: Vec<MoveTask>,
}

impl Sqs {
    pub(in crate::sqs) fn act_create_queue(&self, asked: CreateQueue) -> Result<Url, SqsError> {
        let name = asked.queue_name.unwrap_or_default();
        let queue_url = self.create_queue(&name, &asked.attributes.unwrap_or_default())?;
        Ok(Url { queue_url })
    }

    pub(in crate::sqs) fn act_get_url(&self, asked: GetQueueUrl) -> Result<Url, SqsError> {
        let name = asked.queue_name.ok_or_else(|| SqsError::missing("QueueName"))?;
        self.queues().get(&name)?;
        Ok(Url { queue_url: self.queue_url(&name) })
    }

    pub(in crate::sqs) fn act_get_attributes(&self, asked: GetQueueAttributes) -> Result<QueueAttributes, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        let counts = self.counts(name)?;
        let mut attributes = {
            let queues = self.queues();
            let queue = queues.get(name)?;
            let mut attributes = queue.attributes.written();
            let reported = [
                counts.visible.to_string(),
                counts.delayed.to_string(),
                counts.in_flight.to_string(),
                (queue.created_ms / 1000).to_string(),
                (queue.modified_ms / 1000).to_string(),
                queue.arn.clone(),
            ];
            attributes.extend(REPORTED.map(str::to_owned).into_iter().zip(reported));
            attributes
        };
        let names = asked.attribute_names.unwrap_or_default();
        for name in &names {
            let known = name == "All" || attributes.contains_key(name) || OPTIONAL.contains(&name.as_str());
            if !known {
                return Err(ErrorKind::InvalidAttributeName.because(format!("Unknown Attribute {name}.")));
            }
        }
        attributes.retain(|name, _| names.iter().any(|asked| asked == "All" || asked == name));
        Ok(QueueAttributes { attributes })
    }

    pub(in crate::sqs) fn act_set_attributes(&self, asked: SetQueueAttributes) -> Result<Nothing, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        let given = asked.attributes.ok_or_else(|| SqsError::missing("Attributes"))?;
        let now_ms = self.clock().now_ms();
        self.queues().set_attributes(name, &given, now_ms)?;
        Ok(Nothing {})
    }

    pub(in crate::sqs) fn act_list(&self, asked: ListQueues) -> Result<Urls, SqsError> {
        let prefix = asked.queue_name_prefix.unwrap_or_default();
        let queues = self.queues();
        let names = queues.names().filter(|name| name.starts_with(&prefix));
        let (names, next_token) = page(names, asked.max_results, asked.next_token)?;
        Ok(Urls { queue_urls: self.urls(names), next_token })
    }

    pub(in crate::sqs) fn act_list_sources(&self, asked: ListSources) -> Result<SourceUrls, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        let queues = self.queues();
        let arn = &queues.get(name)?.arn;
        let names = queues.sources_of(arn).map(|queue| queue.name.as_str());
        let (names, next_token) = page(names, asked.max_results, asked.next_token)?;
        Ok(SourceUrls { queue_urls: self.urls(names), next_token })
    }

    pub(in crate::sqs) fn act_purge(&self, asked: OnQueue) -> Result<Nothing, SqsError> {
        let name = QueueUrl::name(asked.queue_url.as_ref())?;
        let now_ms = self.clock().now_ms();
        self.queues().purge(name, now_ms)?;
        Ok(Nothing {})
    }

    pub(in crate::sqs) fn act_start_move(&self, asked: StartMove) -> Result<MoveStarted, SqsError> {
        let source_arn = asked.source_arn.ok_or_else(|| SqsError::missing("SourceArn"))?;
        let per_second = asked
            .max_number_of_messages_per_second
            .map(|rate| in_range("MaxNumberOfMessagesPerSecond", rate, 1..=500))
            .transpose()?;
        let destination_arn = asked.destination_arn.as_deref();
        let now_ms = self.clock().now_ms();
        let task_handle = self.queues().start_move(&source_arn, destination_arn, per_second, now_ms)?;
        Ok(MoveStarted { task_handle })
    }

    pub(in crate::sqs) fn act_list_moves(&self, asked: ListMoves) -> Result<Moves, SqsError> {
        let source_arn = asked.source_arn.ok_or_else(|| SqsError::missing("SourceArn"))?;
        let max = in_range("MaxResults", asked.max_results.unwrap_or(1), 1..=10)?;
        let max = usize::try_from(max).unwrap_or(1);
        Ok(Moves { results: self.queues().moves(&source_arn, max)? })
    }

    fn urls(&self, names: Vec<String>) -> Vec<String> {
        names.iter().map(|name| self.queue_url(name)).collect()
    }
}

/// A page of names in alphabetical order; the token is the last name of the page before.
fn page<'a>(
    names: impl Iterator<Item = &'a str>,
    max_results: Option<i64>,
    after: Option<String>,
) -> Result<(Vec<String>, Option<String>), SqsError> {
    let max = in_range("MaxResults", max_results.unwrap_or(1000), 1..=1000)?;
    let max = usize::try_from(max).unwrap_or(1000);
    let after = after.unwrap_or_default();
    let mut names: Vec<String> = names.filter(|name| *name > after.as_str()).take(max + 1).map(str::to_owned).collect();
    let more = names.len() > max;
    names.truncate(max);
    // SQS gives a token only to callers that ask for pages.
    let next_token = names.last().filter(|_| more && max_results.is_some()).cloned();
    Ok((names, next_token))
}
