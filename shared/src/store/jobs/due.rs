//! The index of what is due: an entry for each job that has not ended, in the partition that the job names, and for each batch of items
//! that has not.

use super::super::keys::{self, Key, SK};
use super::super::{Attributes, Store, classify, number, record, string};
use crate::error::ApiError;
use crate::ids::{JobId, OrgId};
use crate::model::job::JobRecord;
use crate::model::time::Moment;
use crate::store::items::PendingBatch;
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};
use platform::telemetry::{Part, timed};
use std::collections::{BTreeSet, HashMap};

/// An entry of the index of what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueJob {
    /// The partition that it lies in.
    pub shard: u8,
    pub org_id: OrgId,
    pub job_id: JobId,
    pub at: Moment,
}

/// Entries of a partition, the longest due first.
#[derive(Debug)]
pub struct DuePage {
    pub due: Vec<DueJob>,
    /// Batches of items among them.
    pub batches: Vec<PendingBatch>,
    /// Where the next page begins; none after the last.
    pub next: Option<Attributes>,
}

/// A job of the index, as far as it can be read.
#[derive(Debug)]
pub enum Found {
    Job(Box<JobRecord>),
    /// Another version wrote it.
    Unreadable(ApiError),
}

impl Store {
    /// Up to `limit` entries of a shard that were due before `now`, from where a page ended.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn due_jobs(
        &self,
        shard: u8,
        now: Moment,
        limit: i32,
        from: Option<Attributes>,
    ) -> Result<DuePage, ApiError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .limit(limit)
            .set_exclusive_start_key(from)
            .key_condition_expression("pk = :pk AND sk < :now")
            .expression_attribute_values(":pk", string(keys::due_pk(shard)))
            .expression_attribute_values(":now", string(keys::due_sk(now)))
            .send();
        let page = timed(Part::Db, query).await.map_err(classify)?;
        let entries = page.items.unwrap_or_default();
        Ok(DuePage {
            due: entries.iter().filter_map(|item| entry(shard, item)).collect(),
            batches: entries.iter().filter_map(|item| PendingBatch::of(shard, item)).collect(),
            next: page.last_evaluated_key,
        })
    }

    /// The jobs of up to 100 entries of the index that exist. One that cannot be read is no other's concern.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn jobs_due(&self, due: &[DueJob]) -> Result<HashMap<JobId, Found>, ApiError> {
        // A job may have several entries here, and DynamoDB refuses a key that comes twice.
        let jobs: BTreeSet<(OrgId, JobId)> = due.iter().map(|due| (due.org_id, due.job_id)).collect();
        let keys = jobs.into_iter().map(|(org, job)| Key::job(org, job).attributes()).collect();
        let found = timed(Part::Db, self.get_all(keys)).await?.into_iter();
        Ok(found
            .filter_map(|item| {
                let id = item.get(SK)?.as_s().ok()?.parse().ok()?;
                Some((id, record(item).map_or_else(Found::Unreadable, |job| Found::Job(Box::new(job)))))
            })
            .collect())
    }

    /// Removes an entry of the index that its job does not point to. Nothing happens if it does after all.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_due(&self, due: &DueJob) -> Result<(), ApiError> {
        let job = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::job(due.org_id, due.job_id).attributes()))
            .condition_expression("attribute_not_exists(pk) OR due_at <> :at")
            .expression_attribute_values(":at", number(due.at.as_millis()))
            .build()
            .map_err(ApiError::internal)?;
        let entry = self.delete_due(Key::due(due.shard, due.job_id, due.at))?;
        let writes = vec![TransactWriteItem::builder().condition_check(job).build(), entry];
        timed(Part::Db, self.transact(writes)).await.map(|_| ())
    }
}

fn entry(shard: u8, item: &Attributes) -> Option<DueJob> {
    let text = |name: &str| item.get(name)?.as_s().ok();
    let (at, job) = text(SK)?.split_once('#')?;
    Some(DueJob {
        shard,
        org_id: text("org_id")?.parse().ok()?,
        job_id: job.parse().ok()?,
        at: Moment::from_millis(at.parse().ok()?),
    })
}
