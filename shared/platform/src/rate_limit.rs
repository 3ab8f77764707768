//! `RateLimit` and `RateLimit-Policy`: how much of a limit is left, and until when (draft-ietf-httpapi-ratelimit-headers-10).

use lambda_http::http::{HeaderMap, HeaderName, HeaderValue};

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One limit, as it stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Its name: visible ASCII characters without quotes.
    pub name: &'static str,
    /// How many calls it allows in one window.
    pub quota: u64,
    /// How many are left.
    pub remaining: u64,
    /// Seconds until the window ends.
    pub reset_seconds: u64,
}

impl RateLimit {
    /// Says it in a reply's headers, beside those that are said already. Windows are the calendar's, so no `w` gives their length.
    pub fn add_to(self, headers: &mut HeaderMap) {
        let Self { name, quota, remaining, reset_seconds } = self;
        for (field, value) in [
            (RATE_LIMIT_POLICY, format!("\"{name}\";q={quota}")),
            (RATE_LIMIT, format!("\"{name}\";r={remaining};t={reset_seconds}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(field, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_as_structured_fields() {
        let mut headers = HeaderMap::new();
        RateLimit { name: "analyses", quota: 100, remaining: 0, reset_seconds: 60 }.add_to(&mut headers);
        RateLimit { name: "emails", quota: 5, remaining: 2, reset_seconds: 60 }.add_to(&mut headers);
        let said = |name| headers.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(said(RATE_LIMIT_POLICY), ["\"analyses\";q=100", "\"emails\";q=5"]);
        assert_eq!(said(RATE_LIMIT), ["\"analyses\";r=0;t=60", "\"emails\";r=2;t=60"]);
    }
}
