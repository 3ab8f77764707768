//! Records, keys and classes that stand for a product's.

use platform::cache::{ABSENT_MAX, Busy, Cacheable, Class, Key, Name};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u64,
    pub(crate) text: String,
}

impl Record {
    pub(crate) fn new(version: u64) -> Self {
        Self { version, text: "x".repeat(60) }
    }
}

impl Cacheable for Record {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        self.version
    }
}

/// A record that is renewed on update.
pub(crate) struct Plan(pub(crate) u32);

impl Name for Plan {
    const CLASS: Class = Class::renewed_on_update("plan", Duration::from_secs(2));
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}:plan", self.0);
    }
}

impl Key for Plan {
    type Value = Record;
}

/// A page of a list, of no version of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) as_of: u64,
}

impl Cacheable for Page {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        0
    }
}

/// All pages of one organization.
pub(crate) struct Pages(pub(crate) u32);

impl Name for Pages {
    const CLASS: Class = Class::renewed_on_update("pages", Duration::from_millis(1500));
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}:items", self.0);
    }
}

pub(crate) struct PageKey(pub(crate) u32, pub(crate) u32);

impl Name for PageKey {
    const CLASS: Class = Pages::CLASS;
    fn write(&self, out: &mut String) {
        Pages(self.0).write(out);
    }
}

impl Key for PageKey {
    type Value = Page;
    fn write_page(&self, out: &mut String) {
        let _cannot_fail = write!(out, "{}", self.1);
    }
}

/// The same for an hour: what is old stays old long enough to be read, unless somebody mends it.
pub(crate) struct Lasting<N>(pub(crate) N);

impl<N: Name> Name for Lasting<N> {
    const CLASS: Class = Class::renewed_on_update(N::CLASS.name, Duration::from_secs(3600));
    fn write(&self, out: &mut String) {
        self.0.write(out);
    }
    fn write_scope(&self, out: &mut String) {
        self.0.write_scope(out);
    }
}

impl<K: Key> Key for Lasting<K> {
    type Value = K::Value;
    fn write_page(&self, out: &mut String) {
        self.0.write_page(out);
    }
}

/// A record that lives for an hour, and whose absence is remembered.
pub(crate) struct Profile(pub(crate) u32);

impl Name for Profile {
    const CLASS: Class = Class::renewed_on_update("profile", Duration::from_secs(3600)).remembering_absence(ABSENT_MAX);
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}:profile:{}", self.0 % 2, self.0);
    }
    fn write_scope(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}", self.0 % 2);
    }
}

impl Key for Profile {
    type Value = Record;
}

/// A value that may be served stale.
pub(crate) struct Prices(pub(crate) u32);

impl Name for Prices {
    const CLASS: Class = Class::stale_acceptable("prices", Duration::from_millis(400), Duration::from_secs(30));
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "models:pricing:{}", self.0);
    }
}

impl Key for Prices {
    type Value = Record;
}

/// What a fetch can fail with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("the origin failed")]
    Origin,
}
