//! The lanes that this process last took units from without a conflict. It tries them first, so that after a while each execution
//! environment has a lane of its own. With a random lane for each request, one in fifteen would conflict at 1,250 a second. Only the
//! lane's number is remembered, never what it holds.

use super::slices::{Slices, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many limits a process remembers lanes of.
const REMEMBERED: usize = 1_000;

/// Lanes by their limit. A lane that a request is using is not offered to others in the same process.
#[derive(Debug, Default, Clone)]
pub(super) struct KeptLanes(Arc<Mutex<HashMap<String, Vec<u8>>>>);

impl KeptLanes {
    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane to take units from: a remembered one if there is one, otherwise a random one.
    pub(super) fn pick(&self, slices: &Slices) -> u8 {
        self.pop(&slices.name()).filter(|lane| slices.has(*lane)).unwrap_or_else(|| slices.any_lane())
    }

    /// Remembers the lane that units were taken from.
    pub(super) fn keep(&self, slices: &Slices, source: &Source) {
        if let Source::Lane(lane) | Source::Lease { lane, .. } = source {
            self.push(&slices.name(), *lane);
        }
    }

    /// One of the lanes remembered for a limit.
    pub(super) fn pop(&self, name: &str) -> Option<u8> {
        self.lanes().get_mut(name).and_then(Vec::pop)
    }

    pub(super) fn push(&self, name: &str, lane: u8) {
        let mut lanes = self.lanes();
        if lanes.len() >= REMEMBERED {
            lanes.clear();
        }
        let kept = lanes.entry(name.to_owned()).or_default();
        if !kept.contains(&lane) {
            kept.push(lane);
        }
    }
}
