//! Visibility, delays, deletion, long polls and whose turn it is.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Name};

use super::target::{Target, receipt, refusal, system};

pub(super) async fn a_received_message_is_hidden_until_its_timeout(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "2")]).await;
    target.send(&url, "body").await;
    let first = target.receive_one(&url).await;
    assert!(target.receive(&url).await.is_empty());
    target.pass(2).await;
    let second = target.receive_one(&url).await;
    assert_eq!(second.message_id(), first.message_id());
    assert_eq!(system(&second, &System::ApproximateReceiveCount), "2");
    let times = [&first, &second].map(|got| system(got, &System::ApproximateFirstReceiveTimestamp).to_owned());
    assert_eq!(times[0], times[1]);
    assert_ne!(receipt(&first), receipt(&second));
}

pub(super) async fn visibility_can_be_extended_and_given_up(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "2")]).await;
    target.send(&url, "body").await;
    let held = target.receive_one(&url).await;
    let change = |seconds| {
        let change = target.client.change_message_visibility().queue_url(&url);
        change.receipt_handle(receipt(&held)).visibility_timeout(seconds).send()
    };
    change(60).await.expect("it is in flight");
    target.pass(3).await;
    assert!(target.receive(&url).await.is_empty(), "extended");
    change(0).await.expect("it is in flight");
    let again = target.receive_one(&url).await;
    assert_eq!(system(&again, &System::ApproximateReceiveCount), "2", "giving up counts nothing itself");
}

pub(super) async fn a_delayed_message_waits(target: &Target) {
    let url = target.queue(&[(Name::DelaySeconds, "2")]).await;
    target.send(&url, "late").await;
    let send = target.client.send_message().queue_url(&url).message_body("now").delay_seconds(0);
    send.send().await.expect("a valid message");
    assert_eq!(target.receive_one(&url).await.body(), Some("now"));
    target.pass(2).await;
    assert_eq!(target.receive_one(&url).await.body(), Some("late"));
}

pub(super) async fn a_deleted_message_is_gone(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "1")]).await;
    target.send(&url, "body").await;
    let held = target.receive_one(&url).await;
    let delete = target.client.delete_message().queue_url(&url).receipt_handle(receipt(&held));
    delete.send().await.expect("its own receipt");
    target.pass(1).await;
    assert!(target.receive(&url).await.is_empty());
}

/// SQS documents that such a deletion succeeds and does nothing, and so does a second one.
pub(super) async fn a_stale_receipt_deletes_nothing(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "1")]).await;
    target.send(&url, "body").await;
    let first = target.receive_one(&url).await;
    target.pass(1).await;
    let second = target.receive_one(&url).await;
    let delete = |handle: &str| target.client.delete_message().queue_url(&url).receipt_handle(handle).send();
    delete(receipt(&first)).await.expect("stale is no error");
    target.pass(1).await;
    let third = target.receive_one(&url).await;
    assert_eq!(third.message_id(), second.message_id());
    delete(receipt(&third)).await.expect("its own receipt");
    delete(receipt(&third)).await.expect("again is no error");
}

pub(super) async fn a_foreign_receipt_is_refused(target: &Target) {
    let url = target.queue(&[]).await;
    let delete = target.client.delete_message().queue_url(&url).receipt_handle("no-such-receipt");
    assert_eq!(refusal(delete.send().await), "ReceiptHandleIsInvalid");
    let change = target.client.change_message_visibility().queue_url(&url).receipt_handle("no-such-receipt");
    assert_eq!(refusal(change.visibility_timeout(1).send().await), "ReceiptHandleIsInvalid");
}

pub(super) async fn a_long_poll_wakes_for_a_message(target: &Target) {
    let url = target.queue(&[]).await;
    let waiting = tokio::spawn({
        let poll = target.client.receive_message().queue_url(&url).wait_time_seconds(20);
        async move { poll.send().await }
    });
    // Long enough for the poll to be waiting in most runs; the outcome is the same if it is not.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let id = target.send(&url, "body").await;
    let got = waiting.await.expect("no panic").expect("it exists").messages.unwrap_or_default();
    assert_eq!(got[0].message_id(), Some(id.as_str()));
}

/// SQS puts quiet groups first once a noisy one has 30 messages and a tenth of all in flight.
pub(super) async fn a_noisy_group_holds_nobody_up(target: &Target) {
    let url = target.queue(&[]).await;
    let send = |group: &'static str, count: usize| {
        let client = target.client.clone();
        let url = url.clone();
        async move {
            for _ in 0..count {
                let send = client.send_message().queue_url(&url).message_body(group).message_group_id(group);
                send.send().await.expect("a valid message");
            }
        }
    };
    send("noisy", 60).await;
    for _ in 0..4 {
        assert_eq!(target.receive(&url).await.len(), 10);
    }
    send("quiet", 1).await;
    let next = target.receive(&url).await;
    assert!(next.iter().any(|message| message.body() == Some("quiet")), "served in the next receive");
}
