//! The load test over a system in this process: as it is, and when it lies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lies;
mod short;
