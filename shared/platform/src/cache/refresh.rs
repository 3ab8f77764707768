//! Stale while one refreshes: whoever finds a value stale gets it at once, and one of them has it fetched anew.

use super::backend::Budget;
use super::class::{Cacheable, Class, EntryAddress, Key};
use super::entry::Fence;
use super::entry::{jittered, millis, now_ms};
use super::local_tier::{Found, Until};
use super::operation::Acquisition;
use super::read_through::absence_scope;
use super::single_flight::Role;
use super::{Busy, Cache, Event, Lookup, keep, random};
use crate::telemetry::chain;
use std::error::Error;
use std::future::Future;
use std::time::Instant;

impl Cache {
    /// A value of a class that may be served stale: from this process's memory while fresh, else from the
    /// cache, fresh or stale. The one caller per lease who finds it stale starts `fetch` in the background
    /// and does not wait for it; only where there is nothing at all to serve is `fetch` waited for.
    ///
    /// On Lambda nothing runs after the next event is asked for: call [`Cache::settle`] before that.
    ///
    /// # Errors
    /// What `fetch` fails with, or [`Busy`], where there is nothing to serve.
    pub async fn get_or_refresh<K, F, Fut, E>(&self, key: K, fetch: F) -> Result<Option<K::Value>, E>
    where
        K: Key + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<K::Value>, E>> + Send + 'static,
        E: From<Busy> + Error + Send + 'static,
    {
        const { assert!(!K::CLASS.is_renewed(), "a class that is renewed on update goes through get_or_fill") };
        let asked = Instant::now();
        let address = EntryAddress::of(self.key_prefix(), &key);
        let held = self.0.local_tier.get::<K::Value>(&address, now_ms());
        if let Some(Found { value, fresh: true }) = held {
            self.0.metrics.count(K::CLASS.name, Event::LocalHit);
            return Ok(Some(value));
        }
        let mut budget = self.budget();
        match self.lookup::<K>(&address, &mut budget).await {
            Lookup::Fresh { value, fresh_until_ms, bytes } => {
                self.keep_near::<K>(address, value.as_ref(), bytes, fresh_until_ms);
                return Ok(value);
            }
            Lookup::Stale { value, leased } => {
                if !leased && let Ok(Some(fence)) = self.acquire_refresh::<K>(&address, &mut budget).await {
                    self.refresh(key, address, Some(fence), fetch);
                }
                return Ok(value);
            }
            Lookup::Leased(_) | Lookup::Miss => {}
        }
        if let Some(Found { value, .. }) = held {
            // The server has nothing or does not answer: what this process has still serves.
            match self.acquire_refresh::<K>(&address, &mut budget).await {
                Ok(Some(fence)) => self.refresh(key, address, Some(fence), fetch),
                Ok(None) => {}
                Err(()) => self.refresh(key, address, None, fetch),
            }
            return Ok(Some(value));
        }
        let value = Box::pin(self.fetch_once(&key, &address, asked, None, budget, fetch)).await?;
        let fresh_until_ms = now_ms() + millis(jittered(K::CLASS.fresh, random()));
        let bytes = value.as_ref().map_or(0, encoded_len);
        self.keep_near::<K>(address, value.as_ref(), bytes, fresh_until_ms);
        Ok(value)
    }

    /// The lease to fetch with; `None` if another has it, or has fetched by now. An error, which is logged, if the server does not say.
    async fn acquire_refresh<K: Key>(&self, address: &EntryAddress, budget: &mut Budget) -> Result<Option<Fence>, ()> {
        match self.acquire::<K>(address, now_ms(), budget).await {
            Ok(Acquisition::Granted(fence)) => Ok(Some(fence)),
            Ok(Acquisition::Held(_) | Acquisition::Present(_)) => Ok(None),
            Err(error) => {
                self.failed(K::CLASS.name, &error);
                Err(())
            }
        }
    }

    /// Fetches in the background, unless this process does already.
    fn refresh<K, F, Fut, E>(&self, key: K, address: EntryAddress, fence: Option<Fence>, fetch: F)
    where
        K: Key + Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<K::Value>, E>> + Send + 'static,
        E: Error + Send + 'static,
    {
        let cache = self.clone();
        let task = async move {
            let Role::Leader(lead) = cache.0.flights.join(&address) else {
                cache.release::<K>(&address, fence, &mut cache.budget()).await;
                return;
            };
            cache.0.metrics.count(K::CLASS.name, Event::Fetch);
            let fetching = Instant::now();
            match fetch().await {
                Ok(value) => {
                    let fresh_until_ms = now_ms() + millis(jittered(K::CLASS.fresh, random()));
                    let absence = value.is_none().then(|| absence_scope(cache.key_prefix(), &key)).flatten();
                    cache.store::<K>(&address, fence, value.as_ref(), absence, &mut cache.budget()).await;
                    let bytes = value.as_ref().map_or(0, encoded_len);
                    cache.keep_near::<K>(address.clone(), value.as_ref(), bytes, fresh_until_ms);
                    lead.land(|| value.map(|value| std::sync::Arc::new(value) as _), fetching);
                }
                Err(error) => {
                    tracing::warn!(
                        class = K::CLASS.name,
                        cause = chain(&error),
                        "a refresh failed; the stale value stays"
                    );
                    cache.release::<K>(&address, fence, &mut cache.budget()).await;
                    lead.fail();
                }
            }
        };
        self.later(task);
    }

    fn keep_near<K: Key>(&self, address: EntryAddress, value: Option<&K::Value>, bytes: usize, fresh_ms: u64) {
        if let Some(value) = value {
            let until = Until { fresh_ms, stale_ms: fresh_ms + stale_after_fresh_ms(&K::CLASS) };
            self.0.local_tier.put(address, value.clone(), bytes, until);
        }
    }
}

fn stale_after_fresh_ms(class: &Class) -> u64 {
    millis(keep(class, class.fresh).saturating_sub(class.fresh))
}

fn encoded_len<V: Cacheable>(value: &V) -> usize {
    postcard::experimental::serialized_size(value).unwrap_or(usize::MAX)
}
