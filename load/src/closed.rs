//! Users with sessions and think time, driven by `goose`: so many at once, who arrive one after the other.

use crate::actions::act;
use crate::random::Random;
use crate::world::World;
use goose::config::GooseConfiguration;
use goose::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Goose hands its transactions nothing but a user: what they act on stands here.
static WORLD: OnceLock<Arc<World>> = OnceLock::new();
static NEXT: AtomicU64 = AtomicU64::new(1 << 48);

#[derive(Clone, Debug)]
struct Session(Random);

/// Lets `users` come within `ramp` and act until `duration` is over, each thinking 50 to 500 ms between two
/// actions.
///
/// # Errors
/// When goose cannot run, or a run was made before in this process.
pub async fn run(world: &Arc<World>, users: usize, ramp: Duration, duration: Duration) -> Result<(), String> {
    WORLD.set(Arc::clone(world)).map_err(|_| "only one closed run in a process".to_owned())?;
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(world.client.url().to_owned());
    configuration.users = Some(users);
    configuration.increase_time = Some(ramp.as_secs().max(1).to_string());
    configuration.run_time = Some(duration.as_secs().max(1).to_string());
    configuration.quiet = 3;
    configuration.no_print_metrics = true;
    configuration.no_telnet = true;
    let attack = async || {
        let think = (Duration::from_millis(50), Duration::from_millis(500));
        let session = scenario!("session")
            .register_transaction(transaction!(begin).set_on_start())
            .register_transaction(transaction!(step))
            .set_wait_time(think.0, think.1)?;
        GooseAttack::initialize_with_config(configuration)?.register_scenario(session).execute().await
    };
    attack().await.map(drop).map_err(|error| error.to_string())
}

async fn begin(user: &mut GooseUser) -> TransactionResult {
    if let Some(world) = WORLD.get() {
        let stream = NEXT.fetch_add(1, Ordering::Relaxed);
        user.set_session_data(Session(Random::new(world.seed, stream)));
    }
    Ok(())
}

async fn step(user: &mut GooseUser) -> TransactionResult {
    if let (Some(world), Some(Session(random))) = (WORLD.get(), user.get_session_data_mut::<Session>()) {
        act(world, random, None).await;
    }
    Ok(())
}
