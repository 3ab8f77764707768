//! The load test over a system in this process: as it is, and when it lies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lies;
mod short;

use local::{System, operator};
use shared::model::org::Plan;

/// Gives an organization of this system a plan that is in nobody's way.
async fn give_plan(system: &System, org: &str) -> Result<(), String> {
    let given = operator::give_plan(system.context(), org.parse().unwrap(), Plan::Enterprise).await;
    given.map(drop).map_err(|error| error.to_string())
}
