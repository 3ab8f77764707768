//! A transaction whose replies are lost: whether it was made is asked until it is known, or its time is over.

use super::super::super::{Attempt, CONFLICT_ATTEMPTS, Store, Transaction, contended, request_token, wait_before};
use crate::error::{ApiError, chain};
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::TransactWriteItem;
use std::time::Duration;

/// Between two questions, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Store {
    /// Runs a transaction like [`Store::transact`]. Where no reply comes, and it is to be asked until a moment, it is sent again under its own
    /// token: so it is made once, and whoever made it knows.
    pub(super) async fn transact_until(
        &self,
        writes: &[TransactWriteItem],
        until: Option<Moment>,
    ) -> Result<Transaction, ApiError> {
        for attempt in 0..CONFLICT_ATTEMPTS {
            wait_before(attempt).await;
            if let Some(ended) = self.transact_once_until(writes, until).await? {
                return Ok(ended);
            }
        }
        Err(contended())
    }

    /// The same like [`Store::transact_once`]. That it met others or was throttled says nothing of what was sent before it.
    pub(super) async fn transact_once_until(
        &self,
        writes: &[TransactWriteItem],
        until: Option<Moment>,
    ) -> Result<Option<Transaction>, ApiError> {
        let Some(until) = until else { return self.transact_once(writes.to_vec()).await };
        let (token, mut pause) = (request_token(), FIRST_PAUSE);
        // Why it may have been made.
        let mut unsure: Option<ApiError> = None;
        loop {
            // Boxed, as the whole way to the database stands in this future already.
            let attempt = Box::pin(self.attempt_under(&token, writes.to_vec())).await;
            let is_over = self.now().plus(pause) >= until;
            let error = match (attempt, unsure) {
                (Ok(Attempt::Ended(ended)), _) => return Ok(Some(ended)),
                (Ok(Attempt::Conflict(_) | Attempt::Throttled), None) => return Ok(None),
                (Ok(_), Some(error)) | (Err(error @ ApiError::Unavailable(_)), _) if !is_over => error,
                (Ok(_), Some(error)) | (Err(error), _) => return Err(error),
            };
            tracing::warn!(cause = chain(&error), "no reply says whether a job is written: it is asked again");
            unsure = Some(error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
