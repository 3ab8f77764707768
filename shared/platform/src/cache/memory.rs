//! The cache server's stand-in within one process: the same rules as the scripts, on a map bounded in bytes.

use super::class::EntryAddress;
use super::entry::{Entry, Fence, HEADER, Kind, millis, now_ms, pending};
use super::operation::{Acquisition, Kept, Read};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes it holds, keys included.
const CAPACITY_BYTES: usize = 64 << 20;

/// A store of entries. A clone is the same.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    groups: HashMap<String, Group>,
    /// Groups in the order they came in: the first goes first when room is needed. Those that went before
    /// leave their line here until it is passed or swept.
    order: VecDeque<(u64, String)>,
    serial: u64,
    bytes: usize,
    counts: HashMap<String, (u64, u64)>,
}

/// What lies at one key, by page.
struct Group {
    serial: u64,
    pages: HashMap<String, Stored>,
}

struct Stored {
    bytes: Vec<u8>,
    until_ms: u64,
}

impl Memory {
    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, address: &EntryAddress) -> Option<Vec<u8>> {
        self.shelf().get(address).map(<[u8]>::to_vec)
    }

    pub(super) fn read_or_acquire(&self, address: &EntryAddress, schema: u8, lease_for: Duration) -> Read {
        let mut shelf = self.shelf();
        if let Some(bytes) = shelf.get(address) {
            return Read::Found(bytes.to_vec());
        }
        let (fence, lease_until_ms) = (Fence::unique(), now_ms() + millis(lease_for));
        shelf.put(address, Entry { lease_until_ms, ..pending(schema, fence) }.write(), lease_until_ms);
        Read::Leased(fence)
    }

    pub(super) fn acquire(&self, address: &EntryAddress, schema: u8, lease_for: Duration, now: u64) -> Acquisition {
        let mut shelf = self.shelf();
        let (fence, lease_until_ms) = (Fence::unique(), now_ms() + millis(lease_for));
        if let Some(bytes) = shelf.get(address)
            && let Some(entry) = Entry::read(bytes)
        {
            let answer = entry.is_answer(schema);
            if answer && entry.fresh_until_ms > now {
                return Acquisition::Present(bytes.to_vec());
            }
            let left = entry.lease_until_ms.saturating_sub(now_ms());
            if entry.fence != Fence::NONE && left > 0 {
                return Acquisition::Held(Duration::from_millis(left));
            }
            if answer {
                let stale = Entry { fence, lease_until_ms, ..entry }.write();
                shelf.replace(address, stale);
                return Acquisition::Granted(fence);
            }
        }
        let entry = Entry { lease_until_ms, ..pending(schema, fence) }.write();
        shelf.put(address, entry, lease_until_ms);
        Acquisition::Granted(fence)
    }

    pub(super) fn store(&self, address: &EntryAddress, fence: Fence, kept: Option<Kept<'_>>) -> bool {
        let mut shelf = self.shelf();
        let Some(old) = shelf.get(address).and_then(Entry::read).filter(|old| old.fence == fence) else { return false };
        match kept {
            Some(Kept { entry, keep }) => {
                let newer =
                    |new: Entry<'_>| old.kind == Kind::Value && old.schema == new.schema && new.version < old.version;
                if Entry::read(entry).is_some_and(newer) {
                    return false;
                }
                shelf.put(address, entry.to_vec(), now_ms() + millis(keep));
            }
            None if old.kind == Kind::Pending => shelf.remove(address),
            None => {
                let free = Entry { fence: Fence::NONE, lease_until_ms: 0, ..old }.write();
                shelf.replace(address, free);
            }
        }
        true
    }

    pub(super) fn renew(&self, address: &EntryAddress, new: Kept<'_>) {
        let mut shelf = self.shelf();
        let Some(bytes) = shelf.get(address) else { return };
        let version = Entry::read(new.entry).expect("an entry").version;
        match Entry::read(bytes) {
            Some(old) if old.kind == Kind::Value => {
                if old.version < version {
                    shelf.put(address, new.entry.to_vec(), now_ms() + millis(new.keep));
                }
            }
            _ => shelf.remove(address),
        }
    }

    pub(super) fn invalidate(&self, address: &EntryAddress) {
        self.shelf().remove_key(address.key());
    }

    /// How much was counted under a name in the current window, this included.
    pub(super) fn count(&self, name: &str, window: Duration) -> u64 {
        let mut shelf = self.shelf();
        let now = now_ms();
        shelf.counts.retain(|_, (until, _)| *until > now);
        let (_, count) = shelf.counts.entry(name.to_owned()).or_insert((now + millis(window), 0));
        *count += 1;
        *count
    }
}

impl Shelf {
    fn get(&self, address: &EntryAddress) -> Option<&[u8]> {
        let stored = self.groups.get(address.key())?.pages.get(address.page())?;
        (stored.until_ms > now_ms()).then_some(&stored.bytes)
    }

    /// Other bytes of the same length, kept as long as the old ones.
    fn replace(&mut self, address: &EntryAddress, bytes: Vec<u8>) {
        if let Some(stored) = self.groups.get_mut(address.key()).and_then(|group| group.pages.get_mut(address.page())) {
            stored.bytes = bytes;
        }
    }

    fn put(&mut self, address: &EntryAddress, bytes: Vec<u8>, until_ms: u64) {
        self.remove(address);
        let size = weight(address.page(), &bytes);
        while self.bytes + size + address.key().len() > CAPACITY_BYTES {
            let Some((serial, oldest)) = self.order.pop_front() else { return };
            if self.groups.get(&oldest).is_some_and(|group| group.serial == serial) {
                self.remove_key(&oldest);
            }
        }
        if let Some(group) = self.groups.get_mut(address.key()) {
            group.pages.insert(address.page().to_owned(), Stored { bytes, until_ms });
            self.bytes += size;
            return;
        }
        self.serial += 1;
        self.order.push_back((self.serial, address.key().to_owned()));
        let pages = HashMap::from([(address.page().to_owned(), Stored { bytes, until_ms })]);
        self.groups.insert(address.key().to_owned(), Group { serial: self.serial, pages });
        self.bytes += size + address.key().len();
    }

    fn remove(&mut self, address: &EntryAddress) {
        let Some(group) = self.groups.get_mut(address.key()) else { return };
        if let Some(stored) = group.pages.remove(address.page()) {
            self.bytes -= weight(address.page(), &stored.bytes);
        }
        if group.pages.is_empty() {
            self.remove_key(address.key());
        }
    }

    fn remove_key(&mut self, key: &str) {
        let Some(group) = self.groups.remove(key) else { return };
        let size: usize = group.pages.iter().map(|(page, stored)| weight(page, &stored.bytes)).sum();
        self.bytes -= size + key.len();
        if self.order.len() > 2 * self.groups.len() + 1024 {
            let groups = &self.groups;
            self.order.retain(|(serial, key)| groups.get(key).is_some_and(|group| group.serial == *serial));
        }
    }
}

fn weight(page: &str, bytes: &[u8]) -> usize {
    page.len() + bytes.len().max(HEADER)
}
