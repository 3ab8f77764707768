//! Runs [`analyze::handle`] on Lambda.

use shared::Context;
use shared::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = Config::from_env()?;
    config.jobs_queue_url()?;
    config.analysis_provider()?;
    shared::runtime::serve(Context::of_process(config), analyze::handle).await
}
