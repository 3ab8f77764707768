//! What a message may be, and how it arrives.

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeName as System, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue,
};

use super::target::{Target, refusal, system};

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("a type is given")
}

fn number(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("Number.int").string_value(value).build().expect("a type is given")
}

fn binary(value: &[u8]) -> MessageAttributeValue {
    let value = Blob::new(value);
    MessageAttributeValue::builder().data_type("Binary").binary_value(value).build().expect("a type is given")
}

/// The digests here were made with Python from the documented algorithm.
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
        .message_attributes("text", text("value"))
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
    assert_eq!(got.md5_of_body(), Some("65a5b3cbbc4570f58815e08d6d5eddac"));
    assert_eq!(got.md5_of_body(), sent.md5_of_message_body());
    assert_eq!(got.md5_of_message_attributes(), sent.md5_of_message_attributes());
    assert_eq!(system(&got, &System::MessageGroupId), "org_1");
    assert_eq!(system(&got, &System::AwsTraceHeader), trace);
    assert_eq!(system(&got, &System::ApproximateReceiveCount), "1");
    let sent_ms: u64 = system(&got, &System::SentTimestamp).parse().expect("epoch milliseconds");
    let received_ms: u64 = system(&got, &System::ApproximateFirstReceiveTimestamp).parse().expect("epoch milliseconds");
    assert!(sent_ms <= received_ms && sent_ms > 1_600_000_000_000);
}

pub(super) async fn attributes_are_shown_as_asked(target: &Target) {
    let url = target.queue(&[]).await;
    let send = target
        .client
        .send_message()
        .queue_url(&url)
        .message_body("body")
        .message_attributes("job.kind", text("analyze"))
        .message_attributes("job.size", number("42"))
        .message_attributes("raw", binary(&[0, 1, 255]));
    let sent = send.send().await.expect("a valid message");
    assert_eq!(sent.md5_of_message_attributes(), Some("fb40fe69959b6a878ed51a382d143a79"));
    let names = |asked: &[&str]| {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        let receive = target.client.receive_message().queue_url(&url).visibility_timeout(0);
        let receive = receive.set_message_attribute_names(Some(asked)).send();
        async {
            let messages = receive.await.expect("it exists").messages.unwrap_or_default();
            assert!(messages[0].attributes().is_none_or(|shown| shown.is_empty()), "system ones were not asked for");
            let shown = messages[0].message_attributes().cloned().unwrap_or_default();
            let mut names: Vec<String> = shown.keys().cloned().collect();
            names.sort();
            (names, shown)
        }
    };
    assert!(names(&[]).await.0.is_empty());
    assert_eq!(names(&["raw"]).await.0, ["raw"]);
    assert_eq!(names(&["job.*"]).await.0, ["job.kind", "job.size"]);
    let (all, shown) = names(&["All"]).await;
    assert_eq!(all, ["job.kind", "job.size", "raw"]);
    assert_eq!(shown["job.size"], number("42"));
    assert_eq!(shown["raw"], binary(&[0, 1, 255]));
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

pub(super) async fn attributes_count_against_the_mebibyte(target: &Target) {
    let url = target.queue(&[]).await;
    let send = |bytes: usize| {
        let send = target.client.send_message().queue_url(&url).message_body("x".repeat(bytes));
        send.message_attributes("name", text("value")).send()
    };
    // Four bytes of name, six of type and five of value.
    send((1 << 20) - 15).await.expect("exactly one mebibyte");
    assert_eq!(refusal(send((1 << 20) - 14).await), "InvalidParameterValue");
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
