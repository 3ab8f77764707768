//! Runs [`account_mail_worker::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run_events(account_mail_worker::handle).await
}
