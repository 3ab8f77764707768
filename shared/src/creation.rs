//! What creates something under an `Idempotency-Key` answers: first, and when it is repeated.

use crate::context::Context;
use crate::error::{ApiError, ApiResult};
use crate::idempotency::{KeyRecord, Once, StoredReply};
use crate::ids::OrgId;
use crate::response::Reply;

/// A repetition that would be refused by now (the limit is reached, the text has become too long for the plan)
/// still gets the first reply, and a key that came with another body is told so before anything else.
///
/// # Errors
/// The outcome's own, or [`ApiError::IdempotencyMismatch`], [`ApiError::IdempotencyInFlight`].
pub async fn or_first_reply(context: &Context, org: OrgId, once: Option<&Once>, outcome: ApiResult) -> ApiResult {
    let (Err(error), Some(once)) = (&outcome, once) else { return outcome };
    let settled = matches!(
        error,
        ApiError::IdempotencyMismatch
            | ApiError::IdempotencyInFlight { .. }
            | ApiError::Unavailable(_)
            | ApiError::Internal(_)
    );
    if settled {
        return outcome;
    }
    match context.store().first_reply(org, once).await? {
        Some(first) => Ok(first.replayed()),
        None => outcome,
    }
}

/// Keeps the reply to what was begun under a key that is still held, before anybody is told it.
///
/// # Errors
/// As [`crate::store::Store::complete_key`].
pub async fn keep(context: &Context, org: OrgId, held: Option<(&Once, KeyRecord)>, reply: Reply) -> ApiResult {
    let Some((once, held)) = held else { return Ok(reply) };
    let ours = StoredReply::of(&reply);
    let stands = context.store().complete_key(org, once, &held, ours.clone()).await?;
    Ok(if stands == ours { reply } else { stands.replayed() })
}
