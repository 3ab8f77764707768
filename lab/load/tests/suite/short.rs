//! A short run over a system in this process: the truth holds, the report has its figures, and a planted lie is found.

use crate::{account, give_plan};
use load::report::{CLOSED, OPEN};
use load::{arrivals, run::observed, settle::settle, world::World};
use local::{Options, System};
use serde_json::Value;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_truth_holds_under_load_and_a_lie_is_found() {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let (account, plan) =
        (async |new: &Value| account(&system, new).await, async |org: &str| give_plan(&system, org).await);
    let world = World::found(&system.url(), account, plan, 3, 1).await.unwrap();
    let load = async {
        world.client.phase(CLOSED);
        arrivals::closed(&world, 4, 0..250).await;
        world.client.phase(OPEN);
        Ok(arrivals::open(&world, 100.0, Duration::ZERO, Duration::from_secs(1)).await)
    };
    let run = observed(&world, None, (Duration::from_millis(200), false), load).await.unwrap();
    assert_eq!(run.violations, (Vec::new(), 0));
    let failed: Vec<_> = run.samples.iter().filter(|sample| sample.failed).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(run.told.0 > 50 && run.told.1 > 5, "{:?}", run.told);
    assert!(run.samples.iter().any(|sample| sample.hit == Some(true)));
    assert!(run.database_calls().is_some_and(|calls| calls > 0.5));

    let folder = tempfile::tempdir().unwrap();
    run.write(folder.path()).unwrap();
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    for part in ["p99.9", "Queue depth", "Queue age", "Database calls", "Cache hits", "The truth held", CLOSED, OPEN] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http://") || page.matches("http").count() == page.matches("http://127").count());

    // An acknowledgement of what was never made: the settlement must miss it.
    world.truth.item(&world.orgs[0].id, "itm_never");
    settle(&world, Duration::from_secs(10)).await.unwrap();
    let (found, _) = world.truth.violations();
    assert!(found.iter().any(|what| what.contains("lost: item itm_never")), "{found:?}");
    system.shutdown().await;
}
