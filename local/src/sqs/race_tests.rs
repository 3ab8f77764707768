//! Real threads on one queue.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use super::*;

fn service() -> Sqs {
    let sqs = Sqs::new("http://127.0.0.1", "eu-west-1", Clock::system());
    sqs.create_queue("jobs", &BTreeMap::new()).expect("a new queue");
    sqs
}

fn send(sqs: &Sqs, number: usize) {
    let draft = Draft {
        message_body: number.to_string(),
        message_group_id: (!number.is_multiple_of(3)).then(|| format!("group-{}", number % 5)),
        ..Draft::default()
    };
    sqs.send("jobs", draft).expect("a valid message");
}

const NOW: Poll = Poll { max: 10, visibility_seconds: None, wait_seconds: Some(0) };

const LONG: Poll = Poll { max: 1, visibility_seconds: None, wait_seconds: Some(20) };

/// Receivers give each message back twice and then delete it, all at once: nobody ever holds a
/// message that another holds, and each is deleted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn receivers_never_share_a_message_in_flight() {
    const MESSAGES: usize = 4_000;
    let sqs = service();
    let held = Arc::new(Mutex::new(HashSet::new()));
    let deleted = Arc::new(Mutex::new(HashSet::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..2 {
        let sqs = sqs.clone();
        tasks.spawn(async move {
            for number in 0..MESSAGES / 2 {
                send(&sqs, number * 2 + sender);
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..6 {
        let (sqs, held, deleted) = (sqs.clone(), Arc::clone(&held), Arc::clone(&deleted));
        tasks.spawn(async move {
            while deleted.lock().expect("no panic holds it").len() < MESSAGES {
                let batch = sqs.receive("jobs", NOW).await.expect("it exists");
                for message in &batch {
                    let alone = held.lock().expect("no panic holds it").insert(message.message_id.clone());
                    assert!(alone, "somebody else holds it");
                }
                tokio::task::yield_now().await;
                for message in batch {
                    let released = held.lock().expect("no panic holds it").remove(&message.message_id);
                    assert!(released);
                    if message.attributes["ApproximateReceiveCount"].as_str() < "3" {
                        sqs.change_visibility("jobs", &message.receipt_handle, 0).expect("it is in flight");
                    } else {
                        let first = deleted.lock().expect("no panic holds it").insert(message.message_id);
                        assert!(first, "a deleted message never comes back");
                        sqs.delete("jobs", &message.receipt_handle).expect("it is in flight");
                    }
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no assertion failed");
    }
    assert_eq!(sqs.counts("jobs"), Ok(Counts::default()));
}

/// A message sent at any moment around the start of a long poll ends it. A lost wake-up would cost
/// that round its full twenty seconds; the guard only keeps such a failure from taking hours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_wakes_on_every_arrival() {
    let sqs = service();
    let rounds = async {
        for number in 0..2_000 {
            let waiting = tokio::spawn({
                let sqs = sqs.clone();
                async move { sqs.receive("jobs", LONG).await }
            });
            for _ in 0..number % 4 {
                tokio::task::yield_now().await;
            }
            send(&sqs, number);
            let got = waiting.await.expect("no panic").expect("it exists");
            assert_eq!(got[0].body, number.to_string());
            sqs.delete("jobs", &got[0].receipt_handle).expect("its own");
        }
    };
    let guard = tokio::time::timeout(Duration::from_secs(19), rounds);
    guard.await.expect("every poll woke");
}

#[tokio::test]
async fn a_long_poll_sees_a_message_come_back() {
    let sqs = service();
    send(&sqs, 1);
    let first = sqs.receive("jobs", LONG).await.expect("it exists");
    let waiting = long_poll(&sqs);
    tokio::task::yield_now().await;
    sqs.clock().jump(Duration::from_secs(19));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the message is in flight for 30 s");
    sqs.clock().jump(Duration::from_secs(11));
    let second = waiting.await.expect("no panic").expect("it exists");
    assert_eq!(second[0].message_id, first[0].message_id);
    assert_eq!(second[0].attributes["ApproximateReceiveCount"], "2");
}

#[tokio::test]
async fn a_long_poll_without_a_message_ends_empty() {
    let sqs = service();
    let waiting = long_poll(&sqs);
    tokio::task::yield_now().await;
    sqs.clock().jump(Duration::from_secs(19));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    sqs.clock().jump(Duration::from_secs(1));
    let nothing = waiting.await.expect("no panic").expect("it exists");
    assert!(nothing.is_empty());
}

/// Whether a poll has ended, once everything that this moment wakes has run: there is one thread.
async fn has_ended<T>(poll: &tokio::task::JoinHandle<T>) -> bool {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    poll.is_finished()
}

#[tokio::test]
async fn a_long_poll_heeds_a_visibility_that_changes_while_it_waits() {
    let sqs = service();
    send(&sqs, 1);
    let first = sqs.receive("jobs", LONG).await.expect("it exists");
    let waiting = long_poll(&sqs);
    assert!(!has_ended(&waiting).await, "the message is in flight for 30 s");
    sqs.change_visibility("jobs", &first[0].receipt_handle, 2).expect("it is in flight");
    sqs.clock().jump(Duration::from_secs(1));
    assert!(!has_ended(&waiting).await, "the message is hidden for 2 s");
    sqs.clock().jump(Duration::from_secs(1));
    assert!(has_ended(&waiting).await, "the message is visible again");
    let second = waiting.await.expect("no panic").expect("it exists");
    assert_eq!(second[0].message_id, first[0].message_id);
}

#[tokio::test]
async fn a_long_poll_heeds_a_delayed_message_that_comes_while_it_waits() {
    let sqs = service();
    let waiting = long_poll(&sqs);
    assert!(!has_ended(&waiting).await, "nothing is there");
    let later = Draft { message_body: "later".to_owned(), delay_seconds: Some(3), ..Draft::default() };
    let sooner = Draft { message_body: "sooner".to_owned(), delay_seconds: Some(2), ..Draft::default() };
    for draft in [later, sooner] {
        sqs.send("jobs", draft).expect("a valid message");
        assert!(!has_ended(&waiting).await, "the message is delayed");
    }
    sqs.clock().jump(Duration::from_secs(2));
    assert!(has_ended(&waiting).await, "the message is visible");
    assert_eq!(waiting.await.expect("no panic").expect("it exists")[0].body, "sooner");
}

fn long_poll(sqs: &Sqs) -> tokio::task::JoinHandle<Result<Vec<Received>, SqsError>> {
    let sqs = sqs.clone();
    tokio::spawn(async move { sqs.receive("jobs", LONG).await })
}
