//! What the outside calls share: telling a request that never left from one that may have arrived,
//! and reading `retry-after`.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;

/// The longest wait that another side may ask of us; a wrong clock or a typo must not park a job.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Whether the connection was never made, so that the other side cannot have seen the request.
///
/// Anything that this does not recognise counts as sent.
pub(crate) fn never_sent(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

/// A `retry-after` header (RFC 9110 section 10.2.3): seconds or an HTTP date, at most an hour.
pub(crate) fn retry_after(value: Option<&str>, now: Timestamp) -> Option<Duration> {
    let value = value?.trim();
    let wait = if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        // Too many digits for a number are a very long wait.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let then = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(value)
            .ok()?;
        // A date that has passed means now.
        Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a timestamp");
        let cases = [
            ("0", Some(0)),
            ("7", Some(7)),
            (" 30 ", Some(30)),
            ("99999999999999999999999", Some(3_600)),
            ("Sun, 01 Mar 2026 12:00:45 GMT", Some(45)),
            ("Sun, 01 Mar 2026 11:00:00 GMT", Some(0)),
            ("Sun, 01 Mar 2099 11:00:00 GMT", Some(3_600)),
            ("", None),
            ("soon", None),
            ("-5", None),
            ("1.5", None),
        ];
        for (value, seconds) in cases {
            let wait = retry_after(Some(value), now).map(|wait| wait.as_secs());
            assert_eq!(wait, seconds, "{value:?}");
        }
        assert_eq!(retry_after(None, now), None);
    }
}
