//! The origins whose pages may call with a session's cookie.

use lambda_http::http::HeaderValue;
use url::Url;

/// A text that is no list of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin such as https://app.example.com")]
pub struct NoOrigin(String);

/// Exact origins (RFC 6454: scheme, host and maybe a port; no path, no `*`), separated by commas, each as browsers send it in
/// `Origin`: in small letters, without the scheme's own port, names of other alphabets in Punycode.
///
/// # Errors
/// [`NoOrigin`] naming the first that is none.
pub fn parse_origins(list: &str) -> Result<Vec<HeaderValue>, NoOrigin> {
    list.split(',').map(str::trim).map(parse_origin).collect()
}

/// One of them.
pub(super) fn parse_origin(text: &str) -> Result<HeaderValue, NoOrigin> {
    origin(text).ok_or_else(|| NoOrigin(text.to_owned()))
}

fn origin(text: &str) -> Option<HeaderValue> {
    let (scheme, rest) = text.split_once("://")?;
    let web = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    // What a URL may have and an origin has not, and what the parser would silently drop.
    let host =
        !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\*?#@%".contains(c));
    if !web || !host || rest.ends_with(':') {
        return None;
    }
    let origin = Url::parse(text).ok()?.origin();
    HeaderValue::try_from(origin.is_tuple().then(|| origin.ascii_serialization())?).ok()
}
