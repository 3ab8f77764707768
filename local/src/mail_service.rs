//! What Amazon SES is to a system on this machine: it answers `SendEmail` of its API version 2
//! (<https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>), and delivers into a folder: one standard `.eml` file
//! (RFC 5322) per job, whole or not there at all. The file is named after its job and never replaced.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use serde::Deserialize;
use serde_json::json;
use shared::ids::JobId;

/// Where files are written before they have their name; on the same file system, out of sight.
const UNFINISHED: &str = ".unfinished";
/// What a killed writer left behind is removed after this.
const UNFINISHED_KEPT: Duration = Duration::from_secs(3_600);
/// The addresses that want no e-mail, one a line; edited by hand, read at each delivery.
const SUPPRESSED: &str = "suppressed.txt";
/// Where SES takes an e-mail, behind its endpoint.
pub(crate) const PATH: &str = "/v2/email/outbound-emails";

/// A mail service that delivers into a folder.
#[derive(Debug, Clone)]
pub struct MailService {
    folder: PathBuf,
}

/// What the service says to a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// The header `x-amzn-errortype` of a refusal.
    pub(crate) error: Option<&'static str>,
    pub(crate) body: String,
}

/// The body of `SendEmail`, as far as it is read here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEmail {
    from_email_address: String,
    destination: Destination,
    content: Content,
    #[serde(default)]
    email_tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    to_addresses: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    simple: Simple,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Simple {
    subject: Words,
    body: Body,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    text: Words,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Words {
    data: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    name: String,
    value: String,
}

impl SendEmail {
    fn job_id(&self) -> Option<JobId> {
        self.email_tags.iter().find(|tag| tag.name == "job_id")?.value.parse().ok()
    }
}

impl MailService {
    /// Opens the folder, making it if needed.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let unfinished = folder.join(UNFINISHED);
        fs::create_dir_all(&unfinished)?;
        for entry in fs::read_dir(&unfinished)? {
            let entry = entry?;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > UNFINISHED_KEPT {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Answers a call with this body. A job that has its file already gets the same yes once more.
    pub(crate) async fn answer(&self, body: Vec<u8>) -> Answered {
        let service = self.clone();
        // Files are written off the async thread: a sync may take long.
        match tokio::task::spawn_blocking(move || service.send(&body)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the mail folder could not be written");
                refusal(503, "ServiceUnavailable", "the mail folder could not be written")
            }
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => refusal(503, "ServiceUnavailable", "the process was ending"),
            },
        }
    }

    /// What became of it, unless the disk fails.
    fn send(&self, body: &[u8]) -> io::Result<Answered> {
        let Ok(email) = serde_json::from_slice::<SendEmail>(body) else {
            return Ok(refusal(400, "BadRequestException", "the e-mail could not be read"));
        };
        let Some(job_id) = email.job_id() else {
            return Ok(refusal(400, "BadRequestException", "the e-mail names no job"));
        };
        let name = format!("{job_id}.eml");
        let taken = Answered { status: 200, error: None, body: json!({"MessageId": name}).to_string() };
        // Before the suppression list: what was delivered stays so, whoever has been listed since.
        if self.folder.join(&name).try_exists()? {
            return Ok(taken);
        }
        let suppressed = self.suppressed()?;
        if email.destination.to_addresses.iter().any(|to| suppressed.contains(to)) {
            return Ok(refusal(400, "MessageRejected", "a recipient is on the suppression list"));
        }
        self.write(&name, &compose(&email, job_id, Timestamp::now())?)?;
        Ok(taken)
    }

    /// The file's bytes are on the disk before its name is, and the name before this returns.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.join(UNFINISHED))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(self.folder.join(name)) {
            Err(failure) if failure.error.kind() != ErrorKind::AlreadyExists => return Err(failure.error),
            _ => {}
        }
        File::open(&self.folder)?.sync_all()
    }

    fn suppressed(&self) -> io::Result<Vec<String>> {
        match fs::read_to_string(self.folder.join(SUPPRESSED)) {
            Ok(text) => Ok(text.lines().map(|line| line.trim().to_ascii_lowercase()).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn refusal(status: u16, error: &'static str, message: &str) -> Answered {
    Answered { status, error: Some(error), body: json!({"message": message}).to_string() }
}

/// The e-mail as it goes over the wire, lines ended by CR LF.
fn compose(email: &SendEmail, job_id: JobId, now: Timestamp) -> io::Result<Vec<u8>> {
    let from = email.from_email_address.as_str();
    let (name, address) = match from.strip_suffix('>').and_then(|from| from.split_once('<')) {
        Some((name, address)) => (Some(name.trim()), address),
        None => (None, from),
    };
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let to = email.destination.to_addresses.iter().map(|to| Address::from(to.as_str())).collect();
    MessageBuilder::new()
        .from(Address::new_address(name, address))
        .to(Address::new_list(to))
        .subject(email.content.simple.subject.data.as_str())
        .date(now.as_second())
        .message_id(format!("{job_id}@{domain}"))
        .text_body(email.content.simple.body.text.data.as_str())
        .write_to_vec()
}

#[cfg(test)]
mod tests;
