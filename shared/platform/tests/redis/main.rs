//! The cache against real Redis servers, real processes and real faults: `just test-redis`. It needs
//! `redis-server` and fails without it; `cargo test --workspace` leaves it out (feature `discovery`).

#![expect(clippy::disallowed_methods, reason = "the scenes of these tests are threads and processes, which sleep")]

mod absence;
mod consistency;
mod cost;
mod deployments;
mod discovery;
mod elasticache;
mod faults;
mod frozen;
mod herd;
mod lambda;
mod one_fetch;
mod origin;
mod records;
mod server;
mod sizes;
mod stale;
mod writers;
