//! What a function finds in its environment, where a test calls it in a process of the test's own.

use shared::config::Config;

/// What every function needs; no rate is in the way.
pub(crate) const PLAIN: [(&str, &str); 8] = [
    ("TABLE_NAME", local::names::TABLE_NAME),
    ("ALLOWED_ORIGINS", "https://app.example.com"),
    ("SESSION_REQUESTS_PER_SECOND", "1000000000"),
    ("ORG_REQUESTS_PER_SECOND", "1000000000,1000000000,1000000000"),
    ("ANALYSIS_PROVIDER", "builtin"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
];

/// These variables, and what else every function needs.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    let value = |name: &str| variables.iter().chain(&PLAIN).find(|(known, _)| *known == name).map(|(_, value)| *value);
    Config::from_lookup(|name| value(name).map(str::to_owned)).unwrap()
}
