//! What two or more functions need. Two storeys; the arrow never points up:
//!
//! * *mechanism*, which knows nothing of CitizenApp and could serve another product unchanged:
//!   [`aws`], [`cache`], [`hex`], [`idempotency`], [`queue`], [`request`], [`response`], [`runtime`], [`telemetry`];
//! * *product*, built on it: [`caller`], [`clock`], [`config`], [`context`], [`cursor`], [`error`], [`ids`],
//!   [`items`], [`jobs`], [`model`], [`password`], [`store`], [`token`].
//!
//! Nobody outside this crate talks to AWS or to a cache.

pub mod aws;
pub mod cache;
pub mod caller;
pub mod clock;
pub mod config;
pub mod context;
pub mod cursor;
pub mod error;
pub mod hex;
pub mod idempotency;
pub mod ids;
pub mod items;
pub mod jobs;
pub mod model;
pub mod password;
pub mod queue;
pub mod request;
pub mod response;
pub mod runtime;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod trace;

pub use context::Context;
pub use error::{ApiError, ApiResult};
pub use lambda_http::{Request, http::StatusCode};
