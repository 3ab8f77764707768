//! How requests arrive: by callers who each wait for their reply, or at a rate that no slow reply holds up.

use crate::actions::act;
use crate::random::Random;
use crate::world::World;
use futures_util::future::join_all;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// More requests under way than this are not begun, and count as failed: a system that far behind has failed.
const UNDER_WAY: usize = 2_000;
/// The streams of random numbers of the open arrivals begin here, and those of the users.
const OPEN: u64 = 1 << 32;
const USERS: u64 = 1 << 48;

/// `callers` do these actions altogether, without pauses. A number is one action with all its choices: keys too, so
/// none may be done twice in one world.
pub async fn closed(world: &Arc<World>, callers: u64, actions: Range<u64>) {
    let next = AtomicU64::new(actions.start);
    let caller = async |_: u64| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= actions.end {
                return;
            }
            act(world, &mut Random::new(world.seed, number), None).await;
        }
    };
    join_all((0..callers).map(caller)).await;
}

/// `users` come one after another within `ramp` and act until `duration` is over, each thinking 50 to 500 ms between two actions.
pub async fn users(world: &Arc<World>, users: usize, ramp: Duration, duration: Duration) {
    let start = Instant::now();
    let user = async |number: usize| {
        let mut random = Random::new(world.seed, USERS + number as u64);
        tokio::time::sleep(ramp.mul_f64(number as f64 / users.max(1) as f64)).await;
        while start.elapsed() < duration {
            act(world, &mut random, None).await;
            tokio::time::sleep(Duration::from_millis(50 + random.below(450) as u64)).await;
        }
    };
    join_all((0..users).map(user)).await;
}

/// A Poisson process: `per_second` actions on average, growing to that during `ramp`. Latency counts from when
/// each was to start. Returns how many could not even begin.
pub async fn open(world: &Arc<World>, per_second: f64, ramp: Duration, duration: Duration) -> usize {
    let mut random = Random::new(world.seed, OPEN);
    let (start, mut at, mut number) = (Instant::now(), Duration::ZERO, OPEN);
    let under_way = Arc::new(AtomicUsize::new(0));
    let (mut tasks, mut turned_away) = (tokio::task::JoinSet::new(), 0);
    loop {
        let grown = if ramp.is_zero() { 1.0 } else { (at.as_secs_f64() / ramp.as_secs_f64()).clamp(0.05, 1.0) };
        at += random.until_next(per_second * grown);
        if at >= duration {
            break;
        }
        let intended = start + at;
        tokio::time::sleep_until(intended.into()).await;
        while tasks.try_join_next().is_some() {}
        if under_way.load(Ordering::Relaxed) >= UNDER_WAY {
            turned_away += 1;
            continue;
        }
        number += 1;
        let (world, under_way) = (Arc::clone(world), Arc::clone(&under_way));
        under_way.fetch_add(1, Ordering::Relaxed);
        tasks.spawn(async move {
            act(&world, &mut Random::new(world.seed, number), Some(intended)).await;
            under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
    while tasks.join_next().await.is_some() {}
    turned_away
}
