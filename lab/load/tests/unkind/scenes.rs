//! What the world does, and what must come of the jobs meanwhile.

use crate::world::{HOUR, Kind, MINUTE, SECOND, World};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::providers::{Manner, Scene};

pub(crate) const ALL: [&str; 6] = ["rates", "overloaded", "unreachable", "suspended", "database", "hanging"];

/// How much of it.
pub(crate) struct Size {
    /// Jobs of each kind in the scene of rates.
    jobs: usize,
    overloaded: Duration,
    unreachable: Duration,
    suspended: Duration,
    database: Duration,
    hanging: Duration,
}

pub(crate) const FULL: Size = Size {
    jobs: 10_000,
    overloaded: HOUR,
    unreachable: HOUR.saturating_mul(6),
    suspended: HOUR.saturating_mul(12),
    database: MINUTE.saturating_mul(30),
    hanging: MINUTE.saturating_mul(10),
};

pub(crate) const SMALL: Size = Size {
    jobs: 60,
    overloaded: MINUTE.saturating_mul(10),
    unreachable: MINUTE.saturating_mul(10),
    suspended: MINUTE.saturating_mul(10),
    database: MINUTE,
    hanging: MINUTE,
};

/// What was seen, and what of it should not have been.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) wrong: Vec<String>,
}

impl Report {
    fn hold(&mut self, what: String, is_right: bool) {
        if !is_right {
            self.wrong.push(what.clone());
        }
        self.text = if self.text.is_empty() { what } else { format!("{}; {what}", self.text) };
    }
}

pub(crate) async fn run(name: &str, size: &Size, seed: u64) -> Report {
    let world = World::start(seed).await;
    match name {
        "rates" => rates(&world, size.jobs).await,
        "overloaded" => outage(&world, Some(Scene::Overloaded), size.overloaded, 2).await,
        "unreachable" => outage(&world, Some(Scene::Unreachable), size.unreachable, 1).await,
        "suspended" => outage(&world, Some(Scene::Suspended), size.suspended, 1).await,
        "database" => outage(&world, None, size.database, 30).await,
        "hanging" => hanging(&world, size.hanging).await,
        other => panic!("no scene {other}"),
    }
}

/// 50 analyses and 30,000 input tokens a minute, of 8 seconds each, and 14 e-mails a second.
fn of_a_new_account() -> (Manner, Manner) {
    let (per_minute, tokens_per_minute) = (Some(50), Some(30_000));
    let model = Manner { per_minute, tokens_per_minute, latency: 8 * SECOND, ..Manner::default() };
    (model, Manner { per_minute: Some(14 * 60), ..Manner::default() })
}

/// One organization's many jobs, and another's one behind them.
async fn rates(world: &World, count: usize) -> Report {
    let (many, one) = (world.owner("many").await, world.owner("one").await);
    let (model, mail) = of_a_new_account();
    world.providers().treat(model, mail);
    let begun_ms = world.now_ms();
    tokio::join!(
        world.ask(&many, Kind::Analysis, "job of many analyses", count, 40.0),
        world.ask(&many, Kind::Email, "job of many emails", count, 40.0),
    );
    // The backlog is there by now, and goes on.
    tokio::time::sleep(MINUTE / 2).await;
    world.ask(&one, Kind::Analysis, "job of one", 1, 1.0).await;
    let ideal = MINUTE * u32::try_from(count).unwrap() / 50;
    let mut report = Report::default();
    let done = world.until_taken(ideal * 2 + 10 * MINUTE).await;
    let took = Duration::from_millis(world.now_ms() - begun_ms);
    report.hold(format!("{count} analyses and e-mails taken within {took:?}, at best {ideal:?}"), done.is_some());
    report.hold(format!("{took:?} is made use of"), took <= ideal + ideal / 5 + 2 * MINUTE);
    tokio::time::sleep(10 * SECOND).await;
    ended(world, &[&many, &one], &mut report).await;
    let (model, mail) = world.providers().refused();
    report.hold(format!("{model} analyses and {mail} e-mails refused"), model.max(mail) <= count / 50);
    let behind_ms = world.accepted_ms("job of one 0.");
    let times = world.taken(Kind::Analysis);
    let begun = times.get("job of one 0.").map_or(u64::MAX, |times| times[0]);
    let before = times.values().flatten().filter(|at_ms| (behind_ms..begun).contains(at_ms)).count();
    report.hold(format!("{before} calls of the other's before the one's"), before <= 2);
    report
}

/// Some jobs of either kind come in each minute of an outage; all of it is done soon after. Without a scene it is the database's.
async fn outage(world: &World, scene: Option<Scene>, span: Duration, a_minute: u32) -> Report {
    let owner = world.owner("one").await;
    #[expect(clippy::cast_possible_truncation, reason = "hundreds")]
    let (count, a_second) = (span.as_secs() as usize / 60 * a_minute as usize, f64::from(a_minute) / 60.0);
    match scene {
        Some(scene) => world.providers().set(scene).await,
        None => world.errors.set(0.3),
    }
    tokio::join!(
        world.ask(&owner, Kind::Analysis, "job of an outage's analyses", count, a_second),
        world.ask(&owner, Kind::Email, "job of an outage's emails", count, a_second),
    );
    let (model, mail) = world.providers().refused();
    world.errors.set(0.0);
    world.providers().set(Scene::Well).await;
    let (is_well, mail_is_well) = of_a_new_account();
    world.providers().treat(is_well, mail_is_well);
    let mut report = Report::default();
    let most = 10 * MINUTE + MINUTE * u32::try_from(count).unwrap() / 50;
    let back = world.until_taken(most).await;
    report.hold(format!("{count} jobs of each kind in {span:?}, all taken {back:?} after it"), back.is_some());
    report.hold(format!("{model} and {mail} calls refused meanwhile"), true);
    tokio::time::sleep(MINUTE).await;
    ended(world, &[&owner], &mut report).await;
    report
}

/// Nothing failed, and nothing was done twice.
async fn ended(world: &World, owners: &[&crate::ask::Actor], report: &mut Report) {
    let (mut failed, mut how) = (0, BTreeMap::<String, (usize, String)>::new());
    for owner in owners {
        for state in ["failed", "unknown", "queued", "running"] {
            for job in world.jobs(owner, state).await {
                failed += 1;
                let what = format!("{} {state} {} {}", job["kind"], job["waiting_for"]["code"], job["error"]["code"]);
                how.entry(what).or_insert((0, job.to_string())).0 += 1;
            }
        }
    }
    report.hold(format!("{failed} did not succeed"), failed == 0);
    for (what, (count, one)) in how {
        println!("{count} are {what}, such as {one}");
    }
    if failed > 0 {
        println!("{}", world.limiters().await);
    }
    let again = |kind| world.taken(kind).values().map(|times| times.len() - 1).sum::<usize>();
    let (analyses, emails) = (again(Kind::Analysis), again(Kind::Email));
    report.hold(format!("{analyses} analyses and {emails} e-mails done twice"), analyses + emails == 0);
}

/// Two analyses a second of 40 seconds each, and two e-mails.
async fn hanging(world: &World, span: Duration) -> Report {
    let owner = world.owner("one").await;
    world.providers().set(Scene::Hanging).await;
    #[expect(clippy::cast_possible_truncation, reason = "hundreds")]
    let count = (span.as_secs() * 2) as usize;
    tokio::join!(
        world.ask(&owner, Kind::Analysis, "job of hanging analyses", count, 2.0),
        world.ask(&owner, Kind::Email, "job of emails beside", count, 2.0),
    );
    tokio::time::sleep(MINUTE).await;
    let waits = world.waits(Kind::Email);
    let p99 = waits[(waits.len() * 99).div_ceil(100) - 1];
    let mut report = Report::default();
    report.hold(format!("{} of {count} e-mails sent", waits.len()), waits.len() == count);
    report.hold(format!("99 of 100 within {p99:?}"), p99 <= 2 * SECOND);
    report
}
