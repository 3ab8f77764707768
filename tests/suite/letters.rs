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

    /// Subject and text of all to an address, the oldest first.
    pub(crate) fn all_to(&self, email: &str) -> Vec<String> {
        self.all().into_iter().filter(|(to, _)| to == email).map(|(_, text)| text).collect()
    }

    /// Subject and text of the newest to an address.
    #[track_caller]
    pub(crate) fn newest_to(&self, email: &str) -> String {
        self.all_to(email).pop().unwrap_or_else(|| panic!("no mail to {email}"))
    }
}

/// The code in a mail's text, if one is there: a line of its own.
pub(crate) fn code_in(text: &str) -> Option<String> {
    let is_code = |line: &&str| line.len() == 9 && line.as_bytes()[4] == b'-' && !line.contains(' ');
    text.lines().map(str::trim).find(is_code).map(str::to_owned)
}

/// What stands behind the `#` of its link, if one is there.
pub(crate) fn token_in(text: &str) -> Option<String> {
    let link = text.split_whitespace().find_map(|word| word.split_once("://")?.1.split_once('#'));
    link.map(|(_, token)| token.to_owned())
}

/// The code in a mail's text.
#[track_caller]
pub(crate) fn code_of(text: &str) -> String {
    code_in(text).unwrap_or_else(|| panic!("no code in {text}"))
}

/// The token in a mail's link.
#[track_caller]
pub(crate) fn token_of(text: &str) -> String {
    token_in(text).unwrap_or_else(|| panic!("no link in {text}"))
}
