//! The whole system in one process: the template's API over an embedded database.

pub mod background;
pub mod catalogue;
pub mod commands;
pub mod database;
pub mod environment;
pub mod event_source;
pub mod figures;
pub mod functions;
pub mod gateway;
pub mod openapi;
pub mod privileges;
pub mod schedule;
pub mod sqs;
pub mod system;
pub mod template;

pub use database::Storage;
pub use system::{Options, StartError, System};
