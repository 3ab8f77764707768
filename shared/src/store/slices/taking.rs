//! The units that one write takes; several limits of one write may have the same root.

use super::super::Store;
use super::super::kept_lanes::KeptLanes;
use super::{Next, Slices, Source};
use crate::error::ApiError;
use aws_sdk_dynamodb::types::CancellationReason;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;

/// Units of a limit that a write is about to take.
pub(in super::super) struct Reservation {
    slices: Slices,
    count: u64,
    source: Source,
}

impl Reservation {
    pub(in super::super) fn new(kept: &KeptLanes, slices: Slices, count: u64) -> Self {
        let source = Source::Lane(kept.pick(&slices));
        Self { slices, count, source }
    }

    /// The writes that take the units.
    pub(in super::super) fn writes(&self) -> Vec<UpdateBuilder> {
        self.slices.take(&self.source, self.count)
    }

    /// Remembers the lane that the units were taken from.
    pub(in super::super) fn keep(&self, kept: &KeptLanes) {
        kept.keep(&self.slices, &self.source);
    }

    /// Changes to another lane, after a conflict on this one.
    pub(in super::super) fn try_another(&mut self) {
        if matches!(self.source, Source::Lane(_)) {
            self.source = Source::Lane(self.slices.any_lane());
        }
    }
}

impl Store {
    /// After a refusal, gets units that can be taken, in a transaction of its own: several limits of one write may have the same root.
    /// Returns `false` if there are none left.
    pub(in super::super) async fn refill(
        &self,
        taking: &mut Reservation,
        reasons: &[CancellationReason],
    ) -> Result<bool, ApiError> {
        let Reservation { slices, count, source } = taking;
        let root: Option<serde_json::Value> = self.get(slices.root.clone()).await?;
        let out = root.and_then(|root| root[slices.out].as_u64()).unwrap_or(0);
        let next = match self.next_source(slices, out, source, reasons, *count).await? {
            Next::Take(source) => Next::Take(self.filled(slices, out, source).await?),
            next => next,
        };
        *source = match next {
            Next::Take(lease @ Source::Lease { lane, .. }) => {
                let writes = slices.take(&lease, 0).into_iter().map(|update| self.update(update));
                // The other side of the conflict has changed the lane or the root: read again.
                self.transact_once(writes.collect::<Result<_, _>>()?).await?;
                Source::Lane(lane)
            }
            Next::Take(Source::Remains { lanes, root }) if root > 0 => self.last_units(slices, lanes, root).await?,
            Next::Take(source) => source,
            Next::Again => Source::Lane(slices.any_lane()),
            Next::Full => return Ok(false),
        };
        Ok(true)
    }

    /// Leases the last units of the root into a lane, from which the write can take them.
    async fn last_units(&self, slices: &Slices, mut lanes: Vec<(u8, u64)>, units: u64) -> Result<Source, ApiError> {
        let lane = lanes.first().map_or_else(|| slices.any_lane(), |(lane, _)| *lane);
        let writes = [slices.lease(units), slices.add(lane, units)].map(|update| self.update(update));
        let leased = self.transact_once(writes.into_iter().collect::<Result<_, _>>()?).await?;
        if !leased.is_some_and(|ended| ended.is_done()) {
            // Something changed: look again.
            return Ok(Source::Lane(slices.any_lane()));
        }
        match lanes.first_mut() {
            Some((_, taken)) => *taken += units,
            None => lanes.push((lane, units)),
        }
        Ok(Source::Remains { lanes, root: 0 })
    }
}
