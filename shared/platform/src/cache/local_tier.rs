//! The process's own layer: values of classes that may be served stale, decoded, bounded in bytes.

use super::class::EntryAddress;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Most bytes it holds, as the values are encoded.
const CAPACITY_BYTES: usize = 4 << 20;

#[derive(Default)]
pub(super) struct LocalTier(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    values: HashMap<EntryAddress, Local>,
    bytes: usize,
}

struct Local {
    value: Arc<dyn Any + Send + Sync>,
    bytes: usize,
    until: Until,
}

/// How long a value serves, in ms since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) fresh_ms: u64,
    pub(super) stale_ms: u64,
}

/// A value found here.
pub(super) struct Found<V> {
    pub(super) value: V,
    pub(super) fresh: bool,
}

impl LocalTier {
    pub(super) fn get<V: Clone + 'static>(&self, address: &EntryAddress, now_ms: u64) -> Option<Found<V>> {
        let shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let local = shelf.values.get(address).filter(|local| now_ms < local.until.stale_ms)?;
        let value = local.value.downcast_ref::<V>()?.clone();
        Some(Found { value, fresh: now_ms < local.until.fresh_ms })
    }

    /// Keeps a value of `bytes` encoded bytes, in the place of those that end first when room is needed.
    pub(super) fn put<V: Send + Sync + 'static>(&self, address: EntryAddress, value: V, bytes: usize, until: Until) {
        if bytes > CAPACITY_BYTES {
            return;
        }
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.remove(&address);
        while shelf.bytes + bytes > CAPACITY_BYTES {
            let first = shelf.values.iter().min_by_key(|(_, local)| local.until.fresh_ms);
            let Some(first) = first.map(|(address, _)| address.clone()) else { break };
            shelf.remove(&first);
        }
        shelf.bytes += bytes;
        shelf.values.insert(address, Local { value: Arc::new(value), bytes, until });
    }
}

impl Shelf {
    fn remove(&mut self, address: &EntryAddress) {
        if let Some(local) = self.values.remove(address) {
            self.bytes -= local.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Class, Name};
    use std::fmt::Write as _;
    use std::time::Duration;

    struct Numbered(u64);

    impl Name for Numbered {
        const CLASS: Class = Class::stale_acceptable("numbered", Duration::from_secs(1), Duration::from_secs(2));
        fn write(&self, out: &mut String) {
            let _cannot_fail = write!(out, "numbered:{}", self.0);
        }
    }

    fn address(number: u64) -> EntryAddress {
        EntryAddress::of_name("", &Numbered(number))
    }

    #[test]
    fn it_holds_so_many_bytes_and_drops_what_ends_first() {
        let tier = LocalTier::default();
        for number in 0..100 {
            let until = Until { fresh_ms: 1000 + number, stale_ms: 5000 };
            tier.put(address(number), number, CAPACITY_BYTES / 10, until);
            assert!(tier.0.lock().expect("no panic").bytes <= CAPACITY_BYTES);
        }
        let held = (0..100).filter(|number| tier.get::<u64>(&address(*number), 0).is_some()).collect::<Vec<_>>();
        assert_eq!(held, (90..100).collect::<Vec<_>>());
        tier.put(address(7), 7, CAPACITY_BYTES + 1, Until { fresh_ms: 9999, stale_ms: 9999 });
        assert!(tier.get::<u64>(&address(7), 0).is_none(), "too large to hold");
    }

    #[test]
    fn values_are_fresh_then_stale_then_gone() {
        let tier = LocalTier::default();
        tier.put(address(1), 1_u64, 8, Until { fresh_ms: 10, stale_ms: 20 });
        let at = |now| tier.get::<u64>(&address(1), now).map(|found| found.fresh);
        assert_eq!((at(9), at(10), at(19), at(20)), (Some(true), Some(false), Some(false), None));
    }
}
