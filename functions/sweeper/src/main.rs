//! Runs [`sweeper::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    for kind in shared::model::job::JobKind::ALL {
        config.queue_url(kind)?;
    }
    shared::runtime::serve_events(shared::Context::of_process(config), sweeper::handle).await
}
