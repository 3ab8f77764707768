//! The folder that e-mails are delivered to. That of a system in memory is a temporary one: it goes with the system, and what a
//! killed system left behind goes when the next one starts.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How the names of the temporary folders begin.
const PREFIX: &str = "citizen-ephemeral-";

/// Locked as long as a folder's system lives; the operating system ends the lock of a killed process.
const LOCK: &str = "lock";

/// A folder for e-mails.
#[derive(Debug)]
pub(crate) enum MailFolder {
    Kept(PathBuf),
    Temporary { mail: PathBuf, _lock: File, _folder: TempDir },
}

impl MailFolder {
    /// That of a system which keeps its records in `folder`, or in memory only.
    ///
    /// # Errors
    /// The temporary folder cannot be made.
    pub(crate) fn open(chosen: Option<PathBuf>) -> io::Result<Self> {
        match chosen {
            Some(folder) => Ok(Self::Kept(folder)),
            None => Self::temporary(&std::env::temp_dir()),
        }
    }

    fn temporary(parent: &Path) -> io::Result<Self> {
        remove_abandoned(parent);
        let only_ours = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(PREFIX).permissions(only_ours).tempdir_in(parent)?;
        // Locked before it has its name: nobody takes the new folder for an abandoned one.
        let unnamed = folder.path().join("new");
        let lock = File::create_new(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, folder.path().join(LOCK))?;
        Ok(Self::Temporary { mail: folder.path().join("mail"), _lock: lock, _folder: folder })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(folder) | Self::Temporary { mail: folder, .. } => folder,
        }
    }
}

/// The e-mails to an address, the oldest first: files are named after their jobs, whose ids sort by time. Links are in one piece: a mail's
/// coding breaks long lines (RFC 2045, 6.7).
pub(crate) async fn all_to(folder: &Path, address: &str) -> Vec<String> {
    let (folder, address) = (folder.to_owned(), address.to_owned());
    let look = move || {
        let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|of| of == "eml")).collect();
        paths.sort();
        let texts = paths.into_iter().filter_map(|path| fs::read_to_string(path).ok());
        texts.filter(|text| is_to(text, &address)).map(|text| text.replace("=\r\n", "")).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// Whether an e-mail is to an address, among others maybe: its header `To` says so, which goes on in lines that begin with white space
/// (RFC 5322, 2.2.3). What the mail itself says counts for nothing.
fn is_to(text: &str, address: &str) -> bool {
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut to = head.lines().filter_map(|header| header.strip_prefix("to:"));
    to.any(|addresses| addresses.contains(&format!("<{}>", address.to_ascii_lowercase())))
}

/// Removes what systems left that were killed. What cannot be removed, another user's say, stays.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // Not through a symbolic link, which another user could have put here.
        if is_ours
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail_service::MailService;
    use serde_json::json;
    use shared::ids::JobId;

    /// Sends an e-mail through the mail service of this folder.
    async fn deliver(folder: &Path, to: &[&str], text: &str) {
        let words = |text: &str| json!({"Data": text});
        let simple = json!({"Subject": words("Hello"), "Body": {"Text": words(text)}});
        let email = json!({
            "FromEmailAddress": "no-reply@example.com", "Destination": {"ToAddresses": to}, "Content": {"Simple": simple},
            "EmailTags": [{"Name": "job_id", "Value": JobId::new().to_string()}],
        });
        let service = MailService::open(folder).expect("a folder");
        assert_eq!(service.answer(email.to_string().into_bytes()).await.status, 200);
    }

    #[tokio::test]
    async fn an_email_is_found_for_each_it_is_to_and_for_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = format!("{}@{}.example.com", "a".repeat(64), "b".repeat(60));
        let all = ["ada@example.com", "bob@example.com", long.as_str()];
        deliver(folder.path(), &all, "to all\r\nTo: <eve@example.com>\r\n").await;
        deliver(folder.path(), &[&long], "to one").await;
        deliver(folder.path(), &["data@example.com"], "to another").await;
        for (address, found) in [
            ("ADA@example.com", 1),
            ("bob@example.com", 1),
            (&*long, 2),
            ("eve@example.com", 0),
            ("no-reply@example.com", 0),
        ] {
            assert_eq!(all_to(folder.path(), address).await.len(), found, "{address}");
        }
    }

    #[test]
    fn a_temporary_folder_goes_with_its_system_and_an_abandoned_one_at_the_next_start() {
        let parent = tempfile::tempdir().expect("a folder");
        let abandoned = parent.path().join(format!("{PREFIX}abandoned"));
        fs::create_dir_all(abandoned.join("mail")).expect("a folder");
        File::create_new(abandoned.join(LOCK)).expect("a file");
        let running = MailFolder::temporary(parent.path()).expect("a folder");
        assert!(!abandoned.exists());
        fs::create_dir(running.path()).expect("the worker makes it");
        fs::write(running.path().join("job.eml"), "text").expect("the worker writes there");
        let beside = MailFolder::temporary(parent.path()).expect("a second folder");
        assert!(running.path().join("job.eml").exists(), "its system lives");
        let mode = fs::metadata(running.path().parent().expect("a parent")).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop((running, beside));
        assert_eq!(fs::read_dir(parent.path()).expect("it exists").count(), 0);
    }
}
