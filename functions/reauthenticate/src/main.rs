//! Runs [`reauthenticate::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(reauthenticate::handle).await
}
