//! A job's acceptance: its place in the month's limit and budget is taken, and it is written, in one transaction.

use super::super::idempotency::{Begun, Keyed};
use super::super::keys::Key;
use super::super::slices::{Reservation, lane_backoff};
use super::super::{Store, backoff, condition_failed, contended, not_written, out_of_tries, usage};
use super::LANE_ATTEMPTS;
use crate::error::ApiError;
use crate::model::job::JobRecord;
use crate::model::org::OrgRecord;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use platform::idempotency::KeyClaim;

/// As many transactions that one acceptance met on the month's record show that its organization is hot. More than of creations: the
/// workers of a few jobs meet each other, too.
const HOT: u32 = 6;
/// How often an acceptance is tried that meets others or whose key was given up meanwhile.
const ATTEMPTS: u32 = 8;

/// How an acceptance ended.
pub(super) enum Accepted<'k> {
    /// It is done, or the key says what to do in its place.
    Begun(Begun<'k>),
    /// Nothing was written, for the sake of the job: one reason for each of its writes, in order.
    Refused(Vec<CancellationReason>),
}

impl Store {
    /// Refuses what may cost more than the whole budget.
    pub(super) fn check_budget(&self, org: &OrgRecord, job: &JobRecord) -> Result<(), ApiError> {
        if job.reserved_nanos > 0 && job.budget_nanos.is_some_and(|budget| budget < job.reserved_nanos) {
            return usage::refused(job, org.plan, None, self.now()).and_then(Err);
        }
        Ok(())
    }

    /// Takes what a job needs and writes it as `job_writes` say, together with the key.
    pub(super) async fn accept<'k>(
        &self,
        org: &OrgRecord,
        job: &JobRecord,
        job_writes: Vec<TransactWriteItem>,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Accepted<'k>, ApiError> {
        self.check_budget(org, job)?;
        let spread = Box::pin(self.spread_when_due(org)).await;
        let org = spread.as_ref().unwrap_or(org);
        // Wherever the job lies: once lanes hold units, the month's record alone does not say what is left.
        if job.job_id.partition().is_some() || org.spreads_items(self.now()) {
            return self.accept_in_lanes(org, job, job_writes, claim).await;
        }
        let (mut met, mut heat) = (0, 0);
        for _ in 0..ATTEMPTS {
            let mut writes = vec![self.update(usage::take(job, org.plan))?];
            writes.extend(job_writes.iter().cloned());
            let attempt = self.transact_once_with_key(org.org_id, claim, writes).await?;
            let is_heat = attempt.met_at(0);
            let mut reasons = match attempt {
                Keyed::Begun(begun) => return Ok(Accepted::Begun(begun)),
                Keyed::Freed => continue,
                Keyed::Refused(reasons) => reasons,
                Keyed::Conflict(_) | Keyed::Throttled => {
                    met += 1;
                    heat += u32::from(is_heat);
                    if is_heat && heat == HOT && org.spread_from.is_none() {
                        // Where this job lies is said; what it takes is to be had from lanes all the same.
                        let spread = Box::pin(self.spread_by_heat(org.org_id)).await;
                        if let Some(now) = spread.filter(|now| now.spreads_items(self.now())) {
                            return self.accept_in_lanes(&now, job, job_writes, claim).await;
                        }
                    }
                    tokio::time::sleep(backoff(met - 1)).await;
                    continue;
                }
            };
            let of_usage = reasons.remove(0);
            if reasons.iter().any(condition_failed) {
                return Ok(Accepted::Refused(reasons));
            }
            // It may have been spread since it was read: then lanes hold units that the month's record counts as used.
            let now: Option<OrgRecord> = self.get(Key::org(org.org_id)).await.map_err(not_written)?;
            if let Some(now) = now.filter(|now| now.spreads_items(self.now())) {
                return self.accept_in_lanes(&now, job, job_writes, claim).await;
            }
            return usage::refused(job, org.plan, of_usage.item, self.now()).and_then(Err);
        }
        Err(out_of_tries(met > 0))
    }

    /// The same for an organization that is spread.
    async fn accept_in_lanes<'k>(
        &self,
        org: &OrgRecord,
        job: &JobRecord,
        job_writes: Vec<TransactWriteItem>,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Accepted<'k>, ApiError> {
        let (mut takings, mut met) = (usage::takings(&self.kept, job, org), 0);
        for _ in 0..LANE_ATTEMPTS {
            let (mut writes, mut ends) = (Vec::new(), Vec::new());
            for taking in &takings {
                for update in taking.writes() {
                    writes.push(self.update(update)?);
                }
                ends.push(writes.len());
            }
            let of_job = writes.len();
            writes.extend(job_writes.iter().cloned());
            let mut reasons = match self.transact_once_with_key(org.org_id, claim, writes).await? {
                Keyed::Begun(begun) => {
                    takings.iter().for_each(|taken| taken.keep(&self.kept));
                    return Ok(Accepted::Begun(begun));
                }
                Keyed::Freed => continue,
                Keyed::Refused(reasons) => reasons,
                Keyed::Conflict(_) | Keyed::Throttled => {
                    met += 1;
                    takings.iter_mut().for_each(Reservation::try_another);
                    tokio::time::sleep(lane_backoff(met - 1)).await;
                    continue;
                }
            };
            if reasons[of_job..].iter().any(condition_failed) {
                return Ok(Accepted::Refused(reasons.split_off(of_job)));
            }
            let mut start = 0;
            for (at, (taking, end)) in takings.iter_mut().zip(ends).enumerate() {
                let ours = &reasons[start..end];
                start = end;
                if ours.iter().any(condition_failed) && !self.refill(taking, ours).await.map_err(not_written)? {
                    let is_of_limit = at == 0 && usage::takes_unit(job);
                    return Err(if is_of_limit {
                        usage::over_limit(job, org.plan, self.now())
                    } else {
                        ApiError::BudgetExceeded
                    });
                }
            }
        }
        Err(contended())
    }
}
