//! Telling the cache of a committed write. A reader may do without the cache; a writer goes on until it is told.

use super::backend::Budget;
use super::cache_metrics::Event;
use super::class::{EntryAddress, Key, Name};
use super::operation::Kept;
use super::{Backend, Cache, encode};
use std::time::{Duration, Instant};

/// How long a writer waits for the cache, unless [`Options`](super::Options) say otherwise: long enough for a connection
/// that has to be made first. A reader's patience would do for a connection that is there already, which a rare writer never has.
pub const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// After the first refusal it is tried again after so long; the pause doubles. A server that was demoted or is loading refuses at once, and
/// may still answer readers.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// A cache that has failed is not waited for, for so many times a writer's patience: one that hangs holds an environment up for a part of
/// its time. After that it may be well. An environment that only writes, and rarely, would not hear of it otherwise.
const NO_PATIENCE_FOR: u32 = 10;

/// For how long after the reply it is tried again.
const TRY_FOR: Duration = Duration::from_secs(2);

/// Whether a renewal or an invalidation reached the cache before the write was acknowledged. If not, it goes on being tried
/// ([`Cache::settle`]), unless the cache had failed just before (its breaker is open). Until it is told, by this or by another way,
/// readers may get what it was to replace: at most until the class's fresh time has passed (for one that may be stale, its stale time).
/// The write itself stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Delivered,
    Lost,
}

impl Cache {
    /// Begins to connect, without waiting for it: for what will write and has something else to do first.
    pub fn connect(&self) {
        if let Backend::Server(connection) = &self.0.backend {
            connection.connect();
        }
    }

    /// After a committed write and before it is acknowledged: puts the new value in the place of an older one. One that is larger than its
    /// class keeps only removes that.
    pub async fn renew<K: Key>(&self, key: &K, value: &K::Value) -> Delivery {
        let new = encode::<K>(value);
        let new = new.as_ref().map(|(entry, keep)| Kept { entry, keep: *keep });
        self.deliver(K::CLASS.name, EntryAddress::of(self.key_prefix(), key), new).await
    }

    /// After a committed write and before it is acknowledged: forgets a value, or all pages of a group.
    pub async fn invalidate<N: Name>(&self, name: &N) -> Delivery {
        self.deliver(N::CLASS.name, EntryAddress::of_name(self.key_prefix(), name), None).await
    }

    async fn deliver(&self, class: &'static str, address: EntryAddress, new: Option<Kept<'_>>) -> Delivery {
        // Where the cache fails just now, nobody waits for more than one attempt, which is as short as a reader's, and none follows the
        // reply: all environments of a function would be held up by one server that hangs.
        let options = &self.0.options;
        let is_patient = !self.0.backend.failed_within(options.write_patience * NO_PATIENCE_FOR);
        let patience = if is_patient { options.write_patience } else { options.patience.min(options.write_patience) };
        let deadline = Instant::now() + patience;
        let left = || Budget(deadline.saturating_duration_since(Instant::now()));
        let mut told = match new {
            Some(new) => self.0.backend.renew(&address, new, &mut left()).await,
            None => self.0.backend.invalidate(&address, &mut left()).await,
        };
        // A full server refuses to store; it still removes.
        if let Err(error) = &told
            && new.is_some()
        {
            self.failed(class, error);
            told = self.0.backend.invalidate(&address, &mut left()).await;
        }
        let mut pause = FIRST_PAUSE;
        while told.is_err() && is_patient && Instant::now() + pause < deadline {
            tokio::time::sleep(pause).await;
            pause *= 2;
            told = self.0.backend.invalidate(&address, &mut left()).await;
        }
        let Err(error) = told else {
            self.0.metrics.count(class, Event::Renewal);
            return Delivery::Delivered;
        };
        self.failed(class, &error);
        self.0.metrics.count(class, Event::RenewalLost);
        if is_patient {
            self.later(self.clone().deliver_late(class, address));
        }
        Delivery::Lost
    }

    /// Removes what a lost renewal was to replace: whatever a later one has put there is fetched again.
    async fn deliver_late(self, class: &'static str, address: EntryAddress) {
        let give_up = Instant::now() + TRY_FOR;
        let mut pause = Duration::from_millis(50);
        while Instant::now() + pause < give_up {
            tokio::time::sleep(pause).await;
            pause *= 2;
            let left = give_up.saturating_duration_since(Instant::now());
            if self.0.backend.invalidate(&address, &mut Budget(left.min(self.0.options.write_patience))).await.is_ok() {
                self.0.metrics.count(class, Event::RenewalLate);
                return;
            }
        }
        tracing::error!(class, "the cache was not told of a write: readers may get the value before it");
    }
}
