//! The world as AWS makes it: what the embedded engines never do to a function, and AWS does. Each part is a layer of its own
//! with its source and its settings; docs/like-aws.md says how sure each figure is, and what is not modelled.

pub mod capacity;
pub mod conflicts;
pub mod latency;
pub mod ledger;
mod random;
pub mod record;
#[cfg(test)]
mod tests_rig;

use std::sync::Arc;

use crate::clock::Clock;
use crate::layers::{Layer, embedded::EmbeddedDatabase};
pub use capacity::Capacity;
pub use conflicts::Transactions;
pub use latency::Latencies;
pub use ledger::Ledger;
use random::Dice;
pub use random::Lognormal;

/// What of AWS stands around the functions, and with which figures; a part that is `None` is left as the embedded engine has it.
#[derive(Clone, Debug)]
pub struct LikeAws {
    /// What chance goes by. Tasks that race still do.
    pub seed: u64,
    /// How long calls take.
    pub latencies: Option<Latencies>,
    /// Transactions hold their records, and refuse others.
    pub transactions: Option<Transactions>,
    /// What the table's partitions take in a second.
    pub capacity: Option<Capacity>,
    /// Where it is noted what meets and what is refused; none for a system that runs on and on.
    pub ledger: Option<Arc<Ledger>>,
}

impl Default for LikeAws {
    /// All of it.
    fn default() -> Self {
        Self {
            latencies: Some(Latencies::default()),
            transactions: Some(Transactions::default()),
            capacity: Some(Capacity::default()),
            ..Self::nothing()
        }
    }
}

impl LikeAws {
    /// All of it where the variable `CITIZEN_LIKE_AWS` is set: so the suite and the kill test run in this world too.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        std::env::var_os("CITIZEN_LIKE_AWS").map(|_| Self::default())
    }

    /// None of it: a test takes the parts that it is about.
    #[must_use]
    pub fn nothing() -> Self {
        Self { seed: 20, latencies: None, transactions: None, capacity: None, ledger: None }
    }

    /// The layers between the functions and the embedded database, the first to see a call first. To be called in the runtime
    /// that outlives the functions.
    #[must_use]
    pub fn layers(&self, database: &EmbeddedDatabase, clock: &Clock) -> Vec<Arc<dyn Layer>> {
        let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
        let dice = |stream| Dice::new(self.seed, stream);
        if let Some(latencies) = &self.latencies {
            layers.push(latency::Latency::new(latencies.clone(), dice(2), clock.clone()));
        }
        if let Some(capacity) = &self.capacity {
            let throttle =
                capacity::Throttle::new(capacity.clone(), database.clone(), clock.clone(), self.ledger.clone());
            layers.push(Arc::new(throttle));
        }
        if let Some(transactions) = &self.transactions {
            let (settings, ledger) = (transactions.clone(), self.ledger.clone());
            layers.push(Arc::new(conflicts::Conflicts::new(settings, dice(1), clock.clone(), ledger)));
        }
        layers
    }
}
