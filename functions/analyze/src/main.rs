//! Runs [`analyze::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::config::require(&["JOBS_QUEUE_URL", "ANALYSIS_PROVIDER"])?;
    shared::runtime::run(analyze::handle).await
}
