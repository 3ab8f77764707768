//! What the API says of its rate with each answer: <https://docs.claude.com/en/api/rate-limits#response-headers>. It rounds tokens to
//! thousands, mostly.

use jiff::Timestamp;
use std::time::Duration;
use worker::RateLimits;

/// What is counted apart; the first is the calls.
const KINDS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];
/// What a text is counted in.
const INPUT: &str = "input-tokens";
/// A bucket that is empty is full again within a minute.
const EMPTY_MAX: Duration = Duration::from_secs(60);

/// What the account has in a minute, as the headers say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Input tokens, for all texts together.
    pub(super) input_tokens: Option<u64>,
    pub(super) left: Left,
}

/// How much of it is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Left {
    /// Little, or they do not say.
    #[default]
    Little,
    /// Half of each kind at least: what does not fit is large itself, and others do.
    Half,
    /// All tokens: what does not fit never will.
    All,
}

/// Reads what is left. Any header may be missing.
pub(super) fn room<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Room {
    let number = |kind: &str, what: &str| -> Option<u64> {
        header(&format!("anthropic-ratelimit-{kind}-{what}"))?.trim().parse().ok()
    };
    let of_minute = |kind: &str| -> Option<(u64, u64)> { Some((number(kind, "remaining")?, number(kind, "limit")?)) };
    let is_half = |(left, limit): (u64, u64)| left > 0 && left.saturating_mul(2) >= limit;
    let is_half_of_each = KINDS.into_iter().all(|kind| of_minute(kind).is_none_or(is_half));
    let is_all = KINDS[1..].iter().all(|kind| of_minute(kind).is_none_or(|(left, limit)| left >= limit));
    let left = match of_minute(INPUT) {
        Some(_) if is_half_of_each && is_all => Left::All,
        Some(_) if is_half_of_each => Left::Half,
        _ => Left::Little,
    };
    Room { input_tokens: number(INPUT, "limit"), left }
}

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

    #[test]
    fn what_is_left_is_told_by_its_half() {
        let left = |headers: &[(&str, &str)]| {
            let names = headers.iter().map(|(name, value)| (format!("anthropic-ratelimit-{name}"), *value));
            let named: Vec<_> = names.collect();
            room(|name| named.iter().find(|(known, _)| known == name).map(|(_, value)| *value))
        };
        assert_eq!(left(&[]), Room::default());
        let of_input = |remaining| [("input-tokens-limit", "30000"), ("input-tokens-remaining", remaining)];
        for (remaining, expected) in [
            ("30000", Left::All),
            ("29000", Left::Half),
            ("15000", Left::Half),
            ("14000", Left::Little),
            // Not all of them round: so little is nothing.
            ("19", Left::Little),
            ("0", Left::Little),
            ("many", Left::Little),
        ] {
            let room = left(&of_input(remaining));
            assert_eq!(room, Room { input_tokens: Some(30_000), left: expected }, "{remaining}");
        }
        for (kind, remaining, limit, expected) in [
            ("requests", "49", "50", Left::All),
            ("requests", "20", "50", Left::Little),
            ("requests", "0", "1", Left::Little),
            ("output-tokens", "7000", "8000", Left::Half),
            ("output-tokens", "1000", "8000", Left::Little),
            ("tokens", "0", "0", Left::Little),
        ] {
            let names = [format!("{kind}-limit"), format!("{kind}-remaining")];
            let more = [(names[0].as_str(), limit), (names[1].as_str(), remaining)];
            assert_eq!(left(&[of_input("30000"), more].concat()).left, expected, "{kind} {remaining} of {limit}");
        }
    }
}
