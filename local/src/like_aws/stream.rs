//! The table's stream as Lambda gets it: late, and now and then twice. That a batch which fails holds up its shard is in the mapping
//! itself (`stream_source.rs`), with or without this.
//!
//! Sources: bitesizedserverless.com, 2022 (from the write to the function, measured); Lambda Developer Guide, "Using Lambda with
//! DynamoDB": "at least once" (documented; how often is published nowhere).

use std::time::Duration;

use super::random::{Lognormal, SeededRng};

/// A stream's ways.
#[derive(Clone, Debug)]
pub struct Stream {
    /// From a write to its function. Measured.
    pub delay: Lognormal,
    /// Share of batches that come twice. Inferred.
    pub repetitions: f64,
}

impl Default for Stream {
    fn default() -> Self {
        Self { delay: Lognormal::ms(213.0, 552.0), repetitions: 1e-3 }
    }
}

/// What happens to the batches of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Batches {
    settings: Stream,
    rng: SeededRng,
}

impl Batches {
    pub(crate) fn new(settings: Stream, rng: SeededRng) -> Self {
        Self { settings, rng }
    }

    pub(crate) fn delay(&self) -> Duration {
        self.settings.delay.draw(&self.rng)
    }

    /// Whether a batch that succeeded comes again.
    pub(crate) fn repeats(&self) -> bool {
        self.rng.happens(self.settings.repetitions)
    }
}
