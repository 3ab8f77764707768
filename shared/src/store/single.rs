//! Writes of one record. DynamoDB refuses one at once while a transaction holds the record, and the SDK does not repeat it: so
//! each goes through here, and `clippy.toml` refuses `send`.

use super::{CONFLICT_ATTEMPTS, backoff};
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemError, DeleteItemOutput};
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};

/// A `PutItem`, `UpdateItem` or `DeleteItem`.
pub(super) trait SingleWrite: Clone {
    type Reply;
    type Error: ProvideErrorMetadata;

    /// Sends it; refused where a transaction holds the record.
    async fn send_at_once(self) -> Result<Self::Reply, SdkError<Self::Error, HttpResponse>>;

    /// Sends it, and sends it again with jittered backoff while a transaction holds its record.
    ///
    /// # Errors
    /// Those of DynamoDB: a refusal by a held record when all attempts met one.
    async fn send_unless_held(self) -> Result<Self::Reply, SdkError<Self::Error, HttpResponse>> {
        for attempt in 1..CONFLICT_ATTEMPTS {
            match self.clone().send_at_once().await {
                Err(error) if error.code() == Some("TransactionConflictException") => {}
                outcome => return outcome,
            }
            tokio::time::sleep(backoff(attempt - 1)).await;
        }
        self.send_at_once().await
    }
}

macro_rules! single_write {
    ($builder:ty, $reply:ty, $error:ty) => {
        impl SingleWrite for $builder {
            type Reply = $reply;
            type Error = $error;

            #[expect(clippy::disallowed_methods, reason = "the one place that repeats what a held record refused")]
            async fn send_at_once(self) -> Result<$reply, SdkError<$error, HttpResponse>> {
                self.send().await
            }
        }
    };
}

/// Sends an update once: where its reply is lost, it is not sent again. For what adds to what others may take, which a repetition would add
/// twice.
///
/// # Errors
/// Those of DynamoDB; it may have been made all the same.
pub(super) async fn send_at_most_once(
    update: UpdateItemFluentBuilder,
) -> Result<UpdateItemOutput, SdkError<UpdateItemError, HttpResponse>> {
    let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
    update.customize().config_override(once).send().await
}

single_write!(PutItemFluentBuilder, PutItemOutput, PutItemError);
single_write!(UpdateItemFluentBuilder, UpdateItemOutput, UpdateItemError);
single_write!(DeleteItemFluentBuilder, DeleteItemOutput, DeleteItemError);
