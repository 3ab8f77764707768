//! Batches of sends.

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use super::target::{Target, refusal};

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
