//! Conditional writes (RFC 9110, 13): which version of a record a write must find.

use crate::error::ApiError;
use lambda_http::Request;
use platform::etag::{Conditions, EntityTag};
use serde::Serialize;

/// What a write of a versioned record must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The record, whatever its version.
    Exists,
    /// The record in this version.
    Version(u64),
}

impl Expected {
    /// What the request's conditions want found. `current` reads the record: its version, and what a `GET` shows of it. It is
    /// only awaited for a condition that depends on it, and the write then holds only while that version stands.
    ///
    /// # Errors
    /// [`ApiError::PreconditionFailed`], and those of `current`.
    pub async fn of<T: Serialize>(
        request: &Request,
        current: impl Future<Output = Result<(u64, T), ApiError>>,
    ) -> Result<Self, ApiError> {
        let conditions = Conditions::of(request.headers());
        if conditions.hold_for_any() {
            return Ok(Self::Exists);
        }
        let (version, shown) = current.await?;
        if conditions.allow_write(&EntityTag::of(&shown)) {
            Ok(Self::Version(version))
        } else {
            Err(ApiError::PreconditionFailed)
        }
    }
}
