//! Dead-letter queues: when a message dies, and what is said of it then.

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Name};
use serde_json::json;

use super::target::{Target, arn, system};

pub(super) async fn a_message_is_dead_after_exactly_its_receives(target: &Target) {
    let dead = target.queue(&[]).await;
    let policy = json!({ "deadLetterTargetArn": arn(&dead), "maxReceiveCount": 3 });
    let url = target.queue(&[(Name::VisibilityTimeout, "1"), (Name::RedrivePolicy, &policy.to_string())]).await;
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
    assert_eq!(system(&got, &System::DeadLetterQueueSourceArn), arn(&url));
    assert_eq!(system(&got, &System::ApproximateReceiveCount), "4", "the count goes on");
}
