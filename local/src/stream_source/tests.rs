//! What a function gets of a stream, how often, and what is given up.

use std::sync::Mutex;

use super::*;
use crate::event_source::FunctionError;

const AGE: Duration = Duration::from_secs(60);

fn mapping() -> StreamMapping {
    StreamMapping {
        batch_size: 100,
        maximum_record_age: AGE,
        maximum_retry_attempts: None,
        bisects: true,
        reports_failures: true,
        filters: vec![r#"{"eventName": ["MODIFY"]}"#.to_owned()],
    }
}

fn records(numbers: impl IntoIterator<Item = u32>) -> Vec<Json> {
    let now = Clock::of_tests().now_ms() / 1000;
    let record = |number: u32| {
        let change = json!({ "SequenceNumber": number.to_string(), "ApproximateCreationDateTime": now });
        json!({ "eventName": if number == 0 { "INSERT" } else { "MODIFY" }, "dynamodb": change })
    };
    numbers.into_iter().map(record).collect()
}

fn failed(number: u32) -> Json {
    json!({ "batchItemFailures": [{ "itemIdentifier": number.to_string() }] })
}

/// Delivers records 1 to 8 and one that does not pass; the sequence numbers of each invocation. Time passes as fast as it is
/// waited for.
async fn invocations(
    mapping: StreamMapping,
    function: impl Fn(usize, &[u32]) -> Result<Json, FunctionError> + Send + Sync + 'static,
) -> Vec<Vec<u32>> {
    let clock = Clock::of_tests();
    let (calls, jumping) = (Arc::new(Mutex::new(Vec::<Vec<u32>>::new())), clock.clone());
    let seen = Arc::clone(&calls);
    let function: StreamFunction = Arc::new(move |event| {
        let records = event["Records"].as_array().expect("records");
        let number = |record: &Json| record["dynamodb"]["SequenceNumber"].as_str()?.parse().ok();
        let batch: Vec<u32> = records.iter().filter_map(number).collect();
        let mut calls = seen.lock().expect("no panic holds it");
        let answer = function(calls.len(), &batch);
        calls.push(batch);
        // What is waited for after this is over.
        jumping.jump(PAUSE);
        Box::pin(async move { answer })
    });
    let source = StreamSource::new(mapping, AGE, function, clock.clone()).expect("a known filter");
    let ticking = async {
        loop {
            tokio::task::yield_now().await;
            clock.jump(PAUSE);
        }
    };
    tokio::select! {
        () = source.deliver(records(0..=8)) => {}
        () = ticking => {}
    }
    let calls = calls.lock().expect("no panic holds it");
    calls.clone()
}

#[tokio::test]
async fn what_passes_the_filter_comes_once_if_it_succeeds() {
    let calls = invocations(mapping(), |_, _| Ok(Json::Null)).await;
    assert_eq!(calls, [(1..=8).collect::<Vec<_>>()]);
}

#[tokio::test]
async fn a_batch_goes_on_at_the_first_record_that_failed() {
    let calls = invocations(mapping(), |call, _| Ok(if call == 0 { failed(6) } else { Json::Null })).await;
    assert_eq!(calls, [(1..=8).collect::<Vec<_>>(), vec![6, 7, 8]]);
    let without = StreamMapping { reports_failures: false, ..mapping() };
    assert_eq!(invocations(without, |_, _| Ok(failed(6))).await.len(), 1);
}

#[tokio::test]
async fn a_record_that_always_fails_stops_the_others_only_until_it_is_given_up() {
    let poison = |_: usize, batch: &[u32]| if batch.contains(&3) { Err("poison".into()) } else { Ok(Json::Null) };
    let twice = StreamMapping { maximum_retry_attempts: Some(1), ..mapping() };
    let expected =
        [(1..=8).collect(), (1..=4).collect(), vec![1, 2], vec![3, 4], vec![3], vec![3], vec![4], vec![5, 6, 7, 8]];
    assert_eq!(invocations(twice, poison).await, expected);
    // Without a number of attempts until it is too old, and what was written with it is so too.
    let calls = invocations(mapping(), poison).await;
    let most = 6 + usize::try_from(AGE.as_millis() / PAUSE.as_millis()).expect("a few");
    assert!((7..=most).contains(&calls.len()) && calls[4..].iter().all(|batch| *batch == [3]), "{calls:?}");
}

#[tokio::test]
async fn a_batch_is_given_up_after_its_attempts() {
    let mapping = StreamMapping { maximum_retry_attempts: Some(2), bisects: false, ..mapping() };
    assert_eq!(invocations(mapping, |_, _| Err("on purpose".into())).await.len(), 3);
}

#[tokio::test]
async fn what_is_too_old_is_not_delivered() {
    let calls = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&calls);
    let function: StreamFunction = Arc::new(move |_| {
        *seen.lock().expect("no panic holds it") += 1;
        Box::pin(async { Ok(Json::Null) })
    });
    let source = StreamSource::new(mapping(), AGE, function, Clock::of_tests()).expect("a known filter");
    let mut old = records(1..=2);
    old[0]["dynamodb"]["ApproximateCreationDateTime"] = 1_700_000_000.into();
    source.deliver(vec![old.remove(0)]).await;
    assert_eq!(*calls.lock().expect("no panic holds it"), 0);
    source.deliver(old).await;
    assert_eq!(*calls.lock().expect("no panic holds it"), 1);
}

#[tokio::test]
async fn a_batch_comes_late_and_now_and_then_twice() {
    let clock = Clock::stopped();
    let calls = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&calls);
    let function: StreamFunction = Arc::new(move |_| {
        *seen.lock().expect("no panic holds it") += 1;
        Box::pin(async { Ok(json!({ "batchItemFailures": [] })) })
    });
    let second = crate::like_aws::Lognormal::ms(1000.0, 1000.0);
    let settings = crate::like_aws::Stream { delay: second, repetitions: 1.0 };
    let source = StreamSource::new(mapping(), AGE, function, clock.clone()).expect("a known filter");
    let source = source.like_aws(Batches::new(settings, crate::like_aws::dice_of_tests()));
    let handed = source.hand_over(records(1..=3));
    tokio::pin!(handed);
    for _ in 0..100 {
        tokio::select! {
            biased;
            () = &mut handed => panic!("too soon"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(*calls.lock().expect("no panic holds it"), 0);
    clock.jump(Duration::from_millis(1001));
    handed.await;
    assert_eq!(*calls.lock().expect("no panic holds it"), 2);
}
