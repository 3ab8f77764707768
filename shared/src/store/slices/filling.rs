//! First slices of lanes: many at once, so that they need not lease one each in the same second.

use super::super::{Store, backoff};
use super::{LANE_PARTITIONS, LANES, Lane, Slices, Source};
use crate::error::ApiError;

/// How often a partition's lanes are filled while others write the root.
const FILL_ATTEMPTS: u32 = 8;

impl Store {
    /// Gives all lanes a first slice, so that they need not lease one each in the same second. Those of a crash in between are filled
    /// when they are wanted.
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

    /// Gives a first slice to a lane and to all that lie in its partition, if none has one: who wants the first of them writes the root for
    /// all. Returns whether they have one now; `None` if somebody was in the way.
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

    /// The source itself, or what is to be taken in its place after lanes that nobody had used yet were filled.
    pub(in super::super) async fn filled(&self, slices: &Slices, out: u64, source: Source) -> Result<Source, ApiError> {
        match source {
            Source::Lease { lane, found: None | Some(Lane { terms: None, .. }), .. } => {
                Ok(match self.fill_beside(slices, lane, out).await? {
                    Some(false) => source,
                    // Somebody who is in the way of this fills them, as a rule.
                    Some(true) | None => Source::Lane(lane),
                })
            }
            source => Ok(source),
        }
    }
}
