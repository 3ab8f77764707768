//! The index of jobs that failed: an entry for each, as long as its input is kept, until it is retried.

use super::super::keys::{self, Key, SK, TTL};
use super::super::{Attributes, Store, classify, number, string};
use super::shard_of;
use crate::error::ApiError;
use crate::ids::{JobId, OrgId};
use crate::model::job::{JobRecord, JobState};
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use platform::telemetry::{Part, timed};

/// Jobs of a partition that failed, the first one first.
#[derive(Debug)]
pub struct FailedPage {
    pub jobs: Vec<(OrgId, JobId)>,
    /// Where the next page begins; none after the last.
    pub next: Option<Attributes>,
}

impl Store {
    /// The writes that have the index say what a job's next state does.
    pub(super) fn move_failed(
        &self,
        before: &JobRecord,
        after: &JobRecord,
    ) -> Result<Vec<TransactWriteItem>, ApiError> {
        let (old, new) = (entry_of(before), entry_of(after));
        if old == new {
            return Ok(Vec::new());
        }
        let removed = old.map(|entry| self.delete_due(entry)).transpose()?;
        let added = new.map(|entry| self.put_failed(after, entry)).transpose()?;
        Ok(removed.into_iter().chain(added).collect())
    }

    fn put_failed(&self, job: &JobRecord, entry: Key) -> Result<TransactWriteItem, ApiError> {
        let mut item = entry.attributes();
        item.insert("org_id".to_owned(), string(job.org_id));
        item.insert(TTL.to_owned(), number(job.input_kept_until().as_ttl_seconds()));
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build().map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Jobs of a shard that failed from one moment on and before another, from where a page ended.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn failed_jobs(
        &self,
        shard: u8,
        (since, until): (Moment, Moment),
        from: Option<Attributes>,
    ) -> Result<FailedPage, ApiError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .set_exclusive_start_key(from)
            .key_condition_expression("pk = :pk AND sk BETWEEN :since AND :until")
            .expression_attribute_values(":pk", string(keys::failed_pk(shard)))
            .expression_attribute_values(":since", string(keys::due_sk(since)))
            .expression_attribute_values(":until", string(keys::due_sk(until)))
            .send();
        let page = timed(Part::Db, query).await.map_err(classify)?;
        let jobs = page.items.unwrap_or_default().iter().filter_map(job_of).collect();
        Ok(FailedPage { jobs, next: page.last_evaluated_key })
    }
}

impl JobRecord {
    /// Until when it can be run: its input is removed then.
    #[must_use]
    pub fn input_kept_until(&self) -> Moment {
        self.created_at.plus(self.kind.input_kept_for())
    }
}

/// Where a job's entry is, if it has one.
fn entry_of(job: &JobRecord) -> Option<Key> {
    let at = job.finished_at.filter(|_| job.state == JobState::Failed)?;
    Some(Key::failed(shard_of(job), job.job_id, at))
}

fn job_of(item: &Attributes) -> Option<(OrgId, JobId)> {
    let text = |name: &str| item.get(name)?.as_s().ok();
    let (_, job) = text(SK)?.split_once('#')?;
    Some((text("org_id")?.parse().ok()?, job.parse().ok()?))
}
