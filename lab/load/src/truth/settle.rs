//! The end of a run: what was acknowledged against all that is there.

use super::{JobSeen, Told, Truth, UsageSeen, lock};
use std::collections::{HashMap, HashSet};

impl Truth {
    /// The end of a run: all items and jobs of an organization, and its usage.
    pub fn settle(&self, org: &str, items: &[String], jobs: &[JobSeen], usage: UsageSeen) {
        let orgs = lock(&self.orgs);
        let nothing = Told::default();
        let told = orgs.get(org).unwrap_or(&nothing);
        self.settle_items(org, told, items);
        self.settle_jobs(org, told, jobs);
        let of = |kind: &str| jobs.iter().filter(|job| job.kind == kind).count() as u64;
        let sum = UsageSeen {
            analyses: of("analyze"),
            emails: of("send_email"),
            input_tokens: jobs.iter().map(|job| job.input_tokens).sum(),
            output_tokens: jobs.iter().map(|job| job.output_tokens).sum(),
            cost_nanos: jobs.iter().fold(0, |all, job| all.saturating_add(job.cost_nanos)),
        };
        if usage != sum {
            self.violated(format!("usage does not add up: {org} says {usage:?}, its jobs {sum:?}"));
        }
    }

    fn settle_items(&self, org: &str, told: &Told, items: &[String]) {
        let there: HashSet<&str> = items.iter().map(String::as_str).collect();
        if there.len() < items.len() {
            self.violated(format!("listed twice: {} items of {org}", items.len() - there.len()));
        }
        for lost in told.items.keys().filter(|id| !there.contains(id.as_str())) {
            self.violated(format!("lost: item {lost} of {org}"));
        }
        let extra = there.iter().filter(|id| !told.items.contains_key(**id)).count();
        if extra > told.unsure_items {
            self.violated(format!(
                "made twice: {org} has {extra} items nobody was told of ({} unsure)",
                told.unsure_items
            ));
        }
    }

    fn settle_jobs(&self, org: &str, told: &Told, jobs: &[JobSeen]) {
        let mut there: HashMap<&str, &JobSeen> = HashMap::new();
        for job in jobs {
            if there.insert(&job.id, job).is_some() {
                self.violated(format!("listed twice: job {} of {org}", job.id));
            }
            if !matches!(job.state.as_str(), "succeeded" | "failed" | "cancelled" | "unknown") {
                self.violated(format!("never ended: job {} of {org} is {}", job.id, job.state));
            }
        }
        for (lost, (_, kind)) in &told.jobs {
            if there.get(lost.as_str()).is_none_or(|job| job.kind != *kind) {
                self.violated(format!("lost: {kind} job {lost} of {org}"));
            }
        }
        let extra = there.keys().filter(|id| !told.jobs.contains_key(**id)).count();
        if extra > told.unsure_jobs {
            self.violated(format!(
                "made twice: {org} has {extra} jobs nobody was told of ({} unsure)",
                told.unsure_jobs
            ));
        }
    }
}
