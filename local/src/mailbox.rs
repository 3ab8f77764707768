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
    let (folder, wanted) = (folder.to_owned(), format!("to: <{address}>").to_ascii_lowercase());
    let look = move || {
        let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|of| of == "eml")).collect();
        paths.sort();
        let texts = paths.into_iter().filter_map(|path| fs::read_to_string(path).ok());
        let is_to = |text: &String| text.lines().any(|line| line.to_ascii_lowercase().trim_end() == wanted);
        texts.filter(is_to).map(|text| text.replace("=\r\n", "")).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
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
