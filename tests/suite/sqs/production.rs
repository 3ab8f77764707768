//! The client that the functions use, on a real server.

use std::time::Duration;

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Name};
use shared::queue::{Outgoing, Queue, QueueError};

use super::target::{Target, receipt, system};

fn outgoing(body: &str) -> Outgoing {
    Outgoing {
        group_id: "org_1".to_owned(),
        body: body.to_owned(),
        trace_header: Some("Root=1-67891233-abcdef012345678912345678".to_owned()),
        delay: Duration::ZERO,
    }
}

pub(super) async fn the_production_client_sends_and_hides(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "2")]).await;
    let queue = Queue::open(&target.aws, url.clone());
    let id = queue.send(&outgoing("one")).await.expect("a valid message");
    let got = target.receive_one(&url).await;
    assert_eq!(got.message_id(), Some(id.as_str()));
    assert_eq!(system(&got, &System::MessageGroupId), "org_1");
    assert_eq!(system(&got, &System::AwsTraceHeader), "Root=1-67891233-abcdef012345678912345678");
    queue.change_visibility(receipt(&got), Duration::from_secs(60)).await.expect("it is in flight");
    target.pass(3).await;
    assert!(target.receive(&url).await.is_empty(), "still hidden");

    let mut messages: Vec<Outgoing> = (0..23).map(|number| outgoing(&number.to_string())).collect();
    messages[7].body = "\u{1}".to_owned();
    let outcomes = queue.send_batch(&messages).await;
    assert_eq!(outcomes.len(), 23);
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(number, 7),
            Err(error) => assert!(number == 7 && matches!(error, QueueError::Refused(_)), "{number}: {error:?}"),
        }
    }
    let mut received = 0;
    loop {
        match target.receive(&url).await.len() {
            0 => break,
            count => received += count,
        }
    }
    assert_eq!(received, 22);
}

pub(super) async fn the_production_client_tells_errors_apart(target: &Target) {
    let url = target.queue(&[]).await;
    let missing = Queue::open(&target.aws, url.replace("suite-", "nobody-"));
    let refused = missing.send(&outgoing("body")).await;
    assert!(matches!(refused, Err(QueueError::Refused(_))), "{refused:?}");

    let queue = Queue::open(&target.aws, url.clone());
    let foreign = queue.change_visibility("no-such-receipt", Duration::ZERO).await;
    assert!(matches!(foreign, Err(QueueError::NotInFlight(_))), "{foreign:?}");

    let mut nowhere = target.aws.clone();
    nowhere.endpoint_url = Some("http://127.0.0.1:9".to_owned());
    let away = Queue::open(&nowhere, url).send(&outgoing("body")).await;
    assert!(matches!(away, Err(QueueError::Unavailable(_))), "{away:?}");
}
