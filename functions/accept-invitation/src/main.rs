//! Runs [`accept_invitation::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(accept_invitation::handle).await
}
