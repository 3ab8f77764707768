//! The API as callers see it, over the local system, or over `CITIZEN_URL` where that is set;
//! and the embedded queue service's features.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod api;
mod bad_input;
mod batches;
mod bodies;
mod canary;
mod conditional;
mod conventions;
mod coverage;
mod documented;
mod documents;
mod events;
mod faults;
mod health;
mod hot;
mod identity;
mod items;
mod jobs;
mod lost_replies;
mod matrix;
mod members;
mod one_read;
mod orgs;
mod parity;
mod prices;
mod privileges;
mod problems;
mod security_log;
mod sessions;
mod shared_records;
mod sqs;
mod stored;
mod stream;
mod template;
mod workers;
