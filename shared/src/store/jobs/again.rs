//! Failed jobs that are accepted once more.

use super::super::idempotency::Begun;
use super::super::role_check::RoleCheck;
use super::super::{Store, condition_failed, not_written, record};
use super::accept::Accepted;
use crate::error::ApiError;
use crate::model::job::JobRecord;
use crate::model::org::{MembershipRecord, OrgRecord};
use platform::idempotency::KeyClaim;
use platform::telemetry::{Part, timed};

/// How it ended that a failed job was accepted once more.
#[derive(Debug)]
pub enum Again<'k> {
    /// It is done, or the key says what to do in its place.
    Begun(Begun<'k>),
    /// The job is not what it was when it was read. Nothing was written.
    Changed,
}

impl Store {
    /// Accepts a failed job once more: its next state, its place in the month's limit and budget, its entries in the indexes, and the
    /// idempotency key with its reply are written together, or nothing is. Whoever asks for it must still have the role.
    ///
    /// # Errors
    /// [`ApiError::QuotaExceeded`], [`ApiError::BudgetExceeded`], [`ApiError::IdempotencyMismatch`], those of [`RoleCheck`].
    pub async fn accept_job_again<'k>(
        &self,
        org: &OrgRecord,
        jobs: (&JobRecord, &JobRecord),
        by: Option<RoleCheck<'_>>,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Again<'k>, ApiError> {
        match (self.accept_again_checked(org, jobs, by, claim).await, by) {
            (Err(ApiError::InvalidToken), Some(by)) => {
                let membership = timed(Part::Db, self.renewed(by)).await.map_err(not_written)?;
                Box::pin(self.accept_again_checked(org, jobs, Some(by.under(&membership)), claim)).await
            }
            (accepted, _) => accepted,
        }
    }

    async fn accept_again_checked<'k>(
        &self,
        org: &OrgRecord,
        (before, after): (&JobRecord, &JobRecord),
        by: Option<RoleCheck<'_>>,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Again<'k>, ApiError> {
        let mut writes = by.map(|by| by.write(&self.table)).transpose()?.into_iter().collect::<Vec<_>>();
        writes.extend(self.advance_writes(before, after)?);
        let mut reasons = match timed(Part::Db, self.accept(org, after, writes, claim)).await? {
            Accepted::Begun(begun) => return Ok(Again::Begun(begun)),
            Accepted::Refused(reasons) => reasons,
        };
        if let Some(by) = by {
            let check = reasons.remove(0);
            if condition_failed(&check) {
                by.allows(check.item.map(record::<MembershipRecord>).transpose()?.as_ref())?;
            }
        }
        Ok(Again::Changed)
    }
}
