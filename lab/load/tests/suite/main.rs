//! The load test over a system in this process: as it is, and when it lies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod lies;
mod short;

use local::operator::registrant;
use local::{System, operator};
use serde_json::Value;
use shared::model::org::{Plan, Role};

/// Makes an account of what a registration sends.
async fn account(system: &System, new: &Value) -> Result<Value, String> {
    let of = |name: &str| new[name].as_str().unwrap().to_owned();
    let joins = new["joins"].as_str().map(|org| org.parse().unwrap());
    let new = registrant(of("email"), of("password"), of("name"), of("org_name")).unwrap();
    let email = new.email.clone();
    let begun = operator::account(system.context(), new).await.map_err(|error| error.to_string())?;
    if let Some(org) = joins {
        operator::add_member(system.context(), org, &email, Role::Admin).await.map_err(|error| error.to_string())?;
    }
    serde_json::to_value(begun.session).map_err(|error| error.to_string())
}

/// Gives an organization of this system a plan that is in nobody's way.
async fn give_plan(system: &System, org: &str) -> Result<(), String> {
    let given = operator::give_plan(system.context(), org.parse().unwrap(), Plan::Enterprise).await;
    given.map(drop).map_err(|error| error.to_string())
}
