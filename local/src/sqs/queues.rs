//! All queues of the account: creating and finding them, and moving messages between them.

use crate::names::ACCOUNT_ID;
use std::collections::BTreeMap;

use super::attributes::Attributes;
use super::error::{ErrorKind, SqsError};
use super::message::Message;
use super::queue::{Queue, Taken};

#[derive(Debug)]
pub(super) struct Queues {
    region: String,
    by_name: BTreeMap<String, Queue>,
}

impl Queues {
    pub(super) fn new(region: String) -> Self {
        Self { region, by_name: BTreeMap::new() }
    }

    /// Creates a standard queue; doing so again with attributes that agree changes nothing.
    ///
    /// # Errors
    /// `InvalidParameterValue` for a name SQS or this server does not take (FIFO),
    /// `QueueNameExists` if it exists with other attributes, and those of the attributes.
    pub(super) fn create(&mut self, name: &str, given: &BTreeMap<String, String>) -> Result<(), SqsError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=80).contains(&name.len()) || !name.bytes().all(known) {
            return Err(ErrorKind::InvalidParameterValue.because(
                "A standard queue's name is 1 to 80 alphanumeric characters, hyphens or \
                 underscores; FIFO queues are not offered.",
            ));
        }
        let attributes = Attributes::default().with(given)?;
        if let Some(existing) = self.by_name.get(name) {
            if existing.attributes.with(given)? == existing.attributes {
                return Ok(());
            }
            return Err(ErrorKind::QueueNameExists.because(format!(
                "A queue already exists with the name {name} and a different value for an attribute."
            )));
        }
        if let Some(policy) = &attributes.redrive
            && !self.by_name.values().any(|queue| queue.arn == policy.dead_letter_target_arn)
        {
            return Err(ErrorKind::InvalidAttributeValue.because(
                "Invalid value for the parameter RedrivePolicy. Reason: Dead letter target does \
                 not exist.",
            ));
        }
        let arn = format!("arn:aws:sqs:{}:{ACCOUNT_ID}:{name}", self.region);
        self.by_name.insert(name.to_owned(), Queue::new(arn, attributes));
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Result<&Queue, SqsError> {
        self.by_name.get(name).ok_or_else(no_such_queue)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Result<&mut Queue, SqsError> {
        self.by_name.get_mut(name).ok_or_else(no_such_queue)
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
        let target_arn = queue.attributes.redrive.as_ref().map(|policy| policy.dead_letter_target_arn.clone());
        if let Some(target) = self.by_name.values_mut().find(|queue| Some(&queue.arn) == target_arn.as_ref()) {
            for mut message in dead {
                message.dead_letter_source = Some(source_arn.clone());
                // The sending time stays: retention counts from the first queue on.
                target.put(message, 0, now_ms);
            }
        }
        Ok(received)
    }
}

fn no_such_queue() -> SqsError {
    ErrorKind::QueueDoesNotExist.because("The specified queue does not exist.")
}
