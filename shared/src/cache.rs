//! Stand-in until the cache lands.
pub trait Cacheable {}
pub struct Class;
pub trait Key {
    type Value;
}
pub struct Cache;
impl Cache {
    pub fn open(_: &str) -> Self {
        Self
    }
    pub async fn get_or_fill<K: Key, E, F: Future<Output = Result<Option<K::Value>, E>>>(
        &self,
        _: &K,
        fetch: impl FnOnce() -> F,
    ) -> Result<Option<K::Value>, E> {
        fetch().await
    }
    pub async fn renew<K: Key>(&self, _: &K, _: &K::Value) {}
    pub async fn invalidate<K>(&self, _: &K) {}
    pub async fn ping(&self) -> Option<bool> {
        None
    }
}
