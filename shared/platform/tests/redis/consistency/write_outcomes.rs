//! What becomes of the writes of a history, and what the cache is told of them.

use super::stream::Change;
use super::{SeededRng, Truth, World, note};
use crate::records::{Lasting, Pages, Plan, Record};
use crate::server;
use platform::cache::{Cache, Delivery, Key};
use std::sync::atomic::Ordering::SeqCst;

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriteOutcome {
    Kept,
    /// It is done, and nobody was told: it is answered `503`.
    ReplyLost,
    /// It is done after it was answered `503`.
    CommitsLate,
    /// Its writer dies between the commit and the renewal.
    Dies,
    /// It is not done: it finds what others have written, a dead one perhaps.
    Refused,
}

impl WriteOutcome {
    fn of(world: &World, dice: &mut SeededRng) -> Self {
        // Where there is the stream, many die: what it leaves out is to be seen.
        let dead = if world.has_stream { 15 } else { 2 };
        let outcome = match dice.roll(100) {
            0..=3 => Self::ReplyLost,
            4 => Self::CommitsLate,
            roll if roll < 5 + dead => Self::Dies,
            roll if roll < 11 + dead => Self::Refused,
            _ => Self::Kept,
        };
        world.outcomes[outcome as usize].fetch_add(1, SeqCst);
        outcome
    }
}

/// What is written.
#[derive(Clone, Copy)]
pub(super) enum Written {
    Plan(u32),
    List(u32),
}

impl Written {
    pub(super) fn truth(self, world: &World) -> &Truth {
        match self {
            Self::Plan(key) => &world.plans[key as usize],
            Self::List(key) => &world.lists[key as usize],
        }
    }

    /// Tells the cache of a version, or that it is not known what is there.
    pub(super) async fn tell(self, world: &World, cache: &Cache, version: Option<u64>) -> Delivery {
        match (self, world.has_stream) {
            (Self::Plan(key), false) => tell_record(cache, &Plan(key), version).await,
            (Self::Plan(key), true) => tell_record(cache, &Lasting(Plan(key)), version).await,
            (Self::List(key), false) => cache.invalidate(&Pages(key)).await,
            (Self::List(key), true) => cache.invalidate(&Lasting(Pages(key))).await,
        }
    }
}

async fn tell_record<K: Key<Value = Record> + 'static>(cache: &Cache, key: &K, version: Option<u64>) -> Delivery {
    match version.filter(|version| *version > 0) {
        Some(version) => cache.renew(key, &Record::new(version)).await,
        None => cache.invalidate(key).await,
    }
}

/// One write in ten is of a writer that has just been started, and has no connection yet.
pub(super) async fn write(world: &World, cache: &Cache, dice: &mut SeededRng, written: Written) {
    match &world.cold {
        Some(url) if dice.roll(10) == 0 => {
            let cold = server::open(url);
            write_with(world, &cold, dice, written).await;
            cold.settle().await;
        }
        _ => write_with(world, cache, dice, written).await,
    }
}

async fn write_with(world: &World, cache: &Cache, dice: &mut SeededRng, written: Written) {
    let truth = written.truth(world);
    let commit = || {
        let stream = world.stream.lock().expect("no panic");
        let version = truth.committed.fetch_add(1, SeqCst) + 1;
        if let Some(stream) = &*stream {
            stream.send(Change { written, version, at_ms: world.now_ms() }).expect("it is read to the end");
        }
        version
    };
    let (version, delivery) = match WriteOutcome::of(world, dice) {
        WriteOutcome::Kept => {
            let version = commit();
            dice.dawdle().await;
            (version, written.tell(world, cache, Some(version)).await)
        }
        WriteOutcome::ReplyLost => {
            let version = commit();
            dice.dawdle().await;
            (version, written.tell(world, cache, None).await)
        }
        WriteOutcome::CommitsLate => {
            written.tell(world, cache, None).await;
            dice.dawdle().await;
            return truth.acknowledge(world, commit(), Delivery::Lost);
        }
        WriteOutcome::Dies => return truth.acknowledge(world, commit(), Delivery::Lost),
        WriteOutcome::Refused => {
            let version = truth.committed.load(SeqCst);
            dice.dawdle().await;
            (version, written.tell(world, cache, Some(version)).await)
        }
    };
    note(world, truth, version, delivery);
}
