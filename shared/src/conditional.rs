//! Conditional writes (RFC 9110, 13): which version of a record a write must find.

use crate::error::ApiError;
use lambda_http::Request;
use platform::etag::{Conditions, EntityTag};
use serde::Serialize;

/// What a write of a versioned record must find.
#[derive(Debug)]
pub enum Expected {
    /// The record, whatever its version.
    Exists,
    /// The record in this version.
    Version(u64),
    /// What was read is not what the request wants found. The write is handed this all the same: an earlier one of the same
    /// caller may be why, and the cache may not know of it.
    Refused(ApiError),
}

impl Expected {
    /// What the request's conditions want found. `current` reads the record: its version, and what a `GET` shows of it. It is
    /// only awaited for a condition that depends on it, and the write then holds only while that version stands.
    pub async fn of<T: Serialize>(
        request: &Request,
        current: impl Future<Output = Result<(u64, T), ApiError>>,
    ) -> Self {
        let conditions = Conditions::of(request.headers());
        if conditions.hold_for_any() {
            return Self::Exists;
        }
        match current.await {
            Ok((version, shown)) if conditions.allow_write(&EntityTag::of(&shown)) => Self::Version(version),
            Ok(_) => Self::Refused(ApiError::PreconditionFailed),
            Err(error) => Self::Refused(error),
        }
    }
}
