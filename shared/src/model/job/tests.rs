mod each_change;

use super::waiting::WAITING_AFTER;
use super::*;
use crate::model::analysis::{Cost, TokenUsage};
use crate::model::price::Price;

/// How long a refused job is tried.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn job() -> JobRecord {
    JobRecord {
        job_id: JobId::new(),
        org_id: OrgId::new(),
        user_id: UserId::new(),
        kind: JobKind::Analyze,
        state: JobState::Queued,
        attempts: 0,
        fence: 0,
        lease_until: None,
        sending: false,
        cancel_requested: false,
        created_at: Moment::from_millis(0),
        started_at: None,
        finished_at: None,
        due_at: Some(Moment::from_millis(30_000)),
        due_shard: Some(7),
        not_before: None,
        give_up_at: Some(Moment::from_millis(DAY_MS)),
        waiting_for: None,
        turn: None,
        place: None,
        refusals: 0,
        month: "1970-01".into(),
        model: None,
        rates: Some(Rates { input: Price::Flat("1".into()), output: Price::Flat("1".into()) }),
        reserved_nanos: 5_000,
        charged_nanos: 0,
        budget_nanos: Some(9_000),
        budget_version: 1,
        unit_is_used: false,
        cap_day: Some("1970-01-01".into()),
        owes_cap: false,
        recipients: 1,
        thrown_away: Vec::new(),
        input_pieces: 1,
        result: None,
        error: None,
        trace: None,
        version: 1,
    }
}

fn at(ms: i64) -> Moment {
    Moment::from_millis(ms)
}

fn claimed(job: &JobRecord, now: Moment) -> JobRecord {
    match job.claim(now) {
        Claim::Run(job) => *job,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queued_job_is_claimed_and_a_running_one_only_when_its_lease_is_over() {
    let first = claimed(&job(), at(0));
    assert_eq!((first.state, first.attempts, first.fence, first.version), (JobState::Running, 1, 1, 2));
    let lease = i64::try_from(LEASE.as_millis()).expect("small");
    assert_eq!(first.due_at, Some(at(lease)));
    assert_eq!(first.claim(at(lease - 1)), Claim::Leave);
    let second = claimed(&first, at(lease));
    assert_eq!((second.attempts, second.fence, second.started_at), (2, 2, Some(at(0))));
    assert_eq!(first.takeover_charge().cost_nanos, 5_000, "the dead run may have cost it all");
    assert_eq!(job().takeover_charge(), UsageDelta::default());
}

#[test]
fn an_ended_job_is_left_alone() {
    for state in [JobState::Succeeded, JobState::Failed, JobState::Cancelled, JobState::Unknown] {
        let job = JobRecord { state, ..job() };
        assert_eq!(job.claim(at(i64::MAX)), Claim::Leave);
        assert_eq!(job.cancel(at(0)), None);
    }
}

#[test]
fn an_email_that_may_be_out_is_never_run_again() {
    let run = JobRecord { kind: JobKind::SendEmail, ..claimed(&job(), at(0)) }.sending();
    assert_eq!(run.cancel(at(1)), None);
    let Claim::End(ended, _) = run.claim(at(i64::MAX)) else { panic!("it runs again") };
    assert_eq!((ended.state, ended.due_at), (JobState::Unknown, None));
}

#[test]
fn a_job_whose_runs_all_died_fails() {
    let mut run = job();
    for _ in 0..ATTEMPTS_MAX {
        run = JobRecord { lease_until: Some(at(0)), ..claimed(&run, at(0)) };
    }
    let Claim::End(ended, _) = run.claim(at(1)) else { panic!("a sixth run") };
    assert_eq!((ended.state, ended.attempts), (JobState::Failed, ATTEMPTS_MAX));
}

#[test]
fn cancelling_ends_what_waits_and_marks_what_runs() {
    let (ended, delta) = job().cancel(at(1)).expect("it waits");
    assert_eq!((ended.state, ended.due_at), (JobState::Cancelled, None));
    assert_eq!((delta.spent_nanos, delta.give_unit_back), (-5_000, true));
    let (marked, delta) = claimed(&job(), at(0)).cancel(at(1)).expect("it runs");
    assert!(marked.state == JobState::Running && marked.cancel_requested && delta.is_empty());
}

#[test]
fn what_was_reserved_is_settled_with_what_was_used() {
    let run = claimed(&job(), at(0));
    let tokens = TokenUsage { input_tokens: 2, output_tokens: 1 };
    let (_, delta) = run.end(JobState::Failed, Err(None), Cost::Tokens(tokens), at(1));
    assert_eq!((delta.spent_nanos, delta.cost_nanos, delta.tokens), (3_000 - 5_000, 3_000, tokens));
    let (retried, charge) = run.retry(Duration::ZERO, Cost::Tokens(tokens), "why", at(1));
    assert_eq!((charge.spent_nanos, charge.within_nanos), (3_000, Some(9_000)), "the next run is reserved too");
    assert_eq!((retried.state, retried.charged_nanos), (JobState::Queued, 3_000));
    let many = TokenUsage { input_tokens: u64::MAX, output_tokens: 0 };
    assert_eq!(run.price(Cost::Tokens(many)).0, 5_000, "never more than was held");
}

#[test]
fn only_an_email_of_unknown_outcome_is_settled_and_once() {
    let sent = || EmailOutcome::Sent { message_id: "m".into() };
    let run = JobRecord { kind: JobKind::SendEmail, ..claimed(&job(), at(0)) };
    assert_eq!(job().settled(sent(), at(1)), None);
    assert_eq!(run.settled(sent(), at(1)), None, "nothing was handed over yet");
    let Claim::End(unknown, _) = run.sending().claim(at(i64::MAX)) else { panic!("it runs again") };
    for open in [run.sending(), *unknown] {
        let (ended, _) = open.settled(sent(), at(1)).expect("its outcome is unknown");
        assert_eq!((ended.state, ended.due_at, ended.error.clone()), (JobState::Succeeded, None, None));
        assert_eq!(ended.settled(EmailOutcome::NotSent { code: "c", detail: "d" }, at(2)), None);
    }
}

#[test]
fn a_failed_job_is_accepted_again_under_the_terms_of_now_and_no_other_is() {
    let tried = claimed(&job(), at(0)).refused(Duration::ZERO, WaitingFor::new("code", "why"), at(1)).0;
    let failed = claimed(&tried, at(2)).end(JobState::Failed, Err(None), Cost::Nothing, at(3)).0;
    let later = at(40 * DAY_MS);
    for takes_unit in [true, false] {
        let terms = RetryTerms { budget_nanos: Some(7), budget_version: 3, takes_unit };
        let again = failed.accepted_again(terms, later).expect("it failed");
        assert_eq!((again.state, again.attempts, again.refusals, again.finished_at), (JobState::Queued, 0, 0, None));
        assert_eq!((again.month.as_str(), again.budget_nanos, again.budget_version), ("1970-02", Some(7), 3));
        assert_eq!(again.give_up_at, Some(at(41 * DAY_MS)));
        // A unit that earlier runs used up does not come back, also after a run that was refused at no cost.
        let refused = claimed(&again, later).refused(Duration::ZERO, WaitingFor::new("code", "why"), later).0;
        for waits in [again, refused] {
            assert_eq!(waits.cancel(later).expect("it waits").1.give_unit_back, takes_unit);
        }
        for state in [JobState::Queued, JobState::Running, JobState::Succeeded, JobState::Cancelled, JobState::Unknown]
        {
            assert_eq!(JobRecord { state, ..job() }.accepted_again(terms, later), None);
        }
    }
}

#[test]
fn a_refusal_costs_no_run_and_only_time() {
    let run = claimed(&job(), at(0));
    let (waits, delta) = run.refused(Duration::from_secs(60), WaitingFor::new("provider", "why"), at(5));
    assert!(delta.is_empty(), "its reservation is held on");
    assert_eq!((waits.state, waits.attempts, waits.fence, waits.refusals), (JobState::Queued, 0, 1, 1));
    assert_eq!((waits.not_before, waits.started_at), (Some(at(60_005)), None));
    assert_eq!(waits.due_at, Some(at(60_005).plus(UNSENT_AFTER)), "its message is sent at once, hidden");
    assert!(waits.sent_ahead_by(at(5)) > Some(Duration::from_secs(60)));
    assert_eq!(waits.claim(at(60_004)), Claim::Leave, "too early");
    let again = claimed(&waits, at(60_005));
    assert_eq!((again.attempts, again.fence, again.not_before, &again.waiting_for), (1, 2, None, &None));
    let (later, _) = again.refused(Duration::from_secs(3_600), WaitingFor::new("provider", "why"), at(60_010));
    assert_eq!((later.refusals, later.due_at, later.sent_ahead_by(at(60_010))), (2, later.not_before, None));
}

#[test]
fn whoever_is_refused_until_its_time_is_over_gives_up_then_and_not_before() {
    let why = || WaitingFor::new("provider", "they are full");
    let run = claimed(&job(), at(DAY_MS - 1));
    let (last, _) = run.refused(Duration::from_secs(3_600), why(), at(DAY_MS - 1));
    assert_eq!((last.state, last.not_before), (JobState::Queued, Some(at(DAY_MS))), "once more at the end");
    let (ended, delta) = claimed(&last, at(DAY_MS)).refused(Duration::ZERO, why(), at(DAY_MS));
    assert_eq!((ended.state, ended.attempts, ended.due_at), (JobState::Failed, 0, None));
    assert_eq!(ended.error.map(|error| error.code).as_deref(), Some("gave_up"));
    assert_eq!(delta.spent_nanos, -5_000, "what was held is free");
    let of_before = JobRecord { give_up_at: None, ..claimed(&job(), at(3 * DAY_MS)) };
    let (waits, _) = of_before.refused(Duration::ZERO, why(), at(3 * DAY_MS));
    assert_eq!((waits.state, waits.give_up_at), (JobState::Queued, Some(at(4 * DAY_MS))), "its day begins");
}

#[test]
fn looks_at_what_waits_become_rare() {
    let (mut waits, mut looks) = (job(), Vec::new());
    while waits.due_at < Some(at(3 * DAY_MS)) {
        looks.push(waits.due_at.map_or(0, |at| at.as_millis() / 60_000));
        waits = waits.sent_again(waits.due_at.expect("it is due"));
    }
    assert_eq!(looks, [0, 15, 1_455, 2_895], "minutes: three messages on the first day, with that of the acceptance");
    let dead = claimed(&job(), at(0));
    let lease = dead.lease_until.expect("it runs");
    assert_eq!(dead.sent_again(lease).due_at, Some(lease.plus(WAITING_AFTER)), "its message waits as others do");
}
