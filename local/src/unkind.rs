//! Providers on a bad day in place of the builtin analysis and the mail service that takes everything: `cargo run -- --unkind`.
//! What they let through is delivered as always. `PUT /_local/providers` goes over to another scene, `GET` tells what they did.

use std::collections::BTreeMap;

use analysis_worker::secret::Secret;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get};
use testkit::providers::{Providers, Scene};

use crate::clock::Clock;

/// The key to the models, at which nobody looks.
pub(crate) fn key() -> Secret {
    Secret::new("nobody-looks-at-it").expect("characters of a key")
}

/// Starts them, and makes the functions call them.
pub(crate) async fn start(
    scene: Scene,
    mail_url: &str,
    clock: &Clock,
    chosen: &mut BTreeMap<String, String>,
) -> Providers {
    let clock = clock.clone();
    let providers = Providers::start(scene, Some(mail_url), move || clock.now_ms()).await;
    let variables = [("ANALYSIS_PROVIDER", "anthropic".to_owned())]
        .into_iter()
        .chain(["ANTHROPIC_BASE_URL", "AWS_ENDPOINT_URL_SESV2"].map(|name| (name, providers.url())));
    chosen.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    providers
}

/// What answers at `/_local/providers`.
pub(crate) fn route(providers: Providers) -> MethodRouter {
    let told = providers.clone();
    let figures = get(async move || ([("content-type", "application/json")], told.figures().to_string()));
    figures.put(async move |scene: String| match scene.parse::<Scene>() {
        Ok(scene) => {
            providers.set(scene).await;
            (StatusCode::OK, format!("{scene}\n"))
        }
        Err(unknown) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{unknown}\n")),
    })
}
