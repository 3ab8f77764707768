//! Runs [`sweeper::handle`] on Lambda.

use shared::Context;
use shared::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = Config::from_env()?;
    config.jobs_queue_url()?;
    shared::runtime::serve_events(Context::of_process(config), sweeper::handle).await
}
