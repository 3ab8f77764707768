//! What the API says of its rate with each answer: <https://docs.claude.com/en/api/rate-limits#response-headers>.

use jiff::Timestamp;
use std::time::Duration;
use worker::RateLimits;

/// What is counted apart; the first is the calls.
const KINDS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];
/// A bucket that is empty is full again within a minute.
const EMPTY_MAX: Duration = Duration::from_secs(60);

/// Reads the headers, of which any may be missing.
pub(super) fn read<'h>(header: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> RateLimits {
    let of = |kind: &str, what: &str| header(&format!("anthropic-ratelimit-{kind}-{what}"));
    let per_minute = of(KINDS[0], "limit").and_then(|limit| limit.trim().parse().ok()).filter(|limit| *limit > 0);
    let empty = KINDS.into_iter().filter(|kind| of(kind, "remaining").is_some_and(|left| left.trim() == "0"));
    let resets = empty.filter_map(|kind| of(kind, "reset")?.trim().parse::<Timestamp>().ok());
    let empty_for = resets.filter_map(|reset| Duration::try_from(reset.duration_since(now)).ok()).max();
    RateLimits { per_minute, empty_for: empty_for.map(|wait| wait.min(EMPTY_MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(headers: &[(&str, &str)]) -> RateLimits {
        let now = "2026-11-29T12:00:00Z".parse().expect("a timestamp");
        read(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value), now)
    }

    #[test]
    fn what_is_empty_holds_until_it_is_reset() {
        assert_eq!(said(&[]), RateLimits::default());
        let minute = ("anthropic-ratelimit-requests-limit", "50");
        assert_eq!(said(&[minute]), RateLimits { per_minute: Some(50), empty_for: None });
        let input = [
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-29T12:00:07.5Z"),
        ];
        assert_eq!(said(&input).empty_for, Some(Duration::from_millis(7_500)));
        let some_left = [
            ("anthropic-ratelimit-requests-remaining", "3"),
            ("anthropic-ratelimit-requests-reset", "2026-11-29T12:00:30Z"),
        ];
        assert_eq!(said(&some_left).empty_for, None);
        for (reset, empty_for) in [("2026-11-29T13:00:00Z", Some(60)), ("2026-11-29T11:00:00Z", None), ("soon", None)] {
            let headers = [("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", reset)];
            assert_eq!(said(&headers).empty_for, empty_for.map(Duration::from_secs), "{reset}");
        }
        assert_eq!(said(&[("anthropic-ratelimit-requests-limit", "0")]).per_minute, None);
    }
}
