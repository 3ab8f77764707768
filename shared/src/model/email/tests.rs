use serde_json::json;

use super::*;
use platform::request::Rejection;
use platform::response::FieldError;

fn parse(body: serde_json::Value) -> Result<Message, Vec<FieldError>> {
    match request::parse(body.to_string().as_bytes()) {
        Err(Rejection::Invalid(errors)) => Err(errors),
        message => Ok(message.expect("the body is JSON")),
    }
}

fn pointers(body: serde_json::Value) -> Vec<String> {
    parse(body).expect_err("the body must be refused").into_iter().map(|problem| problem.pointer).collect()
}

#[test]
fn one_address_or_a_list() {
    let one = parse(json!({"to": "Ada@Example.COM", "subject": " Hi ", "text": "a\r\nb\rc"}))
        .expect("a plain e-mail is taken");
    assert_eq!(one.to.as_slice()[0].as_str(), "ada@example.com");
    assert_eq!(one.subject.as_str(), "Hi");
    assert_eq!(one.text.as_str(), "a\nb\nc");

    let many = parse(json!({
        "to": ["ada@example.com", "ADA@example.com", "bob@example.com"],
        "subject": "Hi", "text": "x"
    }))
    .expect("a list is taken");
    let addresses: Vec<_> = many.to.as_slice().iter().map(Email::as_str).collect();
    assert_eq!(addresses, ["ada@example.com", "bob@example.com"]);
}

#[test]
fn each_fault_is_named() {
    let ok = "ada@example.com";
    assert_eq!(pointers(json!({"to": [], "subject": "s", "text": "t"})), ["/to"]);
    assert_eq!(pointers(json!({"to": vec![ok; 11], "subject": "s", "text": "t"})), ["/to"]);
    assert_eq!(pointers(json!({"to": [ok, "x", ok, "y"], "subject": "s", "text": "t"})), ["/to/1", "/to/3"]);
    assert_eq!(
        pointers(json!({"to": "x", "subject": "a\r\nBcc: b@example.com", "text": " "})),
        ["/to", "/subject", "/text"]
    );
    assert_eq!(pointers(json!({"to": ok})), ["/subject", "/text"]);
    assert_eq!(pointers(json!({"to": ok, "data": {}})), ["/data", "/subject", "/text"]);
    assert_eq!(pointers(json!({"to": ok, "template": "welcome", "text": "t"})), ["/text", "/data"]);
    assert_eq!(pointers(json!({"to": {}, "subject": 5, "x": 1})), ["/to", "/subject", "/text", "/x"]);
    assert_eq!(
        pointers(json!({"template": "invitation", "data": {"note": [], "x": 1}, "subject": 5, "to": [null, {}]})),
        ["/to/0", "/to/1", "/subject", "/data/note", "/data/x", "/data/inviter_name", "/data/org_name"]
    );
    assert_eq!(pointers(json!({"to": 5, "template": {"welcome": null}})), ["/to", "/template"]);
    let data = json!(["Ada", "Navy"]);
    assert_eq!(pointers(json!({"to": ok, "template": "welcome", "data": data})), ["/data"]);
    assert_eq!(pointers(json!({"to": ok, "template": "welcome"})), ["/data"]);
    let long = "x".repeat(SUBJECT_MAX_CHARS + 1);
    assert_eq!(pointers(json!({"to": ok, "subject": long, "text": "t"})), ["/subject"]);
    assert_eq!(pointers(json!({"to": ok, "subject": "=?utf-8?Q?=0D=0ABcc:_b?=", "text": "t"})), ["/subject"]);
    let long = "x".repeat(TEXT_MAX_BYTES + 1);
    assert_eq!(pointers(json!({"to": ok, "subject": "s", "text": long})), ["/text"]);
    assert_eq!(pointers(json!({"to": ok, "subject": "s", "text": "a\u{0}b"})), ["/text"]);
}

#[test]
fn a_template_gives_subject_and_text() {
    let message = parse(json!({
        "to": "ada@example.com",
        "template": "invitation",
        "data": {"inviter_name": "Grace", "org_name": "Navy", "note": "Come\naboard"}
    }))
    .expect("a template is taken");
    assert_eq!(message.subject.as_str(), "Grace invites you to Navy");
    assert!(message.text.as_str().contains("\nCome\naboard\n"));
}

#[test]
fn a_stored_message_is_checked_again_when_read() {
    let message =
        parse(json!({"to": "ada@example.com", "subject": "s", "text": "t"})).expect("a plain e-mail is taken");
    let stored = serde_json::to_value(&message).expect("a message serializes");
    assert_eq!(serde_json::from_value::<Message>(stored.clone()).ok(), Some(message));
    for (field, value) in [
        ("subject", json!("a\nb")),
        ("to", json!(["ada@example.com\nBcc: x@example.com"])),
        ("to", json!([])),
        ("text", json!("\u{0}")),
    ] {
        let mut spoilt = stored.clone();
        spoilt[field] = value;
        assert!(serde_json::from_value::<Message>(spoilt).is_err(), "{field}");
    }
}
