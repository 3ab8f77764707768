//! Pure types that check themselves on construction; no I/O.

pub mod account_mail;
pub mod analysis;
pub(crate) mod by_plan;
pub mod cached;
pub mod email;
pub mod invitation;
pub mod item;
pub mod job;
pub mod limiter;
pub mod mark;
mod model_id;
pub mod org;
pub mod password;
pub mod price;
pub mod proof;
pub mod session;
pub mod settings;
pub mod text;
pub mod time;
pub mod usage;
pub mod user;
