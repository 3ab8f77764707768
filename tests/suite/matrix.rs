//! Authority: every operation of the OpenAPI document × who calls. An operation without a row fails.

use crate::api::{Actor, Api, PASSWORD, registration, unique_email};
use reqwest::Method;
use serde_json::{Value, json};
use shared::model::org::Plan;
use std::collections::BTreeSet;

/// What an operation answers to: anonymous, member, admin, owner, an owner of another organization.
struct Row {
    operation: &'static str,
    statuses: [u16; 5],
}

const fn row(operation: &'static str, statuses: [u16; 5]) -> Row {
    Row { operation, statuses }
}

/// The other organization's owner calls with this organization's ids wherever an id goes.
const ROWS: &[Row] = &[
    row("register", [201, 201, 201, 201, 201]),
    row("login", [200, 200, 200, 200, 200]),
    row("logout", [401, 204, 204, 204, 204]),
    row("get_me", [401, 200, 200, 200, 200]),
    row("update_me", [401, 200, 200, 200, 200]),
    // Of accounts that are verified already.
    row("verify_email", [401, 400, 400, 400, 400]),
    row("resend_verification", [401, 202, 202, 202, 202]),
    row("forgot_password", [202, 202, 202, 202, 202]),
    // Without the mail's link.
    row("reset_password", [400, 400, 400, 400, 400]),
    row("change_email", [401, 202, 202, 202, 202]),
    row("change_password", [401, 204, 204, 204, 204]),
    row("reauthenticate", [401, 204, 204, 204, 204]),
    row("list_sessions", [401, 200, 200, 200, 200]),
    // One of the first organization's owner's.
    row("end_session", [401, 404, 404, 204, 404]),
    row("end_other_sessions", [401, 204, 204, 204, 204]),
    row("get_user", [200, 200, 200, 200, 200]),
    row("get_org_plan", [401, 200, 200, 200, 404]),
    row("get_org_settings", [401, 200, 200, 200, 404]),
    row("put_org_settings", [401, 403, 200, 200, 404]),
    row("list_members", [401, 200, 200, 200, 404]),
    row("put_member", [401, 403, 200, 200, 404]),
    row("delete_member", [401, 403, 204, 204, 404]),
    row("list_invitations", [401, 403, 200, 200, 404]),
    row("create_invitation", [401, 403, 201, 201, 404]),
    row("withdraw_invitation", [401, 403, 204, 204, 404]),
    // None of theirs.
    row("accept_invitation", [401, 400, 400, 400, 400]),
    row("get_model_pricing", [200, 200, 200, 200, 200]),
    row("list_items", [401, 200, 200, 200, 200]),
    row("create_item", [401, 201, 201, 201, 201]),
    row("get_item", [401, 200, 200, 200, 404]),
    row("update_item", [401, 200, 200, 200, 404]),
    row("delete_item", [401, 204, 204, 204, 404]),
    row("analyze", [401, 202, 202, 202, 202]),
    // The other organization is on the free plan: it writes to its own members only.
    row("send_email", [401, 202, 202, 202, 403]),
    row("get_job", [401, 200, 200, 200, 404]),
    row("list_jobs", [401, 200, 200, 200, 200]),
    row("cancel_job", [401, 409, 409, 409, 404]),
    row("retry_job", [401, 403, 409, 409, 404]),
    row("get_usage", [401, 200, 200, 200, 200]),
    row("health", [200, 200, 200, 200, 200]),
    row("docs", [200, 200, 200, 200, 200]),
    row("docs_page", [200, 200, 200, 200, 200]),
];

const CALLERS: [&str; 5] = ["anonymous", "member", "admin", "owner", "other org's owner"];

/// What needs a session and answers one in no organization as it does any other: all that is of the own account. The rest refuses it.
const OUTSIDE: &[&str] = &[
    "logout",
    "get_me",
    "update_me",
    "verify_email",
    "resend_verification",
    "change_email",
    "change_password",
    "reauthenticate",
    "list_sessions",
    "end_session",
    "end_other_sessions",
    "accept_invitation",
];

/// What refuses the owner of an organization whose address is not proven, in its own organization, on a plan that allows it.
const UNVERIFIED: &[&str] = &["create_invitation", "send_email"];

impl Row {
    fn all(&self) -> impl Iterator<Item = u16> {
        self.statuses.into_iter().chain(self.of_others())
    }

    /// What others get: a session that has ended, one of before its user's password changed, one in no organization, an owner whose address is
    /// not proven with what its own organization has.
    fn of_others(&self) -> [u16; 4] {
        let [anonymous, .., owner, other] = self.statuses;
        let is_public = anonymous != 401;
        let outside = if is_public || OUTSIDE.contains(&self.operation) { other } else { 403 };
        [anonymous, anonymous, outside, if UNVERIFIED.contains(&self.operation) { 403 } else { owner }]
    }
}

/// A body that the operation accepts.
pub(crate) fn body(operation: &str, email: &str) -> Option<Value> {
    match operation {
        "register" => Some(registration(&unique_email())),
        "login" => Some(json!({"email": email, "password": PASSWORD})),
        "update_me" => Some(json!({"name": "Ada Lovelace"})),
        "put_org_settings" => Some(json!({"settings": {}})),
        "change_password" => Some(json!({"current": PASSWORD, "password": PASSWORD})),
        "verify_email" => Some(json!({"code": "0000-0000"})),
        "change_email" => Some(json!({"email": unique_email()})),
        "forgot_password" => Some(json!({"email": email})),
        "reset_password" => Some(json!({"token": "citr_", "password": PASSWORD})),
        "reauthenticate" => Some(json!({"password": PASSWORD})),
        "create_invitation" => Some(json!({"email": unique_email(), "role": "member"})),
        "accept_invitation" => Some(json!({"token": "citi_"})),
        "put_member" => Some(json!({"role": "member"})),
        "analyze" => Some(json!({"text": "A short text about a long day."})),
        "send_email" => Some(json!({"to": email, "subject": "Hello", "text": "A line."})),
        "create_item" | "update_item" => Some(json!({"name": "thing"})),
        _ => None,
    }
}

#[tokio::test]
async fn each_operation_answers_each_caller_as_the_row_says() {
    let api = Api::new();
    let document = api.call(None, Method::GET, "/openapi.json", None).await.body;
    let owner = api.register().await;
    api.give_plan(&owner, Plan::Pro).await;
    let (admin, member) = (api.join(&owner, "admin").await, api.join(&owner, "member").await);
    let other = api.register().await;
    let (outside, unverified) = (api.outside().await, api.register_as_everybody().await);
    api.give_plan(&unverified, Plan::Pro).await;
    let (ended, before_change) = (api.register().await, api.register().await);
    assert_eq!(api.call(Some(&ended), Method::POST, "/auth/logout", None).await.status, 204);
    let session = Actor::of(&api.login(&before_change.email, None).await.body, &before_change.email);
    let change = json!({"current": PASSWORD, "password": PASSWORD});
    assert_eq!(api.put(&session, "/me/password", change).await.status, 204);
    let callers = [None, Some(&member), Some(&admin), Some(&owner), Some(&other)].into_iter().zip(CALLERS);
    let others = ["ended session", "session of before a password change", "no organization", "unverified"];
    let others = [Some(&ended), Some(&before_change), Some(&outside), Some(&unverified)].into_iter().zip(others);
    let callers: Vec<_> = callers.chain(others).collect();
    every_operation_has_a_row(&document);
    for (path, operations) in document["paths"].as_object().unwrap() {
        // HEAD is answered as GET (`conventions::head_and_slashes_work_on_every_path`).
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(method, _)| *method != "head") {
            let id = operation["operationId"].as_str().unwrap();
            let row = ROWS.iter().find(|row| row.operation == id).unwrap();
            for ((caller, name), expected) in callers.clone().into_iter().zip(row.all()) {
                let to = path_of(&api, if name == "unverified" { &unverified } else { &owner }, path).await;
                let session = match (id, caller) {
                    // Logging out ends a session that is needed later: take another.
                    ("logout", Some(caller)) if !name.contains("session") => {
                        let org = Some(caller.org_id.as_str()).filter(|org| !org.is_empty());
                        Some(Actor::of(&api.login(&caller.email, org).await.body, &caller.email))
                    }
                    (_, caller) => caller.cloned(),
                };
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                // One network may register only so often.
                let elsewhere = api.elsewhere();
                let from = if id == "register" { &elsewhere } else { &api };
                let reply = from.call(session.as_ref(), method, &to, body(id, &owner.email)).await;
                assert_eq!(reply.status, expected, "{id} as {name}: {}", reply.text);
                if name == "unverified" && UNVERIFIED.contains(&id) {
                    reply.is_problem(403, "email_unverified");
                }
                if expected >= 400 {
                    assert_eq!(reply.header("content-type"), "application/problem+json", "{id} as {name}");
                }
                let documented = operation["responses"].as_object().unwrap();
                assert!(documented.contains_key(&expected.to_string()), "{id}: {expected} is not documented");
            }
        }
    }
}

/// And every row an operation.
fn every_operation_has_a_row(document: &Value) {
    let operations = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let operations = operations.filter(|(method, _)| *method != "head").map(|(_, operation)| operation);
    let operations: BTreeSet<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.operation).collect();
    assert_eq!(rows.len(), ROWS.len(), "an operation has two rows");
    let (without_row, without_operation) = (&operations - &rows, &rows - &operations);
    assert!(without_row.is_empty(), "without a row: {without_row:?}");
    assert!(without_operation.is_empty(), "rows without an operation: {without_operation:?}");
}

/// The path of a template with ids of an owner's: fresh ones where an operation may use one up.
pub(crate) async fn path_of(api: &Api, owner: &Actor, template: &str) -> String {
    let mut path = template.to_owned();
    for name in template.split('{').skip(1).filter_map(|part| part.split('}').next()) {
        let id = match name {
            "org_id" => owner.org_id.clone(),
            // Somebody who may leave.
            "user_id" if template.contains("/members/") => api.join(owner, "member").await.user_id,
            "user_id" => owner.user_id.clone(),
            "item_id" => api.item(owner).await,
            // Has ended.
            "job_id" => api.ended_job(owner).await,
            "session_id" => api.another_session(owner).await,
            // An owner whose address is not proven invites nobody.
            "invitation_id" => api.invitation(&api.join(owner, "admin").await).await,
            unknown => panic!("{template}: the matrix has no {unknown}"),
        };
        path = path.replace(&format!("{{{name}}}"), &id);
    }
    path
}
