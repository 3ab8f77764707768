//! Moments: milliseconds since the epoch inside, RFC 3339 in UTC outside.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use utoipa::ToSchema;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A moment, to the millisecond. In the database it is a number, to callers a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(i64);

impl Moment {
    /// Milliseconds since the epoch.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment so many milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the epoch, rounded up: what DynamoDB's TTL takes.
    #[must_use]
    pub fn as_ttl_seconds(self) -> i64 {
        self.0.div_euclid(1000) + 1
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from here to a later moment; none to an earlier one.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// Its day in UTC: `2026-11-29`.
    #[must_use]
    pub fn day(self) -> String {
        self.rfc3339().to_string().chars().take(10).collect()
    }

    /// The end of its day in UTC.
    #[must_use]
    pub fn end_of_day(self) -> Self {
        Self((self.0.div_euclid(DAY_MS) + 1) * DAY_MS)
    }

    /// As callers see it.
    #[must_use]
    pub fn rfc3339(self) -> Rfc3339 {
        Rfc3339(self)
    }
}

impl From<SystemTime> for Moment {
    /// To the millisecond before; a clock from before 1970 is at 0.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A moment as callers see it: `2026-11-23T04:05:06.789Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(as = Timestamp, value_type = String, format = "date-time", examples("2026-11-23T04:05:06.789Z"))]
pub struct Rfc3339(Moment);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::from_millisecond(self.0.0).unwrap_or(Timestamp::MAX);
        write!(f, "{timestamp:.3}")
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339() {
        assert_eq!(Moment(0).rfc3339().to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Moment(1_795_000_000_120).rfc3339().to_string(), "2026-11-18T11:06:40.120Z");
        assert_eq!(Moment(i64::MAX).rfc3339().to_string(), format!("{:.3}", Timestamp::MAX));
    }
}
