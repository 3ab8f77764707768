//! The whole system, tried from outside.

#[cfg(test)]
mod sqs;
