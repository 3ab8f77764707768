//! What becomes of the writes of a history, and what the cache is told of them.

use super::stream::Change;
use super::{Dice, Truth, World, note};
use crate::records::{Pages, Plan, Record};
use crate::server;
use platform::cache::{Cache, Delivery};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
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

impl Fate {
    fn of(world: &World, dice: &mut Dice) -> Self {
        let fate = match dice.roll(100) {
            0..=3 => Self::ReplyLost,
            4 => Self::CommitsLate,
            5..=6 => Self::Dies,
            7..=12 => Self::Refused,
            _ => Self::Kept,
        };
        world.fates[fate as usize].fetch_add(1, SeqCst);
        fate
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
    pub(super) async fn tell(self, cache: &Cache, version: Option<u64>) -> Delivery {
        match (self, version) {
            (Self::Plan(key), Some(version)) if version > 0 => cache.renew(&Plan(key), &Record::new(version)).await,
            (Self::Plan(key), _) => cache.invalidate(&Plan(key)).await,
            (Self::List(key), _) => cache.invalidate(&Pages(key)).await,
        }
    }
}

/// One write in ten is of a writer that has just been started, and has no connection yet.
pub(super) async fn write(world: &World, cache: &Cache, dice: &mut Dice, written: Written) {
    match &world.cold {
        Some(url) if dice.roll(10) == 0 => {
            let cold = server::open(url);
            write_with(world, &cold, dice, written).await;
            cold.settle().await;
        }
        _ => write_with(world, cache, dice, written).await,
    }
}

async fn write_with(world: &World, cache: &Cache, dice: &mut Dice, written: Written) {
    let truth = written.truth(world);
    let commit = || {
        let stream = world.stream.lock().expect("no panic");
        let version = truth.committed.fetch_add(1, SeqCst) + 1;
        if let Some(stream) = &*stream {
            stream.send(Change { written, version, at: Instant::now() }).expect("it is read to the end");
        }
        version
    };
    let (version, delivery) = match Fate::of(world, dice) {
        Fate::Kept => {
            let version = commit();
            dice.dawdle().await;
            (version, written.tell(cache, Some(version)).await)
        }
        Fate::ReplyLost => {
            let version = commit();
            dice.dawdle().await;
            (version, written.tell(cache, None).await)
        }
        Fate::CommitsLate => {
            written.tell(cache, None).await;
            dice.dawdle().await;
            return truth.acknowledge(commit(), Delivery::Lost);
        }
        Fate::Dies => return truth.acknowledge(commit(), Delivery::Lost),
        Fate::Refused => {
            let version = truth.committed.load(SeqCst);
            dice.dawdle().await;
            (version, written.tell(cache, Some(version)).await)
        }
    };
    note(world, truth, version, delivery);
}
