//! Writes of what is cached, before the cache knows of them. The store returns them, and a handler gets what came of a
//! write, success or error, by publishing it: it cannot forget to.

use super::{Cache, Key, Name};

/// How a write of a record ended.
#[derive(Debug)]
pub enum WriteOutcome<V, E> {
    /// It is done, and this is the record now.
    Written(V),
    /// It was not done, because the record is this. A write whose reply was lost, or whose writer died, may have made it so
    /// without the cache's knowledge.
    Refused(V, E),
    /// It may be done or not, or it is not known what the record is now, or it was refused before it was sent: a write before
    /// it may be why.
    Unknown(E),
}

impl<V, E> WriteOutcome<V, E> {
    /// The same, of a part of the record.
    pub fn map<W>(self, part: impl FnOnce(V) -> W) -> WriteOutcome<W, E> {
        match self {
            Self::Written(record) => WriteOutcome::Written(part(record)),
            Self::Refused(record, error) => WriteOutcome::Refused(part(record), error),
            Self::Unknown(error) => WriteOutcome::Unknown(error),
        }
    }
}

/// An error means that the write may be done.
impl<V, E> From<Result<V, E>> for WriteOutcome<V, E> {
    fn from(result: Result<V, E>) -> Self {
        result.map_or_else(Self::Unknown, Self::Written)
    }
}

/// A write of a record that is cached as it is, or of which a part is. [`Renewal::publish`] is the only way to what came of
/// it, be it the record or the error: a write that failed may have taken effect all the same.
///
/// ```compile_fail,E0616
/// use platform::cache::{Key, Renewal, WriteOutcome};
///
/// fn forgotten<K: Key, E>(written: Renewal<K, E>) -> WriteOutcome<K::Value, E> {
///     written.outcome
/// }
/// ```
#[must_use = "readers get the value before this write until it is published"]
pub struct Renewal<K: Key, E, R = <K as Key>::Value> {
    key: K,
    outcome: WriteOutcome<R, E>,
}

impl<K: Key, E, R: Clone + Into<K::Value>> Renewal<K, E, R> {
    /// What came of a write of the record that is cached under `key`.
    pub fn new(key: K, outcome: WriteOutcome<R, E>) -> Self {
        Self { key, outcome }
    }

    /// Puts the record's value in the place of an older one, or removes what is there if the value is not known. To be
    /// called before anything is answered. If the cache cannot be told, that is logged and counted
    /// ([`Delivery`](super::Delivery)); the write stands.
    ///
    /// # Errors
    /// The write's own.
    pub async fn publish(self, cache: &Cache) -> Result<R, E> {
        match self.outcome {
            WriteOutcome::Written(record) => {
                cache.renew(&self.key, &record.clone().into()).await;
                Ok(record)
            }
            WriteOutcome::Refused(record, error) => {
                cache.renew(&self.key, &record.into()).await;
                Err(error)
            }
            WriteOutcome::Unknown(error) => {
                cache.invalidate(&self.key).await;
                Err(error)
            }
        }
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
/// fn forgotten<N: Name>(delete: impl FnOnce() -> Invalidation<N, (), ()>) {
///     delete();
/// }
/// ```
#[must_use = "readers get the value before this write until it is published"]
pub struct Invalidation<N, T, E> {
    name: N,
    result: Result<T, E>,
    due: bool,
}

impl<N, T, E> Invalidation<N, T, E> {
    /// What came of a write that concerns what is cached as `name`.
    pub fn new(name: N, outcome: WriteOutcome<T, E>) -> Self {
        let result = match outcome {
            WriteOutcome::Written(returned) => Ok(returned),
            WriteOutcome::Refused(_, error) | WriteOutcome::Unknown(error) => Err(error),
        };
        Self { name, result, due: true }
    }

    /// What the cache knows of already.
    pub fn published(name: N, result: Result<T, E>) -> Self {
        Self { name, result, due: false }
    }
}

impl<N: Name, T, E> Invalidation<N, T, E> {
    /// Forgets what is cached, unless that is done, and returns what the write is to return. As [`Renewal::publish`].
    ///
    /// # Errors
    /// The write's own.
    pub async fn publish(self, cache: &Cache) -> Result<T, E> {
        if self.due {
            cache.invalidate(&self.name).await;
        }
        self.result
    }
}

/// The name of what no cache holds: for writes that a function without a cache shares with others.
#[derive(Debug, Clone, Copy)]
pub struct Uncached;

impl<T, E> Invalidation<Uncached, T, E> {
    /// What the write is to return.
    ///
    /// # Errors
    /// The write's own.
    pub fn into_result(self) -> Result<T, E> {
        self.result
    }
}
