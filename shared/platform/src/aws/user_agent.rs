//! One fixed `User-Agent` in the place of the SDK's two, which are a fifth of a small request and built anew for each.

use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_sqs::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
};
use aws_sdk_sqs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_sqs::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::{SharedInterceptor, disable_interceptor};

/// What CloudTrail shows.
const USER_AGENT: &str = concat!("citizen-app/", env!("CARGO_PKG_VERSION"), " aws-sdk-rust");

/// For a client's configuration.
#[must_use]
pub fn user_agent() -> SharedInterceptor {
    SharedInterceptor::permanent(UserAgent)
}

#[derive(Debug)]
struct UserAgent;

impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(disable_interceptor::<UserAgentInterceptor>("the header is fixed"));
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("user-agent", USER_AGENT);
        Ok(())
    }
}
