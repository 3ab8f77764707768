//! What must hold in the end, by the stored jobs and by what the providers wrote down.

use crate::Size;
use crate::clients::{Told, is_analysis};
use crate::world::{KINDS, World};
use local::names::{DEAD_LETTER_QUEUE, queue_of};
use shared::model::job::{ATTEMPTS_MAX, JobRecord, JobState};
use shared::model::time::Moment;
use shared::model::usage::month_of;
use shared::store::keys::DUE_SHARDS;
use std::collections::HashMap;

async fn jobs(world: &World) -> Vec<JobRecord> {
    let store = world.system.context().store();
    let org = store.org(world.owner.org_id).await.unwrap().unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.list_jobs(&org, 100, after).await.unwrap();
        all.extend(page);
        if next.is_none() {
            return all;
        }
        after = next;
    }
}

/// How many jobs have ended.
pub(crate) async fn ended(world: &World) -> usize {
    jobs(world).await.iter().filter(|job| job.state.has_ended()).count()
}

/// A summary, or everything that is wrong.
pub(crate) async fn all(world: &World, size: &Size, told: &Told) -> Result<String, Vec<String>> {
    let jobs = jobs(world).await;
    let mut wrong = Vec::new();
    none_lost_none_twice(world, told, &jobs, &mut wrong);
    for job in &jobs {
        one_job(world, job, &mut wrong);
    }
    nothing_left(world, &mut wrong).await;
    let unknown = jobs.iter().filter(|job| job.state == JobState::Unknown).count();
    let (kills, lost) = (world.plan.kills(), world.lost("mail"));
    if unknown > (kills + lost) as usize {
        wrong.push(format!("{unknown} e-mails are unknown after {kills} kills and {lost} lost answers"));
    }
    let (twice, lost) = (extra_calls(world, &jobs), world.lost("model"));
    if twice > kills + lost {
        wrong.push(format!("{twice} extra billed calls after {kills} kills and {lost} lost answers"));
    }
    usage(world, &jobs, &mut wrong).await;
    // By chance a point is left out of a few kills, and not of many.
    if size.kills >= 200 && !world.plan.missed().is_empty() {
        wrong.push(format!("no process was killed at {:?}", world.plan.missed()));
    }
    let spread = jobs.iter().filter(|job| job.job_id.partition().is_some()).count();
    if !size.unspread && !(1..jobs.len()).contains(&spread) {
        wrong.push(format!("{spread} of {} jobs are spread", jobs.len()));
    }
    if wrong.is_empty() { Ok(summary(world, &jobs)) } else { Err(wrong) }
}

/// Each number that a client was told yes for has its one job, and there are no others.
fn none_lost_none_twice(world: &World, told: &Told, jobs: &[JobRecord], wrong: &mut Vec<String>) {
    let mut of_case: HashMap<u32, Vec<String>> = HashMap::new();
    for job in jobs {
        let id = job.job_id.to_string();
        match world.case_of_job(&id) {
            Some(case) => of_case.entry(case).or_default().push(id),
            None => wrong.push(format!("nobody asked for {id}")),
        }
    }
    for (case, id) in told {
        match of_case.get(case).map(Vec::as_slice) {
            Some([one]) if one == id => {}
            other => wrong.push(format!("case {case} was told {id} and has {other:?}")),
        }
    }
    if jobs.len() != told.len() {
        wrong.push(format!("{} jobs for {} requests", jobs.len(), told.len()));
    }
}

fn one_job(world: &World, job: &JobRecord, wrong: &mut Vec<String>) {
    let Some(case) = world.case_of_job(&job.job_id.to_string()) else { return };
    let (analyses, emails) = (world.oracle.analyses_of(case), world.oracle.emails_of(case));
    let code = job.error.as_ref().map(|error| error.code.as_str());
    let mut say = |what: &str| {
        let JobRecord { job_id, kind, state, attempts, .. } = job;
        wrong.push(format!(
            "{what}: case {case}, {job_id}, {kind:?}, {state:?} ({code:?}) after {attempts} runs; \
             {analyses} analyses and {emails} e-mails were taken"
        ));
    };
    if emails > 1 {
        say("sent twice");
    }
    if analyses > job.attempts {
        say("more billed calls than runs");
    }
    let exhausted = job.attempts >= ATTEMPTS_MAX && code == Some("attempts_exhausted");
    match job.state {
        JobState::Succeeded if is_analysis(case) => {
            if analyses == 0 {
                say("a result out of nowhere");
            }
        }
        JobState::Succeeded if emails != 1 => say("said to be sent"),
        JobState::Succeeded => {}
        JobState::Unknown if !is_analysis(case) => {}
        JobState::Failed if exhausted && emails == 0 => {}
        _ => say("stuck or lost"),
    }
}

/// No job is to be looked at any more, and no message is left.
async fn nothing_left(world: &World, wrong: &mut Vec<String>) {
    for shard in 0..DUE_SHARDS {
        let ever = Moment::from_millis(9_999_999_999_999);
        let due = world.system.context().store().due_jobs(shard, ever, 10, None).await.unwrap().due;
        if !due.is_empty() {
            wrong.push(format!("still due: {due:?}"));
        }
    }
    for kind in KINDS {
        let counts = world.system.sqs().counts(queue_of(kind)).unwrap();
        if counts.visible + counts.in_flight + counts.delayed > 0 {
            wrong.push(format!("still on the queue of {kind:?}: {counts:?}"));
        }
    }
}

/// The counters are those of the jobs, and nothing is held for what has ended.
async fn usage(world: &World, jobs: &[JobRecord], wrong: &mut Vec<String>) {
    let month = jobs.first().map_or_else(|| month_of(world.now()).0, |job| job.month.clone());
    let store = world.system.context().store();
    let org = store.org(world.owner.org_id).await.unwrap().unwrap();
    let usage = store.usage(&org, &month).await.unwrap();
    let of_month: Vec<_> = jobs.iter().filter(|job| job.month == month).collect();
    let charged: u64 = of_month.iter().map(|job| job.charged_nanos).sum();
    let analyses = of_month.iter().filter(|job| job.rates.is_some()).count() as u64;
    let emails = of_month.len() as u64 - analyses;
    if (usage.analyses, usage.emails) != (analyses, emails) {
        wrong.push(format!("{usage:?} for {analyses} analyses and {emails} e-mails"));
    }
    if usage.spent_nanos != charged || usage.cost_nanos != charged {
        wrong.push(format!("{usage:?} where the jobs were charged {charged}"));
    }
}

/// Billed calls beyond one for an analysis.
fn extra_calls(world: &World, jobs: &[JobRecord]) -> u32 {
    let cases = jobs.iter().filter_map(|job| world.case_of_job(&job.job_id.to_string()));
    cases.map(|case| world.oracle.analyses_of(case).saturating_sub(1)).sum()
}

fn summary(world: &World, jobs: &[JobRecord]) -> String {
    let count = |state| jobs.iter().filter(|job| job.state == state).count();
    let twice = extra_calls(world, jobs);
    let runs: u32 = jobs.iter().map(|job| job.attempts).sum();
    let refused = world.weather.as_ref().map_or_else(String::new, |weather| {
        let (analyses, emails) = weather.refused();
        format!(", {analyses} analyses and {emails} e-mails refused")
    });
    format!(
        "{} jobs: {} succeeded, {} failed after five runs, {} e-mails unknown; 0 lost, 0 effects twice, 0 stuck\n\
         {} kills; {:?}\n{runs} runs, {twice} extra billed calls, {} dead letters, {} minutes passed{refused}",
        jobs.len(),
        count(JobState::Succeeded),
        count(JobState::Failed),
        count(JobState::Unknown),
        world.plan.kills(),
        world.plan.done(),
        world.system.sqs().counts(DEAD_LETTER_QUEUE).map_or(0, |counts| counts.visible),
        world.skipped_ms() / 60_000,
    )
}
