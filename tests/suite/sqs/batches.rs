//! Batches of sends, deletes and timeouts.

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, QueueAttributeName as Name,
    SendMessageBatchRequestEntry,
};

use super::target::{Target, receipt, refusal};

fn entry(id: &str, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(id).message_body(body).build().expect("id and body are given")
}

pub(super) async fn a_batch_reports_each_entry(target: &Target) {
    let url = target.queue(&[]).await;
    let batch = target.client.send_message_batch().queue_url(&url);
    let batch = batch.entries(entry("good", "body")).entries(entry("bad", "\u{1}")).entries(entry("also_good", "body"));
    let outcome = batch.send().await.expect("the request is sound");
    let good: Vec<&str> = outcome.successful().iter().map(|entry| entry.id()).collect();
    assert_eq!(good, ["good", "also_good"]);
    let [failed] = outcome.failed() else { panic!("{:?}", outcome.failed()) };
    assert_eq!((failed.id(), failed.code(), failed.sender_fault()), ("bad", "InvalidMessageContents", true));
    assert_eq!(target.receive(&url).await.len(), 2);
}

pub(super) async fn a_batch_outside_its_limits_is_refused_whole(target: &Target) {
    let url = target.queue(&[]).await;
    let half = "x".repeat(1 << 19);
    let eleven = (0..11).map(|number| entry(&number.to_string(), "body")).collect();
    for (entries, code) in [
        (vec![], "EmptyBatchRequest"),
        (eleven, "TooManyEntriesInBatchRequest"),
        (vec![entry("same", "body"), entry("same", "body")], "BatchEntryIdsNotDistinct"),
        (vec![entry("not valid", "body")], "InvalidBatchEntryId"),
        (vec![entry(&"x".repeat(81), "body")], "InvalidBatchEntryId"),
        (vec![entry("a", &half), entry("b", &half), entry("c", "x")], "BatchRequestTooLong"),
    ] {
        let batch = target.client.send_message_batch().queue_url(&url).set_entries(Some(entries));
        assert_eq!(refusal(batch.send().await), format!("AWS.SimpleQueueService.{code}"));
    }
    assert!(target.receive(&url).await.is_empty(), "nothing was sent");
    let batch = target.client.send_message_batch().queue_url(&url);
    let whole = batch.entries(entry("a", &half)).entries(entry("b", &half)).send().await;
    assert_eq!(whole.expect("exactly one mebibyte").successful().len(), 2);
}

pub(super) async fn deletes_and_timeouts_come_in_batches_too(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "10")]).await;
    for _ in 0..3 {
        target.send(&url, "body").await;
    }
    let held = target.receive(&url).await;
    assert_eq!(held.len(), 3);
    let mut give_back = target.client.change_message_visibility_batch().queue_url(&url);
    let entry = |id: &str, handle: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(handle);
        entry.visibility_timeout(0).build().expect("all is given")
    };
    for (number, message) in held.iter().enumerate() {
        give_back = give_back.entries(entry(&number.to_string(), receipt(message)));
    }
    let outcome = give_back.entries(entry("foreign", "no-such-receipt")).send().await.expect("it is sound");
    assert_eq!((outcome.successful().len(), outcome.failed().len()), (3, 1));
    assert_eq!(outcome.failed()[0].code(), "ReceiptHandleIsInvalid");

    let mut delete = target.client.delete_message_batch().queue_url(&url);
    for (number, message) in target.receive(&url).await.iter().enumerate() {
        let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
        delete = delete.entries(entry.receipt_handle(receipt(message)).build().expect("all is given"));
    }
    assert_eq!(delete.send().await.expect("it is sound").successful().len(), 3);
    target.pass(10).await;
    assert!(target.receive(&url).await.is_empty());
}
