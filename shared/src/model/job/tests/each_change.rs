//! What each change makes of a job, all of it: a part of a change that could be left out would not be seen by whoever looks at one.

use super::*;
use crate::model::analysis::Cost;
use crate::model::job::transitions::EMAIL_REJECTED;
use serde_json::json;
use uuid::Uuid;

/// One in whose record nothing is as in a new one's.
fn busy() -> JobRecord {
    JobRecord {
        job_id: Uuid::from_u128(1).into(),
        org_id: Uuid::from_u128(2).into(),
        user_id: Uuid::from_u128(3).into(),
        state: JobState::Running,
        attempts: 2,
        fence: 4,
        lease_until: Some(at(75_000)),
        sending: true,
        started_at: Some(at(1)),
        due_at: Some(at(75_000)),
        not_before: Some(at(2)),
        waiting_for: Some(WaitingFor::new("before", "why it waited")),
        turn: Some(Turn::Call),
        place: Some(place(5_000)),
        refusals: 3,
        charged_nanos: 100,
        cap_day: Some("1969-12-31".into()),
        ..job()
    }
}

fn place(turn_ms: i64) -> BacklogPlace {
    BacklogPlace { turn: at(turn_ms), interval_ms: 100 }
}

fn queued() -> JobRecord {
    JobRecord { state: JobState::Queued, lease_until: None, sending: false, ..busy() }
}

fn why() -> WaitingFor {
    WaitingFor::new("provider", "why")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is charged for a call of which nobody knows the cost.
fn all_of_it() -> UsageDelta {
    UsageDelta { spent_nanos: 5_000, cost_nanos: 5_000, within_nanos: Some(9_000), ..UsageDelta::default() }
}

#[test]
fn a_claim() {
    let run = JobRecord {
        state: JobState::Running,
        attempts: 3,
        fence: 5,
        lease_until: Some(at(85_000)),
        due_at: Some(at(85_000)),
        not_before: None,
        waiting_for: None,
        turn: None,
        place: None,
        version: 2,
        ..queued()
    };
    assert_eq!(queued().claim(at(10_000)), Claim::Run(Box::new(run.clone())));
    assert_eq!(queued().claim(at(1)), Claim::Leave);
    // Of a dead run's job: that run may have cost all that was held for it.
    let dead = JobRecord { state: JobState::Running, lease_until: Some(at(10_000)), ..queued() };
    let today = || Some("1970-01-01".to_owned());
    let taken_over = JobRecord { charged_nanos: 5_100, cap_day: today(), ..run.clone() };
    assert_eq!(dead.claim(at(10_000)), Claim::Run(Box::new(taken_over)));
    assert_eq!(dead.takeover_charge(), all_of_it());
    assert!(!all_of_it().is_empty() && queued().takeover_charge().is_empty());
    // What was not taken of the operator's cap then is taken now.
    let owing = JobRecord { owes_cap: true, ..queued() };
    assert_eq!(owing.claim(at(10_000)), Claim::Run(Box::new(JobRecord { cap_day: today(), ..run })));
}

#[test]
fn a_claim_of_a_dead_run_that_was_to_be_cancelled() {
    let dead = JobRecord { sending: false, cancel_requested: true, ..busy() };
    let Claim::End(ended, delta) = dead.claim(at(75_000)) else { panic!("it runs again") };
    let cancelled = JobRecord {
        state: JobState::Cancelled,
        lease_until: None,
        finished_at: Some(at(75_000)),
        due_at: None,
        not_before: None,
        waiting_for: None,
        turn: None,
        place: None,
        charged_nanos: 5_100,
        version: 2,
        ..dead
    };
    assert_eq!(*ended, cancelled);
    assert_eq!(delta, UsageDelta { cost_nanos: 5_000, ..UsageDelta::default() });
}

#[test]
fn another_run() {
    let waits = JobRecord {
        state: JobState::Queued,
        lease_until: None,
        sending: false,
        due_at: Some(at(60_000)),
        not_before: Some(at(30_000)),
        waiting_for: Some(WaitingFor::new("next_run", "it failed")),
        charged_nanos: 5_100,
        cap_day: Some("1970-01-01".into()),
        version: 2,
        ..busy()
    };
    assert_eq!(busy().retry(seconds(10), Cost::Unknown, "it failed", at(20_000)), (waits.clone(), all_of_it()));
    // What cost nothing is not refused by a budget that has been lowered meanwhile.
    let free = busy().retry(seconds(10), Cost::Nothing, "it failed", at(20_000));
    let of_before = JobRecord { charged_nanos: 100, cap_day: busy().cap_day, ..waits };
    assert_eq!(free, (of_before.clone(), UsageDelta::default()));
    // What it cost in part is taken of today, and what it holds is still of the day that all of it was taken on.
    let (again, delta) = busy().retry(
        seconds(10),
        Cost::Tokens(TokenUsage { input_tokens: 2, output_tokens: 1 }),
        "it failed",
        at(20_000),
    );
    assert!((1..5_000).contains(&delta.cost_nanos), "{delta:?}");
    assert_eq!(again, JobRecord { charged_nanos: 100 + delta.cost_nanos, ..of_before });
}

/// However long a provider asks for, a job that failed comes at the end of its time.
#[test]
fn another_run_within_its_time() {
    let not_before = |delay, now| busy().retry(seconds(delay), Cost::Nothing, "it failed", at(now)).0.not_before;
    assert_eq!(not_before(86_400, 3_600_000), Some(at(DAY_MS)));
    assert_eq!(not_before(10, DAY_MS - 1), Some(at(DAY_MS)));
    // A run of after that is one of the last, and waits as it is told.
    assert_eq!(not_before(10, DAY_MS), Some(at(DAY_MS + 10_000)));
    let of_before = JobRecord { give_up_at: None, ..busy() }.retry(seconds(86_400), Cost::Nothing, "it failed", at(1));
    assert_eq!(of_before.0.not_before, Some(at(DAY_MS + 1)));
}

#[test]
fn a_wait_for_the_operators_cap() {
    let waits = JobRecord {
        state: JobState::Queued,
        lease_until: None,
        sending: false,
        due_at: Some(at(DAY_MS - 300_000)),
        not_before: Some(at(DAY_MS)),
        give_up_at: Some(at(DAY_MS + 1)),
        waiting_for: Some(WaitingFor::new(CAP_REACHED, "This service's analyses may cost no more today.")),
        turn: None,
        place: None,
        charged_nanos: 5_100,
        cap_day: Some("1970-01-01".into()),
        owes_cap: true,
        version: 2,
        ..busy()
    };
    let job = JobRecord { give_up_at: Some(at(DAY_MS + 1)), ..busy() };
    assert_eq!(job.waits_for_cap(Cost::Unknown, at(20_000)), (waits.clone(), all_of_it()));
    // The last minutes of a day are on the queue; its own time may be over before the day is.
    let soon = JobRecord { due_at: Some(at(DAY_MS + 30_000)), ..waits.clone() };
    assert_eq!(job.waits_for_cap(Cost::Unknown, at(DAY_MS - 1_000)).0, soon);
    let last = JobRecord { give_up_at: Some(at(30_000)), ..busy() }.waits_for_cap(Cost::Unknown, at(20_000)).0;
    assert_eq!((last.not_before, last.due_at), (Some(at(30_000)), Some(at(60_000))));
    // The next day has no room either: nothing is charged twice.
    let again = JobRecord {
        not_before: Some(at(2 * DAY_MS)),
        due_at: Some(at(2 * DAY_MS - 300_000)),
        version: 3,
        ..waits.clone()
    };
    let longer = JobRecord { give_up_at: Some(at(3 * DAY_MS)), ..waits };
    let again = JobRecord { give_up_at: longer.give_up_at, ..again };
    assert_eq!(longer.waits_for_cap(Cost::Unknown, at(DAY_MS)), (again, UsageDelta::default()));
    // Until its time is over: what it holds comes back.
    let (ended, delta) = longer.waits_for_cap(Cost::Unknown, at(3 * DAY_MS));
    assert_eq!((ended.state, ended.owes_cap, ended.charged_nanos), (JobState::Failed, false, 5_100));
    assert_eq!(ended.error.map(|error| error.code).as_deref(), Some(GAVE_UP));
    assert_eq!(delta, UsageDelta { spent_nanos: -5_000, ..UsageDelta::default() });
}

#[test]
fn a_refusal() {
    let waits = JobRecord {
        state: JobState::Queued,
        attempts: 1,
        lease_until: None,
        sending: false,
        due_at: Some(at(110_000)),
        not_before: Some(at(80_000)),
        waiting_for: Some(why()),
        refusals: 4,
        version: 2,
        ..busy()
    };
    assert_eq!(busy().refused(seconds(60), why(), at(20_000)), (waits.clone(), UsageDelta::default()));
    // No message can be hidden for so long: it is sent then.
    let long = JobRecord { due_at: Some(at(1_020_000)), not_before: Some(at(1_020_000)), ..waits.clone() };
    assert_eq!(busy().refused(seconds(1_000), why(), at(20_000)).0, long);
    // The last look is at the end of its time.
    let last = JobRecord { due_at: Some(at(DAY_MS + 30_000)), not_before: Some(at(DAY_MS)), ..waits.clone() };
    assert_eq!(busy().refused(seconds(60), why(), at(DAY_MS - 1)).0, last);
    // The first run leaves nothing of itself.
    let first = JobRecord { attempts: 1, ..busy() }.refused(seconds(60), why(), at(20_000)).0;
    assert_eq!(first, JobRecord { attempts: 0, started_at: None, ..waits });
}

#[test]
fn a_run_that_had_no_time() {
    let waits = JobRecord {
        state: JobState::Queued,
        attempts: 1,
        lease_until: None,
        sending: false,
        due_at: Some(at(50_000)),
        not_before: Some(at(19_000)),
        version: 2,
        ..busy()
    };
    assert_eq!(busy().not_begun(at(20_000)), (waits.clone(), UsageDelta::default()));
    assert!(matches!(waits.claim(at(19_500)), Claim::Run(_)), "by a clock that is behind");
}

#[test]
fn an_end() {
    let tokens = TokenUsage { input_tokens: 2, output_tokens: 1 };
    let error = JobError::new("code", "detail");
    let ended = JobRecord {
        state: JobState::Failed,
        lease_until: None,
        finished_at: Some(at(20_000)),
        due_at: None,
        not_before: None,
        waiting_for: None,
        turn: None,
        place: None,
        charged_nanos: 3_100,
        error: Some(error.clone()),
        version: 2,
        ..busy()
    };
    let delta = UsageDelta { spent_nanos: -2_000, cost_nanos: 3_000, tokens, ..UsageDelta::default() };
    let end = busy().end(JobState::Failed, Err(Some(error)), Cost::Tokens(tokens), at(20_000));
    assert_eq!(end, (ended, delta));
}

/// The month's unit comes back of what never ran, when it is cancelled, once.
#[test]
fn a_unit() {
    let gives = |state, attempts, unit_is_used| {
        let job = JobRecord { attempts, unit_is_used, ..queued() };
        job.end(state, Err(None), Cost::Nothing, at(20_000)).1.give_unit_back
    };
    assert!(gives(JobState::Cancelled, 0, false));
    for (state, attempts, unit_is_used) in
        [(JobState::Cancelled, 1, false), (JobState::Cancelled, 0, true), (JobState::Failed, 0, false)]
    {
        assert!(!gives(state, attempts, unit_is_used), "{state:?} {attempts} {unit_is_used}");
    }
}

#[test]
fn a_turn() {
    let waits = JobRecord {
        due_at: Some(at(130_000)),
        not_before: Some(at(99_000)),
        waiting_for: Some(why()),
        turn: Some(Turn::Backlog),
        place: None,
        version: 2,
        ..queued()
    };
    let turn = |job: &JobRecord, ms| job.waits_for_turn(at(ms), Turn::Backlog, why(), at(20_000));
    assert_eq!(turn(&queued(), 100_000), waits);
    let far = JobRecord { due_at: Some(at(1_700_000)), not_before: Some(at(1_999_000)), ..waits.clone() };
    assert_eq!(turn(&queued(), 2_000_000), far, "its message is sent five minutes before");
    let last = JobRecord { due_at: Some(at(DAY_MS - 300_000)), not_before: Some(at(DAY_MS - 1_000)), ..waits };
    assert_eq!(turn(&queued(), 2 * DAY_MS), last, "at the end of its time it comes in any case");
}

/// Whoever ends a job before its turn has come gives its place back, and so does the job that has another one.
#[test]
fn a_place_in_a_backlog() {
    let waits = queued().standing_at(Some(place(10_000)));
    assert_eq!(waits.place, Some(place(10_000)));
    let (ended, _) = waits.end(JobState::Cancelled, Err(None), Cost::Nothing, at(1));
    assert_eq!(waits.place_left(&ended, at(8_999)), Some(place(10_000)));
    assert_eq!(waits.place_left(&ended, at(9_000)), None, "its message may come a second early");
    assert_eq!(waits.place_left(&waits.due(at(5)), at(1)), None, "it waits on");
    let again = waits.waits_for_turn(at(20_000), Turn::Backlog, why(), at(1)).standing_at(Some(place(20_000)));
    assert_eq!(waits.place_left(&again, at(1)), Some(place(10_000)));
    let of_before = JobRecord { place: None, ..waits };
    assert_eq!(of_before.place_left(&ended, at(1)), None);
}

#[test]
fn a_way_back_from_a_dead_run() {
    let back = JobRecord {
        state: JobState::Queued,
        lease_until: None,
        sending: false,
        due_at: Some(at(110_000)),
        not_before: Some(at(80_000)),
        waiting_for: Some(WaitingFor::new("next_run", "Its last run ended without an outcome.")),
        charged_nanos: 5_100,
        cap_day: Some("1970-01-01".into()),
        version: 2,
        ..busy()
    };
    assert_eq!(busy().back_from_a_dead_run(at(80_000)), (back, all_of_it()));
    assert_eq!(queued().back_from_a_dead_run(at(80_000)), (queued(), UsageDelta::default()));
}

#[test]
fn a_cancellation_of_a_dead_run() {
    let run = JobRecord { sending: false, ..busy() };
    let Claim::End(ended, delta) = JobRecord { cancel_requested: true, ..run.clone() }.claim(at(75_000)) else {
        panic!("it runs again")
    };
    let cancelled = JobRecord { cancel_requested: false, ..*ended };
    assert_eq!(run.cancel(at(75_000)), Some((cancelled, delta)), "as whoever takes it over would end it");
    assert_eq!(busy().cancel(at(75_000)), None, "its e-mail may be out");
}

#[test]
fn a_call_of_its_own() {
    let has = |job: JobRecord, ms| JobRecord { not_before: Some(at(10_000)), ..job }.has_call(at(ms));
    assert_eq!([9_999, 10_000, 130_000, 130_001].map(|ms| has(queued(), ms)), [false, true, true, false]);
    assert!(!has(busy(), 10_000) && !has(JobRecord { turn: Some(Turn::Backlog), ..queued() }, 10_000));
}

#[test]
fn a_message() {
    let waits = |job: JobRecord, ms| JobRecord { not_before: Some(at(ms)), ..job }.sent_ahead_by(at(0));
    assert_eq!(waits(queued(), 890_000), Some(seconds(891)));
    assert_eq!((waits(queued(), 890_001), waits(busy(), 1_000)), (None, None));
    let again = |ms| queued().sent_again(at(ms)).due_at;
    assert_eq!(again(900_001), Some(at(1_800_001)), "it has waited for a quarter of an hour, all but a millisecond");
    assert_eq!(again(900_002), Some(at(900_002 + DAY_MS)));
}

/// What a person says settles what is open, and what the provider says of its own accord also what would be sent again.
#[test]
fn a_report() {
    let mail = |job: JobRecord| JobRecord { kind: JobKind::SendEmail, ..job };
    let reported = || EmailOutcome::Reported { message_id: "m".into() };
    let sent = || EmailOutcome::Sent { message_id: "m".into() };
    let not_handed_over = JobRecord { sending: false, ..busy() };
    for waits in [mail(queued()), mail(not_handed_over)] {
        assert_eq!(waits.settled(sent(), at(1)), None);
        let (ended, delta) = waits.settled(reported(), at(1)).expect("it is proof");
        assert_eq!((ended.state, delta.spent_nanos), (JobState::Succeeded, -5_000));
        assert_eq!(JobRecord { kind: JobKind::Analyze, ..waits }.settled(reported(), at(1)), None);
    }
    let about_an_account = JobRecord { kind: JobKind::AccountMail, ..queued() };
    let (ended, _) = about_an_account.settled(reported(), at(1)).expect("another letter would make that one worthless");
    assert_eq!(ended.state, JobState::Succeeded);
    let unknown = mail(JobRecord { state: JobState::Unknown, ..busy() });
    assert_eq!(
        unknown.settled(sent(), at(1)).expect("it is open").1,
        UsageDelta::default(),
        "it was settled at its end"
    );
    let failed =
        |code| mail(JobRecord { state: JobState::Failed, error: Some(JobError::new(code, "detail")), ..busy() });
    let (ended, delta) = failed("gave_up").settled(reported(), at(1)).expect("it is proof");
    assert_eq!((ended.state, ended.error, delta), (JobState::Succeeded, None, UsageDelta::default()));
    assert_eq!(failed("gave_up").settled(sent(), at(1)), None);
    let cancelled = mail(JobRecord { state: JobState::Cancelled, ..busy() });
    let analysis = JobRecord { kind: JobKind::Analyze, ..failed("gave_up") };
    for stays in [failed(EMAIL_REJECTED), cancelled, analysis] {
        assert_eq!(stays.settled(reported(), at(1)), None);
    }
    let not_sent = EmailOutcome::NotSent { code: "not_sent", detail: "d" };
    assert_eq!(failed("gave_up").settled(not_sent, at(1)), None);
}

/// What it says of an e-mail that it threw away is no news of another one.
#[test]
fn a_report_that_it_was_thrown_away() {
    let mail = |job: JobRecord| JobRecord { kind: JobKind::SendEmail, ..job };
    let reported = |id: &str| EmailOutcome::Reported { message_id: id.into() };
    let thrown_away = |id: &str| EmailOutcome::ThrownAway { message_id: id.into() };
    let failed =
        |code| mail(JobRecord { state: JobState::Failed, error: Some(JobError::new(code, "detail")), ..busy() });
    let (ended, delta) = failed("gave_up").settled(thrown_away("m"), at(1)).expect("it says more");
    let error = JobError::new(EMAIL_REJECTED, "The mail service took the e-mail and threw it away.");
    let expected = JobRecord { error: Some(error), thrown_away: vec!["m".into()], ..ended.clone() };
    assert_eq!((&ended, ended.state, delta), (&expected, JobState::Failed, UsageDelta::default()));
    let (sent, _) = ended.settled(reported("another"), at(2)).expect("that was sent");
    assert_eq!((sent.state, sent.error), (JobState::Succeeded, None));

    let (noted, delta) = mail(queued()).settled(thrown_away("m"), at(1)).expect("its run sends another one");
    let waits = JobRecord { thrown_away: vec!["m".into()], version: 2, ..mail(queued()) };
    assert_eq!((&noted, delta), (&waits, UsageDelta::default()));
    let terms = RetryTerms { budget_nanos: None, budget_version: 0, takes_unit: true };
    let again = ended.accepted_again(terms, at(3)).expect("it failed");
    let unknown = JobRecord { state: JobState::Unknown, ..again.clone() };
    for job in [ended, noted, again, unknown] {
        for old in [reported("m"), thrown_away("m")] {
            assert_eq!(job.settled(old.clone(), at(4)), None, "{old:?} {job:?}");
        }
    }
    // A record of before does not say which it was.
    for old in [reported("m"), thrown_away("m")] {
        assert_eq!(failed(EMAIL_REJECTED).settled(old, at(1)), None);
    }
    let (succeeded, _) = mail(busy()).settled(reported("m"), at(1)).expect("it is under way");
    assert_eq!(succeeded.settled(thrown_away("another"), at(2)), None);
    let (ended, delta) = succeeded.settled(thrown_away("m"), at(2)).expect("it was not sent");
    assert_eq!((ended.state, ended.result.is_none(), delta), (JobState::Failed, true, UsageDelta::default()));
    assert_eq!((ended.error.expect("why").code, ended.thrown_away), (EMAIL_REJECTED.to_owned(), vec!["m".to_owned()]));
}

#[test]
fn another_acceptance() {
    let error = Some(JobError::new("code", "detail"));
    let state = JobState::Failed;
    let failed = JobRecord { state, cancel_requested: true, finished_at: Some(at(3)), error, ..busy() };
    let terms = RetryTerms { budget_nanos: Some(7), budget_version: 3, takes_unit: false };
    let now = at(40 * DAY_MS);
    let again = JobRecord {
        state: JobState::Queued,
        attempts: 0,
        lease_until: None,
        sending: false,
        cancel_requested: false,
        started_at: None,
        finished_at: None,
        due_at: Some(at(40 * DAY_MS + 30_000)),
        not_before: None,
        give_up_at: Some(at(41 * DAY_MS)),
        waiting_for: None,
        turn: None,
        place: None,
        refusals: 0,
        month: "1970-02".into(),
        budget_nanos: Some(7),
        budget_version: 3,
        unit_is_used: true,
        error: None,
        cap_day: None,
        version: 2,
        ..failed.clone()
    };
    assert_eq!(failed.accepted_again(terms, now), Some(again.clone()));
    let taken = JobRecord { cap_day: Some("1970-02-11".into()), ..again.clone() };
    assert_eq!(again.taking_of_cap("1970-02-11"), taken);
    let free = JobRecord { reserved_nanos: 0, ..taken };
    assert_eq!(free.clone().taking_of_cap("1970-02-11"), JobRecord { cap_day: None, ..free });
}

#[test]
fn a_word_in_between() {
    assert_eq!(busy().due(at(5)), JobRecord { due_at: Some(at(5)), version: 2, ..busy() });
    let run = JobRecord { sending: false, ..busy() };
    assert_eq!(run.sending(), JobRecord { sending: true, version: 2, ..run.clone() });
    let cancelled = JobRecord { cancel_requested: true, version: 2, ..run.clone() };
    assert_eq!(run.cancel(at(5)), Some((cancelled, UsageDelta::default())));
    assert_eq!(busy().cancel(at(5)), None, "it may be out");
    assert_eq!(busy().held_back(), JobRecord { refusals: 4, ..busy() });
}

/// What its members see of it: until when it is tried only while it is.
#[test]
fn a_view() {
    let seen = |job: &JobRecord| serde_json::to_value(Job::from(job)).expect("it has no map with odd keys");
    let waits = seen(&queued());
    assert_eq!(
        (&waits["state"], &waits["attempts"], &waits["waiting_for"]["code"]),
        (&json!("queued"), &json!(2), &json!("before"))
    );
    assert_eq!(waits["give_up_at"], json!("1970-01-02T00:00:00.000Z"));
    let (ended, _) =
        busy().end(JobState::Succeeded, Ok(JobResult::Email { message_id: "m".into() }), Cost::Nothing, at(9));
    let ended = seen(&ended);
    assert_eq!((&ended["give_up_at"], &ended["result"]["message_id"]), (&json!(null), &json!("m")));
    let stored = |budget_version| serde_json::to_value(JobRecord { budget_version, ..busy() }).expect("as above");
    assert_eq!((&stored(0)["budget_version"], &stored(3)["budget_version"]), (&json!(null), &json!(3)));
}

/// How long a kind is tried and kept is promised (docs/jobs.md), and each ends before the other begins to be missed.
#[test]
fn a_kinds_days() {
    let days = |time: Duration| time.as_secs_f64() / 86_400.0;
    let of = JobKind::ALL.map(|kind| (days(kind.gives_up_after()), days(kind.input_kept_for())));
    assert_eq!(of, [(1.0, 30.0), (1.0, 30.0), (7.0, 8.0)]);
}
