//! Providers with a rate and outages: work waits its turn, few calls are refused, and nothing fails for it. Time is virtual.

use super::providers::{Answer, Providers};
use super::rig::{MODEL, Rig};
use crate::api::Actor;
use futures_util::future::join_all;
use local::{Clock, Options};
use reqwest::Method;
use serde_json::{Value, json};
use shared::jobs::JobMessage;
use shared::model::job::JobKind;
use shared::model::limiter::Provider;
use std::time::Duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A rig whose configuration says how many analyses a minute and e-mails a second its providers take.
pub(super) async fn rig_of(providers: &Providers, per_minute: u32, per_second: u32) -> Rig {
    let rates = [("ANALYSES_PER_MINUTE", per_minute.to_string()), ("EMAILS_PER_SECOND", per_second.to_string())];
    let environment = providers.environment().into_iter().chain(rates);
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).collect();
    // Only the test moves it: how busy the machine is decides nothing.
    Rig::start(Options { environment, clock: Clock::stopped(), ..Options::ephemeral() }).await
}

/// All of it with `just unkind`, a part of it in each run of the suite.
fn of_full<T>(full: T, part: T) -> T {
    if std::env::var_os("UNKIND").is_some_and(|size| size == "full") { full } else { part }
}

pub(super) async fn analyses(rig: &Rig, owner: &Actor, count: usize) -> Vec<String> {
    let ask = |number: usize| {
        let text = format!("text {number} of {}", owner.email);
        rig.accepted(owner, "/analyze", json!({"text": text, "model": MODEL}))
    };
    let mut ids = Vec::new();
    for first in (0..count).step_by(50) {
        ids.extend(join_all((first..count.min(first + 50)).map(ask)).await);
    }
    ids
}

/// Lets time pass in steps, delivers what is visible and sweeps each minute, until `is_done`. Returns how long it took.
pub(super) async fn pass(rig: &Rig, step: Duration, most: Duration, is_done: impl AsyncFn() -> bool) -> Duration {
    let clock = rig.system.clock();
    let (begin, mut swept) = (clock.now_ms(), 0);
    loop {
        rig.deliver_all().await;
        let passed = Duration::from_millis(clock.now_ms() - begin);
        if is_done().await {
            return passed;
        }
        assert!(passed < most, "not done after {passed:?}");
        if passed.as_secs() / 60 > swept {
            swept = passed.as_secs() / 60;
            rig.sweep_once().await;
            rig.deliver_all().await;
        }
        clock.jump(step);
    }
}

async fn count(rig: &Rig, owner: &Actor, state: &str) -> usize {
    let (mut count, mut path) = (0, format!("/jobs?state={state}&limit=100"));
    loop {
        let page = rig.api.get(owner, &path).await.body;
        count += page["data"].as_array().unwrap().len();
        let Some(cursor) = page["next_cursor"].as_str() else { return count };
        path = format!("/jobs?state={state}&limit=100&cursor={cursor}");
    }
}

/// Messages of a job that has ended ask for no call and take no place in the backlog, whether the provider is busy or free.
#[tokio::test]
async fn late_messages_of_an_ended_job_take_no_turn() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 1, 14).await;
    let owner = rig.owner("pro").await;
    let ids = analyses(&rig, &owner, 5).await;
    rig.deliver_all().await;
    let store = rig.system.context().store();
    let record = async |id: &str| store.job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
    let jobs = join_all(ids.iter().map(|id| record(id))).await;
    let last = jobs.iter().filter_map(|job| job.not_before).max().expect("the rate is used up");
    let ended = jobs.into_iter().find(|job| job.state.has_ended()).unwrap();
    let late_messages = async || {
        for _ in 0..10 {
            rig.system.context().queue(JobKind::Analyze).unwrap().send(&JobMessage::of(&ended)).await.unwrap();
        }
        rig.deliver_all().await;
        assert_eq!(record(&ended.job_id.to_string()).await, ended);
    };
    late_messages().await;
    let next = analyses(&rig, &owner, 1).await.remove(0);
    rig.deliver_all().await;
    let turn = record(&next).await.not_before.unwrap();
    assert!(turn <= last.plus(2 * MINUTE), "{turn:?} is not the turn after {last:?}");

    pass(&rig, MINUTE, 20 * MINUTE, async || record(&next).await.state.has_ended()).await;
    rig.system.clock().jump(2 * MINUTE);
    late_messages().await;
    let next = analyses(&rig, &owner, 1).await.remove(0);
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &next).await["state"], "succeeded", "messages of an ended job took the free call");
}

/// A message that came to another kind's queue is nobody's there: the job's own entry brings it where it belongs.
#[tokio::test]
async fn a_message_on_another_kinds_queue_runs_nothing() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let id = rig.accepted(&owner, "/analyze", json!({"text": "a text"})).await;
    let store = rig.system.context().store();
    let job = store.job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
    rig.system.context().queue(JobKind::SendEmail).unwrap().send(&JobMessage::of(&job)).await.unwrap();
    rig.deliver_of(JobKind::SendEmail).await;
    assert_eq!(store.job(job.org_id, job.job_id).await.unwrap(), job);
    rig.deliver_all().await;
    assert_eq!(rig.job(&owner, &id).await["state"], "succeeded");
}

/// A burst of ten minutes' calls: none fails, hardly one is refused, and the rate is made use of.
#[tokio::test]
async fn a_burst_beyond_the_providers_rate_waits_its_turn() {
    let count_all = of_full(500, 60);
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    providers.takes_a_minute(50, rig.system.clock());
    let owner = rig.owner("pro").await;
    let ids = analyses(&rig, &owner, count_all).await;
    rig.deliver_all().await;
    let last = rig.job(&owner, ids.last().unwrap()).await;
    assert_eq!((&last["waiting_for"]["code"], &last["attempts"]), (&json!("turn"), &json!(0)), "{last}");
    let took = pass(&rig, SECOND, HOUR, async || providers.analyses().len() == count_all).await;
    assert_eq!((count(&rig, &owner, "failed").await, count(&rig, &owner, "succeeded").await), (0, count_all));
    println!("{count_all} analyses in {took:?}, {} refused", providers.refused());
    assert!(providers.refused() <= count_all / 50, "{} calls were refused", providers.refused());
    let ideal = MINUTE * count_all as u32 / 50;
    assert!(took < ideal + ideal / 5 + 10 * SECOND, "{took:?}: the rate is made use of");
}

/// A caller chooses among the ids of a model, and any day may be a release's: none of them has a rate of its own.
#[tokio::test]
async fn a_model_has_one_rate_under_all_its_ids() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 6, 14).await;
    let owner = rig.owner("pro").await;
    let family = MODEL.trim_end_matches("-0");
    for day in 10..30 {
        let model = format!("{family}-202510{day}");
        rig.accepted(&owner, "/analyze", json!({"text": format!("text {day}"), "model": model})).await;
    }
    analyses(&rig, &owner, 1).await;
    rig.deliver_all().await;
    assert_eq!(providers.analyses().len(), 1, "a call each ten seconds");
    let took = pass(&rig, SECOND, MINUTE, async || providers.analyses().len() == 4).await;
    assert_eq!(took, 30 * SECOND);
}

/// Jobs of a batch that need no call, or another model's, have none leased for them.
#[tokio::test]
async fn a_batch_leases_no_more_calls_than_it_makes() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 600, 14).await;
    let owner = rig.owner("pro").await;
    for number in 0..4 {
        rig.accepted(&owner, "/analyze", json!({"text": format!("text {number}")})).await;
    }
    let id = analyses(&rig, &owner, 1).await.remove(0);
    assert_eq!(rig.deliver().await.deleted.len(), 5);
    let (store, now) = (rig.system.context().store(), rig.system.context().now());
    let job = store.job(owner.org_id.parse().unwrap(), id.parse().unwrap()).await.unwrap();
    let record = store.limiter_record(&Provider::of_model(&job.model.unwrap())).await.unwrap();
    assert_eq!((record.next_at, providers.analyses().len()), (Some(now.plus(SECOND / 10)), 1));
}

/// The configuration says too much: the provider's own word counts.
#[tokio::test]
async fn the_providers_own_word_of_its_rate_counts() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 100_000, 14).await;
    providers.takes_a_minute(50, rig.system.clock());
    let owner = rig.owner("pro").await;
    analyses(&rig, &owner, 2).await;
    rig.deliver_all().await;
    analyses(&rig, &owner, 30).await;
    pass(&rig, SECOND, 10 * MINUTE, async || providers.analyses().len() == 32).await;
    assert_eq!(count(&rig, &owner, "failed").await, 0);
    assert!(providers.refused() <= 5, "{}", providers.refused());
}

/// A mail service that takes 14 recipients a second, and an organization whose own account mail is out.
pub(super) async fn fourteen_emails_a_second() -> (Providers, Rig, Actor) {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    let owner = rig.owner("pro").await;
    rig.deliver_account_mail().await;
    rig.system.clock().jump(MINUTE);
    providers.takes_a_minute(14 * 60, rig.system.clock());
    (providers, rig, owner)
}

#[tokio::test]
async fn emails_keep_to_their_rate() {
    let all = of_full(1_000, 100);
    let (providers, rig, owner) = fourteen_emails_a_second().await;
    let mail = json!({"to": owner.email, "subject": "s", "text": "t"});
    let sent = providers.emails().len();
    join_all((0..all).map(|_| rig.accepted(&owner, "/send-email", mail.clone()))).await;
    let took = pass(&rig, SECOND, 3 * MINUTE, async || providers.emails().len() == sent + all).await;
    println!("{all} e-mails in {took:?}, {} refused", providers.refused());
    assert_eq!(count(&rig, &owner, "failed").await, 0);
    assert!(providers.refused() <= all / 50, "{}", providers.refused());
}

/// The mail service counts recipients: e-mails to ten take ten times as long, and are not refused either.
#[tokio::test]
async fn emails_to_several_count_for_each() {
    let all = of_full(200, 30);
    let (providers, rig, owner) = fourteen_emails_a_second().await;
    let to: Vec<String> = (0..10).map(|number| format!("reader-{number}@example.com")).collect();
    let mail = json!({"to": to, "subject": "s", "text": "t"});
    let sent = providers.emails().len();
    join_all((0..all).map(|_| rig.accepted(&owner, "/send-email", mail.clone()))).await;
    let took = pass(&rig, SECOND, 10 * MINUTE, async || providers.emails().len() == sent + all).await;
    println!("{all} e-mails to ten in {took:?}, {} refused", providers.refused());
    assert!(took.as_secs() >= all as u64 * 10 / 14 - 10, "{took:?}");
    assert!(providers.refused() <= all / 20, "{}", providers.refused());
    assert_eq!(count(&rig, &owner, "succeeded").await, all);
}

/// One organization's job behind another's many begins within two of the provider's calls.
#[tokio::test]
async fn one_organizations_backlog_holds_up_no_other() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    providers.takes_a_minute(50, rig.system.clock());
    let many = rig.owner("pro").await;
    let (all, before) = of_full((2_000, 20), (40, 8));
    analyses(&rig, &many, all).await;
    pass(&rig, SECOND, 2 * MINUTE, async || providers.analyses().len() >= before).await;
    let others = called_before_another(&providers, &rig).await;
    assert!(others <= 2, "{others} calls of the other organization's came first");
}

/// How many are called before the job of an organization that comes now.
async fn called_before_another(providers: &Providers, rig: &Rig) -> usize {
    let (one, before) = (rig.owner("pro").await, providers.analyses().len());
    analyses(rig, &one, 1).await;
    let is_its = |call: &Value| call.to_string().contains(&one.email);
    Box::pin(pass(rig, SECOND, MINUTE, async || providers.analyses().iter().any(is_its))).await;
    providers.analyses().iter().skip(before).take_while(|call| !is_its(call)).count()
}

/// Nor do those of several, which have not been passed over for long.
#[tokio::test]
async fn backlogs_of_several_organizations_hold_up_no_other() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 30, 14).await;
    for _ in 0..8 {
        analyses(&rig, &rig.owner("pro").await, 6).await;
    }
    pass(&rig, SECOND, 2 * MINUTE, async || providers.analyses().len() >= 18).await;
    let others = called_before_another(&providers, &rig).await;
    assert!(others <= 3, "{others} calls of the others came first");
}

/// Organizations that send one job each come as fast as calls do. One that sends two is no part of its own backlog: its second job is called
/// before most that come after it.
#[tokio::test]
async fn a_second_job_is_not_passed_by_all_who_come_after_it() {
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 30, 14).await;
    for _ in 0..3 {
        analyses(&rig, &rig.owner("pro").await, 1).await;
    }
    let one = rig.owner("pro").await;
    analyses(&rig, &one, 2).await;
    Box::pin(rig.deliver_all()).await;
    for _ in 0..25 {
        rig.system.clock().jump(2 * SECOND);
        analyses(&rig, &rig.owner("pro").await, 1).await;
        Box::pin(rig.deliver_all()).await;
    }
    let calls = providers.analyses();
    let its: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].to_string().contains(&one.email)).collect();
    let [first, second] = its[..] else { panic!("its second job is not called: {its:?} of {}", calls.len()) };
    assert!(second - first <= 16, "{} others were called between its first job and its second", second - first - 1);
}

/// An organization's e-mails to ten that come one after the other, one each 100 ms, of which the mail service takes one in 714.
async fn stream_of_emails_to_ten(rig: &Rig, owner: &Actor) {
    let to: Vec<String> = (0..10).map(|number| format!("reader-{number}@example.com")).collect();
    let mail = json!({"to": to, "subject": "s", "text": "t"});
    for _ in 0..100 {
        rig.accepted(owner, "/send-email", mail.clone()).await;
        rig.deliver_all().await;
        rig.system.clock().jump(SECOND / 10);
    }
}

/// How many of the stream's e-mails are sent before one to `email`.
async fn sent_before(providers: &Providers, rig: &Rig, email: &str) -> usize {
    let before = providers.emails().len();
    let is_its = |mail: &Value| mail.to_string().contains(email);
    let is_sent = async || {
        rig.deliver_account_mail().await;
        providers.emails().iter().skip(before).any(is_its)
    };
    Box::pin(pass(rig, SECOND / 10, MINUTE, is_sent)).await;
    providers.emails().iter().skip(before).take_while(|mail| !is_its(mail)).count()
}

/// Neither another organization's e-mail nor an account's mail waits behind the e-mails of one that come one by one, faster than they can be
/// sent; and all of those are sent.
#[tokio::test]
async fn a_stream_of_emails_holds_up_no_other_mail() {
    let (providers, rig, many) = fourteen_emails_a_second().await;
    let one = rig.owner("pro").await;
    rig.deliver_account_mail().await;
    let sent = providers.emails().len();
    stream_of_emails_to_ten(&rig, &many).await;
    rig.accepted(&one, "/send-email", json!({"to": one.email, "subject": "s", "text": "t"})).await;
    let others = sent_before(&providers, &rig, &one.email).await;
    assert!(others <= 2, "{others} e-mails of the other organization's came first");

    let forgot = json!({"email": one.email});
    assert_eq!(rig.api.elsewhere().call(None, Method::POST, "/auth/forgot-password", Some(forgot)).await.status, 202);
    let others = sent_before(&providers, &rig, &one.email).await;
    assert!(others <= 2, "{others} e-mails came before a link to another password");

    let took = pass(&rig, SECOND, 3 * MINUTE, async || providers.emails().len() == sent + 102).await;
    assert!(took <= 100 * SECOND, "{took:?}: the rate is made use of");
    assert_eq!(count(&rig, &many, "succeeded").await, 100);
}

/// The account has no credit for hours: it is asked rarely, jobs wait and say why, and all of it is done soon after.
#[tokio::test]
async fn an_account_without_credit_is_waited_for() {
    let (all, hours) = of_full((20, 12), (3, 2));
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    let owner = rig.owner("pro").await;
    providers.will_always(Answer::Say("Your credit balance is too low to access the API.".to_owned()));
    let ids = analyses(&rig, &owner, all).await;
    let until = rig.system.context().now().plus(hours * HOUR);
    pass(&rig, MINUTE, 13 * HOUR, async || rig.system.context().now() >= until).await;
    let job = rig.job(&owner, &ids[all - 1]).await;
    assert_eq!((&job["state"], &job["attempts"]), (&json!("queued"), &json!(0)), "{job}");
    assert_eq!(job["waiting_for"]["code"], "provider_billing", "{job}");
    println!("asked {} times in {hours} hours", providers.refused());
    assert!(providers.refused() <= 12 * hours as usize + 10, "{} calls in {hours} hours", providers.refused());

    providers.will_be_well();
    let took = pass(&rig, SECOND, 15 * MINUTE, async || providers.analyses().len() == all).await;
    assert!(took <= 10 * MINUTE, "{took:?} after the world's return");
    assert_eq!((count(&rig, &owner, "failed").await, count(&rig, &owner, "succeeded").await), (0, all));
}

/// 20 organizations' analyses at 30 a minute, the first three of them made: each of the others has a call of its own by then.
async fn twenty_with_calls_of_their_own(providers: &Providers) -> (Rig, Vec<Actor>) {
    let rig = rig_of(providers, 30, 14).await;
    let mut owners = Vec::new();
    for _ in 0..20 {
        let owner = rig.owner("pro").await;
        analyses(&rig, &owner, 1).await;
        owners.push(owner);
    }
    pass(&rig, SECOND, MINUTE, async || providers.analyses().len() >= 3).await;
    (rig, owners)
}

/// Calls are leased for minutes ahead, one to each organization that waits. When the account is closed meanwhile, they are not made.
#[tokio::test]
async fn calls_that_were_leased_are_not_made_once_the_breaker_is_open() {
    let providers = Providers::start().await;
    let (rig, owners) = twenty_with_calls_of_their_own(&providers).await;
    providers.will_always(Answer::Say("Your credit balance is too low to access the API.".to_owned()));
    let until = rig.system.context().now().plus(100 * SECOND);
    pass(&rig, SECOND, HOUR, async || rig.system.context().now() >= until).await;
    assert!((1..=4).contains(&providers.refused()), "{} calls refused", providers.refused());
    providers.will_be_well();
    pass(&rig, SECOND, 15 * MINUTE, async || providers.analyses().len() == owners.len()).await;
    for owner in &owners {
        assert_eq!(count(&rig, owner, "succeeded").await, 1);
    }
}

/// Nor when the provider says that it takes none for a while, shorter or longer than calls are leased ahead.
#[tokio::test]
async fn calls_that_were_leased_are_not_made_while_the_provider_takes_none() {
    for wait_s in [20, 120] {
        let providers = Providers::start().await;
        let (rig, owners) = twenty_with_calls_of_their_own(&providers).await;
        providers.will([Answer::Refuse(429, Some(wait_s))]);
        pass(&rig, SECOND, MINUTE, async || providers.refused() == 1).await;
        let before = providers.analyses().len();
        let until = rig.system.context().now().plus(Duration::from_secs(wait_s - 3));
        pass(&rig, SECOND, HOUR, async || rig.system.context().now() >= until).await;
        assert_eq!((providers.analyses().len(), providers.refused()), (before, 1), "within {wait_s} s");
        pass(&rig, SECOND, 15 * MINUTE, async || providers.analyses().len() == owners.len()).await;
    }
}

/// An hour of overload: nothing fails, nothing is paid for, and all is done soon after.
#[tokio::test]
async fn an_hour_of_overload_fails_nothing() {
    let all = of_full(40, 12);
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 50, 14).await;
    let owner = rig.owner("pro").await;
    providers.will_always(Answer::Refuse(529, None));
    for _ in 0..4 {
        analyses(&rig, &owner, all / 4).await;
        let until = rig.system.context().now().plus(15 * MINUTE);
        pass(&rig, 5 * SECOND, HOUR, async || rig.system.context().now() >= until).await;
    }
    println!("asked {} times in an hour", providers.refused());
    assert!(providers.refused() <= 40, "{} calls in an hour", providers.refused());
    providers.will_be_well();
    let took = pass(&rig, SECOND, 15 * MINUTE, async || providers.analyses().len() == all).await;
    assert!(took <= 11 * MINUTE, "{took:?} after the world's return");
    assert_eq!((count(&rig, &owner, "failed").await, count(&rig, &owner, "succeeded").await), (0, all));
}

/// A turn may be further away than a queue hides a message: the sweeper sends it in time, and the jobs of a minute do not come at once.
#[tokio::test]
async fn a_backlog_longer_than_a_message_hides_keeps_its_turns() {
    let all = of_full(120, 24);
    let providers = Providers::start().await;
    let rig = rig_of(&providers, 1, 14).await;
    let owner = rig.owner("pro").await;
    let ids = analyses(&rig, &owner, all).await;
    rig.deliver_all().await;
    let mut waits = Vec::new();
    for id in &ids {
        waits.push(rig.job(&owner, id).await["not_before"].as_str().map(str::to_owned));
    }
    waits.sort();
    waits.dedup();
    assert!(waits.len() >= all - 1, "each has a turn of its own: {waits:?}");
    let took = pass(&rig, 5 * SECOND, 3 * HOUR, async || providers.analyses().len() == all).await;
    println!("{all} analyses at one a minute in {took:?}");
    assert!(took < MINUTE * all as u32 + 5 * MINUTE, "{took:?}");
    assert_eq!(count(&rig, &owner, "failed").await, 0);
}
