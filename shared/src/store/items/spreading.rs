//! When an organization is spread: by its operator's word, or by heat and where every version that serves looks into partitions. It is
//! marked first, and has lanes from then on. It is spread once its time has come and it has copies, which are made no sooner.

use super::super::{Store, contended, wait_before};
use super::room::room_of;
use crate::error::{ApiError, chain};
use crate::ids::OrgId;
use crate::model::org::OrgRecord;
use crate::model::time::Moment;
use std::time::Duration;

/// How long after the operator's command an organization is spread. By then every request under way has read that it will be.
pub const SPREAD_BY_OPERATOR_AFTER: Duration = Duration::from_secs(60);
/// Not all requests that find an organization due make its copies: by chance each leaves it to the others until so long has passed.
const LEFT_TO_OTHERS_MS: u64 = 5_000;
/// How often an organization is marked that changes meanwhile.
const ATTEMPTS: u32 = 8;

impl Store {
    /// Has an organization spread after `after`, unless it will be sooner, for the operator, who answers for it that every version that
    /// serves looks into partitions. Renews the copies of one that is spread.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for no such organization.
    pub async fn spread_items(&self, org: OrgId, after: Duration) -> Result<(), ApiError> {
        let (marked, is_mine) = self.mark(org, self.now().plus(after), true).await?;
        if !is_mine {
            self.copy_org(org).await?;
        }
        self.fill_lanes(&room_of(&marked), marked.item_count).await
    }

    /// Says when an organization is to be spread, unless it will be sooner; where that counts, with its copies. Returns its record as it is
    /// then, and whether this said so.
    async fn mark(&self, org: OrgId, from: Moment, counts: bool) -> Result<(OrgRecord, bool), ApiError> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let read = self.root(org).await?;
            if read.org.spread_from.is_some_and(|known| known <= from) {
                return Ok((read.org, false));
            }
            let mark = |org: &mut OrgRecord| {
                org.spread_from = Some(from);
                org.copied |= counts;
            };
            if let Some(marked) = self.change_org(&read, mark).await? {
                return Ok((marked, true));
            }
        }
        Err(contended())
    }

    /// Spreads an organization whose requests conflict, unless that was done already; returns its record as it is then. If this fails
    /// or is cut off, the request goes on all the same, and those that find its time come make up for it ([`Self::spread_when_due`]).
    pub(in super::super) async fn spread_by_heat(&self, org: OrgId) -> Option<OrgRecord> {
        let spread = async {
            let now = self.org(org).await?.ok_or(ApiError::NotFound)?;
            if now.copied {
                return Ok(now);
            }
            let (known, now) = (self.partitions_known_from().await?, self.now());
            let from = known.max(now);
            let (marked, is_mine) = self.mark(org, from, known <= now).await?;
            if is_mine {
                tracing::info!(after_seconds = now.until(from).as_secs(), "a hot organization is spread");
                self.fill_lanes(&room_of(&marked), marked.item_count).await?;
                return Ok(marked);
            }
            let spread = self.spread_when_due(&marked).await;
            Ok(spread.unwrap_or(marked))
        };
        let spread: Result<OrgRecord, ApiError> = spread.await;
        spread.inspect_err(|error| tracing::warn!(cause = chain(error), "a hot organization is not spread")).ok()
    }

    /// What every write of an organization does that finds its time come: one of them makes its copies. Returns the record if it has
    /// changed.
    pub(in super::super) async fn spread_when_due(&self, org: &OrgRecord) -> Option<OrgRecord> {
        let others_ms = getrandom::u64().unwrap_or(0) % LEFT_TO_OTHERS_MS;
        let since = self.now().as_millis() - i64::try_from(others_ms).unwrap_or(0);
        if !org.lacks_copies(Moment::from_millis(since)) {
            return None;
        }
        self.make_copies_when_due(org.org_id).await.unwrap_or_else(|error| {
            tracing::warn!(cause = chain(&error), "an organization whose time has come is not spread");
            None
        })
    }

    /// Makes the copies of an organization whose time has come, if every version that serves looks into partitions: what was marked long
    /// ago may meet the version before again. Else it is put off until they do.
    async fn make_copies_when_due(&self, org: OrgId) -> Result<Option<OrgRecord>, ApiError> {
        let (from, now) = (self.partitions_known_from().await?, self.now());
        let read = self.root(org).await?;
        if !read.org.lacks_copies(now) {
            return Ok(Some(read.org));
        }
        let change = |org: &mut OrgRecord| if from <= now { org.copied = true } else { org.spread_from = Some(from) };
        self.change_org(&read, change).await
    }
}
