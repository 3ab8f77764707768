//! Runs [`forgot_password::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    for limit in forgot_password::LIMITS {
        config.network_limit(limit)?;
    }
    config.queue_url(shared::model::job::JobKind::AccountMail)?;
    shared::runtime::serve(shared::Context::of_process(config), forgot_password::handle).await
}
