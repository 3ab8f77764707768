//! The mails in a system's mailbox, read as a person reads them.

use crate::jobs::rig::Rig;
use local::System;
use mail_parser::MessageParser;
use std::fs;
use std::path::PathBuf;

pub(crate) struct Letters {
    folder: PathBuf,
}

impl Letters {
    pub(crate) fn of(rig: &Rig) -> Self {
        Self::of_system(&rig.system)
    }

    pub(crate) fn of_system(system: &System) -> Self {
        Self { folder: system.mailbox().to_owned() }
    }

    /// Of a system in another process.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Whom each is to, and its text, the oldest first: files are named after their jobs.
    fn all(&self) -> Vec<(String, String)> {
        let paths = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|of| of == "eml")).collect();
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = fs::read(path).unwrap();
            let mail = MessageParser::default().parse(&bytes).unwrap();
            let to = mail.to().unwrap().first().unwrap().address().unwrap().to_owned();
            let subject = mail.subject().unwrap_or_default().to_owned();
            (to, format!("{subject}\n\n{}", mail.body_text(0).unwrap()))
        };
        paths.into_iter().map(read).collect()
    }

    pub(crate) fn is_there(&self, email: &str) -> bool {
        self.all().iter().any(|(to, _)| to == email)
    }

    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    /// Subject and text of the newest to an address.
    #[track_caller]
    pub(crate) fn newest_to(&self, email: &str) -> String {
        let all = self.all();
        let newest = all.into_iter().rfind(|(to, _)| to == email);
        newest.unwrap_or_else(|| panic!("no mail to {email}")).1
    }
}

/// The code in a mail's text: a line of its own.
#[track_caller]
pub(crate) fn code_of(text: &str) -> String {
    let is_code = |line: &&str| line.len() == 9 && line.as_bytes()[4] == b'-' && !line.contains(' ');
    text.lines().map(str::trim).find(is_code).unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

/// What stands behind the `#` of its link.
#[track_caller]
pub(crate) fn token_of(text: &str) -> String {
    let link = text.split_whitespace().find_map(|word| word.split_once("://")?.1.split_once('#'));
    link.unwrap_or_else(|| panic!("no link in {text}")).1.to_owned()
}
