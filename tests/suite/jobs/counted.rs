//! What alarms read of jobs is written when it happens, with how much of it there is.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::canary::Logging;
use crate::faults::FaultyDatabase;
use serde_json::{Value, json};
use shared::store::keys::Key;
use shared::telemetry::metrics;
use std::time::Duration;

/// A process whose metrics are written: an account without credit, an e-mail that goes well, and a job that is due and cannot be read.
#[test]
#[ignore = "a role of the other test"]
fn counting_process() {
    metrics::init("counting");
    println!("BEGUN"); // after the test's name, on its line
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let providers = Providers::start().await;
        let rig = Rig::over(&providers).await;
        let owner = rig.owner("pro").await;
        providers.will([Answer::Say("Your credit balance is too low to access the API.".to_owned())]);
        rig.accepted(&owner, "/analyze", json!({"text": "a text", "model": MODEL})).await;
        rig.deliver().await;
        println!("BOUGHT");
        rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
        rig.deliver().await;
        println!("WELL");
        let id = rig.accepted(&owner, "/analyze", json!({"text": "a text"})).await;
        let Key { pk, sk } = Key::job(owner.org_id.parse().unwrap(), id.parse().unwrap());
        let table = &rig.system.context().config().table_name;
        let update = json!({"TableName": table, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": "SET kind = :kind", "ExpressionAttributeValues": {":kind": {"S": "export"}}});
        FaultyDatabase::before(&rig.system.database_url()).await.call("UpdateItem", &update).await;
        rig.system.clock().jump(Duration::from_secs(1_000));
        rig.sweep_once().await;
        println!("SWEPT");
    });
}

/// The values of a metric among lines.
fn values(lines: &[String], metric: &str) -> Vec<u64> {
    let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line["Deployment"] == "counting").filter_map(|line| line[metric].as_u64()).collect()
}

#[test]
fn what_needs_an_operator_and_what_a_sweep_leaves_is_counted() {
    let lines = Logging::start("jobs::counted::counting_process").end();
    let at =
        |mark: &str| lines.iter().position(|line| line.ends_with(mark)).unwrap_or_else(|| panic!("{mark}: {lines:#?}"));
    let (bought, well, swept) = (at("BOUGHT"), at("WELL"), at("SWEPT"));
    assert_eq!(values(&lines[..bought], "OperatorNeeded"), [1], "no credit");
    assert_eq!(values(&lines[bought..well], "OperatorNeeded"), [0; 0], "what went well needs nobody");
    assert_eq!(values(&lines[well..swept], "SweepLeft"), [1], "the job that cannot be read");
    let oldest = values(&lines[well..swept], "OldestDueSeconds");
    assert!(matches!(oldest[..], [900..=1_000]), "{oldest:?}");
}
