//! Creating, describing, finding and emptying queues.

use aws_sdk_sqs::types::QueueAttributeName as Name;
use serde_json::{Value, json};

use super::target::{Target, refusal};

pub(super) async fn creating_twice_is_fine_unless_attributes_differ(target: &Target) {
    let name = Target::name();
    let create = |seconds: &str| {
        target.client.create_queue().queue_name(&name).attributes(Name::VisibilityTimeout, seconds).send()
    };
    let first = create("40").await.expect("a new queue").queue_url;
    let again = create("40").await.expect("the same attributes").queue_url;
    assert_eq!(first, again);
    let found = target.client.get_queue_url().queue_name(&name).send().await.expect("it exists");
    assert_eq!(found.queue_url, first);
    assert_eq!(refusal(create("41").await), "QueueAlreadyExists");
}

pub(super) async fn attributes_are_given_back_and_can_be_changed(target: &Target) {
    let dead = target.queue(&[]).await;
    let policy = json!({
        "deadLetterTargetArn": target.attribute(&dead, Name::QueueArn).await,
        "maxReceiveCount": 5,
    });
    let url = target.queue(&[(Name::VisibilityTimeout, "90"), (Name::RedrivePolicy, &policy.to_string())]).await;
    for (name, expected) in [
        (Name::VisibilityTimeout, "90"),
        (Name::DelaySeconds, "0"),
        (Name::MessageRetentionPeriod, "345600"),
        (Name::MaximumMessageSize, "1048576"),
        (Name::ReceiveMessageWaitTimeSeconds, "0"),
    ] {
        assert_eq!(target.attribute(&url, name.clone()).await, expected, "{name}");
    }
    let given: Value = serde_json::from_str(&target.attribute(&url, Name::RedrivePolicy).await).expect("JSON");
    assert_eq!(given["deadLetterTargetArn"], policy["deadLetterTargetArn"]);

    let change = target.client.set_queue_attributes().queue_url(&url);
    let change = change.attributes(Name::VisibilityTimeout, "120").attributes(Name::DelaySeconds, "3");
    change.send().await.expect("valid attributes");
    assert_eq!(target.attribute(&url, Name::VisibilityTimeout).await, "120");
    assert_eq!(target.attribute(&url, Name::DelaySeconds).await, "3");
    let all = target.client.get_queue_attributes().queue_url(&url).attribute_names(Name::All);
    let all = all.send().await.expect("it exists").attributes.expect("all of them");
    assert!(all.len() >= 12, "{all:?}");
}

pub(super) async fn attributes_outside_their_limits_are_refused(target: &Target) {
    for (name, value) in [
        (Name::VisibilityTimeout, "43201"),
        (Name::DelaySeconds, "901"),
        (Name::MessageRetentionPeriod, "59"),
        (Name::MaximumMessageSize, "1048577"),
        (Name::RedrivePolicy, r#"{"deadLetterTargetArn":"nowhere","maxReceiveCount":5}"#),
        (Name::RedrivePolicy, "5"),
    ] {
        let create = target.client.create_queue().queue_name(Target::name()).attributes(name.clone(), value);
        assert_eq!(refusal(create.send().await), "InvalidAttributeValue", "{name} = {value}");
    }
}

pub(super) async fn a_missing_queue_has_its_legacy_code(target: &Target) {
    let code = "AWS.SimpleQueueService.NonExistentQueue";
    let found = target.client.get_queue_url().queue_name(Target::name()).send().await;
    assert_eq!(refusal(found), code);
    let url = target.queue(&[]).await.replace("suite-", "nobody-");
    assert_eq!(refusal(target.client.receive_message().queue_url(&url).send().await), code);
    let send = target.client.send_message().queue_url(&url).message_body("body");
    assert_eq!(refusal(send.send().await), code);
}

pub(super) async fn queues_are_listed_by_prefix_and_page(target: &Target) {
    let prefix = Target::name();
    for number in 0..3 {
        let create = target.client.create_queue().queue_name(format!("{prefix}-{number}"));
        create.send().await.expect("a new queue");
    }
    let list = || target.client.list_queues().queue_name_prefix(&prefix);
    let all = list().send().await.expect("a list");
    assert_eq!(all.queue_urls().len(), 3);
    let first = list().max_results(2).send().await.expect("a page");
    assert_eq!(first.queue_urls().len(), 2);
    let token = first.next_token().expect("there is more");
    let second = list().max_results(2).next_token(token).send().await.expect("a page");
    assert_eq!(second.queue_urls(), &all.queue_urls()[2..]);
    assert_eq!(second.next_token(), None);
}

pub(super) async fn a_purge_takes_everything(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "2")]).await;
    for _ in 0..3 {
        target.send(&url, "body").await;
    }
    target.receive(&url).await;
    target.send(&url, "body").await;
    target.client.purge_queue().queue_url(&url).send().await.expect("the first purge");
    target.pass(2).await;
    assert!(target.receive(&url).await.is_empty());
}
