//! What may be cached, under which name and for how long: a key type is tied to its value type and its class.

use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A value that may be cached. What is secret, a permission or live has no implementation, so the compiler
/// refuses to cache it; there is none for containers either, so nothing slips through in a `Vec` or a tuple.
///
/// ```compile_fail,E0277
/// use platform::cache::{Class, Key, Name};
///
/// #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// struct Membership { role: String } // says what somebody may do: no `Cacheable`
///
/// struct MembershipKey;
/// impl Name for MembershipKey {
///     const CLASS: Class = Class::renewed_on_update("membership", std::time::Duration::from_secs(60));
///     fn write(&self, out: &mut String) { out.push_str("org:1:membership"); }
/// }
/// impl Key for MembershipKey { type Value = Membership; }
/// ```
pub trait Cacheable: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The number of the value's shape. Raise it with every change of a field: values of another shape then
    /// read as misses, so versions of the system can share a cache while a deployment runs.
    const SCHEMA: u8;

    /// The record's version as stored: it grows with every write of the record and never restarts under the
    /// same key. Pages, which are only ever invalidated, say 0.
    fn version(&self) -> u64;
}

/// The name of something cached: one value, or a group of pages that are invalidated together.
pub trait Name {
    /// The rules that hold for it.
    const CLASS: Class;

    /// Writes the key, organization first for what belongs to one (`org:{id}:plan`), behind the deployment that
    /// [`Options::key_prefix`](super::Options::key_prefix) names. No secret and nothing personal: keys appear in the cache
    /// server's own logs.
    fn write(&self, out: &mut String);

    /// Writes the scope that shares one allowance of remembered absences: the organization (`org:{id}`), or
    /// nothing for public records, whose whole class is one scope.
    fn write_scope(&self, _out: &mut String) {}
}

/// The name of one value.
pub trait Key: Name {
    /// What is found there.
    type Value: Cacheable;

    /// Writes which page of the group this is; nothing for a value that stands alone.
    fn write_page(&self, _out: &mut String) {}
}

/// How long a kind of value is kept and what may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// As metrics name it.
    pub name: &'static str,
    /// How long a value is fresh, ±[`JITTER_PERCENT`].
    pub fresh: Duration,
    /// What happens to it when it is not fresh any more, or when its record changes.
    pub rule: Rule,
    /// How long "no such record" is remembered; zero is not at all.
    pub absent: Duration,
    /// The most bytes of an entry. What is larger is not kept: a hit takes a unit of a serverless cache for each kilobyte, of those that all
    /// callers share.
    pub max_bytes: usize,
}

/// What is promised of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A write renews or invalidates it before the write is acknowledged: no reader gets an older value then.
    RenewedOnUpdate,
    /// Served for this long (fresh time included) although newer ones may exist, while one caller fetches;
    /// also kept in the process's own memory while fresh.
    StaleAcceptable { stale: Duration },
}

/// Fresh times are spread by this much to either side, so that what was stored together does not expire
/// together.
pub const JITTER_PERCENT: u32 = 10;

/// The longest time an absence is remembered.
pub const ABSENT_MAX: Duration = Duration::from_secs(5);

/// The most bytes of an entry, if its class does not say otherwise.
pub const MAX_BYTES: usize = 16 << 10;

/// How many absences of one scope are remembered at a time, at most.
pub const ABSENCES_PER_SCOPE: u32 = 1000;

impl Class {
    /// A class whose values never outlive a write.
    #[must_use]
    pub const fn renewed_on_update(name: &'static str, fresh: Duration) -> Self {
        Self { name, fresh, rule: Rule::RenewedOnUpdate, absent: Duration::ZERO, max_bytes: MAX_BYTES }
    }

    /// A class whose values may be served for `stale` in all while one caller fetches a newer one.
    #[must_use]
    pub const fn stale_acceptable(name: &'static str, fresh: Duration, stale: Duration) -> Self {
        Self { name, fresh, rule: Rule::StaleAcceptable { stale }, absent: Duration::ZERO, max_bytes: MAX_BYTES }
    }

    /// The same class, which also remembers that a record does not exist, for at most [`ABSENT_MAX`].
    #[must_use]
    pub const fn remembering_absence(mut self, absent: Duration) -> Self {
        assert!(absent.as_millis() <= ABSENT_MAX.as_millis(), "an absence is remembered for at most 5 s");
        self.absent = absent;
        self
    }

    /// The same class, whose entries may have so many bytes.
    #[must_use]
    pub const fn of_at_most(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    pub(super) const fn is_renewed(&self) -> bool {
        matches!(self.rule, Rule::RenewedOnUpdate)
    }
}

/// Where something lies: the key, and within it the page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EntryAddress {
    text: String,
    page_at: usize,
}

impl EntryAddress {
    /// `prefix` begins every key of one cache.
    pub(super) fn of<K: Key>(prefix: &str, key: &K) -> Self {
        let mut text = String::with_capacity(prefix.len() + 96);
        text.push_str(prefix);
        key.write(&mut text);
        let page_at = text.len();
        key.write_page(&mut text);
        Self { text, page_at }
    }

    pub(super) fn of_name<N: Name>(prefix: &str, name: &N) -> Self {
        let mut text = String::with_capacity(prefix.len() + 64);
        text.push_str(prefix);
        name.write(&mut text);
        Self { page_at: text.len(), text }
    }

    pub(super) fn key(&self) -> &str {
        &self.text[..self.page_at]
    }

    /// Empty for a value that stands alone.
    pub(super) fn page(&self) -> &str {
        &self.text[self.page_at..]
    }
}
