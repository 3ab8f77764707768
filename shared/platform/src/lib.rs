//! What stands under a product made of Lambda functions: records in DynamoDB, slow work in SQS, a cache in Redis or Valkey. It
//! knows nothing of the product: Cargo holds that arrow.
//!
//! * [`runtime`] turns an event into a request, calls a handler and makes a reply of whatever happens; [`request`] reads a
//!   request, [`response`] writes replies and problem documents (RFC 9457), [`etag`] has
//!   entity tags and conditions (RFC 9110);
//! * [`cache`] is typed: a hit is one command, a miss is fetched once, and no acknowledged write is ever hidden by an older value;
//! * [`idempotency`] has the records of `Idempotency-Key`, [`queue`] an SQS queue;
//! * [`aws`] is what all AWS clients share; [`telemetry`] has logs, metrics, `Server-Timing` and X-Ray's header.
//!
//! A value is cached once its type says how, and its key what is promised of it:
//!
//! ```
//! use platform::cache::{Busy, Cache, CacheUrl, Cacheable, Class, Key, Name, Options};
//! use std::time::Duration;
//!
//! #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
//! struct Plan { name: String, version: u64 }
//!
//! impl Cacheable for Plan {
//!     const SCHEMA: u8 = 1;
//!     fn version(&self) -> u64 { self.version }
//! }
//!
//! struct PlanKey(u32);
//! impl Name for PlanKey {
//!     const CLASS: Class = Class::renewed_on_update("plan", Duration::from_secs(3600));
//!     fn write(&self, out: &mut String) { out.push_str(&format!("org:{}:plan", self.0)); }
//! }
//! impl Key for PlanKey { type Value = Plan; }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let cache = Cache::with(&"memory:".parse::<CacheUrl>().expect("an address"), Options::default());
//! let from_database = || async { Ok::<_, Busy>(Some(Plan { name: "pro".into(), version: 7 })) };
//! let plan = cache.get_or_fill(&PlanKey(1), from_database).await;
//! assert_eq!(plan, Ok(Some(Plan { name: "pro".into(), version: 7 })));
//! # }
//! ```

pub mod aws;
pub mod cache;
pub mod etag;
pub mod hex;
pub mod idempotency;
mod percent;
pub mod queue;
pub mod rate_limit;
pub mod request;
pub mod response;
pub mod runtime;
pub mod telemetry;
