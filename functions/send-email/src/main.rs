//! Runs [`send_email::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::config::require(&["JOBS_QUEUE_URL"])?;
    shared::runtime::run(send_email::handle).await
}
