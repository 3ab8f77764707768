//! Delivers into a folder: one standard `.eml` file (RFC 5322) per job, whole or not there at all.
//! The file is named after its job and never replaced, so that no job is delivered twice.

use super::{MailError, Sender, Sent};
use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use shared::ids::JobId;
use shared::model::email::Message;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where files are written before they have their name; on the same file system, out of sight.
const UNFINISHED: &str = ".unfinished";
/// What a killed writer left behind is removed after this.
const UNFINISHED_KEPT: Duration = Duration::from_secs(3_600);
/// The addresses that want no e-mail, one a line; edited by hand, read at each delivery.
const SUPPRESSED: &str = "suppressed.txt";

/// A folder that e-mails are delivered to.
#[derive(Debug, Clone)]
pub struct Mailbox {
    folder: PathBuf,
    sender: Sender,
}

impl Mailbox {
    /// Opens the folder, making it if needed.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(folder: &Path, sender: Sender) -> io::Result<Self> {
        let unfinished = folder.join(UNFINISHED);
        fs::create_dir_all(&unfinished)?;
        for entry in fs::read_dir(&unfinished)? {
            let entry = entry?;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > UNFINISHED_KEPT {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { folder: folder.to_owned(), sender })
    }

    /// Delivers `message` for `job_id`; a job that has its file already is not delivered again.
    ///
    /// # Errors
    /// [`MailError::Permanent`] for a suppressed recipient. A failing disk is [`MailError::Transient`]: trying
    /// again is safe here, since the file's name gives the effect away.
    pub async fn send(&self, job_id: JobId, message: &Message) -> Result<Sent, MailError> {
        let mailbox = self.clone();
        let message = message.clone();
        // Files are written off the async thread: a sync may take long.
        let again = |detail: &str| Err(MailError::Transient { retry_after: None, detail: detail.to_owned() });
        match tokio::task::spawn_blocking(move || mailbox.deliver(job_id, &message)).await {
            Ok(Ok(delivered)) => delivered,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the mailbox could not be written");
                again("the mailbox could not be written")
            }
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => again("the process was ending"),
            },
        }
    }

    /// What became of it, unless the disk fails.
    fn deliver(&self, job_id: JobId, message: &Message) -> io::Result<Result<Sent, MailError>> {
        let provider_id = format!("{job_id}.eml");
        // Before the suppression list: what was delivered stays so, whoever has been listed since.
        if self.folder.join(&provider_id).try_exists()? {
            return Ok(Ok(Sent { provider_id, is_repeat: true }));
        }
        let suppressed = self.suppressed()?;
        if message.to.as_slice().iter().any(|email| suppressed.iter().any(|known| known == email.as_str())) {
            return Ok(Err(MailError::Permanent {
                code: "recipient_suppressed",
                detail: "a recipient is on the suppression list".into(),
            }));
        }
        let bytes = compose(&self.sender, job_id, message, Timestamp::now())?;
        let is_repeat = !self.write(&provider_id, &bytes)?;
        Ok(Ok(Sent { provider_id, is_repeat }))
    }

    /// Whether the file is new. Its bytes are on the disk before its name is, and the name before this returns.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let mut file = tempfile::NamedTempFile::new_in(self.folder.join(UNFINISHED))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        let is_new = match file.persist_noclobber(self.folder.join(name)) {
            Ok(_) => true,
            Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => false,
            Err(failure) => return Err(failure.error),
        };
        File::open(&self.folder)?.sync_all()?;
        Ok(is_new)
    }

    fn suppressed(&self) -> io::Result<Vec<String>> {
        match fs::read_to_string(self.folder.join(SUPPRESSED)) {
            Ok(text) => Ok(text.lines().map(|line| line.trim().to_ascii_lowercase()).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// The e-mail as it goes over the wire, lines ended by CR LF.
fn compose(sender: &Sender, job_id: JobId, message: &Message, now: Timestamp) -> io::Result<Vec<u8>> {
    let to = message.to.as_slice().iter().map(|email| Address::from(email.as_str())).collect();
    MessageBuilder::new()
        .from(Address::new_address(sender.name(), sender.email().as_str()))
        .to(Address::new_list(to))
        .subject(message.subject.as_str())
        .date(now.as_second())
        .message_id(format!("{job_id}@{}", sender.domain()))
        .text_body(message.text.as_str())
        .write_to_vec()
}

#[cfg(test)]
mod tests;
