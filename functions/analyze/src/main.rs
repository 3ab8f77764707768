//! Runs [`analyze::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    config.jobs_queue_url()?;
    config.analysis_provider()?;
    shared::runtime::serve(shared::Context::of_process(config), analyze::handle).await
}
