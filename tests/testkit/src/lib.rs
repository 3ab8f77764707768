//! What tests and the laboratory put between a caller and what it calls. Each module moves what passes; what goes
//! wrong with it is its user's decision. Nothing that is deployed depends on this crate, and what a test cannot go on without panics.
//!
//! - [`http`]: a server whose handler answers, passes on, changes, delays or cuts: a stand-in for a service, or a proxy.
//! - [`aws`]: what such a handler reads and says in AWS's JSON protocols.
//! - [`meter`]: a proxy before the database that counts what calls cost.
//! - [`providers`]: a model provider and a mail service on a bad day.
//! - [`scripted`]: a server of given bytes, broken ones too.
//! - [`tcp_proxy`]: the same of bytes: refuse, hang, cut, delay, answer, forget.
//! - [`runtime_api`]: Lambda's side of one process of a function.
//! - [`sources`]: addresses to call from.
//! - [`ports`] and [`processes`]: a free port, and a process that ends with its test.

pub mod aws;
pub mod http;
pub mod meter;
pub mod ports;
pub mod processes;
pub mod providers;
pub mod runtime_api;
pub mod scripted;
pub mod sources;
pub mod tcp_proxy;
