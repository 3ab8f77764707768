//! Jobs, from their acceptance to their effect.

mod acceptance;
mod analyses;
mod backlogs;
mod bad_days;
mod cancelling;
mod counted;
pub(crate) mod deadlines;
pub(crate) mod emails;
mod failures;
mod fairness;
pub(crate) mod idempotency;
mod inputs;
pub(crate) mod limits;
mod lists;
mod mail_rates;
mod outages;
mod plans;
mod prefer_wait;
mod provider_rates;
mod provider_truth;
pub(crate) mod providers;
mod refusals;
mod retries;
pub(crate) mod rig;
mod sweeping;
mod waiting;
