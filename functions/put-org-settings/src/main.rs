//! Runs [`put_org_settings::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(put_org_settings::handle).await
}
