//! The engine's errors as the SDK's.

use super::values::from_item;
use aws_sdk_dynamodb::{
    error::ErrorMetadata,
    operation::{
        batch_get_item::BatchGetItemError, batch_write_item::BatchWriteItemError, delete_item::DeleteItemError,
        get_item::GetItemError, put_item::PutItemError, query::QueryError,
        transact_write_items::TransactWriteItemsError, update_item::UpdateItemError,
    },
    types::{
        CancellationReason,
        error::{ConditionalCheckFailedException, TransactionCanceledException},
    },
};
use dynoxide::DynoxideError;
use shared::aws::{Failure, Refusal};

/// An operation's error, made of the engine's.
pub(super) trait FromEngine: Sized {
    /// With what every error has: a code and a message.
    fn from_engine(error: DynoxideError, metadata: ErrorMetadata) -> Self;
}

/// Operations without conditions: their errors are told by their codes.
macro_rules! by_code {
    ($($error:ident),+) => {$(
        impl FromEngine for $error {
            fn from_engine(_: DynoxideError, metadata: ErrorMetadata) -> Self {
                Self::generic(metadata)
            }
        }
    )+};
}

by_code!(BatchGetItemError, BatchWriteItemError, GetItemError, QueryError);

/// Operations on one record, under a condition.
macro_rules! conditional {
    ($($error:ident),+) => {$(
        impl FromEngine for $error {
            fn from_engine(error: DynoxideError, metadata: ErrorMetadata) -> Self {
                match error {
                    DynoxideError::ConditionalCheckFailedException(message, item) => {
                        let failed = ConditionalCheckFailedException::builder()
                            .message(message)
                            .set_item(item.map(from_item))
                            .meta(metadata);
                        Self::ConditionalCheckFailedException(failed.build())
                    }
                    _ => Self::generic(metadata),
                }
            }
        }
    )+};
}

conditional!(DeleteItemError, PutItemError, UpdateItemError);

impl FromEngine for TransactWriteItemsError {
    fn from_engine(error: DynoxideError, metadata: ErrorMetadata) -> Self {
        match error {
            DynoxideError::TransactionCanceledException(message, reasons) => {
                let reason = |reason: dynoxide::errors::CancellationReason| {
                    CancellationReason::builder()
                        .code(reason.code)
                        .set_message(reason.message)
                        .set_item(reason.item.map(from_item))
                        .build()
                };
                let cancelled = TransactionCanceledException::builder()
                    .message(message)
                    .set_cancellation_reasons(Some(reasons.into_iter().map(reason).collect()))
                    .meta(metadata);
                Self::TransactionCanceledException(cancelled.build())
            }
            _ => Self::generic(metadata),
        }
    }
}

pub(super) fn failed<E: FromEngine>(error: DynoxideError) -> Failure<E> {
    let status = error.status_code();
    let code = error.error_type().rsplit('#').next().unwrap_or_default();
    let metadata = ErrorMetadata::builder().code(code).message(error.to_string()).build();
    Failure::Refused(Box::new(E::from_engine(error, metadata)), status)
}

pub(super) fn refused<E: FromEngine>(refusal: Refusal) -> Failure<E> {
    failed(DynoxideError::AccessDeniedException(refusal.message))
}
