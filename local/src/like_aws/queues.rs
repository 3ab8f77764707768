//! SQS and its mapping as they are: a receive that finds nothing though there is something, one whose reply is lost, a message that
//! comes again though it was deleted, any order, and pollers that grow in number by and by.
//!
//! Sources: SQS Developer Guide, "Short and long polling", "Inconsistent processing", "Standard queues" (documented: at least once,
//! best-effort order); Lambda Developer Guide, "Using Lambda with Amazon SQS", "Scaling" (documented); bitesizedserverless.com, 2022
//! (from sending to the function, measured). How often any of it happens is published nowhere.

use std::time::Duration;

use super::random::{Lognormal, SeededRng};
use crate::sqs::Received;

/// A standard queue's ways, and its pollers'.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Share of long polls that find nothing though a message is there. Inferred.
    pub false_empties: f64,
    /// Share of receives that count though their reply never came. Inferred.
    pub lost_receives: f64,
    /// Share of deletions that are forgotten: the message comes again. Inferred from "rare"; one blog saw some 1e-7.
    pub duplicates: f64,
    /// From a message's arrival to its function. Measured.
    pub delivery: Lognormal,
    /// Batches at a time to begin with. Documented.
    pub first_pollers: usize,
    /// One more after this long, as long as all are busy: 300 a minute. Documented.
    pub poller_after: Duration,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            false_empties: 1e-3,
            lost_receives: 1e-5,
            duplicates: 1e-6,
            delivery: Lognormal::ms(16.0, 105.0),
            first_pollers: 5,
            poller_after: Duration::from_millis(200),
        }
    }
}

/// What happens to one mapping's messages.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    pub(crate) settings: Queues,
    rng: SeededRng,
}

impl Deliveries {
    pub(crate) fn new(settings: Queues, rng: SeededRng) -> Self {
        Self { settings, rng }
    }

    /// Whether a poll sees nothing, whatever there is.
    pub(crate) fn overlooks(&self) -> bool {
        self.rng.happens(self.settings.false_empties)
    }

    /// What of a receive's reply arrives, in any order. What does not stays invisible, and has been received once more.
    pub(crate) fn arrives(&self, mut received: Vec<Received>) -> Vec<Received> {
        if self.rng.happens(self.settings.lost_receives) {
            return Vec::new();
        }
        if !received.is_empty() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below ten")]
            let by = (self.rng.unit() * received.len() as f64) as usize;
            received.rotate_left(by);
        }
        received
    }

    /// Whether a deletion is forgotten.
    pub(crate) fn forgets(&self) -> bool {
        self.rng.happens(self.settings.duplicates)
    }

    pub(crate) fn delay(&self) -> Duration {
        self.settings.delivery.draw(&self.rng)
    }
}
