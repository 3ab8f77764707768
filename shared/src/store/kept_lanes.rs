//! Lanes that this process has taken units from and met nobody in. An execution environment that keeps to one meets others only until
//! each has found its own: chosen anew for each request, one in fifteen would meet another at 1,250 a second. It says where to try
//! first, never what is there.

use super::slices::{Slices, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many limits a process remembers lanes of.
const REMEMBERED: usize = 1_000;

/// Lanes by their limit. What one request uses is not there for others of the same process.
#[derive(Debug, Default, Clone)]
pub(super) struct KeptLanes(Arc<Mutex<HashMap<String, Vec<u8>>>>);

impl KeptLanes {
    fn lanes(&self) -> MutexGuard<'_, HashMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane to take units from: one that was kept, or any.
    pub(super) fn pick(&self, slices: &Slices) -> u8 {
        self.pop(&slices.name()).filter(|lane| slices.has(*lane)).unwrap_or_else(|| slices.any_lane())
    }

    /// Keeps the lane that units were taken from.
    pub(super) fn keep(&self, slices: &Slices, source: &Source) {
        if let Source::Lane(lane) | Source::Lease { lane, .. } = source {
            self.push(&slices.name(), *lane);
        }
    }

    /// One of the lanes kept under a name.
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
