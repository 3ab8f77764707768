//! The event source over the real queue: what it deletes, what returns, what dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::clock::Clock;
use crate::sqs::{Counts, Draft};

const VISIBILITY: Duration = Duration::from_secs(30);

fn service() -> Sqs {
    let sqs = Sqs::new("http://127.0.0.1", "eu-west-1", Clock::system());
    sqs.create_queue("dead", &BTreeMap::new()).expect("a new queue");
    let policy = json!({
        "deadLetterTargetArn": sqs.queue_arn("dead").expect("it exists"),
        "maxReceiveCount": 5,
    });
    let attributes = BTreeMap::from([("RedrivePolicy".to_owned(), policy.to_string())]);
    sqs.create_queue("jobs", &attributes).expect("a new queue");
    sqs
}

fn mapping() -> Mapping {
    Mapping {
        queue: "jobs".to_owned(),
        batch_size: 10,
        maximum_batching_window: Duration::ZERO,
        maximum_concurrency: 2,
        report_batch_item_failures: true,
        function_timeout: Duration::from_secs(900),
    }
}

fn source(
    sqs: &Sqs,
    mapping: Mapping,
    function: impl Fn(SqsEvent) -> Result<Value, FunctionError> + Send + Sync + 'static,
) -> EventSource {
    let function = Arc::new(function);
    let boxed: Function = Arc::new(move |event| {
        let function = Arc::clone(&function);
        // Inside the future, so that a panic is the invocation's.
        Box::pin(async move { function(event) })
    });
    EventSource::new(sqs.clone(), mapping, boxed).expect("a valid mapping")
}

fn send(sqs: &Sqs, bodies: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    let send = |body: String| {
        let draft = Draft { message_body: body, ..Draft::default() };
        sqs.send("jobs", draft).expect("a valid message")
    };
    bodies.into_iter().map(|body| send(body.to_string())).collect()
}

fn ids(event: &SqsEvent) -> Vec<String> {
    let ids = event.records.iter().filter_map(|record| record.message_id.clone());
    ids.collect()
}

fn failed<'a>(ids: impl IntoIterator<Item = &'a String>) -> Value {
    let entries: Vec<Value> = ids.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": entries })
}

/// For each subset of ten messages: exactly that subset comes back, with a second receive counted,
/// and once it succeeds nothing is left.
#[tokio::test]
async fn every_failure_pattern_of_ten_returns_only_the_failures() {
    let sqs = service();
    let pattern = Arc::new(AtomicUsize::new(0));
    let shared = Arc::clone(&pattern);
    let source = source(&sqs, mapping(), move |event| {
        let pattern = shared.load(Ordering::SeqCst);
        let failures = event.records.iter().filter(|record| {
            let index: usize = record.body.as_deref().unwrap_or("").parse().unwrap_or(0);
            let first = record.attributes["ApproximateReceiveCount"] == "1";
            first && pattern >> index & 1 == 1
        });
        let ids: Vec<String> = failures.filter_map(|r| r.message_id.clone()).collect();
        Ok(failed(&ids))
    });
    for bits in 0..1 << 10 {
        pattern.store(bits, Ordering::SeqCst);
        let sent = send(&sqs, 0..10);
        let failing: BTreeSet<_> = (0..10).filter(|i| bits >> i & 1 == 1).collect();
        let expected: BTreeSet<_> = failing.iter().map(|i| sent[*i].clone()).collect();

        let first = source.deliver().await.expect("the queue exists");
        assert_eq!(first.deleted.len(), 10 - expected.len(), "{bits:010b}");
        assert_eq!(BTreeSet::from_iter(first.kept), expected, "{bits:010b}");
        let counts = sqs.counts("jobs").expect("it exists");
        let hidden = Counts { in_flight: expected.len(), ..Counts::default() };
        assert_eq!(counts, hidden, "failures stay invisible until their timeout");

        sqs.clock().jump(VISIBILITY);
        if !expected.is_empty() {
            let second = source.deliver().await.expect("the queue exists");
            assert_eq!(BTreeSet::from_iter(second.deleted), expected, "{bits:010b}");
        }
        assert_eq!(sqs.counts("jobs"), Ok(Counts::default()), "{bits:010b}");
    }
}

/// An error, a panic and a timeout each return the whole batch.
#[tokio::test]
async fn a_failed_invocation_returns_its_whole_batch() {
    let sqs = service();
    let broken = source(&sqs, mapping(), |_| Err("failed on purpose".into()));
    send(&sqs, 0..3);
    let delivery = broken.deliver().await.expect("the queue exists");
    assert_eq!((delivery.deleted.len(), delivery.kept.len()), (0, 3));

    sqs.clock().jump(VISIBILITY);
    let panicking = source(&sqs, mapping(), |_| panic!("panicked on purpose"));
    let delivery = panicking.deliver().await.expect("the queue exists");
    assert_eq!((delivery.deleted.len(), delivery.kept.len()), (0, 3));

    sqs.clock().jump(VISIBILITY);
    let (started, mut running) = mpsc::unbounded_channel();
    let hanging: Function = Arc::new(move |_| {
        let started = started.clone();
        Box::pin(async move {
            started.send(())?;
            std::future::pending().await
        })
    });
    let hanging = EventSource::new(sqs.clone(), mapping(), hanging).expect("a valid mapping");
    let delivery = tokio::spawn(async move { hanging.deliver().await });
    running.recv().await.expect("it starts");
    sqs.clock().jump(mapping().function_timeout);
    let delivery = delivery.await.expect("no panic").expect("the queue exists");
    assert_eq!((delivery.deleted.len(), delivery.kept.len()), (0, 3));
}

#[tokio::test]
async fn without_reports_an_answer_is_success_whatever_it_lists() {
    let sqs = service();
    let mapping = Mapping { report_batch_item_failures: false, ..mapping() };
    let source = source(&sqs, mapping, |event| Ok(failed(&ids(&event))));
    send(&sqs, 0..10);
    let delivery = source.deliver().await.expect("the queue exists");
    assert_eq!(delivery.deleted.len(), 10);
}

#[tokio::test]
async fn a_report_that_names_a_stranger_fails_the_batch() {
    let sqs = service();
    let source = source(&sqs, mapping(), |_| Ok(failed([&"stranger".to_owned()])));
    send(&sqs, 0..10);
    let delivery = source.deliver().await.expect("the queue exists");
    assert_eq!((delivery.deleted.len(), delivery.kept.len()), (0, 10));
}

/// maxReceiveCount is 5: five invocations see the message, and the next receive buries it.
#[tokio::test]
async fn a_poison_message_is_dead_after_exactly_five_receives_and_its_batch_is_not() {
    let sqs = service();
    let poison = "poison".to_owned();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let counts = Arc::clone(&seen);
    let source = source(&sqs, mapping(), move |event| {
        let bad = event.records.iter().filter(|r| r.body.as_deref() == Some("poison"));
        let bad: Vec<_> = bad.collect();
        let mut counts = counts.lock().expect("no panic holds it");
        counts.extend(bad.iter().map(|r| r.attributes["ApproximateReceiveCount"].clone()));
        Ok(failed(bad.iter().filter_map(|r| r.message_id.as_ref())))
    });
    let sent = send(&sqs, ["good", &poison, "good"]);
    let first = source.deliver().await.expect("the queue exists");
    assert_eq!(first.deleted, [sent[0].clone(), sent[2].clone()]);
    for _ in 1..5 {
        sqs.clock().jump(VISIBILITY);
        let again = source.deliver().await.expect("the queue exists");
        assert_eq!(again.kept, [sent[1].clone()]);
    }
    assert_eq!(sqs.counts("dead"), Ok(Counts::default()), "not before a sixth receive");
    sqs.clock().jump(VISIBILITY);
    let poll = Poll { max: 1, visibility_seconds: None, wait_seconds: Some(0) };
    let sixth = sqs.receive("jobs", poll).await.expect("it exists");
    assert!(sixth.is_empty());
    assert_eq!(*seen.lock().expect("no panic holds it"), ["1", "2", "3", "4", "5"]);
    let dead = sqs.receive("dead", poll).await.expect("it exists");
    assert_eq!(dead[0].message_id, sent[1]);
    let source_arn = sqs.queue_arn("jobs").expect("it exists");
    assert_eq!(dead[0].attributes["DeadLetterQueueSourceArn"], source_arn);
}

/// The loop never runs more invocations than it may, and takes no message it cannot run.
#[tokio::test]
async fn the_loop_keeps_to_its_concurrency_and_ends_cleanly() {
    let sqs = service();
    let (started, mut starts) = mpsc::unbounded_channel();
    let function: Function = Arc::new(move |event| {
        let started = started.clone();
        Box::pin(async move {
            let (finish, finished) = oneshot::channel::<()>();
            started.send((event.records.len(), finish))?;
            finished.await?;
            Ok(Value::Null)
        })
    });
    let source = EventSource::new(sqs.clone(), mapping(), function).expect("a valid mapping");
    let (stop, stopped) = oneshot::channel::<()>();
    let looping = tokio::spawn(async move { source.run(async { drop(stopped.await) }).await });
    send(&sqs, 0..45);
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(starts.recv().await.expect("the loop runs"));
    }
    // Both slots are taken: 20 in flight, the rest untouched.
    tokio::task::yield_now().await;
    assert!(starts.try_recv().is_err());
    let counts = sqs.counts("jobs").expect("it exists");
    assert_eq!((counts.in_flight, counts.visible), (20, 25));
    let mut delivered = 0;
    while let Some((records, finish)) = open.pop() {
        delivered += records;
        finish.send(()).expect("the invocation waits");
        if delivered + open.iter().map(|(records, _)| records).sum::<usize>() < 45 {
            open.push(starts.recv().await.expect("the loop runs"));
        }
    }
    assert_eq!(delivered, 45);
    stop.send(()).expect("the loop listens");
    let ended = looping.await.expect("no panic");
    assert_eq!(ended, Ok(()));
    assert_eq!(sqs.counts("jobs"), Ok(Counts::default()));
}

/// A service that has stopped serving answers each receive at once; the loop still hears its own stop. (Where it does
/// not, it never yields, and this test never ends.)
#[tokio::test]
async fn the_loop_ends_after_its_queue_has_gone() {
    let sqs = service();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    sqs.serve(listener, async {}).await;
    let source = source(&sqs, mapping(), |_| Ok(Value::Null));
    let (stop, stopped) = oneshot::channel::<()>();
    let looping = tokio::spawn(async move { source.run(async { drop(stopped.await) }).await });
    tokio::task::yield_now().await;
    stop.send(()).expect("the loop listens");
    assert_eq!(looping.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_batching_window_fills_a_batch_beyond_one_receive_or_ends() {
    let sqs = service();
    let mapping = Mapping { batch_size: 25, maximum_batching_window: Duration::from_secs(20), ..mapping() };
    let source = source(&sqs, mapping, |_| Ok(Value::Null));
    send(&sqs, 0..24);
    let gathering = tokio::spawn({
        let source = source.clone();
        async move { source.deliver().await }
    });
    while sqs.counts("jobs").expect("it exists").in_flight < 24 {
        tokio::task::yield_now().await;
    }
    assert!(!gathering.is_finished(), "it waits for the twenty-fifth");
    send(&sqs, ["the last"]);
    let full = gathering.await.expect("no panic").expect("it exists");
    assert_eq!(full.deleted.len(), 25);

    send(&sqs, ["alone"]);
    let gathering = tokio::spawn(async move { source.deliver().await });
    while sqs.counts("jobs").expect("it exists").in_flight < 1 {
        tokio::task::yield_now().await;
    }
    sqs.clock().jump(Duration::from_secs(20));
    let window = gathering.await.expect("no panic").expect("it exists");
    assert_eq!(window.deleted.len(), 1);
}

#[tokio::test]
async fn a_batch_of_large_messages_comes_in_several_events() {
    let sqs = service();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    let source = source(&sqs, mapping(), move |event| {
        let bytes = serde_json::to_vec(&event)?.len();
        seen.lock().expect("no panic holds it").push((event.records.len(), bytes));
        Ok(Value::Null)
    });
    let body = "\"".repeat(1 << 20);
    send(&sqs, std::iter::repeat_n(body, 10));
    let delivery = source.deliver().await.expect("it exists");
    assert_eq!(delivery.deleted.len(), 10);
    let sizes = sizes.lock().expect("no panic holds it");
    assert_eq!(sizes.iter().map(|(records, _)| records).sum::<usize>(), 10);
    assert!(sizes.iter().all(|(_, bytes)| *bytes <= PAYLOAD_BYTES_MAX), "{sizes:?}");
}

#[test]
fn mappings_that_lambda_refuses_are_refused() {
    let refused = |mapping: Mapping| {
        let function: Function = Arc::new(|_| Box::pin(async { Ok(Value::Null) }));
        EventSource::new(service(), mapping, function).is_err()
    };
    assert!(refused(Mapping { batch_size: 0, ..mapping() }));
    assert!(refused(Mapping { batch_size: 11, ..mapping() }));
    assert!(refused(Mapping { maximum_concurrency: 0, ..mapping() }));
    let window = Duration::from_secs(301);
    assert!(refused(Mapping { maximum_batching_window: window, ..mapping() }));
    assert!(!refused(mapping()));
}

/// As AWS's queues are, with this share of one trouble.
fn unkind(of: impl FnOnce(&mut crate::like_aws::Queues)) -> Deliveries {
    let (at_once, never) = (crate::like_aws::Lognormal::ms(1e-6, 1e-6), 0.0);
    let mut queues = crate::like_aws::Queues {
        false_empties: never,
        lost_receives: never,
        duplicates: never,
        delivery: at_once,
        ..crate::like_aws::Queues::default()
    };
    of(&mut queues);
    Deliveries::new(queues, crate::like_aws::dice_of_tests())
}

#[tokio::test]
async fn a_false_empty_takes_nothing_and_a_lost_reply_counts_a_receive() {
    let sqs = service();
    let counted = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&counted);
    let kind = source(&sqs, mapping(), move |event| {
        let counts = event.records.iter().map(|record| record.attributes["ApproximateReceiveCount"].clone());
        seen.lock().expect("no panic holds it").extend(counts);
        Ok(failed(&[]))
    });
    send(&sqs, ["one"]);
    let blind = kind.clone().like_aws(unkind(|queues| queues.false_empties = 1.0));
    assert_eq!(blind.deliver().await.expect("the queue exists"), Delivery::default());
    assert_eq!(sqs.counts("jobs").expect("it exists").visible, 1, "nothing was taken");
    let deaf = kind.clone().like_aws(unkind(|queues| queues.lost_receives = 1.0));
    assert_eq!(deaf.deliver().await.expect("the queue exists"), Delivery::default());
    assert_eq!(sqs.counts("jobs").expect("it exists").in_flight, 1, "it waits until its time is over");
    sqs.clock().jump(VISIBILITY);
    assert_eq!(kind.deliver().await.expect("the queue exists").deleted.len(), 1);
    assert_eq!(*counted.lock().expect("no panic holds it"), ["2"]);
}

#[tokio::test]
async fn a_forgotten_deletion_brings_the_message_again_and_batches_come_in_any_order() {
    let sqs = service();
    let batches = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&batches);
    let kind = source(&sqs, mapping(), move |event| {
        let bodies: Vec<_> = event.records.iter().filter_map(|record| record.body.clone()).collect();
        seen.lock().expect("no panic holds it").push(bodies);
        Ok(failed(&[]))
    });
    let forgetful = kind.like_aws(unkind(|queues| queues.duplicates = 1.0));
    send(&sqs, 0..10);
    for _ in 0..4 {
        assert_eq!(forgetful.deliver().await.expect("the queue exists").deleted.len(), 10);
        sqs.clock().jump(VISIBILITY);
    }
    let batches = batches.lock().expect("no panic holds it").clone();
    let orders: BTreeSet<_> = batches.iter().cloned().collect();
    assert!(batches.len() == 4 && orders.len() > 1, "{batches:?}");
}

#[tokio::test]
async fn pollers_grow_in_number_only_by_and_by() {
    let sqs = service();
    let (running, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, most) = (Arc::clone(&running), Arc::clone(&peak));
    let endless: Function = Arc::new(move |_| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    });
    let function_timeout = Duration::from_secs(9_000);
    let wide = Mapping { batch_size: 1, maximum_concurrency: 8, function_timeout, ..mapping() };
    let source = EventSource::new(sqs.clone(), wide, endless).expect("a valid mapping").like_aws(unkind(|queues| {
        queues.first_pollers = 2;
        // Of the clock, which this test moves.
        queues.poller_after = Duration::from_secs(600);
    }));
    send(&sqs, 0..20);
    let feeding = tokio::spawn(async move { source.run(std::future::pending()).await });
    for pollers in [2, 3, 4] {
        while running.load(Ordering::SeqCst) < pollers {
            tokio::task::yield_now().await;
        }
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert_eq!(peak.load(Ordering::SeqCst), pollers);
        sqs.clock().jump(Duration::from_secs(601));
    }
    feeding.abort();
}
