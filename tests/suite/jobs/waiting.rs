//! What waits is not what fails, and nobody waits for another's provider.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use serde_json::json;
use shared::model::job::JobKind;

/// While analyses hang and others wait behind them, the worker of e-mails has nothing else to do than e-mails.
#[tokio::test]
async fn a_model_that_hangs_holds_up_no_email() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let owner = rig.owner("pro").await;
    for text in ["one", "two"] {
        rig.accepted(&owner, "/analyze", json!({"text": text, "model": MODEL})).await;
    }
    let id = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    providers.will([Answer::Refuse(503, None)]);
    assert_eq!(rig.deliver_of(JobKind::SendEmail).await.deleted.len(), 1, "refused by the mail service");
    assert_eq!(rig.job(&owner, &id).await["waiting_for"]["code"], "mail_overloaded");
    assert_eq!((rig.visible(), providers.analyses().len()), (2, 0), "the analyses wait");
}
