//! CitizenApp's values: pure types that parse on construction, no input or output.

pub mod analysis;
pub mod email;
