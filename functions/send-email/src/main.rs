//! Runs [`send_email::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    config.caps.share(shared::caps::Cap::Emails, shared::model::org::Plan::Free)?;
    config.queue_url(shared::model::job::JobKind::SendEmail)?;
    shared::runtime::serve(shared::Context::of_process(config), send_email::handle).await
}
