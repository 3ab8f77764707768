//! Pure types that check themselves on construction; no I/O.

pub mod item;
pub mod org;
pub mod price;
pub mod settings;
pub mod text;
pub mod time;
pub mod user;
