//! Invitations while the database is busy: what their callers are told, and what is left of their numbers afterwards.

use super::{WRITE, invite, invited, path, with_invitation};
use crate::api::{Api, send, unique_email};
use crate::faults::{Fault, FaultyDatabase, updates_of};
use crate::jobs::rig::Rig;
use crate::letters::Letters;
use reqwest::Method;
use serde_json::json;
use shared::store::keys::Key;

/// Whoever meets others at each try, or finds no units, can do nothing about it but to come back.
#[tokio::test]
async fn who_meets_others_each_time_is_told_when_to_come_back() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let late = Api::at(slow.url());
    let (owner, user) = (rig.owner("pro").await, rig.api.register().await);
    let (new, often) = (unique_email(), unique_email());
    let to_user = invited(&rig, &owner, &user.email, "member").await;
    let to_new = invited(&rig, &owner, &new, "member").await;
    // An address without a mail left keeps its invitation: only the key is written.
    for _ in 0..5 {
        assert_eq!(invite(&rig, &owner, &often, "member").await.status, 201);
    }
    let accepts = async || late.post(&user, "/invitations/accept", json!({"token": to_user})).await;
    let registers =
        async || late.call(None, Method::POST, "/auth/register", Some(with_invitation(&new, &to_new))).await;
    let invites = async |email: &str| {
        let request = late.request(Method::POST, &path(&owner)).bearer_auth(&owner.token);
        send(request.header("Idempotency-Key", email).json(&json!({"email": email, "role": "member"}))).await
    };
    for fault in [Fault::Starve(u32::MAX), Fault::Conflict(u32::MAX)] {
        database.inject(WRITE, fault);
        let another = unique_email();
        let replies = tokio::join!(accepts(), registers(), invites(&another), invites(&often));
        for reply in [replies.0, replies.1, replies.2, replies.3] {
            reply.is_problem(503, "unavailable");
            assert_eq!(reply.header("retry-after"), "1");
        }
        database.release(WRITE);
    }
    assert_eq!((accepts().await.status, registers().await.status), (200, 201));
}

/// Nothing was made, and certainly so: neither the day of the organization nor that of the address has one less.
#[tokio::test]
async fn what_could_not_be_read_takes_nothing_of_either_day() {
    let origin = Rig::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone()), ("INVITATIONS_PER_DAY", "7".to_owned())];
    let rig = Rig::with(environment).await;
    let (owner, email, often) = (rig.owner("pro").await, unique_email(), unique_email());
    for _ in 0..5 {
        assert_eq!(invite(&rig, &owner, &often, "member").await.status, 201);
    }
    rig.deliver_account_mail().await;
    let mails = updates_of(&Key::mails_to(&email, "INVITATION"));
    for _ in 0..5 {
        database.inject("Query", Fault::Throttle(u32::MAX));
        for address in [&email, &often] {
            invite(&rig, &owner, address, "member").await.is_problem(503, "unavailable");
        }
        database.release("Query");
        database.inject(&mails, Fault::Throttle(u32::MAX));
        invite(&rig, &owner, &email, "member").await.is_problem(503, "unavailable");
        database.release(&mails);
    }
    assert_eq!(invite(&rig, &owner, &email, "member").await.status, 201);
    rig.deliver_account_mail().await;
    assert!(Letters::of(&rig).is_there(&email), "its mail went out");
    assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
    invite(&rig, &owner, &unique_email(), "member").await.is_problem(429, "rate_limited");
}
