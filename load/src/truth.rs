//! What the callers were told, and what must therefore hold. Every violation is kept with its facts.

use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

/// More violations than this are only counted.
const TOLD: usize = 50;

/// What one organization was told.
#[derive(Default)]
struct Told {
    /// Acknowledged items, with how many had been acknowledged before.
    items: BTreeMap<String, usize>,
    /// Accepted jobs and their kinds.
    jobs: HashMap<String, &'static str>,
    /// Requests whose replies said neither yes nor no: each may have made so many items or one job.
    unsure_items: usize,
    unsure_jobs: usize,
}

/// A job as the list of jobs shows it in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSeen {
    pub id: String,
    pub kind: String,
    pub state: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// A month's usage as the API tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSeen {
    pub analyses: u64,
    pub emails: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

/// The oracle of one run.
#[derive(Default)]
pub struct Truth {
    orgs: Mutex<HashMap<String, Told>>,
    /// The newest acknowledged version of each record.
    versions: Mutex<HashMap<String, u64>>,
    wrong: Mutex<(Vec<String>, usize)>,
}

impl Truth {
    /// Notes a violation.
    pub fn violated(&self, what: String) {
        let mut wrong = lock(&self.wrong);
        wrong.1 += 1;
        if wrong.0.len() < TOLD {
            wrong.0.push(what);
        }
    }

    /// The violations (the first of them), and how many there were.
    #[must_use]
    pub fn violations(&self) -> (Vec<String>, usize) {
        lock(&self.wrong).clone()
    }

    /// The version that a read which starts now must not fall behind.
    #[must_use]
    pub fn floor(&self, record: &str) -> u64 {
        lock(&self.versions).get(record).copied().unwrap_or(0)
    }

    /// A write of this version was acknowledged.
    pub fn acknowledged(&self, record: &str, version: u64) {
        let mut versions = lock(&self.versions);
        let newest = versions.entry(record.to_owned()).or_default();
        *newest = version.max(*newest);
    }

    /// A read that started at `floor` showed `seen`.
    pub fn read(&self, record: &str, floor: u64, seen: Option<u64>) {
        if seen.is_none_or(|seen| seen < floor) {
            self.violated(format!("stale: {record} showed version {seen:?} after {floor} was acknowledged"));
        }
    }

    /// Everything in a reply that names an organization must name the caller's.
    pub fn reply(&self, org: &str, endpoint: &str, body: &Value) {
        match body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if name == "org_id" && value.as_str() != Some(org) {
                        self.violated(format!("crossed an org: {endpoint} of {org} showed {value}"));
                    }
                    self.reply(org, endpoint, value);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.reply(org, endpoint, value)),
            _ => {}
        }
    }

    /// An item was acknowledged.
    pub fn item(&self, org: &str, id: &str) {
        let mut orgs = lock(&self.orgs);
        let items = &mut orgs.entry(org.to_owned()).or_default().items;
        let before = items.len();
        if items.insert(id.to_owned(), before).is_some() {
            self.violated(format!("one item for two creations: {id} of {org}"));
        }
    }

    /// A job was accepted.
    pub fn job(&self, org: &str, id: &str, kind: &'static str) {
        if lock(&self.orgs).entry(org.to_owned()).or_default().jobs.insert(id.to_owned(), kind).is_some() {
            self.violated(format!("one job for two requests: {id} of {org}"));
        }
    }

    /// A request ended without an answer: it may have made so many items or jobs.
    pub fn unsure(&self, org: &str, items: usize, jobs: usize) {
        let mut orgs = lock(&self.orgs);
        let told = orgs.entry(org.to_owned()).or_default();
        told.unsure_items += items;
        told.unsure_jobs += jobs;
    }

    /// How many items are acknowledged by now.
    #[must_use]
    pub fn items_floor(&self, org: &str) -> usize {
        lock(&self.orgs).get(org).map_or(0, |told| told.items.len())
    }

    /// The first page of a list, newest first, read after `floor` items were acknowledged: of these, all that are
    /// newer than the page's last must be on it.
    pub fn first_page(&self, org: &str, floor: usize, ids: &[String], more: bool) {
        let orgs = lock(&self.orgs);
        let Some(told) = orgs.get(org) else { return };
        let on_it: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let from = if more { ids.last().cloned().unwrap_or_default() } else { String::new() };
        let missing = told.items.range(from..).find(|(id, at)| **at < floor && !on_it.contains(id.as_str()));
        if let Some((id, _)) = missing {
            self.violated(format!("stale: a page of {org} lacks {id}, which was acknowledged before it was asked for"));
        }
    }

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
        for (lost, kind) in &told.jobs {
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

    /// How much was acknowledged: items, jobs.
    #[must_use]
    pub fn told(&self) -> (usize, usize) {
        let orgs = lock(&self.orgs);
        (orgs.values().map(|told| told.items.len()).sum(), orgs.values().map(|told| told.jobs.len()).sum())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
