//! What a batch's report says, whatever becomes of its messages.

use super::*;
use shared::runtime::event::Event as _;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

const AT_ONCE: usize = 5;

fn messages() -> Vec<Record> {
    let ids: Vec<_> = (0..10).map(|number| format!(r#"{{"messageId":"{number}"}}"#)).collect();
    Batch::read(&format!(r#"{{"Records":[{}]}}"#, ids.join(","))).0.expect("a batch")
}

/// Two failing messages in a row fail in different ways: one returns, the next panics.
async fn fail(number: usize) -> bool {
    tokio::task::yield_now().await;
    assert!(number.is_multiple_of(2), "on purpose");
    true
}

#[tokio::test]
async fn of_all_patterns_of_failures_and_panics_only_those_return() {
    // The panics of this test are meant; a thousand reports of them would hide another.
    std::panic::set_hook(Box::new(|_| {}));
    for pattern in 0..1u32 << 10 {
        let fails = |number: usize| pattern >> number & 1 == 1;
        let response = handle_all("test", messages(), AT_ONCE, |message| async move {
            let number: usize = message.message_id().and_then(|id| id.parse().ok()).expect("a number");
            if fails(number) { fail(number).await } else { false }
        })
        .await;
        let returned: BTreeSet<String> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.clone()).collect();
        let expected: BTreeSet<String> = (0..10).filter(|number| fails(*number)).map(|n| n.to_string()).collect();
        assert_eq!((returned.len(), returned), (response.batch_item_failures.len(), expected), "{pattern:010b}");
    }
    drop(std::panic::take_hook());
}

#[tokio::test]
async fn a_bounded_number_runs_at_a_time() {
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    handle_all("test", messages(), AT_ONCE, |_| async {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        running.fetch_sub(1, Ordering::SeqCst);
        false
    })
    .await;
    assert_eq!(most.into_inner(), AT_ONCE);
}

/// An empty name in the report would return the nine others too.
#[tokio::test]
async fn a_record_that_names_no_message_returns_nobody_else() {
    let mut messages = messages();
    messages[4] = Record::default();
    let response =
        handle_all("test", messages, AT_ONCE, |message| async move { message.message_id().is_none_or(|id| id == "7") })
            .await;
    let returned: Vec<_> =
        response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!(returned, ["7"]);
}
