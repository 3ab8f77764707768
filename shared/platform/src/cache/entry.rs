//! What lies in the cache: a fixed header that the server's scripts read too, then the value in postcard.
//! Whatever cannot be read in full reads as a miss.

use super::class::{Cacheable, JITTER_PERCENT};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

// Byte 0: format; 1: kind; 2: schema; 3–10 version; 11–18 fresh until (ms since 1970, fetcher's clock);
// 19–26 fence of the lease; 27–34 lease until (ms since 1970, server's clock; 0 for
// a lease that ends with its key). Numbers are big-endian.
// The scripts in `scripts/` know these offsets.
pub(super) const FORMAT: u8 = 1;
pub(super) const HEADER: usize = 35;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    /// The record does not exist.
    Absent,
    /// Nothing yet: somebody fetches.
    Pending,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Value => b'v',
            Self::Absent => b'a',
            Self::Pending => b'l',
        }
    }
}

/// A lease's fencing token: unique, so that only what was fetched under this lease is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence(pub(super) [u8; 8]);

impl Fence {
    pub(super) const NONE: Self = Self([0; 8]);

    /// A fence that no other lease has: fences are counted from a number that each process draws once, since every
    /// lookup that may acquire a lease needs one. Each command that asks for a lease is sent with one of its own: a copy that arrives after
    /// a write has taken the lease away would otherwise give back the right to store what was read before the write.
    pub(super) fn unique() -> Self {
        static NEXT: LazyLock<AtomicU64> =
            LazyLock::new(|| AtomicU64::new(getrandom::u64().expect("the operating system gives random bytes")));
        let fence = Self(NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        if fence == Self::NONE { Self::unique() } else { fence }
    }
}

/// An entry as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    pub(super) schema: u8,
    pub(super) version: u64,
    pub(super) fresh_until_ms: u64,
    pub(super) fence: Fence,
    pub(super) lease_until_ms: u64,
    pub(super) payload: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the header; `None` for another format.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<HEADER>()?;
        if header[0] != FORMAT {
            return None;
        }
        let kind = [Kind::Value, Kind::Absent, Kind::Pending].into_iter().find(|kind| kind.byte() == header[1])?;
        let eight = |at: usize| -> [u8; 8] { std::array::from_fn(|i| header[at + i]) };
        Some(Self {
            kind,
            schema: header[2],
            version: u64::from_be_bytes(eight(3)),
            fresh_until_ms: u64::from_be_bytes(eight(11)),
            fence: Fence(eight(19)),
            lease_until_ms: u64::from_be_bytes(eight(27)),
            payload,
        })
    }

    /// The entry's bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend(self.header());
        bytes.extend(self.payload);
        bytes
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..3].copy_from_slice(&[FORMAT, self.kind.byte(), self.schema]);
        header[3..11].copy_from_slice(&self.version.to_be_bytes());
        header[11..19].copy_from_slice(&self.fresh_until_ms.to_be_bytes());
        header[19..27].copy_from_slice(&self.fence.0);
        header[27..].copy_from_slice(&self.lease_until_ms.to_be_bytes());
        header
    }

    /// Whether this is a value or an absence of the wanted shape.
    pub(super) fn is_answer(&self, schema: u8) -> bool {
        self.kind != Kind::Pending && self.schema == schema
    }
}

/// The bytes of a value that nobody fetches.
///
/// # Errors
/// When serde refuses the value.
pub(super) fn of_value<V: Cacheable>(value: &V, fresh_until_ms: u64) -> Result<Vec<u8>, postcard::Error> {
    let header = Entry { kind: Kind::Value, version: value.version(), fresh_until_ms, ..empty(V::SCHEMA) }.write();
    postcard::to_extend(value, header)
}

/// The bytes of "no such record".
pub(super) fn of_absence(schema: u8, fresh_until_ms: u64) -> Vec<u8> {
    Entry { kind: Kind::Absent, fresh_until_ms, ..empty(schema) }.write()
}

/// Only a lease. Until when is the server's to say: the scripts write it, or the key's own expiry ends it.
pub(super) fn of_lease(schema: u8, fence: Fence) -> [u8; HEADER] {
    pending(schema, fence).header()
}

/// The entry of a lease where there is nothing else.
pub(super) fn pending(schema: u8, fence: Fence) -> Entry<'static> {
    Entry { kind: Kind::Pending, fence, ..empty(schema) }
}

fn empty(schema: u8) -> Entry<'static> {
    Entry {
        kind: Kind::Pending,
        schema,
        version: 0,
        fresh_until_ms: 0,
        fence: Fence::NONE,
        lease_until_ms: 0,
        payload: &[],
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `fresh`, spread evenly by ±[`JITTER_PERCENT`]; `random` is any 32 random bits.
pub(super) fn jittered(fresh: Duration, random: u32) -> Duration {
    let span = fresh * JITTER_PERCENT / 100;
    let within = (span * 2).as_nanos() * u128::from(random) / u128::from(u32::MAX);
    fresh - span + Duration::from_nanos(u64::try_from(within).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Sample {
        version: u64,
        text: String,
        flags: Option<Vec<bool>>,
    }

    impl Cacheable for Sample {
        const SCHEMA: u8 = 3;
        fn version(&self) -> u64 {
            self.version
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(version: u64, text: String, flags: Option<Vec<bool>>, fresh_until_ms: u64) {
            let sample = Sample { version, text, flags };
            let bytes = of_value(&sample, fresh_until_ms).expect("serde takes it");
            let entry = Entry::read(&bytes).expect("an entry");
            prop_assert!(entry.is_answer(3) && !entry.is_answer(4));
            prop_assert_eq!((entry.version, entry.fresh_until_ms, entry.fence), (version, fresh_until_ms, Fence::NONE));
            prop_assert_eq!(postcard::from_bytes::<Sample>(entry.payload), Ok(sample));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Some(entry) = Entry::read(&bytes) {
                let _any = postcard::from_bytes::<Sample>(entry.payload);
            }
        }

        #[test]
        fn jitter_stays_within_its_bounds(random: u32, seconds in 1_u64..100_000) {
            let fresh = Duration::from_secs(seconds);
            let (low, high) = (fresh * (100 - JITTER_PERCENT) / 100, fresh * (100 + JITTER_PERCENT) / 100);
            prop_assert!((low..=high).contains(&jittered(fresh, random)));
        }
    }
}
