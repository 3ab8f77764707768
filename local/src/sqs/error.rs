//! What the queue service refuses, with the names that both of its protocols use for it.

/// A refused request or batch entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .kind.code())]
pub struct SqsError {
    pub kind: ErrorKind,
    pub message: String,
}

/// The errors of the SQS API that this server gives. All are the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    Serialization,
    TooManyEntriesInBatchRequest,
    UnsupportedOperation,
}

impl ErrorKind {
    /// The shape name of the JSON protocol (`__type`).
    pub fn shape(self) -> &'static str {
        use ErrorKind::*;
        match self {
            BatchEntryIdsNotDistinct => "BatchEntryIdsNotDistinct",
            BatchRequestTooLong => "BatchRequestTooLong",
            EmptyBatchRequest => "EmptyBatchRequest",
            InvalidAttributeName => "InvalidAttributeName",
            InvalidAttributeValue => "InvalidAttributeValue",
            InvalidBatchEntryId => "InvalidBatchEntryId",
            InvalidMessageContents => "InvalidMessageContents",
            InvalidParameterValue => "InvalidParameterValueException",
            MessageNotInflight => "MessageNotInflight",
            MissingParameter => "MissingRequiredParameterException",
            OverLimit => "OverLimit",
            QueueDoesNotExist => "QueueDoesNotExist",
            QueueNameExists => "QueueNameExists",
            ReceiptHandleIsInvalid => "ReceiptHandleIsInvalid",
            Serialization => "SerializationException",
            TooManyEntriesInBatchRequest => "TooManyEntriesInBatchRequest",
            UnsupportedOperation => "UnsupportedOperation",
        }
    }

    /// The code of the older query protocol, which the SDKs match on: it travels in the
    /// `x-amzn-query-error` header and in the `Code` of a failed batch entry.
    pub fn code(self) -> &'static str {
        use ErrorKind::*;
        match self {
            BatchEntryIdsNotDistinct => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
            BatchRequestTooLong => "AWS.SimpleQueueService.BatchRequestTooLong",
            EmptyBatchRequest => "AWS.SimpleQueueService.EmptyBatchRequest",
            InvalidBatchEntryId => "AWS.SimpleQueueService.InvalidBatchEntryId",
            InvalidParameterValue => "InvalidParameterValue",
            MessageNotInflight => "AWS.SimpleQueueService.MessageNotInflight",
            MissingParameter => "MissingParameter",
            QueueDoesNotExist => "AWS.SimpleQueueService.NonExistentQueue",
            QueueNameExists => "QueueAlreadyExists",
            TooManyEntriesInBatchRequest => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            UnsupportedOperation => "AWS.SimpleQueueService.UnsupportedOperation",
            InvalidAttributeName
            | InvalidAttributeValue
            | InvalidMessageContents
            | OverLimit
            | ReceiptHandleIsInvalid
            | Serialization => self.shape(),
        }
    }

    pub(crate) fn because(self, message: impl Into<String>) -> SqsError {
        SqsError { kind: self, message: message.into() }
    }
}

impl SqsError {
    pub(crate) fn missing(parameter: &str) -> Self {
        ErrorKind::MissingParameter.because(format!("The request must contain the parameter {parameter}."))
    }

    /// `value` of `parameter` is outside what SQS documents for it.
    pub(crate) fn invalid(parameter: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        ErrorKind::InvalidParameterValue
            .because(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}."))
    }
}

/// Accepts `value` if it lies in `range`; `parameter` names it in the refusal.
pub(crate) fn in_range(parameter: &str, value: i64, range: std::ops::RangeInclusive<i64>) -> Result<u64, SqsError> {
    let (low, high) = (range.start(), range.end());
    u64::try_from(value)
        .ok()
        .filter(|_| range.contains(&value))
        .ok_or_else(|| SqsError::invalid(parameter, value, &format!("Must be between {low} and {high}, if provided")))
}

impl From<serde_json::Error> for SqsError {
    fn from(error: serde_json::Error) -> Self {
        ErrorKind::Serialization.because(format!("The request body: {error}"))
    }
}
