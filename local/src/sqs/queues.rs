//! All queues of the account: creating and finding them, and moving messages between them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attributes::{Attributes, RedrivePolicy};
use super::error::{ErrorKind, SqsError};
use super::message::{Message, random_id};
use super::queue::{Queue, Taken};

/// The account that local ARNs and queue URLs name.
pub const ACCOUNT_ID: &str = "000000000000";

/// A second `PurgeQueue` has to wait this long.
const PURGE_INTERVAL_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) struct Queues {
    region: String,
    by_name: BTreeMap<String, Queue>,
    moves: Vec<MoveTask>,
}

/// A finished redrive. Moving is one step here, so no task is ever seen running; SQS shows the
/// handle of running tasks only.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MoveTask {
    pub(super) status: &'static str,
    pub(super) source_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_number_of_messages_per_second: Option<u64>,
    pub(super) approximate_number_of_messages_moved: usize,
    pub(super) approximate_number_of_messages_to_move: usize,
    /// Epoch milliseconds.
    pub(super) started_timestamp: u64,
}

impl Queues {
    pub(super) fn new(region: String) -> Self {
        Self { region, by_name: BTreeMap::new(), moves: Vec::new() }
    }

    /// Creates a standard queue; doing so again with attributes that agree changes nothing.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a name SQS or this server does not take (FIFO),
    /// `QueueNameExists` if it exists with other attributes, and those of the attributes.
    pub(super) fn create(&mut self, name: &str, given: &BTreeMap<String, String>, now_ms: u64) -> Result<(), SqsError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=80).contains(&name.len()) || !name.bytes().all(known) {
            return Err(ErrorKind::InvalidParameterValue.because(
                "A standard queue's name is 1 to 80 alphanumeric characters, hyphens or \
                 underscores; FIFO queues are not offered.",
            ));
        }
        let arn = format!("arn:aws:sqs:{}:{ACCOUNT_ID}:{name}", self.region);
        let attributes = Attributes::default().with(given)?;
        if let Some(existing) = self.by_name.get(name) {
            if existing.attributes.with(given)? == existing.attributes {
                return Ok(());
            }
            return Err(ErrorKind::QueueNameExists.because(format!(
                "A queue already exists with the name {name} and a different value for an attribute."
            )));
        }
        self.check_redrive(&arn, attributes.redrive.as_ref())?;
        let queue = Queue::new(name.to_owned(), arn, attributes, now_ms);
        self.by_name.insert(name.to_owned(), queue);
        Ok(())
    }

    /// Changes a queue's attributes: all of those given or none.
    pub(super) fn set_attributes(
        &mut self,
        name: &str,
        given: &BTreeMap<String, String>,
        now_ms: u64,
    ) -> Result<(), SqsError> {
        let queue = self.get(name)?;
        let changed = queue.attributes.with(given)?;
        self.check_redrive(&queue.arn, changed.redrive.as_ref())?;
        let queue = self.get_mut(name)?;
        queue.attributes = changed;
        queue.modified_ms = now_ms;
        Ok(())
    }

    fn check_redrive(&self, arn: &str, policy: Option<&RedrivePolicy>) -> Result<(), SqsError> {
        let Some(policy) = policy else {
            return Ok(());
        };
        let target = self.by_arn(&policy.dead_letter_target_arn).ok_or_else(|| {
            ErrorKind::InvalidAttributeValue.because(
                "Invalid value for the parameter RedrivePolicy. Reason: Dead letter target does \
                 not exist.",
            )
        })?;
        match &target.attributes.redrive_allow {
            Some(allow) if !allow.allows(arn) => Err(ErrorKind::InvalidAttributeValue.because(
                "Invalid value for the parameter RedrivePolicy. Reason: the dead letter target's \
                 RedriveAllowPolicy does not allow this queue.",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn get(&self, name: &str) -> Result<&Queue, SqsError> {
        self.by_name.get(name).ok_or_else(no_such_queue)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Result<&mut Queue, SqsError> {
        self.by_name.get_mut(name).ok_or_else(no_such_queue)
    }

    fn by_arn(&self, arn: &str) -> Option<&Queue> {
        self.by_name.values().find(|queue| queue.arn == arn)
    }

    fn by_arn_mut(&mut self, arn: &str) -> Option<&mut Queue> {
        self.by_name.values_mut().find(|queue| queue.arn == arn)
    }

    /// Names in alphabetical order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The queues whose dead-letter queue is the one with `arn`.
    pub(super) fn sources_of(&self, arn: &str) -> impl Iterator<Item = &Queue> {
        self.by_name.values().filter(move |queue| {
            let target = queue.attributes.redrive.as_ref();
            target.is_some_and(|policy| policy.dead_letter_target_arn == arn)
        })
    }

    /// Receives from a queue and puts what was received too often into its dead-letter queue.
    pub(super) fn receive(
        &mut self,
        name: &str,
        max: usize,
        visibility_seconds: Option<u64>,
        now_ms: u64,
    ) -> Result<Vec<(String, Message)>, SqsError> {
        let queue = self.get_mut(name)?;
        let visibility = visibility_seconds.unwrap_or(queue.attributes.visibility_timeout_seconds);
        let Taken { received, dead } = queue.receive(max, visibility, now_ms)?;
        let source_arn = queue.arn.clone();
        let policy = queue.attributes.redrive.clone();
        if let Some(target) = policy.and_then(|p| self.by_arn_mut(&p.dead_letter_target_arn)) {
            for mut message in dead {
                message.dead_letter_source = Some(source_arn.clone());
                // The sending time stays: retention counts from the first queue on.
                target.put(message, 0, now_ms);
            }
        }
        Ok(received)
    }

    /// Empties a queue, at most once a minute.
    pub(super) fn purge(&mut self, name: &str, now_ms: u64) -> Result<(), SqsError> {
        let queue = self.get_mut(name)?;
        if queue.purged_ms.is_some_and(|at| now_ms < at + PURGE_INTERVAL_MS) {
            return Err(ErrorKind::PurgeQueueInProgress
                .because(format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds.")));
        }
        queue.purged_ms = Some(now_ms);
        queue.purge();
        Ok(())
    }

    /// Moves every visible message of a dead-letter queue to `destination_arn`, or to the queue
    /// that each came from. As SQS has it, a moved message is a new one: new id, new age, no
    /// receives.
    ///
    /// # Errors
    /// `ResourceNotFound` if a queue is missing, `InvalidParameterValue` if `source_arn` is no
    /// queue's dead-letter queue.
    pub(super) fn start_move(
        &mut self,
        source_arn: &str,
        destination_arn: Option<&str>,
        per_second: Option<u64>,
        now_ms: u64,
    ) -> Result<String, SqsError> {
        for arn in std::iter::once(source_arn).chain(destination_arn) {
            self.by_arn(arn).ok_or_else(no_such_resource)?;
        }
        if self.sources_of(source_arn).next().is_none() {
            return Err(
                ErrorKind::InvalidParameterValue.because("Source queue must be configured as a Dead Letter Queue.")
            );
        }
        let source = self.by_arn_mut(source_arn).ok_or_else(no_such_resource)?;
        let messages = source.drain_visible(now_ms);
        let found = messages.len();
        let mut moved = 0;
        for message in messages {
            let home = message.dead_letter_source.clone();
            match destination_arn.or(home.as_deref()) {
                Some(arn) if arn != source_arn => {
                    let target = self.by_arn_mut(arn).ok_or_else(no_such_resource)?;
                    target.put(renewed(message, now_ms), 0, now_ms);
                    moved += 1;
                }
                // Sent to the dead-letter queue directly: there is no home to go back to.
                _ => {
                    let source = self.by_arn_mut(source_arn).ok_or_else(no_such_resource)?;
                    source.put(message, 0, now_ms);
                }
            }
        }
        self.moves.push(MoveTask {
            status: "COMPLETED",
            source_arn: source_arn.to_owned(),
            destination_arn: destination_arn.map(str::to_owned),
            max_number_of_messages_per_second: per_second,
            approximate_number_of_messages_moved: moved,
            approximate_number_of_messages_to_move: found,
            started_timestamp: now_ms,
        });
        Ok(random_id())
    }

    /// The latest `max` redrives of a dead-letter queue, newest first.
    pub(super) fn moves(&self, source_arn: &str, max: usize) -> Result<Vec<MoveTask>, SqsError> {
        self.by_arn(source_arn).ok_or_else(no_such_resource)?;
        let tasks = self.moves.iter().rev();
        Ok(tasks.filter(|task| task.source_arn == source_arn).take(max).cloned().collect())
    }
}

fn renewed(message: Message, now_ms: u64) -> Message {
    Message {
        id: random_id(),
        sent_ms: now_ms,
        receive_count: 0,
        first_received_ms: None,
        dead_letter_source: None,
        ..message
    }
}

fn no_such_queue() -> SqsError {
    ErrorKind::QueueDoesNotExist.because("The specified queue does not exist.")
}

fn no_such_resource() -> SqsError {
    ErrorKind::ResourceNotFound.because("The resource that you specified for the SourceArn parameter doesn't exist.")
}
