//! What runs beside requests: stores, whose callers have their answers already, refreshes, and late renewals.

use super::Cache;
use super::backend::Backend;
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

/// What is not done by then is left to the next who misses.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

impl Cache {
    /// Runs beside the requests; [`Self::settle`] waits for it.
    pub(super) fn later(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(task);
    }

    /// Ends what runs beside the requests, done or not: for whoever is given all of it again.
    pub fn abandon(&self) {
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        drop(running);
    }

    /// Waits until the stores, refreshes and late renewals that this process started have ended, or for 10 s; and for a look at where the
    /// server is, if one is under way.
    pub async fn settle(&self) {
        if let Backend::Server(connection) = &self.0.backend {
            connection.endpoint_resolver.settle().await;
        }
        let mut running = {
            let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.is_empty() {
                return;
            }
            std::mem::take(&mut *running)
        };
        let all = async { while running.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(SETTLE_WITHIN, all).await;
    }
}
