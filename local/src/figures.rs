//! `GET /_local/figures`: what a load test cannot see from outside. No path of the API, and not in AWS, where
//! CloudWatch has such figures.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use serde_json::json;

use crate::{layers::counting::DatabaseCalls, names::JOBS_QUEUE, sqs::Sqs};

/// Where it is found.
pub const PATH: &str = "/_local/figures";

/// Adds it to the API's router: `{database_calls, queue: {visible, in_flight, delayed}}`.
pub fn add_to(router: Router, database_calls: Arc<DatabaseCalls>, sqs: Sqs) -> Router {
    router.route(
        PATH,
        get(async move || {
            let queue = sqs.counts(JOBS_QUEUE).ok().map(
                |counts| json!({"visible": counts.visible, "in_flight": counts.in_flight, "delayed": counts.delayed}),
            );
            Json(json!({"database_calls": database_calls.count(), "queue": queue}))
        }),
    )
}
