//! Creating queues, and those that are not there.

use aws_sdk_sqs::types::QueueAttributeName as Name;

use super::target::{Target, refusal};

pub(super) async fn creating_twice_is_fine_unless_attributes_differ(target: &Target) {
    let name = Target::name();
    let create = |seconds: &str| {
        target.client.create_queue().queue_name(&name).attributes(Name::VisibilityTimeout, seconds).send()
    };
    let first = create("40").await.expect("a new queue").queue_url;
    let again = create("40").await.expect("the same attributes").queue_url;
    assert_eq!(first, again);
    assert_eq!(refusal(create("41").await), "QueueAlreadyExists");
}

pub(super) async fn attributes_outside_their_limits_are_refused(target: &Target) {
    for (name, value) in [
        (Name::VisibilityTimeout, "43201"),
        (Name::DelaySeconds, "901"),
        (Name::MessageRetentionPeriod, "59"),
        (Name::RedrivePolicy, r#"{"deadLetterTargetArn":"nowhere","maxReceiveCount":5}"#),
        (Name::RedrivePolicy, "5"),
    ] {
        let create = target.client.create_queue().queue_name(Target::name()).attributes(name.clone(), value);
        assert_eq!(refusal(create.send().await), "InvalidAttributeValue", "{name} = {value}");
    }
}

pub(super) async fn a_missing_queue_has_its_legacy_code(target: &Target) {
    let code = "AWS.SimpleQueueService.NonExistentQueue";
    let url = target.queue(&[]).await.replace("suite-", "nobody-");
    assert_eq!(refusal(target.client.receive_message().queue_url(&url).send().await), code);
    let send = target.client.send_message().queue_url(&url).message_body("body");
    assert_eq!(refusal(send.send().await), code);
}
