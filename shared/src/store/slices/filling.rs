//! First slices of lanes, given to many lanes at once: otherwise each would lease its own from the root in the same second.

use super::super::{Store, backoff};
use super::{LANE_PARTITIONS, LANES, Lane, Slices, Source};
use crate::error::ApiError;

/// How often a partition's lanes are filled while others write the root.
const FILL_ATTEMPTS: u32 = 8;

impl Store {
    /// Gives every lane its first slice. Lanes that a crash leaves out get theirs when they are first used.
    pub(in super::super) async fn fill_lanes(&self, slices: &Slices, out: u64) -> Result<(), ApiError> {
        for lane in 0..LANE_PARTITIONS {
            for attempt in 0..FILL_ATTEMPTS {
                if self.fill_beside(slices, lane, out).await?.is_some() {
                    break;
                }
                tokio::time::sleep(backoff(attempt)).await;
            }
        }
        Ok(())
    }

    /// Gives their first slice to a lane and to all others in its partition, if none has one yet: the first request to use one of them
    /// writes the root once for all. Returns whether they have one now; `None` after a conflict.
    pub(in super::super) async fn fill_beside(
        &self,
        slices: &Slices,
        lane: u8,
        out: u64,
    ) -> Result<Option<bool>, ApiError> {
        let units = slices.slice(slices.limit.saturating_sub(out) / 2);
        let beside = (lane % LANE_PARTITIONS..LANES).step_by(usize::from(LANE_PARTITIONS));
        let lanes: Vec<u8> = beside.filter(|lane| slices.has(*lane)).collect();
        if lanes.is_empty() {
            return Ok(Some(true));
        }
        let mut writes = vec![self.update(slices.lease(units * lanes.len() as u64))?];
        for lane in lanes {
            writes.push(self.update(slices.first(lane, units))?);
        }
        Ok(self.transact_once(writes).await?.map(|ended| ended.is_done()))
    }

    /// The source itself; or another one, if its lanes had never been used and were given their first slices here.
    pub(in super::super) async fn filled(&self, slices: &Slices, out: u64, source: Source) -> Result<Source, ApiError> {
        match source {
            Source::Lease { lane, found: None | Some(Lane { terms: None, .. }), .. } => {
                Ok(match self.fill_beside(slices, lane, out).await? {
                    Some(false) => source,
                    // The other side of the conflict usually fills them.
                    Some(true) | None => Source::Lane(lane),
                })
            }
            source => Ok(source),
        }
    }
}
