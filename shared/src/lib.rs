//! What two or more functions of CitizenApp need: its records and rules, on top of [`platform`], which knows nothing of them.
//!
//! [`context`] holds what a handler works with, [`caller`] is the only way to a verified identity, [`model`] has types that are
//! checked as they are parsed, and [`store`] every access to the table. Nobody outside these two crates talks to DynamoDB, SQS or a cache.
//!
//! A handler, whole:
//!
//! ```
//! use shared::caller::Caller;
//! use shared::model::cached::OrgPlanKey;
//! use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
//!
//! pub async fn handle(context: &Context, request: Request) -> ApiResult {
//!     let caller = Caller::verify(context, &request).await?;
//!     let org_id = caller.in_org(request::path(&request, "org_id"))?;
//!     let plan = context.cache().get_or_fill(&OrgPlanKey(org_id), || context.store().org_plan(org_id)).await?;
//!     let plan = plan.ok_or(ApiError::NotFound)?;
//!     Ok(response::json(StatusCode::OK, &plan.plan.as_str()))
//! }
//! ```

pub mod account;
pub mod account_mail;
pub mod caller;
pub mod caps;
pub mod clock;
pub mod conditional;
pub mod config;
pub mod context;
mod cookies;
pub mod cursor;
pub mod device;
pub mod error;
pub mod guesses;
pub mod ids;
pub mod items;
pub mod jobs;
pub mod limits;
pub mod model;
pub mod models;
pub mod network;
pub mod password;
pub mod request_rates;
pub mod security_log;
pub mod store;
pub mod token;

pub use platform::{aws, cache, etag, idempotency, queue, rate_limit, request, response, runtime, telemetry};

pub use context::Context;
pub use error::{ApiError, ApiResult};
pub use lambda_http::{Request, http::StatusCode};
