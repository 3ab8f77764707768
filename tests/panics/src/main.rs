//! Not a part of the system: a function that panics when it is asked to. `just rie` runs it, built as all functions
//! are, to see that a panic is answered and that the environment lives on.

use lambda_http::Body;
use serde_json::{Value, json};
use shared::runtime::{event::Event, run, run_events};
use shared::{ApiResult, Context, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    match std::env::args().nth(1).as_deref() {
        Some("events") => run_events(on_event).await,
        _ => run(on_request).await,
    }
}

async fn on_request(_: &Context, request: Request) -> ApiResult {
    assert!(!request.uri().path().ends_with("/panic"), "asked to panic");
    Ok(shared::response::Reply::new(Body::Empty))
}

struct Asked(Value);

impl Event for Asked {
    fn read(json: &str) -> Self {
        Self(serde_json::from_str(json).unwrap_or_default())
    }
}

async fn on_event(_: &Context, event: Asked, _deadline_ms: u64) -> Value {
    assert!(event.0["panic"].is_null(), "asked to panic");
    json!({"seen": event.0})
}
