use super::*;
use serde_json::{Value, json};
use testkit::scripted::{Reply, Server};

/// A caller's configuration for a service at `url`.
fn aws(url: &str) -> shared::aws::AwsConfig {
    shared::aws::AwsConfig {
        region: "eu-central-1".into(),
        endpoint_url: Some(url.into()),
        credentials: shared::aws::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"),
        extra_roots: None,
        http_layer: None,
    }
}

fn message() -> Message {
    let body = json!({"to": ["ada@example.com", "bob@example.com"], "subject": "Grüße", "text": "Hello\n"});
    shared::request::parse(body.to_string().as_bytes()).expect("the e-mail is good")
}

fn ses(url: &str, timeout: Duration) -> Ses {
    let aws = aws(url).sdk_config_without_repetition().expect("no roots are given");
    let client = client_with_timeout(&aws, timeout);
    let sender = "Citizen App <no-reply@example.com>".parse().expect("a sender");
    Ses::new(client, sender, Some("mail-events".into()))
}

async fn outcome(replies: Vec<Reply>) -> (Result<Sent, MailError>, Vec<String>) {
    let server = Server::start(replies).await;
    let outcome = ses(&server.url, Duration::from_secs(20)).send(OrgId::new(), JobId::new(), &message()).await;
    (outcome, server.requests())
}

fn error(status: u16, kind: &str, text: &str) -> Reply {
    let body = json!({"message": text}).to_string();
    Reply::http(status, &[("x-amzn-errortype", kind), ("content-type", "application/json")], &body)
}

#[tokio::test]
async fn the_request_is_what_ses_documents() {
    let server = Server::start(vec![Reply::http(200, &[], r#"{"MessageId":"0100-abc"}"#)]).await;
    let (org_id, job_id) = (OrgId::new(), JobId::new());
    let sent = ses(&server.url, Duration::from_secs(20)).send(org_id, job_id, &message()).await;
    assert_eq!(sent, Ok(Sent { provider_id: "0100-abc".into() }));
    let requests = server.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").expect("a request has a head");
    assert!(head.starts_with("POST /v2/email/outbound-emails HTTP/1.1\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).expect("the body is JSON");
    assert_eq!(
        body,
        json!({
            "FromEmailAddress": "Citizen App <no-reply@example.com>",
            "Destination": {"ToAddresses": ["ada@example.com", "bob@example.com"]},
            "Content": {"Simple": {
                "Subject": {"Data": "Grüße", "Charset": "UTF-8"},
                "Body": {"Text": {"Data": "Hello\n", "Charset": "UTF-8"}}
            }},
            "EmailTags": [{"Name": "job_id", "Value": job_id.to_string()}, {"Name": "org_id", "Value": org_id.to_string()}],
            "ConfigurationSetName": "mail-events"
        })
    );
}

#[tokio::test]
async fn refusals_are_permanent() {
    let cases = [
        (400, "BadRequestException", "", "email_refused"),
        (400, "SomethingNewException", "", "email_refused"),
        (400, "MessageRejected", "Email address is not verified: ada@example.com", "address_unverified"),
        (400, "MessageRejected", "Email address is not verified: xno-reply@example.com", "address_unverified"),
        (400, "MessageRejected", "Email address is not verified: quota@example.com", "address_unverified"),
        (400, "MessageRejected", "Address is on the suppression list: ada@example.com", "recipient_suppressed"),
        (400, "MessageRejected", "Virus found", "email_refused"),
    ];
    for (status, kind, text, expected) in cases {
        let (outcome, requests) = outcome(vec![error(status, kind, text)]).await;
        let Err(MailError::Permanent { code, detail }) = outcome else { panic!("{kind}: {outcome:?}") };
        assert_eq!(code, expected, "{kind} {text}");
        assert!(!detail.contains("ada@"), "{detail}");
        assert_eq!(requests.len(), 1);
    }
}

#[tokio::test]
async fn what_was_not_taken_is_tried_again_later() {
    let sender = "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: \
        Citizen App <No-Reply@example.com>, ada@example.com";
    for (status, kind, text, expected) in [
        (429, "TooManyRequestsException", "Maximum sending rate exceeded.", "mail_rate_limited"),
        (429, "TooManyRequestsException", "Daily message quota exceeded.", "mail_quota"),
        (400, "ThrottlingException", "Daily message quota exceeded", "mail_quota"),
        (400, "LimitExceededException", "", "mail_quota"),
        (400, "AccountSuspendedException", "", "mail_suspended"),
        (400, "SendingPausedException", "", "mail_paused"),
        (400, "MailFromDomainNotVerifiedException", "", "mail_sender_unverified"),
        (400, "MessageRejected", sender, "mail_sender_unverified"),
        (404, "NotFoundException", "", "mail_configuration"),
        (400, "ThrottlingException", "", "mail_rate_limited"),
        (403, "AccessDeniedException", "", "mail_credentials"),
        (403, "ExpiredTokenException", "", "mail_credentials"),
        (400, "UnrecognizedClientException", "", "mail_credentials"),
        (400, "IncompleteSignature", "", "mail_credentials"),
        (400, "AccessDeniedException", "", "mail_credentials"),
        (400, "RequestExpired", "", "mail_unreachable"),
        (503, "ServiceUnavailable", "", "mail_overloaded"),
        (429, "", "", "mail_rate_limited"),
    ] {
        let (outcome, requests) = outcome(vec![error(status, kind, text), Reply::http(200, &[], "{}")]).await;
        let Err(MailError::Transient { code, detail, .. }) = outcome else { panic!("{kind} {text}: {outcome:?}") };
        assert_eq!(code, expected, "{kind} {text}");
        assert!(!detail.contains("ada@"), "{detail}");
        assert_eq!(requests.len(), 1, "{kind}: the SDK must not try again by itself");
    }
}

#[tokio::test]
async fn a_wish_to_wait_is_kept() {
    let reply = Reply::http(429, &[("x-amzn-errortype", "TooManyRequestsException"), ("retry-after", "9")], "{}");
    let (outcome, _) = outcome(vec![reply]).await;
    assert!(
        matches!(outcome, Err(MailError::Transient { retry_after: Some(wait), .. }) if wait.as_secs() == 9),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_may_have_been_taken_is_unknown() {
    let yes = Reply::http(200, &[], r#"{"MessageId":"0100-abc"}"#);
    let cases = [
        ("cut in the body", yes.clone().cut(5)),
        ("cut in the head", yes.clone().cut(60)),
        ("cut at once", Reply::Bytes(Vec::new())),
        ("garbage", Reply::Bytes(b"what?\r\n\r\n".to_vec())),
        ("no JSON", Reply::http(200, &[], "<html>")),
        ("500", error(500, "InternalFailure", "")),
        ("502", Reply::http(502, &[], "bad gateway")),
        ("504", Reply::http(504, &[], "")),
        ("408", Reply::http(408, &[], "")),
        ("RequestTimeout", error(400, "RequestTimeout", "")),
        ("RequestAbortedException", error(400, "RequestAbortedException", "")),
    ];
    for (name, reply) in cases {
        let (outcome, requests) = outcome(vec![reply, yes.clone()]).await;
        assert!(matches!(outcome, Err(MailError::Unknown { .. })), "{name}: {outcome:?}");
        assert_eq!(requests.len(), 1, "{name}: the SDK must not try again by itself");
    }
}

#[tokio::test]
async fn silence_is_unknown_after_the_timeout() {
    let server = Server::start(vec![Reply::Silence, Reply::Silence]).await;
    let outcome = ses(&server.url, Duration::from_millis(300)).send(OrgId::new(), JobId::new(), &message()).await;
    assert!(matches!(outcome, Err(MailError::Unknown { .. })), "{outcome:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_took_nothing() {
    let (outcome, _) = outcome(vec![]).await;
    assert!(matches!(outcome, Err(MailError::Transient { code: "mail_unreachable", .. })), "{outcome:?}");
}
