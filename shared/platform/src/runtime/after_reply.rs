//! What an environment still has to do once a reply is on its way. On Lambda the environment may be frozen as
//! soon as the next event is asked for; between the reply and that question it runs.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html>, "Cleanup"

use super::Environment;
use lambda_http::lambda_runtime::{LambdaInvocation, Service};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A runtime's service, whose future resolves when the reply was posted, followed by
/// [`Environment::after_reply`].
pub(super) struct AfterReply<S, C: 'static> {
    pub(super) inner: S,
    pub(super) environment: &'static C,
}

impl<S: Clone, C> Clone for AfterReply<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), environment: self.environment }
    }
}

impl<S, C> Service<LambdaInvocation> for AfterReply<S, C>
where
    S: Service<LambdaInvocation, Response = (), Error = lambda_http::Error>,
    S::Future: Send + 'static,
    C: Environment,
{
    type Response = ();
    type Error = lambda_http::Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), lambda_http::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), lambda_http::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
        let posted = self.inner.call(invocation);
        let environment = self.environment;
        Box::pin(async move {
            let result = posted.await;
            environment.after_reply().await;
            result
        })
    }
}
