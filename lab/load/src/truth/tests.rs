//! Each check passes what is right and finds what is wrong.

use super::*;
use serde_json::json;

const ORG: &str = "org_1";

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn job(id: &str, kind: &str, state: &str) -> JobSeen {
    JobSeen {
        id: id.to_owned(),
        kind: kind.to_owned(),
        state: state.to_owned(),
        input_tokens: 3,
        output_tokens: 2,
        cost_nanos: 7,
    }
}

/// Two items and a job of each kind were acknowledged.
fn told() -> Truth {
    let truth = Truth::default();
    truth.item(ORG, "itm_1");
    truth.item(ORG, "itm_2");
    truth.job(ORG, "job_1", "analyze");
    truth.job(ORG, "job_2", "send_email");
    truth
}

fn jobs() -> Vec<JobSeen> {
    let mut email = job("job_2", "send_email", "succeeded");
    (email.input_tokens, email.output_tokens, email.cost_nanos) = (0, 0, 0);
    vec![job("job_1", "analyze", "succeeded"), email]
}

const USAGE: UsageSeen = UsageSeen { analyses: 1, emails: 1, input_tokens: 3, output_tokens: 2, cost_nanos: 7 };

/// What a settlement finds wrong.
fn found(truth: &Truth, items: &[&str], jobs: &[JobSeen], usage: UsageSeen) -> String {
    truth.settle(ORG, &ids(items), jobs, usage);
    truth.violations().0.join("; ")
}

#[test]
fn what_is_right_passes() {
    let truth = told();
    assert_eq!(found(&truth, &["itm_2", "itm_1"], &jobs(), USAGE), "");
    assert_eq!(truth.told(), (2, 2));
}

#[test]
fn lost_and_doubled_items_are_found() {
    assert!(found(&told(), &["itm_2"], &jobs(), USAGE).contains("lost: item itm_1"));
    assert!(found(&told(), &["itm_2", "itm_1", "itm_1"], &jobs(), USAGE).contains("listed twice"));
    assert!(found(&told(), &["itm_3", "itm_2", "itm_1"], &jobs(), USAGE).contains("made twice"));
    let unsure = told();
    unsure.unsure(ORG, 1, 0);
    assert_eq!(found(&unsure, &["itm_3", "itm_2", "itm_1"], &jobs(), USAGE), "");
    let again = told();
    again.item(ORG, "itm_1");
    assert_eq!(again.violations().1, 1);
}

#[test]
fn lost_doubled_and_stuck_jobs_are_found() {
    let items = ["itm_2", "itm_1"];
    assert!(found(&told(), &items, &jobs()[..1], USAGE).contains("lost: send_email job job_2"));
    let mut twice = jobs();
    twice.push(jobs()[0].clone());
    assert!(found(&told(), &items, &twice, USAGE).contains("listed twice: job job_1"));
    let mut extra = jobs();
    extra.push(job("job_3", "analyze", "succeeded"));
    assert!(found(&told(), &items, &extra, USAGE).contains("made twice"));
    let mut stuck = jobs();
    stuck[0].state = "running".to_owned();
    assert!(found(&told(), &items, &stuck, USAGE).contains("never ended: job job_1"));
    let again = told();
    again.job(ORG, "job_1", "analyze");
    assert_eq!(again.violations().1, 1);
}

#[test]
fn usage_that_does_not_add_up_is_found() {
    for wrong in [
        UsageSeen { analyses: 2, ..USAGE },
        UsageSeen { emails: 0, ..USAGE },
        UsageSeen { input_tokens: 4, ..USAGE },
        UsageSeen { output_tokens: 1, ..USAGE },
        UsageSeen { cost_nanos: 6, ..USAGE },
    ] {
        assert!(found(&told(), &["itm_2", "itm_1"], &jobs(), wrong).contains("usage does not add up"), "{wrong:?}");
    }
}

#[test]
fn stale_reads_are_found() {
    let truth = Truth::default();
    let before = truth.floor("plan");
    truth.acknowledged("plan", 3);
    truth.acknowledged("plan", 2);
    // It began before the write was acknowledged: either version will do.
    truth.read("plan", before, Some(1));
    truth.read("plan", truth.floor("plan"), Some(3));
    assert_eq!(truth.violations().1, 0);
    truth.read("plan", truth.floor("plan"), Some(2));
    truth.read("plan", truth.floor("plan"), None);
    assert_eq!(truth.violations().1, 2);
}

#[test]
fn stale_pages_are_found() {
    let truth = told();
    truth.first_page(ORG, 2, &ids(&["itm_2", "itm_1"]), false);
    truth.first_page(ORG, 2, &ids(&["itm_2"]), true);
    truth.first_page(ORG, 1, &ids(&["itm_1"]), false);
    assert_eq!(truth.violations().1, 0);
    truth.first_page(ORG, 2, &ids(&["itm_1"]), true);
    truth.first_page(ORG, 2, &ids(&["itm_2"]), false);
    truth.first_page(ORG, 2, &[], false);
    assert_eq!(truth.violations().1, 3);
}

#[test]
fn crossed_replies_are_found() {
    let truth = Truth::default();
    truth.reply(ORG, "list-items", &json!({"data": [{"org_id": ORG}], "next_cursor": null}));
    assert_eq!(truth.violations().1, 0);
    truth.reply(ORG, "list-items", &json!({"data": [{"org_id": ORG}, {"org_id": "org_2"}]}));
    assert!(truth.violations().0[0].contains("crossed an org"));
}

#[test]
fn stale_lists_of_jobs_and_usage_are_found() {
    let truth = told();
    let floor = truth.jobs_floor(ORG);
    assert_eq!((floor, truth.jobs_floor("org_2")), ((2, 1, 1), (0, 0, 0)));
    truth.first_jobs(ORG, 2, &ids(&["job_2", "job_1"]), false);
    truth.usage(ORG, floor, USAGE);
    assert_eq!(truth.violations().1, 0);
    truth.first_jobs(ORG, 2, &ids(&["job_1"]), true);
    truth.usage(ORG, floor, UsageSeen { analyses: 0, ..USAGE });
    truth.usage(ORG, floor, UsageSeen { emails: 0, ..USAGE });
    assert_eq!(truth.violations().1, 3);
}

#[test]
fn what_is_lost_doubled_foreign_or_let_in_is_found() {
    let truth = Truth::default();
    truth.repeated(&json!({"id": 1}), &json!({"id": 1}));
    truth.is_there(ORG, "itm_1", 200);
    truth.foreign(ORG, ("itm_3", "org_2"), 404);
    truth.session(ORG, Some(ORG));
    truth.ended_session(ORG, 401);
    assert_eq!(truth.violations().1, 0);
    truth.repeated(&json!({"id": 1}), &json!({"id": 2}));
    truth.is_there(ORG, "itm_1", 404);
    truth.foreign(ORG, ("itm_3", "org_2"), 200);
    truth.session(ORG, Some("org_2"));
    truth.session(ORG, None);
    truth.ended_session(ORG, 200);
    let (found, count) = truth.violations();
    assert_eq!(count, 6, "{found:?}");
}

#[test]
fn prices_are_whole_the_same_and_not_too_old() {
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3_600);
    let of = |as_of: &str, price: &str| json!({"as_of": as_of, "data": [{"provider": "p", "price": price}]});
    let truth = Truth::default();
    truth.prices("p", &of("2026-01", "1"), hours(0));
    truth.prices("p", &of("2026-02", "2"), hours(1));
    // Old prices may be served for a day after newer ones were seen.
    truth.prices("p", &of("2026-01", "1"), hours(25));
    truth.prices("p", &of("2026-02", "2"), hours(99));
    assert_eq!(truth.violations().1, 0);
    truth.prices("p", &of("2026-01", "1"), hours(26));
    truth.prices("p", &of("2026-02", "3"), hours(26));
    truth.prices("q", &of("2026-02", "2"), hours(26));
    truth.prices("p", &json!({"as_of": "2026-02", "data": []}), hours(26));
    let (found, _) = truth.violations();
    // The last two are also another text of a catalogue that was seen, or are of nobody.
    for (what, count) in [("more than a day", 1), ("says two things of p", 2), ("not those of", 2)] {
        assert_eq!(found.iter().filter(|one| one.contains(what)).count(), count, "{what}: {found:?}");
    }
}
