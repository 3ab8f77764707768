//! One standard queue as a pure state machine: time comes in, messages go out, nothing sleeps.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;

use super::attributes::{Attributes, VISIBILITY_SECONDS_MAX};
use super::error::{ErrorKind, SqsError};
use super::lanes::{Key, Lanes, Tenant};
use super::message::Message;
use super::receipt::Receipt;

/// Most messages in flight on a standard queue
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>).
const IN_FLIGHT_MAX: usize = 120_000;

/// A queue's messages. Every one is visible, delayed or in flight, and in `by_age`.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) arn: String,
    pub(super) attributes: Attributes,
    /// Rung whenever a message may have become visible, or the first hidden one becomes so at another time.
    pub(super) arrivals: Arc<Notify>,
    nonce: u64,
    next_key: Key,
    messages: HashMap<Key, Slot>,
    visible: Lanes,
    /// When a delayed or in-flight message becomes visible.
    due: BTreeSet<(u64, Key)>,
    in_flight: usize,
    /// Sending times, for retention.
    by_age: BTreeSet<(u64, Key)>,
}

#[derive(Debug)]
struct Slot {
    message: Message,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Visible,
    Delayed { due_ms: u64 },
    InFlight { due_ms: u64, received_ms: u64 },
}

/// What a receive took out of the queue.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// To be shown to the receiver, each with its receipt handle.
    pub(super) received: Vec<(String, Message)>,
    /// Received too often already: these belong into the dead-letter queue.
    pub(super) dead: Vec<Message>,
}

/// `ApproximateNumberOfMessages…`; exact here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub visible: usize,
    pub delayed: usize,
    pub in_flight: usize,
}

impl Queue {
    pub(super) fn new(arn: String, attributes: Attributes) -> Self {
        Self {
            arn,
            attributes,
            arrivals: Arc::default(),
            nonce: getrandom::u64().expect("the system has randomness"),
            next_key: 0,
            messages: HashMap::new(),
            visible: Lanes::default(),
            due: BTreeSet::new(),
            in_flight: 0,
            by_age: BTreeSet::new(),
        }
    }

    /// Takes a message in; it stays hidden for `delay_seconds`.
    pub(super) fn put(&mut self, message: Message, delay_seconds: u64, now_ms: u64) {
        let key = self.next_key;
        self.next_key += 1;
        self.by_age.insert((message.sent_ms, key));
        let state = match delay_seconds {
            0 => State::Visible,
            seconds => State::Delayed { due_ms: now_ms + seconds * 1000 },
        };
        self.messages.insert(key, Slot { message, state: State::Visible });
        self.enter(key, state);
    }

    /// Takes up to `max` visible messages and hides them for `visibility_seconds`.
    ///
    /// # Errors
    /// `OverLimit` when 120,000 messages are in flight.
    pub(super) fn receive(&mut self, max: usize, visibility_seconds: u64, now_ms: u64) -> Result<Taken, SqsError> {
        self.settle(now_ms);
        if self.in_flight >= IN_FLIGHT_MAX {
            return Err(
                ErrorKind::OverLimit.because(format!("Too many messages in flight: the limit is {IN_FLIGHT_MAX}."))
            );
        }
        let receives_max = self.attributes.redrive.as_ref().map(|p| p.max_receive_count);
        let mut taken = Taken::default();
        let mut keys = Vec::with_capacity(max);
        while taken.received.len() < max
            && let Some(key) = self.visible.pop()
        {
            // A visible message may have been deleted by an old receipt or have expired.
            let Some(slot) = self.messages.get_mut(&key) else {
                continue;
            };
            if receives_max.is_some_and(|max| slot.message.receive_count >= max) {
                taken.dead.extend(self.remove(key));
                continue;
            }
            slot.message.receive_count += 1;
            slot.message.first_received_ms.get_or_insert(now_ms);
            let handle = Receipt { queue_nonce: self.nonce, key, receive_count: slot.message.receive_count };
            taken.received.push((handle.encode(), slot.message.clone()));
            keys.push(key);
        }
        // Only now: with a visibility of zero a message would come round twice in one reply.
        for key in keys {
            let state = match visibility_seconds {
                0 => State::Visible,
                seconds => State::InFlight { due_ms: now_ms + seconds * 1000, received_ms: now_ms },
            };
            self.enter(key, state);
        }
        Ok(taken)
    }

    /// Deletes the message of a receipt handle. As SQS documents it, a stale handle (the message
    /// was received again since) and a second deletion succeed without effect; a handle whose
    /// visibility has run out still deletes.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` for a handle this queue never gave out.
    pub(super) fn delete(&mut self, handle: &str, now_ms: u64) -> Result<(), SqsError> {
        self.settle(now_ms);
        let receipt = Receipt::decode(handle, self.nonce)?;
        if self.slot_of(receipt).is_some() {
            self.remove(receipt.key);
        }
        Ok(())
    }

    /// Hides an in-flight message for `seconds` from now, or gives it back with zero.
    ///
    /// # Errors
    /// `MessageNotInflight` once its visibility has run out, `InvalidParameterValue` if it is gone,
    /// was received again since, or would stay hidden for more than 12 hours in all.
    pub(super) fn change_visibility(&mut self, handle: &str, seconds: u64, now_ms: u64) -> Result<(), SqsError> {
        self.settle(now_ms);
        let receipt = Receipt::decode(handle, self.nonce)?;
        let Some(slot) = self.slot_of(receipt) else {
            return Err(SqsError::invalid(
                "ReceiptHandle",
                handle,
                "Message does not exist or is not available for visibility timeout change",
            ));
        };
        let State::InFlight { received_ms, .. } = slot.state else {
            return Err(ErrorKind::MessageNotInflight.because("The message referred to is not in flight."));
        };
        let due_ms = now_ms + seconds * 1000;
        if due_ms > received_ms + VISIBILITY_SECONDS_MAX.unsigned_abs() * 1000 {
            return Err(SqsError::invalid(
                "VisibilityTimeout",
                seconds,
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        let state = match seconds {
            0 => State::Visible,
            _ => State::InFlight { due_ms, received_ms },
        };
        self.enter(receipt.key, state);
        Ok(())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            visible: self.messages.len() - self.due.len(),
            delayed: self.due.len() - self.in_flight,
            in_flight: self.in_flight,
        }
    }

    /// When the next hidden message becomes visible, in epoch milliseconds.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Brings the queue up to `now_ms`: what is due becomes visible, what is too old goes.
    pub(super) fn settle(&mut self, now_ms: u64) {
        let oldest_ms = now_ms.saturating_sub(self.attributes.retention_seconds * 1000);
        while let Some(&(sent_ms, key)) = self.by_age.first()
            && sent_ms < oldest_ms
        {
            self.remove(key);
        }
        while let Some(&(due_ms, key)) = self.due.first()
            && due_ms <= now_ms
        {
            self.enter(key, State::Visible);
        }
    }

    /// The message of a receipt, unless it is gone or was received again since.
    fn slot_of(&self, receipt: Receipt) -> Option<&Slot> {
        self.messages.get(&receipt.key).filter(|slot| slot.message.receive_count == receipt.receive_count)
    }

    /// Moves a message that is not waiting in a lane to `state`.
    fn enter(&mut self, key: Key, state: State) {
        let first_due_ms = self.next_due_ms();
        let Some(slot) = self.messages.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut slot.state, state);
        if state == State::Visible {
            let tenant = match &slot.message.group {
                Some(group) => Tenant::Group(Arc::clone(group)),
                None => Tenant::Ungrouped(key),
            };
            self.visible.push(tenant, key);
        }
        self.leave(key, before);
        match state {
            State::Visible => {}
            State::Delayed { due_ms } => {
                self.due.insert((due_ms, key));
            }
            State::InFlight { due_ms, .. } => {
                self.due.insert((due_ms, key));
                self.in_flight += 1;
            }
        }
        // A long poll sleeps until the first hidden message is due: it sleeps anew when that has changed.
        if state == State::Visible || self.next_due_ms() != first_due_ms {
            self.arrivals.notify_waiters();
        }
    }

    /// Takes a hidden message off the clock; a visible one is found gone when its turn comes.
    fn leave(&mut self, key: Key, state: State) {
        match state {
            State::Visible => {}
            State::Delayed { due_ms } => {
                self.due.remove(&(due_ms, key));
            }
            State::InFlight { due_ms, .. } => {
                self.due.remove(&(due_ms, key));
                self.in_flight -= 1;
            }
        }
    }

    fn remove(&mut self, key: Key) -> Option<Message> {
        let slot = self.messages.remove(&key)?;
        self.by_age.remove(&(slot.message.sent_ms, key));
        self.leave(key, slot.state);
        Some(slot.message)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
