//! Runs [`retry_job::handle`] on Lambda.

use shared::caps::Cap;
use shared::model::job::JobKind;
use shared::model::org::Plan;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let config = shared::config::Config::from_env()?;
    for cap in Cap::ALL {
        config.caps.share(cap, Plan::Free)?;
    }
    config.queue_url(JobKind::Analyze)?;
    config.queue_url(JobKind::SendEmail)?;
    shared::runtime::serve(shared::Context::of_process(config), retry_job::handle).await
}
