//! Slices for all lanes of a partition in one transaction, where they have none yet or hold units under older terms. Otherwise each lane
//! would write the root, and all in the same second (`docs/decisions/0130-terms-change-by-partitions.md`).

use super::super::{Store, Transaction, backoff};
use super::{LANE_PARTITIONS, LANES, Lane, Slices, Source};
use crate::error::ApiError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use std::collections::HashMap;

/// How often a partition's lanes are filled while others write the root. Few, since whoever needs a lane comes here again with its own tries.
const FILL_ATTEMPTS: u32 = 4;

impl Slices {
    /// Whether a lane has no terms, or those of an earlier version of the plan or budget. Whoever has not read a later version takes one
    /// lane back, if it must, and not all thirty.
    fn is_behind(&self, lane: Option<&Lane>) -> bool {
        let version = |terms: &str| terms.split('/').next().and_then(|version| version.parse::<u64>().ok());
        lane.and_then(|lane| lane.terms.as_deref()).is_none_or(|terms| version(terms) < version(&self.terms))
    }

    /// The writes that put lanes under the present terms, the root's first. A lane that holds less than `units` gets as many.
    fn renewals(&self, lanes: &[(u8, Option<&Lane>)], units: u64) -> Vec<UpdateBuilder> {
        let more = |lane: Option<&Lane>| {
            let held = lane.map_or(0, |lane| i128::from(lane.free_units));
            if held < i128::from(units) { units } else { 0 }
        };
        let leased: u64 = lanes.iter().map(|(_, found)| more(*found)).sum();
        let renewed = lanes.iter().map(|(lane, found)| self.renew(*lane, *found, more(*found)));
        std::iter::once(self.lease(leased)).chain(renewed).collect()
    }
}

impl Store {
    /// Gives every lane its first slice. Lanes that a crash leaves out get theirs when they are first used.
    pub(in super::super) async fn fill_lanes(&self, slices: &Slices, out: u64) -> Result<(), ApiError> {
        for partition in 0..LANE_PARTITIONS {
            Box::pin(self.fill_partition(slices, partition, out)).await?;
        }
        Ok(())
    }

    /// Puts all lanes of a partition that are behind under the present terms, and writes the root once for all. Returns `false` if the root
    /// has no room for that, or other terms by now.
    async fn fill_partition(&self, slices: &Slices, partition: u8, out: u64) -> Result<bool, ApiError> {
        let lanes = (partition..LANES).step_by(usize::from(LANE_PARTITIONS));
        let lanes: Vec<u8> = lanes.filter(|lane| slices.has(*lane)).collect();
        if lanes.is_empty() {
            return Ok(true);
        }
        let room = slices.limit.saturating_sub(out) / 2;
        let units = slices.slice(room).min(room / lanes.len() as u64);
        for attempt in 0..FILL_ATTEMPTS {
            let read: HashMap<u8, Lane> = self.lanes_in(slices, partition).await?.into_iter().collect();
            let behind = lanes.iter().map(|lane| (*lane, read.get(lane)));
            let behind: Vec<_> = behind.filter(|(_, found)| slices.is_behind(*found)).collect();
            if behind.is_empty() {
                return Ok(true);
            }
            let writes = slices.renewals(&behind, units).into_iter().map(|update| self.update(update));
            match self.transact_once(writes.collect::<Result<_, _>>()?).await? {
                Some(Transaction::Done) => return Ok(true),
                Some(ended) if ended.refused(0) => return Ok(false),
                // Another request has filled them.
                Some(Transaction::Refused(_)) => {}
                None => tokio::time::sleep(backoff(attempt)).await,
            }
        }
        // The other side of the conflict usually fills them.
        Ok(true)
    }

    /// The source itself; or its lane, if that was behind and was filled here with those beside it.
    pub(in super::super) async fn filled(&self, slices: &Slices, out: u64, source: Source) -> Result<Source, ApiError> {
        let behind = match &source {
            Source::Lease { lane, found, .. } if slices.is_behind(found.as_ref()) => Some(*lane),
            _ => None,
        };
        let Some(lane) = behind else { return Ok(source) };
        let is_filled = Box::pin(self.fill_partition(slices, lane % LANE_PARTITIONS, out)).await?;
        Ok(if is_filled { Source::Lane(lane) } else { source })
    }
}
