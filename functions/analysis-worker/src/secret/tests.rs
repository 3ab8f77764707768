use super::*;
use serde_json::json;
use testkit::scripted::{Reply, Server};

/// A caller's configuration for a service at `url`.
pub(crate) fn aws(url: &str) -> shared::aws::AwsConfig {
    shared::aws::AwsConfig {
        region: "eu-central-1".into(),
        endpoint_url: Some(url.into()),
        credentials: shared::aws::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"),
        extra_roots: None,
        http_layer: None,
    }
}

/// The key in the secret `model-key` of a Secrets Manager at `url`.
pub(crate) fn key(url: &str) -> ApiKey {
    let client = secrets_manager(&aws(url).sdk_config().expect("no roots are given"));
    ApiKey::new(client, "model-key".into())
}

/// What Secrets Manager says of a secret with this value.
pub(crate) fn reply(value: &str) -> Reply {
    let body = json!({"ARN": "arn", "Name": "model-key", "SecretString": value}).to_string();
    Reply::http(200, &[("content-type", "application/x-amz-json-1.1")], &body)
}

/// What Secrets Manager says when it does not give a secret.
pub(crate) fn error(status: u16, kind: &str) -> Reply {
    Reply::http(status, &[("x-amzn-errortype", kind), ("content-type", "application/x-amz-json-1.1")], "{}")
}

#[tokio::test]
async fn a_secret_does_not_show() {
    let secret = Secret::new("sk-very-secret\n").expect("a last line break is dropped");
    assert_eq!(secret.expose(), "sk-very-secret");
    let key = key(&Server::start(vec![reply("sk-very-secret")]).await.url);
    assert_eq!(*key.get().await.expect("the server has it"), secret);
    assert!(!format!("{secret:?} {key:?}").contains("very"));
}

#[test]
fn what_cannot_stand_in_a_header_is_no_key() {
    for value in ["", " \n", "a\nb", "a\r\nx-evil: 1", "a b", "schlüssel", "a\0", "[\"a\"]", "\"a\"", "<a>", "{}"] {
        assert!(matches!(Secret::new(value), Err(KeyError::Unusable)), "{value:?}");
    }
}

#[tokio::test]
async fn it_is_read_once() {
    let server = Server::start(vec![reply("first")]).await;
    let key = key(&server.url);
    let (one, two) = tokio::join!(key.get(), key.get());
    assert_eq!(one.expect("the server has it").expose(), "first");
    assert_eq!(two.expect("the server has it").expose(), "first");
    assert_eq!(server.requests().len(), 1);
    assert!(server.requests()[0].contains("secretsmanager.GetSecretValue"));
    assert!(server.requests()[0].contains(r#""SecretId":"model-key""#));
}

#[tokio::test]
async fn a_refused_key_is_read_again() {
    let server = Server::start(vec![reply("first"), reply("first"), reply("second")]).await;
    let key = key(&server.url);
    let first = key.get().await.expect("the server has it");
    assert_eq!(key.renew(&first).await.expect("the server answers"), None);
    let second = key.renew(&first).await.expect("the server answers").expect("it is another one");
    assert_eq!(second.expose(), "second");
    // Somebody else who was refused with the first gets the second without asking again.
    let same = key.renew(&first).await.expect("it is kept").expect("it is another one");
    assert_eq!(same.expose(), "second");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_reply_that_cannot_be_read_does_not_show_the_secret() {
    let broken = Reply::http(
        200,
        &[("content-type", "application/x-amz-json-1.1")],
        r#"{"SecretString":"sk-very-secret","Name":5"#,
    );
    let binary =
        Reply::http(200, &[("content-type", "application/x-amz-json-1.1")], r#"{"SecretBinary":"c2stdmVyeQ=="}"#);
    let server = Server::start(vec![broken, binary, reply("sk very secret")]).await;
    let key = key(&server.url);
    for _ in 0..3 {
        let error = key.get().await.expect_err("none of these is a key");
        assert!(!format!("{error} {error:?}").contains("very"), "{error:?}");
    }
}

#[tokio::test]
async fn the_consoles_json_is_read_and_garbage_names_the_secret() {
    for stored in [
        r#"{"ANTHROPIC_API_KEY":"sk-very-secret"}"#,
        "{ \"ANTHROPIC_API_KEY\": \" sk-very-secret\\n\", \"note\": 1 }\n",
        r#"{"key":"sk-very-secret"}"#,
        "sk-very-secret",
    ] {
        let server = Server::start(vec![reply(stored)]).await;
        assert_eq!(key(&server.url).get().await.expect("it is there").expose(), "sk-very-secret", "{stored}");
    }
    for garbage in [
        "{}",
        r#"{"a":"sk-very-secret","b":"sk-very-secret"}"#,
        r#"{"ANTHROPIC_API_KEY":["sk-very-secret"]}"#,
        r#"{"ANTHROPIC_API_KEY":null,"key":"sk-very-secret"}"#,
        r#"{"ANTHROPIC_API_KEY":"""#,
        r#"["sk-very-secret"]"#,
        r#"{"key":"very secret"}"#,
    ] {
        let server = Server::start(vec![reply(garbage)]).await;
        let error = key(&server.url).get().await.expect_err(garbage);
        let said = format!("{error} {error:?}");
        assert!(said.contains("model-key") && !said.contains("very"), "{garbage}: {said}");
    }
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let server = Server::start(vec![error(400, "ResourceNotFoundException"), reply("first")]).await;
    let key = key(&server.url);
    assert!(matches!(key.get().await, Err(KeyError::Withheld(_))));
    assert_eq!(key.get().await.expect("the server has it now").expose(), "first");
}

/// The SDK asks three times before it tells of what passes.
#[tokio::test]
async fn what_passes_is_told_from_what_stays() {
    for (status, kind) in [(400, "ThrottlingException"), (500, "InternalServiceError"), (503, "")] {
        let server = Server::start(vec![error(status, kind); 3]).await;
        let read = key(&server.url).get().await;
        assert!(matches!(read, Err(KeyError::Unread(_))), "{status} {kind}: {read:?}");
    }
    for kind in ["AccessDeniedException", "ResourceNotFoundException", "InvalidRequestException", "DecryptionFailure"] {
        let read = key(&Server::start(vec![error(400, kind)]).await.url).get().await;
        assert!(matches!(read, Err(KeyError::Withheld(_))), "{kind}: {read:?}");
    }
    let read = key(&Server::start(vec![]).await.url).get().await;
    assert!(matches!(read, Err(KeyError::Unread(_))), "nobody listens: {read:?}");
}
