//! One run: a system, its load, its figures meanwhile, and its truth afterwards.

use crate::client::millis;
use crate::report::Run;
use crate::server::figures;
use crate::settle::settle;
use crate::world::World;
use std::sync::Arc;
use std::time::Duration;

/// What is left to do after the load must be done within this.
const PATIENCE: Duration = Duration::from_secs(120);

/// Puts `load` on a world, looks at the system's figures every `every`, and checks the truth when it is over. With
/// `progress`, says how it goes.
///
/// # Errors
/// When the truth cannot be read.
pub async fn observed(
    world: &Arc<World>,
    pid: Option<u32>,
    (every, progress): (Duration, bool),
    load: impl Future<Output = Result<usize, String>>,
) -> Result<Run, String> {
    let (_from_here_on, _none_yet) = (world.client.take(), world.client.take_phases());
    let now = || millis(world.client.elapsed());
    let begun = now();
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, millis);
    let begun_of_day = since % (24 * 60 * 60 * 1_000);
    let mut seen: Vec<_> = figures(world.client.http(), world.client.url(), pid, now()).await.into_iter().collect();
    tokio::pin!(load);
    let mut count_before = 0;
    let turned_away = loop {
        tokio::select! {
            ended = &mut load => break ended?,
            () = tokio::time::sleep(every) => {
                seen.extend(figures(world.client.http(), world.client.url(), pid, now()).await);
                if progress {
                    let (count, failed) = world.client.count();
                    let queue = seen.last().map_or(0, |at| at.visible + at.in_flight);
                    let rate = (count - count_before) as u64 * 1_000 / millis(every).max(1);
                    count_before = count;
                    let seconds = (now() - begun) / 1_000;
                    eprintln!("{seconds:4} s  {count:8} requests  {rate:6} a second  {failed} failed  {queue} in the queue");
                }
            }
        }
    };
    seen.extend(figures(world.client.http(), world.client.url(), pid, now()).await);
    let mut samples = world.client.take();
    for sample in &mut samples {
        sample.at_ms = sample.at_ms.saturating_sub(begun);
    }
    for at in &mut seen {
        at.at_ms = at.at_ms.saturating_sub(begun);
    }
    let phases = world.client.take_phases().into_iter();
    let phases = phases.map(|(name, at_ms)| (name, at_ms.saturating_sub(begun))).collect();
    // A job that was created before this run began is none of its own.
    let waits = settle(world, PATIENCE).await?.into_iter();
    let waits = waits.filter_map(|(at, wait)| Some((at.checked_sub(begun_of_day)?, wait))).collect();
    let (told, violations) = (world.truth.told(), world.truth.violations());
    Ok(Run { title: String::new(), samples, phases, figures: seen, waits, violations, turned_away, told })
}
