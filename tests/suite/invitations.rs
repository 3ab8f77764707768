//! Invitations: the mail, who may accept it, and who tries to get by without.

mod busy;
mod room;

use crate::api::{Actor, Api, Reply, registration, unique_email};
use crate::email_changes;
use crate::faults::{Fault, FaultyDatabase};
use crate::jobs::rig::Rig;
use crate::letters::{Letters, token_of};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::invitation::INVITATION_LIFETIME;
use shared::store::accounts::UNPROVEN_LIFETIME;
use std::time::Duration;

const WRITE: &str = "TransactWriteItems";

fn path(of: &Actor) -> String {
    format!("/orgs/{}/invitations", of.org_id)
}

async fn invite(rig: &Rig, by: &Actor, email: &str, role: &str) -> Reply {
    rig.api.post(by, &path(by), json!({"email": email, "role": role})).await
}

/// What the mail of a new invitation carries.
async fn invited(rig: &Rig, by: &Actor, email: &str, role: &str) -> String {
    let reply = invite(rig, by, email, role).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    rig.deliver_account_mail().await;
    token_of(&Letters::of(rig).newest_to(email))
}

async fn accept(rig: &Rig, by: &Actor, token: &str) -> Reply {
    rig.api.post(by, "/invitations/accept", json!({"token": token})).await
}

/// A registration in place of an organization's name.
fn with_invitation(email: &str, token: &str) -> Value {
    let mut new = registration(email);
    new.as_object_mut().unwrap().remove("org_name");
    new["invitation"] = json!(token);
    new
}

async fn register_with(rig: &Rig, email: &str, token: &str) -> Reply {
    let new = with_invitation(email, token);
    rig.api.elsewhere().call(None, Method::POST, "/auth/register", Some(new)).await
}

async fn orgs(rig: &Rig, of: &Actor) -> usize {
    rig.api.get(of, "/me").await.body["orgs"].as_array().unwrap().len()
}

async fn list(rig: &Rig, of: &Actor) -> Vec<Value> {
    rig.api.get(of, &path(of)).await.body["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn whoever_accepts_is_a_member_and_nobody_before() {
    let rig = Rig::new().await;
    let (owner, user) = (rig.api.register().await, rig.api.register().await);
    let reply = invite(&rig, &owner, &user.email.to_uppercase(), "admin").await;
    assert_eq!(
        (reply.status, &reply.body["state"], &reply.body["email"]),
        (201, &json!("pending"), &json!(user.email))
    );
    assert_eq!(list(&rig, &owner).await[0], reply.body);
    rig.deliver_account_mail().await;
    let token = token_of(&Letters::of(&rig).newest_to(&user.email));
    assert_eq!(orgs(&rig, &user).await, 1);

    let accepted = accept(&rig, &user, &token).await;
    assert_eq!((accepted.status, &accepted.body["id"]), (200, &json!(owner.org_id)), "{}", accepted.text);
    assert_eq!((&accepted.body["role"], orgs(&rig, &user).await), (&json!("admin"), 2));
    assert!(list(&rig, &owner).await.is_empty());
    accept(&rig, &user, &token).await.is_problem(400, "invalid_link");
    let there = Actor::of(&rig.api.login(&user.email, Some(&owner.org_id)).await.body, &user.email);
    assert_eq!(rig.api.get(&there, &path(&there)).await.status, 200, "an admin sees them");
}

/// The link leads to the app. No name stands in the mail, so none can become a link or a header; the inviter's address does.
#[tokio::test]
async fn the_mail_names_the_inviters_address_and_no_name() {
    let rig = Rig::new().await;
    let owner = rig.api.register().await;
    rig.api.patch(&owner, "/me", json!({"name": "Pay at http://evil.example/login"})).await;
    let email = unique_email();
    invited(&rig, &owner, &email, "member").await;
    let text = Letters::of(&rig).newest_to(&email);
    assert!(text.contains(&owner.email) && !text.contains("evil") && !text.contains("Analytical"), "{text}");
    let app = &rig.system.context().config().account_mail().unwrap().app_url;
    let links: Vec<&str> = text.split_whitespace().filter(|word| word.contains("://")).collect();
    assert!(links.len() == 1 && links[0].starts_with(&format!("{app}/invitations/accept#citi_")), "{text}");
    for wrong in ["grace@example.com\r\nBcc: x@example.com", "<grace@example.com>", "grace", "a@b.cd,e@f.gh"] {
        assert_eq!(invite(&rig, &owner, wrong, "member").await.pointer(), "/email");
    }
}

#[tokio::test]
async fn a_new_user_registers_with_it_and_its_address_is_proven() {
    let rig = Rig::new().await;
    let owner = rig.api.register().await;
    let email = unique_email();
    let token = invited(&rig, &owner, &email, "member").await;
    register_with(&rig, &unique_email(), &token).await.is_problem(400, "invalid_link");
    let reply = register_with(&rig, &email, &token).await;
    assert_eq!((reply.status, &reply.body["user"]["email_verified"]), (201, &json!(true)), "{}", reply.text);
    let user = Actor::of(&reply.body, &email);
    assert_eq!((&user.org_id, orgs(&rig, &user).await), (&owner.org_id, 1));
    assert_eq!(rig.account_mail(), 0, "there is nothing to prove");
    rig.api.get(&user, &path(&user)).await.is_problem(403, "forbidden_role");
    register_with(&rig, &email, &token).await.is_problem(400, "invalid_link");
    // It leaves, and belongs to none, which can be invited again.
    let itself = format!("/orgs/{}/members/{}", user.org_id, user.user_id);
    assert_eq!(rig.api.delete(&user, &itself).await.status, 204);
    let outside = Actor::of(&rig.api.login(&email, None).await.body, &email);
    let again = invited(&rig, &owner, &email, "member").await;
    assert_eq!(accept(&rig, &outside, &again).await.status, 200);
    rig.api.get(&user, "/me").await.is_problem(401, "invalid_token");
    // One or the other, and not both or none.
    let mut both = with_invitation(&unique_email(), &again);
    both["org_name"] = json!("Engines");
    for wrong in [both, with_invitation("x", ""), json!({"email": "a@b.cd"})] {
        rig.api
            .elsewhere()
            .call(None, Method::POST, "/auth/register", Some(wrong))
            .await
            .is_problem(422, "validation_failed");
    }
}

/// Whose address it is not for learns nothing, and uses nothing up.
#[tokio::test]
async fn what_is_wrong_opens_nothing_and_says_nothing_else() {
    let rig = Rig::new().await;
    let (owner, user, other) = (rig.api.register().await, rig.api.register().await, rig.api.register().await);
    let token = invited(&rig, &owner, &user.email, "member").await;
    let of_other = invited(&rig, &owner, &other.email, "member").await;
    let cut = &token[..token.len() - 1];
    let mut replies = vec![accept(&rig, &other, &token).await];
    for wrong in [
        of_other.as_str(),
        cut,
        &format!("{cut}{}", if token.ends_with('A') { "B" } else { "A" }),
        &token.replacen("citi_", "citv_", 1),
        "",
        "citi_",
        &user.token,
    ] {
        replies.push(accept(&rig, &user, wrong).await);
    }
    for reply in &replies {
        reply.is_problem(400, "invalid_link");
        assert_eq!(reply.text, replies[0].text);
    }
    let nobody = rig.api.call(None, Method::POST, "/invitations/accept", Some(json!({"token": token}))).await;
    nobody.is_problem(401, "authentication_required");
    assert_eq!(orgs(&rig, &user).await + orgs(&rig, &other).await, 2);
    assert_eq!(accept(&rig, &user, &token).await.status, 200, "it is still good");
}

/// Somebody has registered the invited address and reads no mail of it.
#[tokio::test]
async fn an_address_that_is_not_proven_accepts_nothing() {
    let rig = Rig::new().await;
    let (owner, squatter) = (rig.api.register().await, rig.api.register_as_everybody().await);
    rig.deliver_account_mail().await;
    let token = invited(&rig, &owner, &squatter.email, "member").await;
    accept(&rig, &squatter, &token).await.is_problem(403, "email_unverified");
    invite(&rig, &squatter, &unique_email(), "member").await.is_problem(403, "email_unverified");
    rig.api.verify(&squatter).await;
    assert_eq!(accept(&rig, &squatter, &token).await.status, 200);
}

#[tokio::test]
async fn it_ends_by_time_withdrawal_and_a_newer_one() {
    let rig = Rig::new().await;
    let (owner, user) = (rig.api.register().await, rig.api.register().await);
    let older = invited(&rig, &owner, &user.email, "owner").await;
    let newer = invited(&rig, &owner, &user.email, "member").await;
    accept(&rig, &user, &older).await.is_problem(400, "invalid_link");
    let listed = list(&rig, &owner).await;
    assert_eq!((listed.len(), &listed[0]["role"]), (1, &json!("member")));
    let one = format!("{}/{}", path(&owner), listed[0]["id"].as_str().unwrap());
    assert_eq!(rig.api.delete(&owner, &one).await.status, 204);
    rig.api.delete(&owner, &one).await.is_problem(404, "not_found");
    accept(&rig, &user, &newer).await.is_problem(400, "invalid_link");
    let late = invited(&rig, &owner, &user.email, "member").await;
    rig.system.clock().jump(INVITATION_LIFETIME);
    // The sessions are as old.
    let user = Actor::of(&rig.api.login(&user.email, None).await.body, &user.email);
    accept(&rig, &user, &late).await.is_problem(400, "invalid_link");
    assert_eq!(orgs(&rig, &user).await, 1);
    let again = Actor::of(&rig.api.login(&owner.email, None).await.body, &owner.email);
    assert_eq!(list(&rig, &again).await[0]["state"], "expired");
    // Mail that waits for longer than that is not sent.
    invite(&rig, &again, &unique_email(), "member").await;
    rig.system.clock().jump(INVITATION_LIFETIME);
    let before = Letters::of(&rig).count();
    rig.deliver_account_mail().await;
    assert_eq!(Letters::of(&rig).count(), before);
}

/// An operator made somebody a member who never proved the address. With the account, that ends, too: the address is its owner's.
#[tokio::test]
async fn the_address_of_an_account_that_has_ended_is_no_members() {
    let rig = Rig::new().await;
    let (owner, squatter) = (rig.owner("pro").await, rig.api.register_as_everybody().await);
    rig.api.add(&owner, &squatter, "member").await;
    invite(&rig, &owner, &squatter.email, "member").await.is_problem(409, "already_member");
    rig.deliver_account_mail().await;
    rig.system.clock().jump(UNPROVEN_LIFETIME);
    let owner = Actor::of(&rig.api.login(&owner.email, None).await.body, &owner.email);
    rig.settings(&owner, json!({"email_recipients": "members"})).await;
    let letter = json!({"to": squatter.email, "subject": "s", "text": "t"});
    assert_eq!(rig.api.post(&owner, "/send-email", letter.clone()).await.pointer(), "/to");
    let token = invited(&rig, &owner, &squatter.email, "member").await;
    let registered = register_with(&rig, &squatter.email, &token).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert_eq!(rig.api.post(&owner, "/send-email", letter).await.status, 202, "it is a member's by now");
}

/// An invitation is worth what its maker could do now.
#[tokio::test]
async fn it_dies_with_the_role_of_who_made_it() {
    let rig = Rig::new().await;
    let (owner, user) = (rig.owner("pro").await, rig.api.register().await);
    let set_role = async |of: &Actor, role: &str| {
        let member = format!("/orgs/{}/members/{}", owner.org_id, of.user_id);
        assert_eq!(rig.api.put(&owner, &member, json!({"role": role})).await.status, 200);
    };
    let remove = async |of: &Actor| {
        let member = format!("/orgs/{}/members/{}", owner.org_id, of.user_id);
        assert_eq!(rig.api.delete(&owner, &member).await.status, 204);
    };
    let demoted = rig.api.join(&owner, "admin").await;
    let token = invited(&rig, &demoted, &user.email, "member").await;
    set_role(&demoted, "member").await;
    accept(&rig, &user, &token).await.is_problem(400, "invalid_link");
    let was_owner = rig.api.join(&owner, "owner").await;
    let token = invited(&rig, &was_owner, &user.email, "owner").await;
    set_role(&was_owner, "admin").await;
    accept(&rig, &user, &token).await.is_problem(400, "invalid_link");
    // Whoever comes back has invited nobody.
    let gone = rig.api.join(&owner, "admin").await;
    let email = unique_email();
    let (token, of_new) =
        (invited(&rig, &gone, &user.email, "member").await, invited(&rig, &gone, &email, "member").await);
    remove(&gone).await;
    rig.system.clock().jump(Duration::from_secs(1));
    rig.api.add(&owner, &gone, "admin").await;
    accept(&rig, &user, &token).await.is_problem(400, "invalid_link");
    register_with(&rig, &email, &of_new).await.is_problem(400, "invalid_link");
    // Nor does its mail go out.
    let before = Letters::of(&rig).count();
    assert_eq!(invite(&rig, &was_owner, &user.email, "member").await.status, 201);
    set_role(&was_owner, "member").await;
    rig.deliver_account_mail().await;
    assert_eq!((Letters::of(&rig).count(), orgs(&rig, &user).await), (before, 1));
}

#[tokio::test]
async fn only_owners_invite_owners_and_nobody_members_or_itself() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let (admin, member) = (rig.api.join(&owner, "admin").await, rig.api.join(&owner, "member").await);
    let email = unique_email();
    invite(&rig, &admin, &email, "owner").await.is_problem(403, "forbidden_role");
    invite(&rig, &member, &email, "member").await.is_problem(403, "forbidden_role");
    for address in [&owner.email, &admin.email, &member.email] {
        invite(&rig, &admin, address, "member").await.is_problem(409, "already_member");
    }
    let of_owner = invite(&rig, &owner, &email, "owner").await.body["id"].as_str().unwrap().to_owned();
    let one = format!("{}/{of_owner}", path(&owner));
    rig.api.delete(&admin, &one).await.is_problem(403, "forbidden_role");
    rig.api.delete(&member, &one).await.is_problem(403, "forbidden_role");
    assert_eq!(rig.api.delete(&owner, &one).await.status, 204);
    assert_eq!(rig.account_mail(), 1, "what was refused sends none");
}

/// Whoever may not withdraw an invitation does not replace it either, and what is refused counts nowhere.
#[tokio::test]
async fn an_admin_replaces_no_owners_invitation() {
    let rig = Rig::with([("INVITATIONS_PER_DAY", "3".to_owned())]).await;
    let owner = rig.owner("pro").await;
    let (admin, user, other) =
        (rig.api.join(&owner, "admin").await, rig.api.register().await, rig.api.register().await);
    let token = invited(&rig, &owner, &user.email, "owner").await;
    for role in ["member", "admin", "member", "admin", "member"] {
        invite(&rig, &admin, &user.email, role).await.is_problem(403, "forbidden_role");
    }
    let listed = list(&rig, &owner).await;
    assert_eq!((listed.len(), &listed[0]["role"]), (1, &json!("owner")));
    // The address has mails left, and the day two invitations.
    assert_eq!(invite(&rig, &other, &user.email, "member").await.status, 201);
    assert_eq!(rig.account_mail(), 1, "of the other organization");
    for role in ["admin", "member"] {
        assert_eq!(invite(&rig, &admin, &unique_email(), role).await.status, 201);
    }
    invite(&rig, &admin, &unique_email(), "member").await.is_problem(429, "rate_limited");
    let accepted = accept(&rig, &user, &token).await;
    assert_eq!((accepted.status, &accepted.body["role"]), (200, &json!("owner")), "{}", accepted.text);
}

/// What stands before the `@` of the inviter's address may be nearly anything, and behind it a domain of the inviter's choice.
#[tokio::test]
async fn an_inviters_address_that_could_be_a_link_is_not_named() {
    let rig = Rig::new().await;
    for local in ["www.evil.example", "evil.example/login?a=b"] {
        let email = format!("{local}@{}", unique_email().replace(['@', '.'], "-") + ".example");
        let reply = rig.api.elsewhere().call(None, Method::POST, "/auth/register", Some(registration(&email))).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let inviter = Actor::of(&reply.body, &email);
        rig.api.verify(&inviter).await;
        let invited = unique_email();
        assert_eq!(invite(&rig, &inviter, &invited, "member").await.status, 201);
        rig.deliver_account_mail().await;
        let text = Letters::of(&rig).newest_to(&invited);
        assert!(text.contains("Somebody invites you") && !text.contains("evil"), "{text}");
        assert!(!text.contains(email.rsplit_once('@').unwrap().1) && text.contains(&invited), "{text}");
    }
}

#[tokio::test]
async fn of_many_who_bring_it_at_once_one_wins() {
    let rig = Rig::new().await;
    let (owner, user) = (rig.api.register().await, rig.api.register().await);
    let token = invited(&rig, &owner, &user.email, "member").await;
    let replies = join_all((0..1000).map(|_| accept(&rig, &user, &token))).await;
    let count = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
    assert_eq!(
        (count(200), count(400) + count(409) + count(503)),
        (1, 999),
        "{:?}",
        replies.iter().map(|r| r.status).collect::<Vec<_>>()
    );
    assert_eq!(orgs(&rig, &user).await, 2);
    let email = unique_email();
    let token = invited(&rig, &owner, &email, "member").await;
    let replies = join_all((0..5).map(|_| register_with(&rig, &email, &token))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 400 | 409 | 503)));
    let members = rig.api.get(&owner, &format!("/orgs/{}/members", owner.org_id)).await;
    assert_eq!(members.body["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_key_invites_once() {
    let rig = Rig::new().await;
    let owner = rig.api.register().await;
    let body = json!({"email": unique_email(), "role": "member"}).to_string();
    let key = [("Idempotency-Key", "a-key")];
    let first = rig.post_with(&owner, &path(&owner), &key, &body).await;
    let path = path(&owner);
    let again = join_all((0..5).map(|_| rig.post_with(&owner, &path, &key, &body))).await;
    for reply in again {
        assert_eq!((reply.status, &reply.body), (201, &first.body), "{}", reply.text);
        assert_eq!(reply.header("idempotent-replayed"), "true");
    }
    assert_eq!(rig.account_mail(), 1);
    let other = json!({"email": unique_email(), "role": "member"}).to_string();
    rig.post_with(&owner, &path, &key, &other).await.is_problem(422, "idempotency_key_reuse");
}

#[tokio::test]
async fn nobody_belongs_to_more_than_fifty_organizations() {
    let rig = Rig::new().await;
    let user = rig.api.register().await;
    for _ in 0..48 {
        rig.api.add(&rig.api.register().await, &user, "member").await;
    }
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(invited(&rig, &rig.api.register().await, &user.email, "member").await);
    }
    // All three have read that there is room for one, before any is written.
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let slow = database.system().await;
    let late = Api::at(slow.url());
    database.inject(WRITE, Fault::Hold);
    let accepts = tokens.iter().map(|token| late.post(&user, "/invitations/accept", json!({"token": token})));
    let release = async {
        while database.calls(WRITE) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        database.release(WRITE);
    };
    let (replies, ()) = tokio::join!(join_all(accepts), release);
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.is_problem(403, "organization_limit_reached");
    }
    let me = rig.api.get(&user, "/me").await;
    assert_eq!(me.body["orgs"].as_array().unwrap().len(), 50);
    assert!(me.text.len() < 50 * 1024, "{}", me.text.len());
}

/// An operator adds somebody who was invited, or a member moves to an address that was: the invitation is void once it is removed, and no
/// other. Also where it has another address by then, and comes back to that one.
#[tokio::test]
async fn a_removed_member_comes_back_by_no_invitation_of_before() {
    let rig = Rig::new().await;
    for (moves, comes_back) in [(false, false), (true, false), (false, true)] {
        let (owner, mut user, other) = (rig.api.register().await, rig.api.register().await, rig.api.register().await);
        let to = if moves { unique_email() } else { user.email.clone() };
        let token = invited(&rig, &owner, &to, "member").await;
        let of_other = invited(&rig, &owner, &other.email, "member").await;
        rig.api.add(&owner, &user, "member").await;
        if moves {
            email_changes::moved(&rig, &user, &user.email, &to).await;
            user.email = to;
        }
        let elsewhere = unique_email();
        if comes_back {
            email_changes::moved(&rig, &user, &user.email, &elsewhere).await;
        }
        let member = format!("/orgs/{}/members/{}", owner.org_id, user.user_id);
        assert_eq!(rig.api.delete(&owner, &member).await.status, 204);
        if comes_back {
            email_changes::moved(&rig, &user, &elsewhere, &user.email).await;
        }
        accept(&rig, &user, &token).await.is_problem(400, "invalid_link");
        assert_eq!(orgs(&rig, &user).await, 1);
        assert_eq!(accept(&rig, &other, &of_other).await.status, 200);
        // It may be invited again.
        let again = invited(&rig, &owner, &user.email, "member").await;
        assert_eq!(accept(&rig, &user, &again).await.status, 200);
    }
}

#[tokio::test]
async fn they_are_listed_by_pages() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    for _ in 0..3 {
        rig.api.invitation(&owner).await;
    }
    let all = list(&rig, &owner).await;
    let first = rig.api.get(&owner, &format!("{}?limit=2", path(&owner))).await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let rest = rig.api.get(&owner, &format!("{}?limit=2&cursor={cursor}", path(&owner))).await;
    assert_eq!((&first.body["data"][1], &rest.body["data"][0]), (&all[1], &all[2]));
    assert_eq!(rest.body["next_cursor"], Value::Null);
    let full = rig.api.get(&owner, &format!("{}?limit=3", path(&owner))).await;
    assert_eq!((full.body["data"].as_array().map(Vec::len), &full.body["next_cursor"]), (Some(3), &Value::Null));
    let members = format!("/orgs/{}/members?cursor={cursor}", owner.org_id);
    assert_eq!(rig.api.get(&owner, &members).await.pointer(), "query/cursor");
}
