//! The key of the security log's hashes: one random record for the deployment.

use super::keys::Key;
use super::{Store, attributes, record};
use crate::error::ApiError;
use crate::security_log::LogKey;
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct LogKeyRecord {
    key: LogKey,
}

impl Store {
    /// The key.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is none.
    pub(crate) async fn log_key(&self) -> Result<LogKey, ApiError> {
        timed(Part::Db, self.read_log_key()).await?.ok_or(ApiError::NotFound)
    }

    /// The key; if there is none, it is made. Apart from [`Self::log_key`], since each function reads the key, and most have no code to write it.
    pub(crate) async fn log_key_or_new(&self) -> Result<LogKey, ApiError> {
        timed(Part::Db, async {
            if let Some(key) = self.read_log_key().await? {
                return Ok(key);
            }
            let new = LogKeyRecord { key: LogKey::generate().map_err(ApiError::internal)? };
            // Of several that make one at once, the first counts for all.
            self.transact(vec![self.put_new(attributes(Key::log_key(), &new)?)?]).await?;
            self.read_log_key().await?.ok_or(ApiError::NotFound)
        })
        .await
    }

    async fn read_log_key(&self) -> Result<Option<LogKey>, ApiError> {
        let found = Box::pin(self.get_all(vec![Key::log_key().attributes()])).await?.pop();
        Ok(found.map(record::<LogKeyRecord>).transpose()?.map(|found| found.key))
    }
}
