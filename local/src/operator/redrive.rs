//! Failed jobs in the queue again: one by its id, all of an organization, or all there are.

use shared::error::chain;
use shared::ids::{JobId, OrgId};
use shared::jobs::{JobMessage, redrive};
use shared::model::job::JobState;
use shared::model::time::Moment;
use shared::store::keys::DUE_SHARDS;
use shared::{ApiError, Context};

/// Jobs of a page of an organization's list.
const PAGE: u8 = 100;

/// Which failed jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// One.
    Job(JobMessage),
    /// An organization's that failed since. Reads all its jobs: those of before the index of failed jobs are found too.
    Of(OrgId, Moment),
    /// All that failed since, by the index of failed jobs.
    All(Moment),
}

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the queue again.
    pub queued: u32,
    /// Did not fail, or were retried meanwhile.
    pub not_needed: u32,
    /// Stay as they are, and why.
    pub stay: Vec<(JobMessage, String)>,
}

/// Puts failed jobs in the queue again. One that stays is in no other's way. What fails while this runs is left for another time, so it ends.
///
/// # Errors
/// When the jobs cannot be found; what was done by then stands.
pub async fn redrive_failed(context: &Context, which: Which) -> Result<Report, ApiError> {
    let mut report = Report::default();
    match which {
        Which::Job(job) => report.redrive(context, job).await,
        Which::Of(org_id, since) => {
            let org = context.store().org(org_id).await?.ok_or(ApiError::NotFound)?;
            let mut after: Option<JobId> = None;
            loop {
                let (jobs, next) = context.store().list_jobs(&org, PAGE, after).await?;
                for job in jobs.iter().filter(|job| job.state == JobState::Failed) {
                    if job.finished_at.is_none_or(|at| at >= since) {
                        report.redrive(context, JobMessage { org_id, job_id: job.job_id }).await;
                    }
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        Which::All(since) => {
            let until = context.now().max(since);
            for shard in 0..DUE_SHARDS {
                let mut from = None;
                loop {
                    let page = context.store().failed_jobs(shard, (since, until), from).await?;
                    for (org_id, job_id) in page.jobs {
                        report.redrive(context, JobMessage { org_id, job_id }).await;
                    }
                    from = page.next;
                    if from.is_none() {
                        break;
                    }
                }
            }
        }
    }
    Ok(report)
}

impl Report {
    async fn redrive(&mut self, context: &Context, job: JobMessage) {
        match redrive(context, job.org_id, job.job_id).await {
            Ok(()) => self.queued += 1,
            Err(ApiError::NotFailed) => self.not_needed += 1,
            Err(error) => self.stay.push((job, chain(&error))),
        }
    }
}
