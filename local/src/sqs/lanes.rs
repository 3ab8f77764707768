//! Which visible message goes out next: a turn for each tenant, so that no one waits behind a flood.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Identifies a message inside its queue.
pub(super) type Key = u64;

/// Whose turn it is. SQS's fair queues take a message group as a tenant, and a message without a
/// group as a tenant of its own
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html>).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tenant {
    Group(Arc<str>),
    Ungrouped(Key),
}

/// Visible messages: first in, first out within a tenant, round robin between tenants.
///
/// AWS puts other tenants first only once one holds 30 messages and a tenth of what is in flight;
/// a local system seldom has as many in flight, so here every receive takes turns.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    waiting: HashMap<Tenant, VecDeque<Key>>,
    turns: VecDeque<Tenant>,
}

impl Lanes {
    /// Puts a message at the end of its tenant's lane; a tenant that had none gets the last turn.
    pub(super) fn push(&mut self, tenant: Tenant, key: Key) {
        match self.waiting.entry(tenant) {
            Entry::Occupied(mut lane) => lane.get_mut().push_back(key),
            Entry::Vacant(lane) => {
                self.turns.push_back(lane.key().clone());
                lane.insert(VecDeque::from([key]));
            }
        }
    }

    /// Takes the next message. It may have been deleted since it was pushed: the caller knows.
    pub(super) fn pop(&mut self) -> Option<Key> {
        let tenant = self.turns.pop_front()?;
        let lane = self.waiting.get_mut(&tenant)?;
        let key = lane.pop_front();
        if lane.is_empty() {
            self.waiting.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Tenant {
        Tenant::Group(name.into())
    }

    #[test]
    fn a_quiet_tenant_is_served_on_its_next_turn() {
        let mut lanes = Lanes::default();
        for key in 0..1000 {
            lanes.push(group("noisy"), key);
        }
        lanes.push(group("quiet"), 1000);
        lanes.push(group("late"), 1001);
        let served: Vec<_> = std::iter::from_fn(|| lanes.pop()).take(5).collect();
        assert_eq!(served, [0, 1000, 1001, 1, 2]);
    }

    #[test]
    fn messages_without_a_group_go_out_as_they_came() {
        let mut lanes = Lanes::default();
        for key in 0..5 {
            lanes.push(Tenant::Ungrouped(key), key);
        }
        let served: Vec<_> = std::iter::from_fn(|| lanes.pop()).collect();
        assert_eq!(served, [0, 1, 2, 3, 4]);
    }
}
