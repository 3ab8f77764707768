//! Runs [`register::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    for limit in register::LIMITS {
        config.network_limit(limit)?;
    }
    config.queue_url(shared::model::job::JobKind::AccountMail)?;
    shared::runtime::serve(shared::Context::of_process(config), register::handle).await
}
