//! Who counts as who, also between the moment that a request is verified and the moment that its write is done.

use crate::api::{Actor, Api, PASSWORD, Reply, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use futures_util::future::join_all;
use local::{Options, System};
use reqwest::Method;
use serde_json::{Value, json};
use shared::token::Token;
use std::collections::BTreeSet;

/// Two systems on one database: what one of them writes can be held up.
struct Scene {
    api: Api,
    slow: Api,
    database: FaultyDatabase,
    _systems: [System; 2],
}

const WRITE: &str = "TransactWriteItems";

impl Scene {
    async fn set() -> Self {
        let system = System::start(Options { background: false, ..Options::ephemeral() }).await.unwrap();
        let database = FaultyDatabase::before(&system.database_url()).await;
        let slow = database.system().await;
        let (api, late) = (Api::of(&system), Api::at(slow.url()));
        Self { api, slow: late, database, _systems: [system, slow] }
    }

    /// The reply to a call on the slow system, whose write is done only after `meanwhile`.
    async fn late(&self, call: impl Future<Output = Reply>, meanwhile: impl AsyncFnOnce()) -> Reply {
        self.database.inject(WRITE, Fault::Hold);
        let meanwhile = async {
            self.database.holds(WRITE).await;
            meanwhile().await;
            self.database.release(WRITE);
        };
        tokio::join!(call, meanwhile).0
    }

    /// Changes a record, past all functions, by an update of `#it`.
    async fn change(&self, (pk, sk): (String, String), update: &str, it: &str, values: Value) {
        let mut body = json!({"TableName": local::names::TABLE_NAME, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": update, "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeNames": {"#it": it}});
        if values.is_object() {
            body["ExpressionAttributeValues"] = values;
        }
        self.database.call("UpdateItem", &body).await;
    }

    async fn set_role(&self, by: &Actor, user: &str, role: &str) -> u16 {
        self.api.put(by, &path(by, user), json!({"role": role})).await.status
    }

    async fn remove(&self, by: &Actor, user: &str) {
        assert_eq!(self.api.delete(by, &path(by, user)).await.status, 204);
    }

    /// The members' ids, with their roles.
    async fn members(&self, of: &Actor) -> BTreeSet<(String, String)> {
        let list = self.api.get(of, &format!("/orgs/{}/members", of.org_id)).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let members = list.body["data"].as_array().unwrap().iter();
        members.map(|member| (text(&member["user_id"]), text(&member["role"]))).collect()
    }
}

/// A member of an actor's organization.
fn path(of: &Actor, user: &str) -> String {
    format!("/orgs/{}/members/{user}", of.org_id)
}

fn membership(of: &Actor) -> (String, String) {
    (format!("USER#{}", of.user_id), format!("ORG#{}", of.org_id))
}

fn session(of: &Actor) -> (String, String) {
    let token = Token::parse(&of.token).unwrap();
    (format!("USER#{}", of.user_id), format!("SESSION#{}", token.hash().as_str()))
}

fn login(of: &Actor) -> (String, String) {
    (format!("EMAIL#{}", of.email), "LOGIN".to_owned())
}

#[tokio::test]
async fn a_removed_members_tokens_stay_dead_when_it_is_added_again() {
    let api = Api::new();
    let owner = api.register().await;
    for role in ["member", "admin", "owner"] {
        let member = api.join(&owner, "member").await;
        assert_eq!(api.get(&member, "/me").await.status, 200);
        assert_eq!(api.delete(&owner, &path(&owner, &member.user_id)).await.status, 204);
        api.add(&owner, &member, role).await;
        api.get(&member, "/me").await.is_problem(401, "invalid_token");
        let settings = format!("/orgs/{}/settings", owner.org_id);
        api.put(&member, &settings, json!({"settings": {}})).await.is_problem(401, "invalid_token");
        let again = Actor::of(&api.login(&member.email, Some(&owner.org_id)).await.body, &member.email);
        assert_eq!(api.get(&again, "/me").await.status, 200);
        assert_eq!(api.delete(&owner, &path(&owner, &member.user_id)).await.status, 204);
    }
}

#[tokio::test]
async fn sessions_from_before_there_were_marks_count_by_their_time() {
    let scene = Scene::set().await;
    let owner = scene.api.register().await;
    let member = scene.api.join(&owner, "member").await;
    let status = async || scene.api.get(&member, "/me").await.status;
    scene.change(session(&member), "REMOVE #it", "mark", json!(null)).await;
    assert_eq!(status().await, 401, "the membership has a mark");
    scene.change(membership(&member), "REMOVE #it", "mark", json!(null)).await;
    assert_eq!(status().await, 200);
    let promoted = scene.set_role(&owner, &member.user_id, "admin").await;
    assert_eq!(promoted, 200);
    assert_eq!(scene.set_role(&member, &owner.user_id, "member").await, 403);
    assert_eq!(scene.set_role(&member, &member.user_id, "member").await, 200, "an admin may step down");
    let later = json!({":later": {"N": "99999999999999"}});
    scene.change(membership(&member), "SET joined_at = :later REMOVE #it", "mark", later).await;
    assert_eq!(status().await, 401, "it was added again after the session began");
    scene.remove(&owner, &member.user_id).await;
    scene.api.add(&owner, &member, "admin").await;
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn a_log_in_whose_record_changes_meanwhile_gives_no_session() {
    let scene = Scene::set().await;
    let owner = scene.api.register().await;
    let log_in = || scene.slow.login(&owner.email, None);
    let change = async || scene.change(login(&owner), "SET #it = :next", "version", json!({":next": {"N": "7"}})).await;
    scene.late(log_in(), change).await.is_problem(401, "wrong_credentials");
    assert_eq!(log_in().await.status, 200, "by the record as it is now");
    // A record from before versions were counted.
    scene.change(login(&owner), "REMOVE #it", "version", json!(null)).await;
    assert_eq!(log_in().await.status, 200);
    scene.late(log_in(), change).await.is_problem(401, "wrong_credentials");
}

/// Writes that need an admin, as one who is an admin until they are under way.
async fn late_writes(scene: &Scene, owner: &Actor, meanwhile: impl AsyncFn(&Actor), status: u16, code: &str) {
    let stranger = scene.api.register().await;
    let member = scene.api.join(owner, "member").await;
    let (invitations, to_member) = (format!("/orgs/{}/invitations", owner.org_id), path(owner, &member.user_id));
    let invited = json!({"email": stranger.email, "role": "admin"});
    let settings = format!("/orgs/{}/settings", owner.org_id);
    let writes = [
        (Method::POST, &invitations, Some(invited)),
        (Method::PUT, &to_member, Some(json!({"role": "admin"}))),
        (Method::DELETE, &to_member, None),
        (Method::PUT, &settings, Some(json!({"settings": {"timezone": "Asia/Tokyo"}}))),
    ];
    for (method, path, body) in writes {
        let admin = scene.api.join(owner, "admin").await;
        let what = format!("{method} {path}");
        let reply =
            scene.late(scene.slow.call(Some(&admin), method, path, body), async || meanwhile(&admin).await).await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text);
        reply.is_problem(status, code);
        scene.remove(owner, &admin.user_id).await;
    }
    let expected = [(&owner.user_id, "owner"), (&member.user_id, "member")];
    assert_eq!(scene.members(owner).await, expected.map(|(id, role)| (id.clone(), role.to_owned())).into());
    assert_eq!(scene.api.get(owner, &settings).await.body["version"], 1);
    assert_eq!(scene.api.get(owner, &invitations).await.body["data"], json!([]));
    scene.remove(owner, &member.user_id).await;
}

#[tokio::test]
async fn what_an_admin_has_under_way_is_refused_once_it_is_demoted() {
    let scene = Scene::set().await;
    let owner = scene.api.register().await;
    let demote = async |admin: &Actor| assert_eq!(scene.set_role(&owner, &admin.user_id, "member").await, 200);
    late_writes(&scene, &owner, demote, 403, "forbidden_role").await;
}

#[tokio::test]
async fn what_an_admin_has_under_way_is_refused_once_it_is_removed_even_if_it_is_added_again() {
    let scene = Scene::set().await;
    let owner = scene.api.register().await;
    let again = async |admin: &Actor| {
        scene.remove(&owner, &admin.user_id).await;
        scene.api.add(&owner, admin, "admin").await;
    };
    late_writes(&scene, &owner, again, 401, "invalid_token").await;

    // Without being added again, too; and a change of itself.
    let (admin, stranger) = (scene.api.join(&owner, "admin").await, scene.api.register().await);
    let (path_of, invited) =
        (format!("/orgs/{}/invitations", owner.org_id), json!({"email": stranger.email, "role": "admin"}));
    let invite = async { scene.slow.post(&admin, &path_of, invited).await };
    scene.late(invite, async || scene.remove(&owner, &admin.user_id).await).await.is_problem(401, "invalid_token");
    let admin = scene.api.join(&owner, "admin").await;
    let step_down = async { scene.slow.put(&admin, &path(&owner, &admin.user_id), json!({"role": "member"})).await };
    scene.late(step_down, async || again(&admin).await).await.is_problem(401, "invalid_token");
    let expected = [(&owner.user_id, "owner"), (&admin.user_id, "admin")];
    assert_eq!(scene.members(&owner).await, expected.map(|(id, role)| (id.clone(), role.to_owned())).into());
}

/// In two tabs: what one has under way meets the mark that the other gave, under which their session goes on. No other session does.
#[tokio::test]
async fn what_a_session_has_under_way_is_done_while_it_ends_the_others() {
    let scene = Scene::set().await;
    let owner = scene.api.register().await;
    let member = scene.api.join(&owner, "member").await;
    let (to_member, settings) = (path(&owner, &member.user_id), format!("/orgs/{}/settings", owner.org_id));
    let zone = || Some(json!({"settings": {"timezone": "Asia/Tokyo"}}));
    let end_others = async || assert_eq!(scene.api.delete(&owner, "/me/sessions").await.status, 204);
    let (sessions, invitations) = ("/me/sessions".to_owned(), format!("/orgs/{}/invitations", owner.org_id));
    // Of its own membership, too, while another owner is there.
    scene.api.join(&owner, "owner").await;
    let itself = path(&owner, &owner.user_id);
    let writes = [
        (Method::PUT, &to_member, Some(json!({"role": "admin"}))),
        (Method::PUT, &settings, zone()),
        (Method::POST, &invitations, Some(json!({"email": unique_email(), "role": "member"}))),
        (Method::DELETE, &sessions, None),
        (Method::DELETE, &to_member, None),
        (Method::PUT, &itself, Some(json!({"role": "admin"}))),
    ];
    for (method, path, body) in writes {
        let what = format!("{method} {path}");
        let reply = scene.late(scene.slow.call(Some(&owner), method, path, body), async || end_others().await).await;
        assert!(matches!(reply.status, 200 | 201 | 204), "{what}: {} {}", reply.status, reply.text);
    }
    let log_in = async || Actor::of(&scene.api.login(&owner.email, Some(&owner.org_id)).await.body, &owner.email);
    let mut other = log_in().await;
    for (method, path, body) in [
        (Method::PUT, &settings, zone()),
        (Method::POST, &invitations, Some(json!({"email": unique_email(), "role": "member"}))),
        (Method::DELETE, &sessions, None),
        (Method::DELETE, &itself, None),
    ] {
        let late = scene.late(scene.slow.call(Some(&other), method, path, body), async || end_others().await).await;
        late.is_problem(401, "invalid_token");
        other = log_in().await;
    }
    let leaves = scene.slow.call(Some(&owner), Method::DELETE, &itself, None);
    assert_eq!(scene.late(leaves, async || end_others().await).await.status, 204);
}

#[tokio::test]
async fn of_two_owners_who_demote_each_other_the_later_one_is_refused() {
    let scene = Scene::set().await;
    let first = scene.api.register().await;
    let second = scene.api.join(&first, "owner").await;
    let demote = async { scene.slow.put(&first, &path(&first, &second.user_id), json!({"role": "member"})).await };
    let meanwhile = async || assert_eq!(scene.set_role(&second, &first.user_id, "admin").await, 200);
    scene.late(demote, meanwhile).await.is_problem(403, "forbidden_role");
    let expected = [(&first.user_id, "admin"), (&second.user_id, "owner")];
    assert_eq!(scene.members(&second).await, expected.map(|(id, role)| (id.clone(), role.to_owned())).into());
}

#[tokio::test]
async fn simultaneous_settings_of_several_admins_all_count() {
    let api = Api::new();
    let owner = api.register().await;
    let admin = api.join(&owner, "admin").await;
    let settings = format!("/orgs/{}/settings", owner.org_id);
    let put = |by| api.put(by, &settings, json!({"settings": {}}));
    let replies = join_all([&owner, &admin, &owner, &admin].map(put)).await;
    let versions: BTreeSet<u64> = replies.iter().filter_map(|reply| reply.body["version"].as_u64()).collect();
    assert_eq!(versions, BTreeSet::from([2, 3, 4, 5]), "{replies:?}");
}

#[tokio::test]
async fn everybody_but_the_last_owner_may_leave() {
    let api = Api::new();
    let owner = api.register().await;
    api.delete(&owner, &path(&owner, &owner.user_id)).await.is_problem(409, "last_owner");
    for role in ["member", "admin", "owner"] {
        let member = api.join(&owner, role).await;
        let other = api.join(&owner, "member").await;
        if role == "member" {
            api.delete(&member, &path(&owner, &other.user_id)).await.is_problem(403, "forbidden_role");
        }
        assert_eq!(api.delete(&member, &path(&owner, &member.user_id)).await.status, 204, "{role}");
        api.get(&member, "/me").await.is_problem(401, "invalid_token");
        assert_eq!(api.delete(&owner, &path(&owner, &other.user_id)).await.status, 204);
    }
    let list = api.get(&owner, &format!("/orgs/{}/members", owner.org_id)).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1);
    let body = json!({"email": owner.email, "password": PASSWORD});
    assert_eq!(api.call(None, Method::POST, "/auth/login", Some(body)).await.status, 200);
}

/// How many wrong passwords are compared until the account is closed to this client's network.
async fn guesses_left(api: &Api, email: &str) -> usize {
    let attempt = || Some(json!({"email": email, "password": "wrong password"}));
    let mut compared = 0;
    while api.call(None, Method::POST, "/auth/login", attempt()).await.status == 401 {
        compared += 1;
    }
    compared
}

#[tokio::test]
async fn a_right_password_uses_no_attempt_up_wherever_it_leads() {
    let api = Api::new();
    let (owner, other) = (api.register().await, api.register().await);
    let second = api.join(&owner, "owner").await;
    let left = Actor { org_id: second.org_id.clone(), ..other.clone() };
    for _ in 0..11 {
        api.login(&owner.email, Some(&other.org_id)).await.is_problem(404, "not_found");
    }
    assert_eq!(guesses_left(&api, &owner.email).await, 10);
    // A member of no organization.
    let api = api.elsewhere();
    api.add(&left, &other, "owner").await;
    let there = Actor::of(&api.login(&other.email, Some(&left.org_id)).await.body, &other.email);
    assert_eq!(api.delete(&there, &path(&there, &there.user_id)).await.status, 204);
    let own = api.join(&other, "owner").await;
    assert_eq!(api.delete(&own, &path(&other, &other.user_id)).await.status, 204);
    for _ in 0..11 {
        assert_eq!(api.login(&other.email, None).await.body["org"], Value::Null);
    }
    assert_eq!(guesses_left(&api, &other.email).await, 10);
}

#[tokio::test]
async fn a_log_in_that_fails_on_our_side_uses_no_attempt_up() {
    let scene = Scene::set().await;
    let owner = scene.api.register().await;
    for operation in ["BatchGetItem", "GetItem", "Query", WRITE] {
        scene.database.inject(operation, Fault::Throttle(u32::MAX));
        scene.slow.login(&owner.email, None).await.is_problem(503, "unavailable");
        scene.database.release(operation);
    }
    // Replies that are lost: the SDK asks again, which counts once. Of a log-in the network's
    // counter comes first.
    let again = |password: &str| json!({"password": password});
    for password in [PASSWORD, "a wrong one"] {
        scene.database.inject("UpdateItem", Fault::LoseReply(2));
        assert_eq!(scene.slow.login(&owner.email, None).await.status, 200);
        scene.database.inject("UpdateItem", Fault::LoseReply(2));
        let reply = scene.slow.post(&owner, "/auth/reauthenticate", again(password)).await;
        assert_eq!(reply.status, if password == PASSWORD { 204 } else { 401 });
    }
    let mut left = 0;
    while scene.slow.post(&owner, "/auth/reauthenticate", again("a wrong one")).await.status == 401 {
        left += 1;
    }
    assert_eq!(left, 9);
}
