//! Places for callers that wait for their job inside the request. Each holds an environment of its function as long as it waits, so
//! there are fewer places than environments, and an organization has a share of them: its id says which ones.

use super::keys::{self, Key};
use super::single::SingleWrite as _;
use super::{Store, classify, number, string};
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::time::Moment;
use platform::telemetry::{Part, timed};
use sha2::{Digest as _, Sha256};

/// An organization may use one place in so many, at least one.
const SHARE: u32 = 5;
/// How long the record of a place outlives it.
const KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// A place that is ours.
#[derive(Debug)]
pub struct WaitingPlace {
    number: u32,
    holder: String,
}

impl Store {
    /// Takes a place for a caller of an organization until `until` at the latest; `None` if all that it may use, of so many in all, are
    /// taken.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take_waiting_place(
        &self,
        org: OrgId,
        places: u32,
        until: Moment,
    ) -> Result<Option<WaitingPlace>, ApiError> {
        let holder = uuid::Uuid::now_v7().simple().to_string();
        for place in places_of(org, places) {
            if timed(Part::Db, self.try_place(place, &holder, until)).await? {
                return Ok(Some(WaitingPlace { number: place, holder }));
            }
        }
        Ok(None)
    }

    /// Takes a place if nobody has it. Whoever finds its own name there took it by an attempt whose reply was lost.
    async fn try_place(&self, place: u32, holder: &str, until: Moment) -> Result<bool, ApiError> {
        let taken = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::waiting_place(place).attributes()))
            .update_expression("SET holder = :holder, held_until = :until, #ttl = :ttl")
            .condition_expression("attribute_not_exists(held_until) OR held_until < :now OR holder = :holder")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":holder", string(holder))
            .expression_attribute_values(":until", number(until.as_millis()))
            .expression_attribute_values(":now", number(self.now().as_millis()))
            .expression_attribute_values(":ttl", number(until.plus(KEPT).as_ttl_seconds()))
            .send_unless_held()
            .await;
        match taken {
            Ok(_) => Ok(true),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(classify(error)),
        }
    }

    /// Gives a place back. One that is not given back is free when its time is over.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn leave_waiting_place(&self, place: WaitingPlace) -> Result<(), ApiError> {
        let left = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::waiting_place(place.number).attributes()))
            .update_expression("SET held_until = :now")
            .condition_expression("holder = :holder")
            .expression_attribute_values(":holder", string(place.holder))
            .expression_attribute_values(":now", number(0))
            .send_unless_held();
        match timed(Part::Db, left).await {
            // Its time was over, and somebody else has it.
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            left => left.map(|_| ()).map_err(classify),
        }
    }
}

/// The places that an organization may use: others than most organizations, so that one that takes all of its own leaves others theirs.
fn places_of(org: OrgId, places: u32) -> Vec<u32> {
    let share = (places / SHARE).max(1).min(places) as usize;
    let mut ours = Vec::with_capacity(share);
    let mut round = 0_u32;
    while ours.len() < share {
        let digest = Sha256::new().chain_update(org.to_string()).chain_update(round.to_be_bytes()).finalize();
        for word in digest.chunks_exact(4) {
            let place = u32::from_be_bytes([word[0], word[1], word[2], word[3]]) % places;
            if ours.len() < share && !ours.contains(&place) {
                ours.push(place);
            }
        }
        round += 1;
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organization_has_a_share_of_the_places() {
        for (places, share) in [(0, 0), (1, 1), (4, 1), (20, 4), (100, 20)] {
            let org = OrgId::new();
            let ours = places_of(org, places);
            assert_eq!((ours.len(), places_of(org, places)), (share, ours.clone()), "{places}");
            assert!(ours.iter().all(|place| *place < places));
        }
        let all: std::collections::HashSet<u32> = (0..200).flat_map(|_| places_of(OrgId::new(), 20)).collect();
        assert_eq!(all.len(), 20, "and together they use all of them");
    }
}
