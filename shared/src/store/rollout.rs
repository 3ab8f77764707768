//! Since when every version that serves has looked for items and jobs in partitions, and for the pieces of an input each under a key of its
//! own. Version 0.1 does not; it serves beside its successor during a gradual deployment, and again after going back. Each later version's
//! sweeper writes a note every minute. A gap in the notes means that another version may have served, so the time is counted anew
//! (`docs/decisions/0089-spread-within-a-second.md`).

use super::keys::Key;
use super::single::SingleWrite as _;
use super::{Store, classify, number};
use crate::error::ApiError;
use crate::model::time::Moment;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use platform::telemetry::{Part, timed};
use serde::Deserialize;
use std::time::Duration;

/// Once notes have come for this long, a gradual deployment is over: twice as long as the template's canaries take.
const ROLLOUT: Duration = Duration::from_secs(20 * 60);
/// The longest time between two notes that is no gap: they come each minute, and two may be missing.
const GAP: Duration = Duration::from_secs(170);

/// The first and the last note since the last gap.
#[derive(Debug, Deserialize)]
struct Known {
    since: Moment,
    seen: Moment,
}

impl Store {
    /// Notes that this version serves.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn note_partitions_known(&self) -> Result<(), ApiError> {
        let now = self.now().as_millis();
        let recently = now - i64::try_from(GAP.as_millis()).unwrap_or(i64::MAX);
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::partitions_known().attributes()))
            .expression_attribute_values(":now", number(now));
        let goes_on = update
            .clone()
            .update_expression("SET seen = :now")
            .condition_expression("seen >= :recently")
            .expression_attribute_values(":recently", number(recently));
        match timed(Part::Db, goes_on.send_unless_held()).await {
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                let anew = update.update_expression("SET since = :now, seen = :now");
                timed(Part::Db, anew.send_unless_held()).await.map(drop).map_err(classify)
            }
            noted => noted.map(drop).map_err(classify),
        }
    }

    /// From when on at the latest every version that serves looks into partitions; it may have passed.
    pub(super) async fn partitions_known_from(&self) -> Result<Moment, ApiError> {
        let (now, known) = (self.now(), self.get::<Known>(Key::partitions_known()).await?);
        let noted = known.filter(|known| known.seen.plus(GAP) >= now);
        Ok(noted.map_or(now, |known| known.since.min(now)).plus(ROLLOUT))
    }
}
