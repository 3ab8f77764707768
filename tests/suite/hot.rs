//! An organization that is busier than one record or partition can be: its limits stay exact, its lists whole.

mod cached;
mod conflicts;
mod copies;
mod half_done;
mod heat;
mod lanes;
mod lists;
pub(crate) mod rig;
mod room;
mod throttled;
mod usage;
