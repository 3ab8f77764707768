//! `GET /openapi.json` and `GET /docs`, anyone: `200` with the OpenAPI 3.1 document, and a page to read it
//! and to try the operations that loads nothing from elsewhere; `304`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use lambda_http::http::{HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use shared::etag::EntityTag;
use shared::{ApiResult, Context, Request, response};
use std::sync::LazyLock;

/// Written by `just openapi` from the functions' own types; a test keeps it current.
const DOCUMENT: &str = include_str!("../openapi.json");
/// The page in one file, as it is sent: a style and a script element, put together from their parts.
const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("page/body.html"),
    "<script>\n",
    include_str!("page/document.js"),
    include_str!("page/render.js"),
    include_str!("page/try.js"),
    include_str!("page/page.js"),
    "</script>\n</body>\n</html>\n",
);
// Their digests, once for all requests.
static DOCUMENT_TAG: LazyLock<EntityTag> = LazyLock::new(|| EntityTag::of_body(DOCUMENT.as_bytes()));
static PAGE_TAG: LazyLock<EntityTag> = LazyLock::new(|| EntityTag::of_body(PAGE.as_bytes()));
const CACHE_CONTROL: &str = "public, max-age=300";
/// The page has its script and style inside, which are known by their hashes (CSP 3, 2.3.1), and talks to its own origin only.
static PAGE_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        source("<script>", "</script>"),
        source("<style>", "</style>"),
    );
    HeaderValue::try_from(policy).expect("base64 is a valid header value")
});
/// What else the page tells browsers: it sends nobody its address, and shares its window with no page that opened it.
const PAGE_HEADERS: [(HeaderName, &str); 2] =
    [(REFERRER_POLICY, "no-referrer"), (HeaderName::from_static("cross-origin-opener-policy"), "same-origin")];

/// The hash of the page's one element of a kind, as a source of its policy.
fn source(begin: &str, end: &str) -> String {
    let inside = PAGE.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map_or("", |(inside, _)| inside);
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inside)))
}

/// Get the OpenAPI document
///
/// OpenAPI 3.1, without anything that only some readers understand.
#[utoipa::path(get, path = "/openapi.json", operation_id = "docs", tag = "service",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "OpenAPI 3.1", body = Object),
        (status = 304, description = "The copy held is current")))]
pub async fn handle(_: &Context, request: Request) -> ApiResult {
    let page = !request.uri().path().trim_end_matches('/').ends_with("/openapi.json");
    let text = if page { PAGE } else { DOCUMENT };
    let tag = if page { &PAGE_TAG } else { &DOCUMENT_TAG };
    let mut reply = response::cacheable(&request, tag, CACHE_CONTROL, || text.to_owned());
    // A refusal is a problem, whatever was asked for.
    if page && !reply.status().is_client_error() {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, PAGE_POLICY.clone());
        for (name, value) in PAGE_HEADERS {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(reply)
}

// `handle` serves it too; this carries its documentation.
/// Get the interactive page
///
/// Shows this document and tries its operations; loads nothing from elsewhere.
#[utoipa::path(get, path = "/docs", operation_id = "docs_page", tag = "service",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "The interactive page", body = String, content_type = "text/html"),
        (status = 304, description = "The copy held is current")))]
pub fn page() {}
