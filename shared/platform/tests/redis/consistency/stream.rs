//! The table's stream beside a history: it tells the cache of each commit a second time, late, now and then twice, and again
//! where the cache was away. What it has told holds for every read that begins afterwards, whoever died.

use super::write_outcomes::Written;
use super::{BOUND_MS, SeededRng, World};
use futures_util::{StreamExt as _, stream};
use platform::cache::{Cache, Delivery};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// A commit, as the stream brings it.
pub(super) struct Change {
    pub(super) written: Written,
    pub(super) version: u64,
    /// By the world's clock.
    pub(super) at_ms: u64,
}

/// How long after its commit a change is read at most: DynamoDB's own delay is "near real time", measured in hundreds of milliseconds.
const DELAY_MS: u64 = 200;
/// Operations on the cache at a time, as in the invalidator.
const AT_ONCE: usize = 32;

/// Tells `cache` of each change until no more come; for how long each was on its way, in milliseconds.
pub(super) async fn follow(
    world: &World,
    cache: &Cache,
    mut changes: UnboundedReceiver<Change>,
    seed: u64,
) -> Vec<u64> {
    let mut dice = SeededRng(seed);
    let (mut batch, mut lags) = (Vec::new(), Vec::new());
    while changes.recv_many(&mut batch, 100).await > 0 {
        let ready_ms = batch[0].at_ms + dice.roll(DELAY_MS);
        tokio::time::sleep(Duration::from_millis(ready_ms.saturating_sub(world.now_ms()))).await;
        let times = if dice.roll(10) == 0 { 2 } else { 1 };
        for _ in 0..times {
            stream::iter(&batch).for_each_concurrent(AT_ONCE, |change| tell(world, cache, change)).await;
        }
        lags.extend(batch.drain(..).map(|change| world.now_ms() - change.at_ms));
    }
    lags
}

async fn tell(world: &World, cache: &Cache, change: &Change) {
    while change.written.tell(world, cache, Some(change.version)).await == Delivery::Lost {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    change.written.truth(world).streamed.fetch_max(change.version, SeqCst);
}

/// Says how long changes were on their way, and fails for one that was for more than the bound.
pub(super) fn report(mut lags: Vec<u64>) {
    lags.sort_unstable();
    let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize];
    println!(
        "the stream told of {} changes: half within {} ms, 99.9 % within {} ms, the last within {} ms",
        lags.len(),
        at(0.5),
        at(0.999),
        at(1.0)
    );
    let late = lags.iter().filter(|lag| **lag > BOUND_MS).count();
    assert!(late == 0, "{late} of {} changes were on their way for more than a second", lags.len());
}
