//! What two functions need.

pub mod model;
