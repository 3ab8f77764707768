//! Runs [`put_org_settings::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    // A default model is one that the deployment's provider offers.
    config.analysis_provider()?;
    shared::runtime::serve(shared::Context::of_process(config), put_org_settings::handle).await
}
