//! The end of a run: waits until the jobs have ended, then holds every list and every sum against the truth.

use crate::truth::{JobSeen, UsageSeen};
use crate::world::{Org, World};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Reads everything once no job is left to do, or `patience` is over. Returns each job's wait for its start: when it was
/// created and how long it waited, both in ms of the run's clock.
///
/// # Errors
/// When a list cannot be read: then nothing is known.
pub async fn settle(world: &World, patience: Duration) -> Result<Vec<(u64, u64)>, String> {
    let until = Instant::now() + patience;
    let mut waits = Vec::new();
    for org in &world.orgs {
        let jobs = loop {
            let jobs = all(world, org, "/jobs").await?;
            let ended = jobs.iter().all(|job| !matches!(job["state"].as_str(), Some("queued" | "running")));
            if ended || Instant::now() > until {
                break jobs;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let items = all(world, org, "/items").await?;
        let items: Vec<String> = items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect();
        let usage = usage(&get(world, org, "/usage").await?);
        let seen: Vec<JobSeen> = jobs.iter().map(seen).collect();
        world.truth.settle(&org.id, &items, &seen, usage);
        waits.extend(jobs.iter().filter_map(wait));
    }
    Ok(waits)
}

async fn get(world: &World, org: &Org, path: &str) -> Result<Value, String> {
    let token = org.users.first().map(|owner| owner.token.as_str()).unwrap_or_default();
    let request = world.client.http().get(format!("{}{path}", world.client.url())).bearer_auth(token);
    let reply = request.send().await.map_err(|error| error.to_string())?;
    let status = reply.status();
    let text = reply.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{path} of {}: {status} {text}", org.id));
    }
    let body: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    world.truth.reply(&org.id, path, &body);
    Ok(body)
}

/// All pages of a list.
async fn all(world: &World, org: &Org, path: &str) -> Result<Vec<Value>, String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(world, org, &format!("{path}?limit=100{cursor}")).await?;
        all.extend(page["data"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

fn seen(job: &Value) -> JobSeen {
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let tokens = |name: &str| job["result"]["usage"][name].as_u64().unwrap_or(0);
    JobSeen {
        id: text("id"),
        kind: text("kind"),
        state: text("state"),
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        cost_nanos: nanos(&job["result"]["usage"]["cost_usd"]),
    }
}

/// The month's usage of a reply.
pub(crate) fn usage(body: &Value) -> UsageSeen {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    UsageSeen {
        analyses: number(&body["analyses"]["used"]),
        emails: number(&body["emails"]["used"]),
        input_tokens: number(&body["input_tokens"]),
        output_tokens: number(&body["output_tokens"]),
        cost_nanos: nanos(&body["cost_usd"]),
    }
}

/// A decimal text in dollars as nano-dollars. What is none counts as an impossible sum, except where nothing is said.
fn nanos(dollars: &Value) -> u64 {
    let parse = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = format!("{fraction:0<9}");
        if fraction.len() > 9 {
            return None;
        }
        whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.parse().ok()?)
    };
    match dollars {
        Value::Null => 0,
        Value::String(text) => parse(text).unwrap_or(u64::MAX / 2),
        _ => u64::MAX / 2,
    }
}

/// When a job was created, in ms of its day, and how long it waited for its start.
fn wait(job: &Value) -> Option<(u64, u64)> {
    let (created, started) = (of_day_ms(job["created_at"].as_str()?)?, of_day_ms(job["started_at"].as_str()?)?);
    Some((created, started.saturating_sub(created)))
}

/// The milliseconds since midnight of an RFC 3339 time.
fn of_day_ms(time: &str) -> Option<u64> {
    let (clock, fraction) = time.get(11..)?.trim_end_matches('Z').split_once('.').unwrap_or((time.get(11..19)?, "0"));
    let mut parts = clock.split(':').map(|part| part.parse::<u64>().ok());
    let seconds = parts.next()?? * 3_600 + parts.next()?? * 60 + parts.next()??;
    Some(seconds * 1_000 + format!("{fraction:0<3}").get(..3)?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::{nanos, of_day_ms};
    use serde_json::json;

    #[test]
    fn dollars_are_read_exactly() {
        for (text, expected) in [("0", 0), ("1.5", 1_500_000_000), ("0.000000001", 1), ("12.000123", 12_000_123_000)] {
            assert_eq!(nanos(&json!(text)), expected, "{text}");
        }
        assert_eq!(nanos(&json!(null)), 0);
        for nonsense in [json!("x"), json!("0.0000000001"), json!(1.5), json!("-1")] {
            assert_eq!(nanos(&nonsense), u64::MAX / 2, "{nonsense}");
        }
    }

    #[test]
    fn times_of_day_are_read() {
        assert_eq!(of_day_ms("2026-11-23T01:02:03.45Z"), Some(3_723_450));
        assert_eq!(of_day_ms("2026-11-23T00:00:01Z"), Some(1_000));
        assert_eq!(of_day_ms("nonsense"), None);
    }
}
