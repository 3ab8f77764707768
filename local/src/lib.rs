pub mod event_source;
pub mod schedule;
pub mod sqs;
