//! The whole system in one process: the template's API over an embedded database.

pub mod ablation;
pub mod background;

pub mod clock;
pub mod connections;
pub mod database;
pub mod environment;
pub mod event_source;
pub mod functions;
pub mod gateway;
pub mod layers;
pub mod like_aws;
pub mod local_routes;
mod mail_service;
mod mailbox;
pub mod names;
pub mod openapi;
pub mod operator;
mod own_name;
pub mod running;
pub mod schedule;
pub mod sqs;
pub mod stream_source;
pub mod system;
pub mod table_stream;
pub mod template;
mod unkind;

pub use clock::Clock;
pub use database::Storage;
pub use system::{Options, StartError, System};
