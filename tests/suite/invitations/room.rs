//! Room for invitations: the plan's members, the day's number of an organization, and the mails of an address.

use super::{WRITE, accept, invite, invited, list, path};
use crate::api::{Actor, Api, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, token_of};
use futures_util::future::join_all;
use local::{Options, System};
use serde_json::json;
use shared::ApiError;
use shared::ids::OrgId;
use shared::model::invitation::INVITATION_LIFETIME;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Two invitations have both read that one has room, before either is written.
#[tokio::test]
async fn two_that_have_read_of_the_last_place_do_not_both_get_it() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (late, owner) = (Api::at(slow.url()), rig.api.register().await);
    for _ in 0..3 {
        assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
    }
    database.inject(WRITE, Fault::Hold);
    let last = async || late.post(&owner, &path(&owner), json!({"email": unique_email(), "role": "member"})).await;
    let release = async {
        while database.calls(WRITE) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        database.release(WRITE);
    };
    let (first, second, ()) = tokio::join!(last(), last(), release);
    let made = [&first, &second].into_iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 1, "{} {}", first.text, second.text);
}

#[tokio::test]
async fn members_and_invitations_together_keep_the_plans_limit() {
    let rig = Rig::new().await;
    let owner = rig.api.register().await;
    let users = join_all((0..8).map(|_| rig.api.register())).await;
    let replies = join_all(users.iter().map(|user| invite(&rig, &owner, &user.email, "member"))).await;
    let made: Vec<_> =
        users.iter().zip(&replies).filter(|(_, reply)| reply.status == 201).map(|(user, _)| user).collect();
    assert_eq!(made.len(), 4, "five members, the owner among them");
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        assert!(
            ["plan_limit_reached", "concurrent_change", "unavailable"].contains(&reply.body["code"].as_str().unwrap()),
            "{}",
            reply.text
        );
    }
    let one_more = async || invite(&rig, &owner, &unique_email(), "member").await;
    one_more().await.is_problem(403, "plan_limit_reached");
    assert_eq!(invite(&rig, &owner, &made[0].email, "admin").await.status, 201, "in place of another");
    rig.deliver_account_mail().await;
    let accepting = made
        .iter()
        .map(|user| async { accept(&rig, user, &token_of(&Letters::of(&rig).newest_to(&user.email))).await });
    for reply in join_all(accepting).await {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    one_more().await.is_problem(403, "plan_limit_reached");
    // A lower plan keeps whoever is there, and lets nobody else in.
    rig.give_plan(&owner, "pro").await;
    let late = rig.api.register().await;
    let token = invited(&rig, &owner, &late.email, "member").await;
    rig.give_plan(&owner, "free").await;
    accept(&rig, &late, &token).await.is_problem(403, "plan_limit_reached");
    // What has expired takes no room.
    rig.give_plan(&owner, "pro").await;
    rig.system.clock().jump(INVITATION_LIFETIME);
    let late = Actor::of(&rig.api.login(&late.email, None).await.body, &late.email);
    accept(&rig, &late, &token).await.is_problem(400, "invalid_link");
}

/// To as many addresses as one likes, 20 a day go out; to one address, five a day from all organizations together.
#[tokio::test]
async fn neither_an_organization_nor_an_address_has_more_than_its_number_a_day() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    for _ in 0..20 {
        assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
    }
    for _ in 0..5 {
        let refused = invite(&rig, &owner, &unique_email(), "member").await;
        refused.is_problem(429, "rate_limited");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    }
    assert_eq!((rig.account_mail(), list(&rig, &owner).await.len()), (20, 20));
    rig.deliver_account_mail().await;
    rig.system.clock().jump(DAY);
    let victim = unique_email();
    for _ in 0..8 {
        let other = rig.api.register().await;
        assert_eq!(
            invite(&rig, &other, &victim, "member").await.status,
            201,
            "an organization learns nothing of others"
        );
    }
    assert_eq!(rig.account_mail(), 5);
}

/// What is refused takes none of the day's number.
#[tokio::test]
async fn what_is_refused_takes_none_of_the_days_number() {
    let rig = Rig::with([("INVITATIONS_PER_DAY", "5".to_owned())]).await;
    let owner = rig.api.register().await;
    for _ in 0..4 {
        assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
    }
    for _ in 0..3 {
        invite(&rig, &owner, &unique_email(), "member").await.is_problem(403, "plan_limit_reached");
    }
    rig.give_plan(&owner, "pro").await;
    assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
    invite(&rig, &owner, &unique_email(), "member").await.is_problem(429, "rate_limited");
    let closed = Rig::with([("INVITATIONS_PER_DAY", "0".to_owned())]).await;
    let owner = closed.api.register().await;
    invite(&closed, &owner, &unique_email(), "member").await.is_problem(429, "rate_limited");
}

/// Whoever has no room for an address does not keep it from the others.
#[tokio::test]
async fn what_is_refused_takes_none_of_the_addresss_mails() {
    let rig = Rig::new().await;
    let (full, other, address) = (rig.api.register().await, rig.api.register().await, unique_email());
    for _ in 0..4 {
        assert_eq!(invite(&rig, &full, &unique_email(), "member").await.status, 201);
    }
    for _ in 0..5 {
        invite(&rig, &full, &address, "member").await.is_problem(403, "plan_limit_reached");
    }
    assert_eq!(rig.account_mail(), 4);
    assert_eq!(invite(&rig, &other, &address, "member").await.status, 201);
    assert_eq!(rig.account_mail(), 5);
}

/// Whoever sends an invitation once more than its address has mails a day keeps the link that is there.
#[tokio::test]
async fn an_invitation_that_no_mail_is_left_for_voids_none() {
    let rig = Rig::with([("INVITATIONS_PER_DAY", "7".to_owned())]).await;
    let (owner, user) = (rig.owner("pro").await, rig.api.register().await);
    let mut replies = Vec::new();
    for _ in 0..6 {
        replies.push(invite(&rig, &owner, &user.email, "member").await);
    }
    assert!(replies.iter().all(|reply| reply.status == 201));
    assert_eq!(replies[5].body, replies[4].body, "it is that one");
    rig.deliver_account_mail().await;
    let key = [("Idempotency-Key", "a-key")];
    let body = json!({"email": user.email, "role": "member"}).to_string();
    let with_key = rig.post_with(&owner, &path(&owner), &key, &body).await;
    assert_eq!((with_key.status, &with_key.body), (201, &replies[4].body));
    assert_eq!(list(&rig, &owner).await, [replies[4].body.clone()]);
    let token = token_of(&Letters::of(&rig).newest_to(&user.email));
    // None of them counts as one of the day's: five do, and there are two left.
    let others = [unique_email(), unique_email()];
    for email in &others {
        assert_eq!(invite(&rig, &owner, email, "member").await.status, 201);
    }
    invite(&rig, &owner, &unique_email(), "member").await.is_problem(429, "rate_limited");
    assert_eq!(accept(&rig, &user, &token).await.status, 200);
}

/// What it is to be, its maker has thought better of: that one is void, mail or no mail.
#[tokio::test]
async fn another_role_voids_the_older_one_though_no_mail_is_left() {
    let rig = Rig::new().await;
    let (owner, user) = (rig.api.register().await, rig.api.register().await);
    let mut token = String::new();
    for _ in 0..5 {
        token = invited(&rig, &owner, &user.email, "admin").await;
    }
    let other = invite(&rig, &owner, &user.email, "member").await;
    assert_eq!((other.status, &other.body["role"]), (201, &json!("member")));
    assert_eq!(list(&rig, &owner).await, [other.body]);
    accept(&rig, &user, &token).await.is_problem(400, "invalid_link");
}

/// What a maker of before has left is worth nothing, so it takes no room from those who are there.
#[tokio::test]
async fn what_nobody_can_accept_takes_no_room() {
    let rig = Rig::new().await;
    for demoted in [false, true] {
        let owner = rig.api.register().await;
        let admin = rig.api.join(&owner, "admin").await;
        for _ in 0..3 {
            assert_eq!(invite(&rig, &admin, &unique_email(), "member").await.status, 201);
        }
        invite(&rig, &owner, &unique_email(), "member").await.is_problem(403, "plan_limit_reached");
        let member = format!("/orgs/{}/members/{}", owner.org_id, admin.user_id);
        let (left, ended) = match demoted {
            true => (3, rig.api.put(&owner, &member, json!({"role": "member"})).await),
            false => (4, rig.api.delete(&owner, &member).await),
        };
        assert!(matches!(ended.status, 200 | 204), "{}", ended.text);
        for _ in 0..left {
            assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
        }
        invite(&rig, &owner, &unique_email(), "member").await.is_problem(403, "plan_limit_reached");
    }
}

/// One is taken before midnight and refused after it: the new day has no more for that.
#[tokio::test]
async fn what_is_refused_after_midnight_goes_back_to_its_day() {
    let rig = Rig::with([("INVITATIONS_PER_DAY", "2".to_owned())]).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let environment = [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone()), ("INVITATIONS_PER_DAY", "2".to_owned())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let slow = System::start(Options { environment, background: false, ..Options::ephemeral() }).await.unwrap();
    let clocks = [rig.system.clock(), slow.clock()];
    let today = u64::try_from(rig.system.context().now().as_millis()).unwrap() % 86_400_000;
    let to_midnight = DAY - Duration::from_millis(today);
    let jump = |by| clocks.iter().for_each(|clock| clock.jump(by));
    jump(to_midnight - Duration::from_secs(60));
    let owner = rig.owner("pro").await;
    let admin = rig.api.join(&owner, "admin").await;
    let late = Api::at(slow.url());
    database.inject(WRITE, Fault::Hold);
    let refused = async { late.post(&admin, &path(&admin), json!({"email": unique_email(), "role": "member"})).await };
    let meanwhile = async {
        database.holds(WRITE).await;
        jump(Duration::from_secs(120));
        assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
        let member = format!("/orgs/{}/members/{}", owner.org_id, admin.user_id);
        assert_eq!(rig.api.delete(&owner, &member).await.status, 204);
        database.release(WRITE);
    };
    let (refused, ()) = tokio::join!(refused, meanwhile);
    refused.is_problem(401, "invalid_token");
    assert_eq!(invite(&rig, &owner, &unique_email(), "member").await.status, 201);
    invite(&rig, &owner, &unique_email(), "member").await.is_problem(429, "rate_limited");
}

/// What goes back goes back once, also where the reply to it is lost.
#[tokio::test]
async fn a_lost_reply_gives_no_invitation_back_twice() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let (store, org) = (slow.context().store(), OrgId::new());
    let taken = store.take_invitation(org, 2).await.unwrap();
    let _kept = store.take_invitation(org, 2).await.unwrap();
    database.inject("UpdateItem", Fault::LoseReply(1));
    store.give_invitation_back(taken).await;
    database.release("UpdateItem");
    let _another = store.take_invitation(org, 2).await.unwrap();
    assert!(matches!(store.take_invitation(org, 2).await, Err(ApiError::RateLimited { limit: 2, .. })));
}

/// It is there, and its mail goes out: so it counts, whatever its caller was told.
#[tokio::test]
async fn what_the_database_did_not_answer_counts() {
    let rig = Rig::with([("INVITATIONS_PER_DAY", "1".to_owned())]).await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let owner = rig.owner("pro").await;
    database.inject(WRITE, Fault::LoseReply(100));
    let new = json!({"email": unique_email(), "role": "member"});
    let lost = Api::at(slow.url()).post(&owner, &path(&owner), new).await;
    assert_eq!((lost.status, list(&rig, &owner).await.len()), (503, 1), "{}", lost.text);
    invite(&rig, &owner, &unique_email(), "member").await.is_problem(429, "rate_limited");
}
