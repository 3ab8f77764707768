//! Who asks for jobs: each under a key of its own, again and again until the answer is there.

use crate::Size;
use crate::world::{World, marker};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Clients at a time.
const AT_ONCE: usize = 6;
/// Attempts for one job; each killed process and lost reply costs one.
const ATTEMPTS: u32 = 100;

/// What the clients were told: each number's job.
pub(crate) type Told = HashMap<u32, String>;

/// Even numbers are analyses, odd ones e-mails.
pub(crate) fn is_analysis(case: u32) -> bool {
    case.is_multiple_of(2)
}

pub(crate) async fn accept_all(world: &Arc<World>, size: &Size) -> Result<Told, Vec<String>> {
    let (next, jobs) = (AtomicU32::new(0), size.jobs);
    let client = || async {
        let mut told = Vec::new();
        loop {
            let case = next.fetch_add(1, Ordering::SeqCst);
            if case >= jobs {
                return told;
            }
            // Of the others' jobs some are being accepted, some run.
            if case == jobs / 2 && !size.unspread {
                world.spread().await;
            }
            told.push(accept(world, case).await.map(|job| (case, job)));
        }
    };
    let told = join_all((0..AT_ONCE).map(|_| client())).await;
    let (told, problems): (Vec<_>, Vec<_>) = told.into_iter().flatten().partition(Result::is_ok);
    if problems.is_empty() {
        Ok(told.into_iter().flatten().collect())
    } else {
        Err(problems.into_iter().filter_map(Result::err).collect())
    }
}

async fn accept(world: &Arc<World>, case: u32) -> Result<String, String> {
    let (pool, event) = if is_analysis(case) {
        let text = format!("A text, {}.", marker(case));
        let body = json!({"text": text, "model": "claude-sonnet-4-0"});
        (&world.analyze, event(world, include_str!("../../events/analyze.json"), case, &body))
    } else {
        let body = json!({"to": "ada@example.com", "subject": marker(case), "text": "A line."});
        (&world.send_email, event(world, include_str!("../../events/send-email.json"), case, &body))
    };
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let Ok(answer) = pool.invoke(world, event.clone()).await else { continue };
        let reply: Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let body: Value = serde_json::from_str(reply["body"].as_str().unwrap_or_default()).unwrap_or_default();
        match reply["statusCode"].as_u64() {
            Some(202) => {
                let id = if is_analysis(case) { &body["id"] } else { &body["job_id"] };
                return Ok(id.as_str().unwrap_or_default().to_owned());
            }
            Some(409 | 503) => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => return Err(format!("case {case}: {reply}")),
        }
        last = reply.to_string();
    }
    Err(format!("case {case} was never accepted; last {last}"))
}

fn event(world: &World, template: &str, case: u32, body: &Value) -> Vec<u8> {
    let mut event: Value = serde_json::from_str(template).unwrap();
    let headers = [
        ("Authorization", format!("Bearer {}", world.owner.token)),
        ("Content-Type", "application/json".to_owned()),
        ("Idempotency-Key", format!("key-{case}")),
        ("Host", "api.example.com".to_owned()),
    ];
    event["headers"] = headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    event["multiValueHeaders"] = headers.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect();
    event["body"] = json!(body.to_string());
    event.to_string().into_bytes()
}
