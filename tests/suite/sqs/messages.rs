//! What a message may be, and how it arrives.

use aws_sdk_sqs::types::{
    MessageSystemAttributeName as System, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName as Name,
};

use super::target::{Target, refusal, system};

pub(super) async fn a_message_arrives_as_it_was_sent(target: &Target) {
    let url = target.queue(&[]).await;
    let trace = "Root=1-67891233-abcdef012345678912345678;Sampled=1";
    let trace_value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
    let body = "Ünïcödé \u{1F980}\n\t\"quoted\"";
    let sent = target
        .client
        .send_message()
        .queue_url(&url)
        .message_body(body)
        .message_group_id("org_1")
        .message_system_attributes(
            MessageSystemAttributeNameForSends::AwsTraceHeader,
            trace_value.expect("a type is given"),
        )
        .send()
        .await
        .expect("a valid message");
    let got = target.receive_one(&url).await;
    assert_eq!(got.body(), Some(body));
    assert_eq!(got.message_id(), sent.message_id());
    assert_eq!(system(&got, &System::MessageGroupId), "org_1");
    assert_eq!(system(&got, &System::AwsTraceHeader), trace);
    assert_eq!(system(&got, &System::ApproximateReceiveCount), "1");
    let sent_ms: u64 = system(&got, &System::SentTimestamp).parse().expect("epoch milliseconds");
    let received_ms: u64 = system(&got, &System::ApproximateFirstReceiveTimestamp).parse().expect("epoch milliseconds");
    assert!(sent_ms <= received_ms && sent_ms > 1_600_000_000_000);
}

pub(super) async fn system_attributes_are_shown_if_asked_for(target: &Target) {
    let url = target.queue(&[(Name::VisibilityTimeout, "0")]).await;
    target.send(&url, "body").await;
    let receive = target.client.receive_message().queue_url(&url).send().await;
    let messages = receive.expect("it exists").messages.unwrap_or_default();
    assert!(messages[0].attributes().is_none_or(|shown| shown.is_empty()), "{messages:?}");
    assert!(target.receive_one(&url).await.attributes().is_some_and(|shown| !shown.is_empty()));
}

pub(super) async fn bodies_outside_the_allowed_characters_are_refused(target: &Target) {
    let url = target.queue(&[]).await;
    for body in ["a\0b", "\u{b}", "\u{FFFF}"] {
        let send = target.client.send_message().queue_url(&url).message_body(body);
        assert_eq!(refusal(send.send().await), "InvalidMessageContents", "{body:?}");
    }
    let empty = target.client.send_message().queue_url(&url).message_body("");
    assert_eq!(refusal(empty.send().await), "MissingParameter");
}

pub(super) async fn a_body_has_one_mebibyte_at_most(target: &Target) {
    let url = target.queue(&[]).await;
    let send = |bytes: usize| target.client.send_message().queue_url(&url).message_body("x".repeat(bytes)).send();
    send(1 << 20).await.expect("exactly one mebibyte");
    assert_eq!(refusal(send((1 << 20) + 1).await), "InvalidParameterValue");
}

pub(super) async fn a_receive_takes_one_to_ten_messages(target: &Target) {
    let url = target.queue(&[]).await;
    for max in [0, 11, -1] {
        let receive = target.client.receive_message().queue_url(&url).max_number_of_messages(max);
        assert_eq!(refusal(receive.send().await), "InvalidParameterValue", "max {max}");
    }
}

pub(super) async fn other_arguments_outside_their_limits_are_refused(target: &Target) {
    let url = target.queue(&[]).await;
    let receive = || target.client.receive_message().queue_url(&url);
    assert_eq!(refusal(receive().wait_time_seconds(21).send().await), "InvalidParameterValue");
    assert_eq!(refusal(receive().visibility_timeout(43_201).send().await), "InvalidParameterValue");
    let send = || target.client.send_message().queue_url(&url).message_body("body");
    assert_eq!(refusal(send().delay_seconds(901).send().await), "InvalidParameterValue");
    assert_eq!(refusal(send().message_group_id("a b").send().await), "InvalidParameterValue");
}
