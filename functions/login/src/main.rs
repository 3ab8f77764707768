//! Runs [`login::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    config.network_limit(shared::limits::NetworkLimit::FailedLogInsPerMinute)?;
    shared::runtime::serve(shared::Context::of_process(config), login::handle).await
}
