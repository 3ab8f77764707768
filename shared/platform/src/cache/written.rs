//! Committed writes of what is cached, before the cache knows of them. The store returns them, and a handler gets what
//! it wrote by publishing it: it cannot forget to.

use super::{Cache, Key, Name};

/// A written record that is cached as it is. [`Renewal::publish`] is the only way to its value:
///
/// ```compile_fail,E0616
/// use platform::cache::{Key, Renewal};
///
/// fn forgotten<K: Key>(written: Renewal<K>) -> K::Value {
///     written.value
/// }
/// ```
#[must_use = "readers get the value before this write until it is published"]
pub struct Renewal<K: Key> {
    key: K,
    value: K::Value,
}

impl<K: Key> Renewal<K> {
    /// What a write has made of the record.
    pub fn new(key: K, value: K::Value) -> Self {
        Self { key, value }
    }

    /// Puts the new value in the place of an older one, and returns it. To be called before the write is
    /// acknowledged. If the cache cannot be told, that is logged and counted ([`Delivery`](super::Delivery)); the write stands.
    pub async fn publish(self, cache: &Cache) -> K::Value {
        cache.renew(&self.key, &self.value).await;
        self.value
    }
}

/// A write after which a cached value, or all pages of a group, hold no longer, with what it is to return.
///
/// A write that returns nothing is not to be forgotten either: the workspace denies the lint.
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// use platform::cache::{Invalidation, Name};
///
/// fn forgotten<N: Name>(delete: impl FnOnce() -> Invalidation<N, ()>) {
///     delete();
/// }
/// ```
#[must_use = "readers get the value before this write until it is published"]
pub struct Invalidation<N: Name, T> {
    name: N,
    returned: T,
}

impl<N: Name, T> Invalidation<N, T> {
    /// A write that concerns what is cached as `name`.
    pub fn new(name: N, returned: T) -> Self {
        Self { name, returned }
    }

    /// Forgets what is cached, and returns what the write is to return. As [`Renewal::publish`].
    pub async fn publish(self, cache: &Cache) -> T {
        cache.invalidate(&self.name).await;
        self.returned
    }
}
