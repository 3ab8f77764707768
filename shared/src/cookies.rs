//! Cookies of a request, as bytes: what other cookies hold is none of our business (RFC 6265, 5.4, sends whatever was set).

use lambda_http::http::HeaderMap;
use lambda_http::http::header::COOKIE;

/// The values of all cookies of this name.
pub(crate) fn named<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let values =
        pairs.filter_map(move |pair| pair.trim_ascii_start().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.map(<[u8]>::trim_ascii_end)
}
