//! What a system on this machine says of itself, to load tests, to the operator's commands and to whoever walks through it. No
//! paths of the API, and not in AWS, where CloudWatch has such figures and CloudFormation such names. `/` leads to the
//! documentation: in AWS the stage's root is no address that anybody is told, and leading on from it would cost a function. By any other
//! method it is what it is there, a path that the API has not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request};
use axum::http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::{AppendHeaders, IntoResponse as _};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use lambda_http::tower::ServiceExt as _;
use serde_json::json;
use shared::ids::JobId;
use shared::model::job::JobKind;

use crate::{
    layers::counting::DatabaseCalls,
    mail_service::{self, MailService},
    mailbox,
    names::queue_of,
    sqs::Sqs,
};

/// `{database_calls, queues: {<name>: {visible, in_flight, delayed}}}`.
pub const FIGURES: &str = "/_local/figures";
/// The variables that an operator's commands need.
pub const ENDPOINTS: &str = "/_local/endpoints";
/// The path of the program that runs, which has the operator's commands.
pub const PROGRAM: &str = "/_local/program";
/// The e-mail that a job has sent, as a text.
pub const MAIL: &str = "/_local/mail/{job_id}";
/// The newest e-mail to an address, as a text.
pub const MAIL_TO: &str = "/_local/mail-to/{address}";
/// All e-mails to an address, as a list of texts, the oldest first.
pub const MAILS_TO: &str = "/_local/mails-to/{address}";
/// The endpoint of the mail service, for functions that run as processes of their own.
pub const MAIL_SERVICE: &str = "/_local/ses";
/// Where the providers on a bad day are asked and told.
pub const PROVIDERS: &str = "/_local/providers";

/// Adds them to the API's router.
pub fn add_to(
    router: Router,
    database_calls: Arc<DatabaseCalls>,
    sqs: Sqs,
    endpoints: BTreeMap<&'static str, String>,
    mailbox: PathBuf,
    mail_service: MailService,
) -> Router {
    let figures = get(async move || {
        let of = |queue| {
            let counts = sqs.counts(queue).ok();
            counts.map(
                |counts| json!({"visible": counts.visible, "in_flight": counts.in_flight, "delayed": counts.delayed}),
            )
        };
        let queues: BTreeMap<_, _> = JobKind::ALL.map(queue_of).map(|queue| (queue, of(queue))).into();
        Json(json!({"database_calls": database_calls.count(), "queues": queues}))
    });
    let folder = mailbox.clone();
    let mail_to = get(async move |Path(address): Path<String>| {
        mailbox::all_to(&folder, &address).await.pop().ok_or(StatusCode::NOT_FOUND)
    });
    let folder = mailbox.clone();
    let mails_to = get(async move |Path(address): Path<String>| Json(mailbox::all_to(&folder, &address).await));
    let mail = get(async move |Path(job_id): Path<String>| {
        let job_id: JobId = job_id.parse().map_err(|_| StatusCode::NOT_FOUND)?;
        tokio::fs::read_to_string(mailbox.join(format!("{job_id}.eml"))).await.map_err(|_| StatusCode::NOT_FOUND)
    });
    let send = post(async move |body: Bytes| {
        let answered = mail_service.answer(body.into()).await;
        let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = answered.error.map(|error| [(HeaderName::from_static("x-amzn-errortype"), error)]);
        let json = [(CONTENT_TYPE, "application/json")];
        (status, json, error.map(AppendHeaders), answered.body)
    });
    let router = router.route(&format!("{MAIL_SERVICE}{}", mail_service::PATH), send);
    // Asked once, at the start: of one that has been built anew since, Linux says that it is deleted.
    let program = std::env::current_exe().map(|path| path.display().to_string()).map_err(|_| StatusCode::NOT_FOUND);
    let program = get(async move || program);
    let api = router.clone();
    let root = any(async move |request: Request| {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let Ok(refused) = api.oneshot(request).await;
            return refused;
        }
        // Relative, so that it holds behind a path too.
        (StatusCode::FOUND, [(LOCATION, "docs")]).into_response()
    });
    let router = router.route("/", root).route(PROGRAM, program);
    let router = router.route(MAIL, mail).route(MAIL_TO, mail_to).route(MAILS_TO, mails_to);
    router.route(FIGURES, figures).route(ENDPOINTS, get(async move || Json(endpoints)))
}
