//! What is asked of a back end, and what comes of it.

use super::entry::Fence;
use std::time::Duration;

/// What a lookup that may acquire a lease came to.
pub(super) enum Read {
    Found(Vec<u8>),
    /// There was nothing, and now there is a lease of this fence.
    Leased(Fence),
    /// Nothing to be read, and no lease: one has to be [acquired](Backend::acquire).
    Nothing,
}

/// What asking for a lease came to.
pub(super) enum Acquisition {
    Granted(Fence),
    /// Somebody else has it, for so long at most.
    Held(Duration),
    /// Somebody was faster: the entry, fresh.
    Present(Vec<u8>),
}

/// An entry's bytes and how long to keep them.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) entry: &'a [u8],
    pub(super) keep: Duration,
}
