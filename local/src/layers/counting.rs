//! Counts calls to the database, repetitions included.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::{Call, Layer};

/// How many calls of a system went to its database.
#[derive(Debug, Default)]
pub struct DatabaseCalls(AtomicU64);

impl DatabaseCalls {
    /// So far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Layer for DatabaseCalls {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        if Call::of(&request).is_some_and(|call| call.service == "dynamodb") {
            self.0.fetch_add(1, Relaxed);
        }
        next.call(request)
    }
}
