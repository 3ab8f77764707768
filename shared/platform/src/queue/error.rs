//! What can go wrong with a queue, told apart by what the caller can do about it.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::error::Error;
use std::sync::Arc;

/// What an error came from; logged, never shown.
pub type QueueCause = Arc<dyn Error + Send + Sync>;

/// Why the queue did not do as asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// Away, throttling, too slow or failing: the same call may work later. A send that ends so may have
    /// happened all the same.
    #[error("the queue is unavailable")]
    Unavailable(#[source] QueueCause),
    /// The message is no longer in flight under this receipt handle: its visibility ran out, somebody else
    /// received it since, or it is deleted.
    #[error("the message is no longer in flight under this receipt handle")]
    NotInFlight(#[source] QueueCause),
    /// The queue will never take this: it is missing, forbidden, or the message is outside its limits.
    #[error("the queue refused")]
    Refused(#[source] QueueCause),
}

impl QueueError {
    /// Reads the SDK's error once, where it enters.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let classified = match error.as_service_error() {
            Some(service) => kind(status, service.code().unwrap_or_default()),
            None => without_answer(&error),
        };
        classified(Arc::new(error))
    }

    /// As [`QueueError::of`], for calls with a receipt handle: SQS also says `InvalidParameterValue` of a
    /// handle whose message is gone or was received again.
    pub(super) fn of_receipt<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        match code {
            Some("InvalidParameterValue") => Self::NotInFlight(Arc::new(error)),
            _ => Self::of(error),
        }
    }

    /// Reads the outcome of one entry of a batch.
    pub(super) fn of_entry(entry: &aws_sdk_sqs::types::BatchResultErrorEntry) -> Self {
        let status = if entry.sender_fault { 400 } else { 500 };
        let cause = RefusedEntry { code: entry.code.clone(), message: entry.message.clone().unwrap_or_default() };
        kind(status, &entry.code)(Arc::new(cause))
    }
}

/// An entry of a batch that failed beside others.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct RefusedEntry {
    code: String,
    message: String,
}

type Kind = fn(QueueCause) -> QueueError;

/// By the service's answer. The codes are those of
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html> and of the actions used.
fn kind(status: u16, code: &str) -> Kind {
    match code.rsplit('.').next().unwrap_or(code) {
        "MessageNotInflight" | "ReceiptHandleIsInvalid" => QueueError::NotInFlight,
        "RequestThrottled"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "OverLimit"
        | "ServiceUnavailable"
        | "InternalError"
        | "InternalFailure"
        | "RequestTimeout" => QueueError::Unavailable,
        _ if status >= 500 || status == 429 => QueueError::Unavailable,
        _ => QueueError::Refused,
    }
}

/// No answer, or one that nobody can read.
fn without_answer<E, R>(error: &SdkError<E, R>) -> Kind {
    match error {
        SdkError::ConstructionFailure(_) => QueueError::Refused,
        _ => QueueError::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(status: u16, code: &str) -> &'static str {
        let cause = RefusedEntry { code: code.to_owned(), message: String::new() };
        match kind(status, code)(Arc::new(cause)) {
            QueueError::Unavailable(_) => "unavailable",
            QueueError::NotInFlight(_) => "not in flight",
            QueueError::Refused(_) => "refused",
        }
    }

    #[test]
    fn errors_are_told_apart_by_what_helps() {
        for (status, code, expected) in [
            (400, "RequestThrottled", "unavailable"),
            (400, "ThrottlingException", "unavailable"),
            (400, "KMS.ThrottlingException", "unavailable"),
            (503, "ServiceUnavailable", "unavailable"),
            (500, "", "unavailable"),
            (429, "", "unavailable"),
            (400, "AWS.SimpleQueueService.MessageNotInflight", "not in flight"),
            (400, "ReceiptHandleIsInvalid", "not in flight"),
            (400, "AWS.SimpleQueueService.NonExistentQueue", "refused"),
            (400, "InvalidMessageContents", "refused"),
            (403, "AccessDenied", "refused"),
        ] {
            assert_eq!(name(status, code), expected, "{status} {code}");
        }
    }
}
