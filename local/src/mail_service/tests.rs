use super::*;
use mail_parser::{HeaderValue, MessageParser};
use proptest::prelude::*;
use shared::model::email::{Message, Recipients, SUBJECT_MAX_CHARS, Subject, Text};

fn message(subject: &str, text: &str, to: &[&str]) -> Message {
    let body = json!({"to": to, "subject": subject, "text": text});
    shared::request::parse(body.to_string().as_bytes()).expect("the e-mail is good")
}

fn plain() -> Message {
    message("Hello", "Dear Ada,\n\nall is well.\n", &["ada@example.com", "bob@example.com"])
}

/// As Amazon's client asks for it.
fn request(job_id: JobId, message: &Message) -> Vec<u8> {
    let to: Vec<_> = message.to.as_slice().iter().map(|email| email.as_str()).collect();
    let utf8 = |text: &str| json!({"Data": text, "Charset": "UTF-8"});
    let body = json!({"Text": utf8(message.text.as_str())});
    let simple = json!({"Subject": utf8(message.subject.as_str()), "Body": body});
    let tags = json!([{"Name": "org_id", "Value": "x"}, {"Name": "job_id", "Value": job_id.to_string()}]);
    let email = json!({
        "FromEmailAddress": "Citizen App <no-reply@example.com>", "Destination": {"ToAddresses": to},
        "Content": {"Simple": simple}, "EmailTags": tags, "ConfigurationSetName": "x",
    });
    email.to_string().into_bytes()
}

fn open(folder: &Path) -> MailService {
    MailService::open(folder).expect("a temporary folder can be opened")
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
    let sent = message("Schöne Grüße \u{1F600}", &text, &["ada@example.com", "bob@example.com"]);
    let answered = open(folder.path()).answer(request(job_id, &sent)).await;
    let name = format!("{job_id}.eml");
    assert_eq!(answered, Answered { status: 200, error: None, body: json!({"MessageId": name}).to_string() });

    let bytes = fs::read(folder.path().join(&name)).expect("the file is there");
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
    let service = open(folder.path());
    let job_id = JobId::new();
    let sends = (0..16).map(|_| {
        let service = service.clone();
        tokio::spawn(async move { service.answer(request(job_id, &plain())).await })
    });
    for send in sends.collect::<Vec<_>>() {
        assert_eq!(send.await.expect("no panic").status, 200);
    }
    let before = fs::read(folder.path().join(format!("{job_id}.eml"))).expect("the file is there");
    let again = service.answer(request(job_id, &message("Other", "x", &["eve@example.com"]))).await;
    assert_eq!(again.status, 200);
    assert_eq!(fs::read(folder.path().join(format!("{job_id}.eml"))).expect("still there"), before);
    assert_eq!(files(folder.path()), [UNFINISHED.to_owned(), format!("{job_id}.eml")]);
    assert_eq!(files(&folder.path().join(UNFINISHED)), [""; 0]);
}

#[tokio::test]
async fn suppressed_recipients_get_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = open(folder.path());
    let before = JobId::new();
    assert_eq!(service.answer(request(before, &plain())).await.status, 200, "nobody is listed yet");
    fs::write(folder.path().join(SUPPRESSED), "eve@example.com\r\n BOB@example.com\n").expect("a list");
    let refused = service.answer(request(JobId::new(), &plain())).await;
    assert_eq!((refused.status, refused.error), (400, Some("MessageRejected")));
    assert!(refused.body.contains("suppress"), "{refused:?}");
    assert_eq!(service.answer(request(before, &plain())).await.status, 200);
    let listed = message("s", "t", &["ada@example.com"]);
    assert_eq!(service.answer(request(JobId::new(), &listed)).await.status, 200, "Ada is not listed");
    assert_eq!(files(folder.path()).iter().filter(|name| name.ends_with(".eml")).count(), 2);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_a_matter_of_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = open(folder.path());
    folder.close().expect("the folder can be removed");
    assert_eq!(service.answer(request(JobId::new(), &plain())).await.status, 503);
}

#[tokio::test]
async fn what_is_no_email_of_a_job_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = open(folder.path());
    let nameless = String::from_utf8(request(JobId::new(), &plain())).expect("JSON").replace("job_id", "job");
    for body in [b"{}".to_vec(), b"no JSON".to_vec(), nameless.into_bytes()] {
        assert_eq!(service.answer(body).await.status, 400);
    }
    assert_eq!(files(folder.path()), [UNFINISHED]);
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
    assert!(MailService::open(file.path()).is_err());
}

/// The file that a message becomes.
fn composed(message: &Message) -> Vec<u8> {
    let job_id = JobId::new();
    let email = serde_json::from_slice(&request(job_id, message)).expect("it can be read");
    compose(&email, job_id, Timestamp::UNIX_EPOCH).expect("an e-mail")
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
    header_names(&composed(&plain()))
}

fn check(message: &Message) {
    let bytes = composed(message);
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
            (Subject::parse(&subject), Text::parse(&text))
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
            let to = Recipients::new(vec![email]).expect("one recipient");
            check(&Message { to, ..plain() });
        }
    }
}
