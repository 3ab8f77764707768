//! What reaches an account's owner while somebody else changes its address, and what the owner may do afterwards.

use super::{ask, confirm, letter, moved, undo};
use crate::api::{Actor, Api, PASSWORD, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::providers::{Answer, Providers};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, code_of, token_of};
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::text::Email;
use shared::store::email_changes::UNDO_FOR;
use shared::store::suppression::Reason;
use std::time::Duration;

async fn forget(rig: &Rig, email: &str) {
    let forgotten = Some(json!({"email": email}));
    assert_eq!(rig.api.elsewhere().call(None, Method::POST, "/auth/forgot-password", forgotten).await.status, 202);
    rig.deliver_account_mail().await;
}

/// The texts that the mail service has taken for an address, the oldest first.
fn taken_for(providers: &Providers, email: &str) -> Vec<String> {
    let text = |mail: &Value| mail["Content"]["Simple"]["Body"]["Text"]["Data"].as_str().unwrap().to_owned();
    let emails = providers.emails();
    emails.iter().filter(|mail| mail["Destination"]["ToAddresses"] == json!([email])).map(text).collect()
}

/// What undoes a change is told once, and nobody knows whether it went out. The address before gets another by asking as if the password
/// were forgotten: three an hour, as of all such links.
#[tokio::test]
async fn a_link_to_undo_that_was_lost_is_sent_again() {
    let providers = Providers::start().await;
    let rig = Rig::over(&providers).await;
    let thief = rig.api.register().await;
    let (victim, to) = (thief.email.clone(), unique_email());
    ask(&rig.api, &thief, &to).await;
    rig.deliver_account_mail().await;
    let code = code_of(&taken_for(&providers, &to)[0]);
    providers.will([Answer::Refuse(500, None)]);
    assert_eq!(confirm(&rig.api, &thief, json!({"code": code})).await.status, 200);
    rig.deliver_account_mail().await;
    rig.system.clock().jump(Duration::from_secs(400));
    rig.deliver_account_mail().await;
    assert_eq!(taken_for(&providers, &victim), [""; 0], "it may be out, so it is not sent again");

    for sent in [1, 2, 3, 3] {
        forget(&rig, &victim).await;
        assert_eq!(taken_for(&providers, &victim).len(), sent);
    }
    let stranger = unique_email();
    forget(&rig, &stranger).await;
    assert_eq!(taken_for(&providers, &stranger), [""; 0], "it was nobody's");
    let links: Vec<String> = taken_for(&providers, &victim).iter().map(|text| token_of(text)).collect();
    assert!(links.iter().all(|link| link.starts_with("citu_")), "{links:?}");
    undo(&rig.api, &links[0]).await.is_problem(400, "invalid_link");
    let done = undo(&rig.api, &links[2]).await;
    assert_eq!((done.status, &done.body["user"]["email"]), (200, &json!(victim)), "{}", done.text);
    // The address that it had meanwhile has nothing to undo, and nothing is left of what could be.
    rig.deliver_account_mail().await;
    let before = taken_for(&providers, &to).len();
    forget(&rig, &to).await;
    assert_eq!(taken_for(&providers, &to).len(), before);
    undo(&rig.api, &links[2]).await.is_problem(400, "invalid_link");
}

#[tokio::test]
async fn after_seven_days_no_link_to_undo_is_sent() {
    let rig = Rig::new().await;
    let actor = rig.api.register().await;
    moved(&rig, &actor, &actor.email, &unique_email()).await;
    rig.system.clock().jump(UNDO_FOR);
    forget(&rig, &actor.email).await;
    assert_eq!(Letters::of(&rig).all_to(&actor.email).len(), 1, "that it was changed");
}

/// Whoever called a newsletter unwanted still gets what keeps the own account: a link for a forgotten password, that the password or the
/// address was changed, and what undoes that. An address that is none, or that a person listed, gets nothing.
#[tokio::test]
async fn a_complaint_holds_no_mail_back_from_a_proven_address() {
    let rig = Rig::new().await;
    let store = rig.system.context().store();
    for (reasons, arrive) in [
        (vec![Reason::Complaint], 3),
        (vec![Reason::Bounce], 0),
        (vec![Reason::Person, Reason::Complaint], 0),
        (vec![Reason::Complaint, Reason::Bounce], 0),
    ] {
        let (actor, unproven) = (rig.api.register().await, rig.api.register_as_everybody().await);
        for listed in [&actor.email, &unproven.email] {
            let listed = Email::try_from(listed.clone()).unwrap();
            for reason in &reasons {
                store.suppress(&listed, *reason).await.unwrap();
            }
        }
        forget(&rig, &actor.email).await;
        forget(&rig, &unproven.email).await;
        let change = json!({"current": PASSWORD, "password": PASSWORD});
        assert_eq!(rig.api.put(&actor, "/me/password", change).await.status, 204);
        let text = letter(&rig, &actor, &unique_email()).await;
        assert_eq!(confirm(&rig.api, &actor, json!({"code": code_of(&text)})).await.status, 200);
        rig.deliver_account_mail().await;
        let letters = Letters::of(&rig);
        let texts = letters.all_to(&actor.email);
        assert_eq!(texts.len(), arrive, "{reasons:?}: {texts:?}");
        for wanted in ["/reset-password#citr_", "Your password was changed", "/undo-email#citu_"] {
            assert_eq!(texts.iter().filter(|text| text.contains(wanted)).count(), arrive / 3, "{reasons:?}: {wanted}");
        }
        assert!(!letters.is_there(&unproven.email), "{reasons:?}: anybody can have it written to");
    }
}

/// An account that a thief moves, and who then asks for one address after the other, until there may be no more. The address before, and the
/// link by which its owner undoes that.
async fn moved_by_a_thief(rig: &Rig) -> (String, String) {
    let thief = rig.api.register().await;
    let victim = thief.email.clone();
    let link = token_of(&moved(rig, &thief, &victim, &unique_email()).await);
    for _ in 0..10 {
        ask(&rig.api, &thief, &unique_email()).await;
    }
    rig.deliver_account_mail().await;
    (victim, link)
}

/// A thief who asks for one address after the other does not use up what the owner may ask for, once the account is given back.
#[tokio::test]
async fn an_account_that_is_given_back_may_change_its_address() {
    let rig = Rig::new().await;
    let (victim, link) = moved_by_a_thief(&rig).await;
    let done = undo(&rig.api, &link).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let owner = Actor::of(&done.body, &victim);
    letter(&rig, &owner, &unique_email()).await;
}

/// Its owner opens the link once more after it came to nothing.
#[tokio::test]
async fn a_link_that_came_to_nothing_gives_the_changes_back_all_the_same() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (victim, link) = moved_by_a_thief(&rig).await;
    database.inject("TransactWriteItems", Fault::Conflict(u32::MAX));
    undo(&Api::at(slow.url()), &link).await.is_problem(503, "unavailable");
    database.release("TransactWriteItems");
    let done = undo(&rig.api, &link).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let owner = Actor::of(&done.body, &victim);
    letter(&rig, &owner, &unique_email()).await;
}

/// Whoever undoes its own changes gets them back once in seven days, and cannot have as many mails sent to others as it likes.
#[tokio::test]
async fn changes_are_given_back_once_a_week() {
    let rig = Rig::new().await;
    let mut actor = rig.api.register().await;
    let first = actor.email.clone();
    for _ in 0..2 {
        let link = token_of(&moved(&rig, &actor, &first, &unique_email()).await);
        for _ in 0..9 {
            ask(&rig.api, &actor, &unique_email()).await;
        }
        rig.deliver_account_mail().await;
        rig.system.clock().jump(Duration::from_secs(1));
        let done = undo(&rig.api, &link).await;
        assert_eq!(done.status, 200, "{}", done.text);
        actor = Actor::of(&done.body, &first);
    }
    let to = unique_email();
    ask(&rig.api, &actor, &to).await;
    rig.deliver_account_mail().await;
    assert!(!Letters::of(&rig).is_there(&to), "twenty were asked for");
}

/// The same of whoever proves an address that a stranger had registered.
#[tokio::test]
async fn an_account_that_a_reset_proves_may_change_its_address() {
    let rig = Rig::new().await;
    let squatter = rig.api.register_as_everybody().await;
    for _ in 0..10 {
        ask(&rig.api, &squatter, &unique_email()).await;
    }
    forget(&rig, &squatter.email).await;
    let done = undo(&rig.api, &token_of(&Letters::of(&rig).newest_to(&squatter.email))).await;
    assert_eq!((done.status, &done.body["user"]["email_verified"]), (200, &json!(true)), "{}", done.text);
    let owner = Actor::of(&done.body, &squatter.email);
    letter(&rig, &owner, &unique_email()).await;
}

/// Undoing the last change again and again makes no more changes to undo than an account may ask for: the first address undoes all of them in
/// one transaction.
#[tokio::test]
async fn undoing_the_last_change_allows_no_more_changes() {
    let rig = Rig::new().await;
    let thief = rig.api.register().await;
    let (victim, first) = (thief.email.clone(), unique_email());
    moved(&rig, &thief, &victim, &first).await;
    rig.system.clock().jump(Duration::from_secs(1));
    let link = token_of(&moved(&rig, &thief, &first, &unique_email()).await);
    for _ in 0..8 {
        ask(&rig.api, &thief, &unique_email()).await;
    }
    rig.deliver_account_mail().await;
    let done = undo(&rig.api, &link).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let (thief, to) = (Actor::of(&done.body, &first), unique_email());
    ask(&rig.api, &thief, &to).await;
    rig.deliver_account_mail().await;
    assert!(!Letters::of(&rig).is_there(&to), "the first change may still be undone");
}
