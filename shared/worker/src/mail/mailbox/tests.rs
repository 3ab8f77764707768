use super::*;
use mail_parser::{HeaderValue, MessageParser};
use proptest::prelude::*;
use serde_json::json;
use shared::model::email::{SUBJECT_MAX_CHARS, Subject};

fn message(subject: &str, text: &str, to: &[&str]) -> Message {
    let body = json!({"to": to, "subject": subject, "text": text});
    shared::request::parse(body.to_string().as_bytes()).expect("the e-mail is good")
}

fn plain() -> Message {
    message("Hello", "Dear Ada,\n\nall is well.\n", &["ada@example.com", "bob@example.com"])
}

fn sender() -> Sender {
    "Citizen App <no-reply@example.com>".parse().expect("a sender")
}

fn open(folder: &Path) -> Mailbox {
    Mailbox::open(folder, sender()).expect("a temporary folder can be opened")
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("our names are UTF-8"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn any_mail_program_can_read_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let job_id = JobId::new();
    let text = "Grüße aus Köln\n.\nFrom here\n\u{1F600} and a very long line: ".to_owned() + &"word ".repeat(400);
    let sent = open(folder.path())
        .send(job_id, &message("Schöne Grüße \u{1F600}", &text, &["ada@example.com", "bob@example.com"]))
        .await
        .expect("the folder takes it");
    assert_eq!(sent, Sent { provider_id: format!("{job_id}.eml"), is_repeat: false });

    let bytes = fs::read(folder.path().join(&sent.provider_id)).expect("the file is there");
    assert!(bytes.is_ascii() && bytes.split(|&byte| byte == b'\n').all(|line| line.len() <= 998));
    let parsed = MessageParser::new().parse(&bytes).expect("it is an e-mail");
    assert_eq!(parsed.subject(), Some("Schöne Grüße \u{1F600}"));
    let from = parsed.from().and_then(|from| from.first()).expect("one From");
    assert_eq!((from.name(), from.address()), (Some("Citizen App"), Some("no-reply@example.com")));
    let to: Vec<_> = parsed.to().expect("a To").iter().filter_map(|to| to.address()).collect();
    assert_eq!(to, ["ada@example.com", "bob@example.com"]);
    assert_eq!(parsed.message_id(), Some(format!("{job_id}@example.com").as_str()));
    assert_eq!(parsed.body_text(0).expect("a text").replace("\r\n", "\n").trim_end(), text.trim_end());
    assert!(parsed.date().is_some_and(|date| date.to_timestamp() <= Timestamp::now().as_second()));
}

#[tokio::test]
async fn a_job_is_delivered_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mailbox = open(folder.path());
    let job_id = JobId::new();
    let sends = (0..16).map(|_| {
        let mailbox = mailbox.clone();
        tokio::spawn(async move { mailbox.send(job_id, &plain()).await })
    });
    let mut firsts = 0;
    for send in sends.collect::<Vec<_>>() {
        let sent = send.await.expect("no panic").expect("every send ends well");
        firsts += u32::from(!sent.is_repeat);
    }
    assert_eq!(firsts, 1);
    let before = fs::read(folder.path().join(format!("{job_id}.eml"))).expect("the file is there");
    let again = mailbox.send(job_id, &message("Other", "x", &["eve@example.com"])).await.expect("a repeat is fine");
    assert!(again.is_repeat);
    assert_eq!(fs::read(folder.path().join(format!("{job_id}.eml"))).expect("still there"), before);
    assert_eq!(files(folder.path()), [UNFINISHED.to_owned(), format!("{job_id}.eml")]);
    assert_eq!(files(&folder.path().join(UNFINISHED)), [""; 0]);
}

#[tokio::test]
async fn suppressed_recipients_get_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mailbox = open(folder.path());
    let before = JobId::new();
    mailbox.send(before, &plain()).await.expect("nobody is listed yet");
    fs::write(folder.path().join(SUPPRESSED), "eve@example.com\r\n BOB@example.com\n").expect("a list");
    let error = mailbox.send(JobId::new(), &plain()).await;
    assert!(matches!(error, Err(MailError::Permanent { code: "recipient_suppressed", .. })), "{error:?}");
    assert!(mailbox.send(before, &plain()).await.is_ok_and(|sent| sent.is_repeat));
    mailbox.send(JobId::new(), &message("s", "t", &["ada@example.com"])).await.expect("Ada is not listed");
    assert_eq!(files(folder.path()).iter().filter(|name| name.ends_with(".eml")).count(), 2);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_transient() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mailbox = open(folder.path());
    folder.close().expect("the folder can be removed");
    let error = mailbox.send(JobId::new(), &plain()).await;
    assert!(matches!(error, Err(MailError::Transient { .. })), "{error:?}");
}

#[test]
fn only_old_leftovers_are_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    open(folder.path());
    let unfinished = folder.path().join(UNFINISHED);
    for (name, age) in [("old", UNFINISHED_KEPT * 2), ("new", Duration::ZERO)] {
        let file = File::create(unfinished.join(name)).expect("a file");
        file.set_modified(SystemTime::now() - age).expect("a time");
    }
    open(folder.path());
    assert_eq!(files(&unfinished), ["new"]);
}

#[test]
fn a_file_is_no_folder() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    assert!(Mailbox::open(file.path(), sender()).is_err());
}

/// The names of the headers that stand in the file itself, before any decoding.
fn header_names(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).expect("the file is ASCII");
    let (head, _) = text.split_once("\r\n\r\n").expect("a head ends");
    assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{head:?}");
    head.split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split_once(':').expect("a header has a name").0.to_owned())
        .collect()
}

fn expected_names() -> Vec<String> {
    let bytes = compose(&sender(), JobId::new(), &plain(), Timestamp::UNIX_EPOCH).expect("an e-mail");
    header_names(&bytes)
}

fn check(message: &Message) {
    let bytes = compose(&sender(), JobId::new(), message, Timestamp::UNIX_EPOCH).expect("an e-mail");
    assert_eq!(header_names(&bytes), expected_names());
    let parsed = MessageParser::new().parse(&bytes).expect("it is an e-mail");
    // White space may be folded; everything else must come back as it was.
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject = parsed.header("Subject").and_then(HeaderValue::as_text).unwrap_or_default();
    assert_eq!(squeeze(subject), squeeze(message.subject.as_str()));
    assert_eq!(parsed.to().expect("a To").iter().count(), message.to.as_slice().len());
    assert_eq!(parsed.attachment_count(), 0);
}

#[test]
fn injections_stay_text() {
    for subject in [
        "?utf-8?Q?=0D=0ABcc:_eve@example.com?=",
        "Hi Bcc: eve@example.com",
        "a, b <eve@example.com>",
        "\\r\\nBcc: eve@example.com",
        &"x".repeat(SUBJECT_MAX_CHARS),
        &"\u{1F600}".repeat(SUBJECT_MAX_CHARS),
        &"a ".repeat(SUBJECT_MAX_CHARS / 2),
    ] {
        check(&message(subject, "t", &["ada@example.com"]));
    }
    for text in ["\r\n.\r\n", "--boundary\nContent-Type: text/html\n\n<b>", "From nobody\nBcc: eve@example.com\n\nx"] {
        if !text.trim().is_empty() {
            check(&message("s", text, &["ada@example.com"]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_subject_makes_a_header(subject in "(\\PC|[\r\n\0\t\u{85}\u{2028}]|Bcc: |=\\?|\\?=){1,120}", text in any::<String>()) {
        if let (Ok(subject), Ok(text)) =
            (Subject::parse(&subject), shared::model::email::Text::parse(&text))
        {
            check(&Message { subject, text, to: plain().to });
        } else if !subject.trim().is_empty() && !text.trim().is_empty() {
            // What was refused had a reason.
            let has_reason = subject
                .chars()
                .chain(text.chars())
                .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
                || subject.contains("=?")
                || subject.chars().count() > SUBJECT_MAX_CHARS;
            prop_assert!(has_reason, "refused without a reason: {:?}", subject);
        }
    }

    #[test]
    fn no_address_makes_a_header(local in "[!-~\r\n\0 ]{1,70}", domain in "[a-z.,;<>\r\n]{1,30}") {
        let address = format!("{local}@{domain}");
        if let Ok(email) = address.parse::<shared::model::text::Email>() {
            let to = shared::model::email::Recipients::new(vec![email]).expect("one recipient");
            check(&Message { to, ..plain() });
        }
    }
}
