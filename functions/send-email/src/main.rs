//! Runs [`send_email::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    config.jobs_queue_url()?;
    shared::runtime::serve(shared::Context::of_process(config), send_email::handle).await
}
