//! Runs [`put_org_plan::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    shared::runtime::run(put_org_plan::handle).await
}
