//! What waits is not what fails, and nobody waits for another's provider.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use serde_json::json;
use shared::model::job::JobKind;
use std::time::Duration;

/// While an analysis hangs and another waits behind it, e-mails are sent by a worker that has nothing else to do.
#[tokio::test]
async fn a_model_that_hangs_holds_up_no_email() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    for text in ["one", "two"] {
        rig.accepted(&owner, "/analyze", json!({"text": text, "model": MODEL})).await;
    }
    let id = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    providers.will([Answer::Silence]);
    let email = async {
        while providers.analyses().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(rig.deliver_of(JobKind::SendEmail).await.deleted.len(), 1);
        assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
    };
    tokio::select! {
        _ = rig.deliver_of(JobKind::Analyze) => panic!("the model is to hang"),
        () = email => {}
    }
    assert_eq!(providers.emails().len(), 1);
}
