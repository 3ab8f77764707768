//! What an organization used in a calendar month (UTC).

use crate::model::org::Limits;
use crate::model::price::usd;
use crate::model::time::Moment;
use deserr::Deserr;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A month's usage as stored. The counters are exact: they change with the jobs that they count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageRecord {
    pub analyses: u64,
    pub emails: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Spent, in nano-dollars.
    pub cost_nanos: u64,
    /// Spent or held for jobs under way, in nano-dollars: what a budget bounds.
    pub spent_nanos: u64,
}

/// A month's usage as the organization's members see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// `YYYY-MM`, UTC.
    #[schema(examples("2026-11"))]
    pub month: String,
    pub analyses: Used,
    pub emails: Used,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// A decimal text in US dollars.
    #[schema(examples("0.00123"))]
    pub cost_usd: String,
}

/// A counter and the plan's limit of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageCounter)]
pub struct Used {
    pub used: u64,
    pub limit: u64,
}

impl UsageRecord {
    /// As the organization's members see it.
    #[must_use]
    pub fn view(&self, month: String, limits: Limits) -> Usage {
        let &Self { analyses, emails, input_tokens, output_tokens, cost_nanos, spent_nanos: _ } = self;
        Usage {
            month,
            analyses: Used { used: analyses, limit: limits.analyses_per_month },
            emails: Used { used: emails, limit: limits.emails_per_month },
            input_tokens,
            output_tokens,
            cost_usd: usd(cost_nanos),
        }
    }
}

/// The calendar month of a moment (UTC), and the seconds from then until it ends.
#[must_use]
pub fn month_of(now: Moment) -> (String, u64) {
    let timestamp = Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
    let today = timestamp.to_zoned(TimeZone::UTC);
    let month = format!("{:04}-{:02}", today.year(), today.month());
    let end = today.date().last_of_month().tomorrow().ok().and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    let left = end.map_or(1, |end| end.timestamp().as_second() - timestamp.as_second());
    (month, u64::try_from(left).unwrap_or(1).max(1))
}

/// A month as callers name it: `YYYY-MM`.
#[derive(Debug, Clone, PartialEq, Eq, Deserr)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
pub struct Month(String);

impl Month {
    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Month {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = text.as_bytes();
        let shape = bytes.len() == 7
            && bytes.iter().enumerate().all(|(at, byte)| if at == 4 { *byte == b'-' } else { byte.is_ascii_digit() });
        let valid = shape && (1..=12).contains(&text[5..].parse::<u8>().unwrap_or(0));
        if valid { Ok(Self(text)) } else { Err("must be a month such as 2026-11") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_at_midnight_utc() {
        assert_eq!(month_of(Moment::from_millis(0)), ("1970-01".into(), 31 * 86_400));
        // 2024-02-29T23:59:59Z
        assert_eq!(month_of(Moment::from_millis(1_709_251_199_000)), ("2024-02".into(), 1));
        assert_eq!(month_of(Moment::from_millis(1_709_251_200_000)), ("2024-03".into(), 31 * 86_400));
    }

    #[test]
    fn months_have_one_spelling() {
        assert!(Month::try_from("2026-11".to_owned()).is_ok());
        for wrong in ["", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "2026/11", "20é6-1"] {
            assert!(Month::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
