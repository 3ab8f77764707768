//! Jobs. Each write of one is conditional on the version that was read, and moves its entry in the index of
//! what is due in the same transaction: nothing that was accepted can be forgotten.

mod accept;
mod again;
mod change;
mod due;
mod failed;
mod inputs;

pub use again::Again;
pub use change::{Advance, Change};
pub use due::{DueJob, DuePage, Found};
pub use failed::FailedPage;
pub use inputs::piece_count;

use accept::Accepted;

use super::idempotency::Begun;
use super::keys::{self, Key};
use super::{Store, attributes, record, string};
use crate::error::{ApiError, chain};
use crate::ids::{JOB_PARTITIONS, JobId, OrgId};
use crate::model::job::JobRecord;
use crate::model::org::OrgRecord;
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use platform::idempotency::KeyClaim;
use platform::telemetry::{Part, timed};

/// How often a job is written where there are other lanes to try.
const LANE_ATTEMPTS: u32 = 16;

impl Store {
    /// Accepts a job: the job, its place in the month's limit and budget, and the idempotency key with its reply are stored together, or
    /// nothing is. A small input is stored with them, a large one before them. The plan is that of the authority read: a check of it here
    /// would meet those of all other jobs of the organization.
    ///
    /// # Errors
    /// [`ApiError::QuotaExceeded`], [`ApiError::BudgetExceeded`], [`ApiError::IdempotencyMismatch`].
    pub async fn accept_job<'k>(
        &self,
        org: &OrgRecord,
        job: &JobRecord,
        input: &str,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Begun<'k>, ApiError> {
        timed(Part::Db, self.try_accept(org, job, input, claim)).await
    }

    async fn try_accept<'k>(
        &self,
        org: &OrgRecord,
        job: &JobRecord,
        input: &str,
        claim: Option<&KeyClaim<'k>>,
    ) -> Result<Begun<'k>, ApiError> {
        self.check_budget(org, job)?;
        if inputs::is_large(input) {
            Box::pin(self.write_large_input(job, input)).await?;
        }
        match self.accept(org, job, self.first_writes(job, input)?, claim).await? {
            Accepted::Begun(begun) => Ok(begun),
            Accepted::Refused(_) => Err(ApiError::internal("a job's id was not new")),
        }
    }

    /// The job, its entry in the index and its input, if that is small.
    pub(super) fn first_writes(&self, job: &JobRecord, input: &str) -> Result<Vec<TransactWriteItem>, ApiError> {
        let mut stored = attributes(Key::job(job.org_id, job.job_id), job)?;
        if !job.kind.is_counted() {
            // No organization has it, and none could ever remove it.
            stored.insert(keys::TTL.to_owned(), super::number(job.input_kept_until().as_ttl_seconds()));
        }
        let mut writes = vec![self.put_new(stored)?];
        writes.extend(job.due_at.map(|at| self.put_due(job, at)).transpose()?);
        writes.extend(self.put_small_input(job, input)?);
        Ok(writes)
    }

    fn put_due(&self, job: &JobRecord, at: Moment) -> Result<TransactWriteItem, ApiError> {
        let mut item = Key::due(shard_of(job), job.job_id, at).attributes();
        item.insert("org_id".to_owned(), string(job.org_id));
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build().map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn delete_due(&self, entry: Key) -> Result<TransactWriteItem, ApiError> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(entry.attributes()));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(ApiError::internal)?).build())
    }

    /// A job.
    ///
    /// # Errors
    /// [`ApiError::NotFound`], [`ApiError::JobUnreadable`].
    pub async fn job(&self, org: OrgId, job: JobId) -> Result<JobRecord, ApiError> {
        let found = timed(Part::Db, self.get_attributes(Key::job(org, job))).await?;
        // What is known by its id and cannot be read was written by another version.
        record(found.ok_or(ApiError::NotFound)?).map_err(|error| {
            tracing::error!(cause = chain(&error), "a job cannot be read");
            ApiError::JobUnreadable
        })
    }

    /// Up to `limit` jobs, newest first, those before `after` in the order of creation, and the id to go on after.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn list_jobs(
        &self,
        org: &OrgRecord,
        limit: u8,
        after: Option<JobId>,
    ) -> Result<(Vec<JobRecord>, Option<JobId>), ApiError> {
        let before = after.map_or(self.now(), JobId::made_at);
        let partitions = keys::partitions(org, keys::jobs_pk(org.org_id), JOB_PARTITIONS, limit, before);
        timed(Part::Db, self.newest(partitions, limit, after, |job: &JobRecord| job.job_id)).await
    }
}

/// The partition of the index that a job has its entry in.
fn shard_of(job: &JobRecord) -> u8 {
    job.due_shard.unwrap_or_else(|| keys::due_shard_of_0_1(job.job_id))
}
