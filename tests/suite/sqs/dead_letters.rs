//! Dead-letter queues: when a message dies, and how it is given another life.

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Name};
use serde_json::json;

use super::target::{Target, system};

/// A queue and its dead-letter queue.
async fn pair(target: &Target, max_receive_count: u32) -> [String; 2] {
    let dead = target.queue(&[]).await;
    let arn = target.attribute(&dead, Name::QueueArn).await;
    let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": max_receive_count.to_string() });
    let url = target.queue(&[(Name::VisibilityTimeout, "1"), (Name::RedrivePolicy, &policy.to_string())]).await;
    [url, dead]
}

pub(super) async fn a_message_is_dead_after_exactly_its_receives(target: &Target) {
    let [url, dead] = pair(target, 3).await;
    let id = target.send(&url, "poison").await;
    for receive in 1..=3 {
        let got = target.receive_one(&url).await;
        assert_eq!(system(&got, &System::ApproximateReceiveCount), receive.to_string());
        assert!(target.receive(&dead).await.is_empty(), "alive after {receive} receives");
        target.pass(1).await;
    }
    assert!(target.receive(&url).await.is_empty(), "a fourth receive gets nothing");
    let got = target.receive_one(&dead).await;
    assert_eq!((got.message_id(), got.body()), (Some(id.as_str()), Some("poison")));
    let arn = target.attribute(&url, Name::QueueArn).await;
    assert_eq!(system(&got, &System::DeadLetterQueueSourceArn), arn);
    assert_eq!(system(&got, &System::ApproximateReceiveCount), "4", "the count goes on");
}

pub(super) async fn sources_of_a_dead_letter_queue_are_listed(target: &Target) {
    let [url, dead] = pair(target, 3).await;
    let list = target.client.list_dead_letter_source_queues().queue_url(&dead);
    assert_eq!(list.send().await.expect("a list").queue_urls(), [url]);
}

pub(super) async fn dead_messages_move_back_as_new_ones(target: &Target) {
    let [url, dead] = pair(target, 1).await;
    let id = target.send(&url, "poison").await;
    target.receive_one(&url).await;
    target.pass(1).await;
    assert!(target.receive(&url).await.is_empty());

    let arn = target.attribute(&dead, Name::QueueArn).await;
    let start = target.client.start_message_move_task().source_arn(&arn);
    start.send().await.expect("a dead-letter queue");
    let list = || target.client.list_message_move_tasks().source_arn(&arn).send();
    let mut moved = list().await.expect("a list");
    while moved.results()[0].status() == Some("RUNNING") {
        target.pass(1).await;
        moved = list().await.expect("a list");
    }
    assert_eq!(moved.results()[0].status(), Some("COMPLETED"));
    assert_eq!(moved.results()[0].approximate_number_of_messages_moved(), 1);
    let back = target.receive_one(&url).await;
    assert_eq!(back.body(), Some("poison"));
    assert_ne!(back.message_id(), Some(id.as_str()));
    assert_eq!(system(&back, &System::ApproximateReceiveCount), "1");
    assert!(target.receive(&dead).await.is_empty());
}
