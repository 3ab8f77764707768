//! Runs [`mail_event_worker::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run_events(mail_event_worker::handle).await
}
