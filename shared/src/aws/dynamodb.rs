//! Calls to DynamoDB: by the SDK's client, or, in `local`, straight to the engine behind its [`Gate`](super::Gate).

use super::{AwsConfig, Signer, retries, timeouts, user_agent};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::{BehaviorVersion, SharedInterceptor, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::{
    batch_get_item, batch_write_item, delete_item, get_item, put_item, query, transact_write_items, update_item,
};
use std::future::Future;

/// Who answers calls to the table. A clone is the same.
#[derive(Clone, Debug)]
pub(crate) enum DynamoDb {
    /// DynamoDB, or what speaks its protocol, at the client's endpoint.
    Remote(Client),
    /// An engine in this process.
    #[cfg(feature = "gate")]
    Embedded {
        /// The access key id that would sign.
        caller: std::sync::Arc<str>,
        engine: std::sync::Arc<dyn Engine>,
    },
}

impl DynamoDb {
    /// Who answers for a configuration, and a client that also does what `interceptor` says. Nothing is sent yet.
    pub(crate) fn open(aws: &AwsConfig, interceptor: Option<SharedInterceptor>) -> Self {
        #[cfg(feature = "gate")]
        if let Some(engine) = aws.gate.engine(aws.endpoint_url.as_deref()) {
            return Self::Embedded { caller: aws.credentials.access_key_id().into(), engine: engine.clone() };
        }
        let http = aws.http_client().expect("AWS_CA_BUNDLE holds PEM certificates");
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(aws.region())
            .credentials_provider(aws.credentials.clone())
            .push_auth_scheme(Signer::new(aws.region.clone(), "dynamodb"))
            .http_client(http)
            .retry_config(retries())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(aws.endpoint_url.clone());
        config.push_interceptor(user_agent());
        if let Some(interceptor) = interceptor {
            config.push_interceptor(interceptor);
        }
        Self::Remote(Client::from_conf(config.build()))
    }
}

/// What an operation comes to.
type Outcome<O, E> = Result<O, SdkError<E, HttpResponse>>;

/// Why an [`Engine`] did not do what it was asked.
#[cfg(feature = "gate")]
#[derive(Debug)]
pub enum Failure<E> {
    /// It refused, as DynamoDB would with this HTTP status.
    Refused(Box<E>, u16),
    /// It was closed.
    Closed,
}

#[cfg(feature = "gate")]
impl<E> Failure<E> {
    /// The same as the SDK has it after a call over the network.
    fn into_sdk_error(self) -> SdkError<E, HttpResponse> {
        use aws_smithy_runtime_api::{client::result::ConnectorError, http::StatusCode};
        let (error, status) = match self {
            Self::Refused(error, status) => (error, status),
            Self::Closed => {
                return SdkError::dispatch_failure(ConnectorError::io("the embedded database is closed".into()));
            }
        };
        match StatusCode::try_from(status) {
            Ok(status) => {
                SdkError::service_error(*error, HttpResponse::new(status, aws_smithy_types::body::SdkBody::empty()))
            }
            Err(error) => SdkError::construction_failure(error),
        }
    }
}

/// An operation's input, ready to be sent.
pub(crate) trait Operation {
    type Output;
    type Error;

    /// Sends it: to DynamoDB as the SDK does, with its retries and time limits; to an engine once, as that answers at once.
    fn send_to(self, database: &DynamoDb) -> impl Future<Output = Outcome<Self::Output, Self::Error>> + Send;
}

/// The operations that the store uses.
macro_rules! operations {
    ($($operation:ident: $builder:ident, $input:ident, $output:ident, $error:ident;)*) => {
        $(impl Operation for $operation::builders::$builder {
            type Output = $operation::$output;
            type Error = $operation::$error;

            async fn send_to(self, database: &DynamoDb) -> Outcome<Self::Output, Self::Error> {
                match database {
                    DynamoDb::Remote(client) => self.send_with(client).await,
                    #[cfg(feature = "gate")]
                    DynamoDb::Embedded { caller, engine } => {
                        let input = self.build().map_err(SdkError::construction_failure)?;
                        let _turn = engine.turns().lock().await;
                        engine.$operation(caller, input).map_err(Failure::into_sdk_error)
                    }
                }
            }
        })*

        /// A database in this process that answers the SDK's calls as DynamoDB does, with the SDK's own types.
        ///
        /// A call is answered before it returns: it is for engines whose calls take no longer than the parsing of a reply.
        #[cfg(feature = "gate")]
        pub trait Engine: std::fmt::Debug + Send + Sync {
            /// Held during a call by whoever makes it from a task: an engine that answers one call at a time would else block
            /// the threads of all others.
            fn turns(&self) -> &tokio::sync::Mutex<()>;

            $(
                /// Runs the operation of this name for who has the access key id `caller`.
                ///
                /// # Errors
                /// As DynamoDB's API Reference has it for the operation; `AccessDeniedException` for a caller who may not;
                /// [`Failure::Closed`].
                fn $operation(
                    &self,
                    caller: &str,
                    input: $operation::$input,
                ) -> Result<$operation::$output, Failure<$operation::$error>>;
            )*
        }
    };
}

operations! {
    batch_get_item: BatchGetItemInputBuilder, BatchGetItemInput, BatchGetItemOutput, BatchGetItemError;
    batch_write_item: BatchWriteItemInputBuilder, BatchWriteItemInput, BatchWriteItemOutput, BatchWriteItemError;
    delete_item: DeleteItemInputBuilder, DeleteItemInput, DeleteItemOutput, DeleteItemError;
    get_item: GetItemInputBuilder, GetItemInput, GetItemOutput, GetItemError;
    put_item: PutItemInputBuilder, PutItemInput, PutItemOutput, PutItemError;
    query: QueryInputBuilder, QueryInput, QueryOutput, QueryError;
    transact_write_items:
        TransactWriteItemsInputBuilder, TransactWriteItemsInput, TransactWriteItemsOutput, TransactWriteItemsError;
    update_item: UpdateItemInputBuilder, UpdateItemInput, UpdateItemOutput, UpdateItemError;
}
