//! Runs [`change_email::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    config.queue_url(shared::model::job::JobKind::AccountMail)?;
    shared::runtime::serve(shared::Context::of_process(config), change_email::handle).await
}
