//! Runs [`analyze::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    config.caps.share(shared::caps::Cap::Dollars, shared::model::org::Plan::Free)?;
    config.queue_url(shared::model::job::JobKind::Analyze)?;
    config.analysis_provider()?;
    config.waiting_places()?;
    shared::runtime::serve(shared::Context::of_process(config), analyze::handle).await
}
