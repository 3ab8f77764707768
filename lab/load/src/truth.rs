//! What the callers were told, and what must therefore hold. Every violation is kept with its facts.

use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

/// More violations than this are only counted.
const TOLD: usize = 50;

/// What one organization was told.
#[derive(Default)]
struct Told {
    /// Acknowledged items, with how many had been acknowledged before.
    items: BTreeMap<String, usize>,
    /// Accepted jobs, with how many had been accepted before, and their kinds.
    jobs: BTreeMap<String, (usize, &'static str)>,
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
    /// In nano-dollars.
    pub cost_nanos: u64,
}

/// A month's usage as the API tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSeen {
    pub analyses: u64,
    pub emails: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// In nano-dollars.
    pub cost_nanos: u64,
}

/// The longest that prices may be served after others were seen: their class is stale acceptable, a day.
const PRICES_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The prices that were seen: each catalogue's date with when it was first seen, and what it says of a provider.
#[derive(Default)]
struct Prices {
    first_seen: BTreeMap<String, Duration>,
    said: HashMap<(String, String), Value>,
}

/// The oracle of one run.
#[derive(Default)]
pub struct Truth {
    orgs: Mutex<HashMap<String, Told>>,
    /// The newest acknowledged version of each record.
    versions: Mutex<HashMap<String, u64>>,
    prices: Mutex<Prices>,
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
        let mut orgs = lock(&self.orgs);
        let jobs = &mut orgs.entry(org.to_owned()).or_default().jobs;
        let before = jobs.len();
        if jobs.insert(id.to_owned(), (before, kind)).is_some() {
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

    /// How many jobs are accepted by now: of all kinds, analyses, e-mails.
    #[must_use]
    pub fn jobs_floor(&self, org: &str) -> (usize, u64, u64) {
        let orgs = lock(&self.orgs);
        let Some(told) = orgs.get(org) else { return (0, 0, 0) };
        let of = |kind: &str| told.jobs.values().filter(|(_, of)| *of == kind).count() as u64;
        (told.jobs.len(), of("analyze"), of("send_email"))
    }

    /// The first page of the items, newest first, read after `floor` of them were acknowledged: of these, all that are
    /// newer than the page's last must be on it.
    pub fn first_page(&self, org: &str, floor: usize, ids: &[String], more: bool) {
        let orgs = lock(&self.orgs);
        let Some(told) = orgs.get(org) else { return };
        self.page_has(org, told.items.iter().map(|(id, at)| (id, *at)), (floor, ids, more));
    }

    /// The same of the jobs.
    pub fn first_jobs(&self, org: &str, floor: usize, ids: &[String], more: bool) {
        let orgs = lock(&self.orgs);
        let Some(told) = orgs.get(org) else { return };
        self.page_has(org, told.jobs.iter().map(|(id, (at, _))| (id, *at)), (floor, ids, more));
    }

    fn page_has<'a>(
        &self,
        org: &str,
        told: impl Iterator<Item = (&'a String, usize)>,
        (floor, ids, more): (usize, &[String], bool),
    ) {
        let on_it: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let from = if more { ids.last().map_or("", String::as_str) } else { "" };
        let mut wanted = told.filter(|(id, at)| *at < floor && id.as_str() >= from);
        if let Some((id, _)) = wanted.find(|(id, _)| !on_it.contains(id.as_str())) {
            self.violated(format!("stale: a page of {org} lacks {id}, which was acknowledged before it was asked for"));
        }
    }

    /// The month's usage, read after so many analyses and e-mails were accepted: it is never cached.
    pub fn usage(&self, org: &str, (_, analyses, emails): (usize, u64, u64), seen: UsageSeen) {
        if seen.analyses < analyses || seen.emails < emails {
            self.violated(format!("stale: usage of {org} is {seen:?} after {analyses} analyses and {emails} e-mails"));
        }
    }

    /// What was answered to one request that was sent twice under one key.
    pub fn repeated(&self, first: &Value, again: &Value) {
        if first != again {
            self.violated(format!("made twice: one key gave {first} and {again}"));
        }
    }

    /// What was acknowledged is asked for by its own organization.
    pub fn is_there(&self, org: &str, what: &str, status: u16) {
        if status == 404 {
            self.violated(format!("lost: {what} of {org} is not found"));
        }
    }

    /// What belongs to `other` is asked for by `org`.
    pub fn foreign(&self, org: &str, (what, other): (&str, &str), status: u16) {
        if (200..300).contains(&status) {
            self.violated(format!("crossed an org: {org} was shown {what} of {other}"));
        }
    }

    /// A log-in to `org` opened a session of `opened`.
    pub fn session(&self, org: &str, opened: Option<&str>) {
        if opened != Some(org) {
            self.violated(format!("crossed an org: a log-in to {org} gave {opened:?}"));
        }
    }

    /// An ended session is used.
    pub fn ended_session(&self, org: &str, status: u16) {
        if (200..300).contains(&status) {
            self.violated(format!("stale: an ended session of {org} was let in"));
        }
    }

    /// One provider's prices, read at `now` on the run's clock: all of one catalogue, the same whenever that is shown, and
    /// none that a newer one replaced longer ago than their class allows.
    pub fn prices(&self, provider: &str, body: &Value, now: Duration) {
        let models = body["data"].as_array().map_or(&[][..], Vec::as_slice);
        if models.is_empty() || models.iter().any(|model| model["provider"].as_str() != Some(provider)) {
            self.violated(format!("prices: not those of {provider} alone"));
        }
        let as_of = body["as_of"].as_str().unwrap_or_default().to_owned();
        let mut prices = lock(&self.prices);
        let said = prices.said.entry((as_of.clone(), provider.to_owned())).or_insert_with(|| body["data"].clone());
        if *said != body["data"] {
            self.violated(format!("prices: the catalogue of {as_of} says two things of {provider}"));
        }
        prices.first_seen.entry(as_of.clone()).or_insert(now);
        let replaced = prices.first_seen.range(as_of.clone()..).skip(1).map(|(_, seen)| *seen).min();
        if replaced.is_some_and(|seen| now.saturating_sub(seen) > PRICES_STALE) {
            self.violated(format!("stale: prices of {as_of} more than a day after newer ones"));
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

mod settle;
#[cfg(test)]
mod tests;
