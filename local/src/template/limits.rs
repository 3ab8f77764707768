//! What each method of the API takes, by the stage's settings.

use axum::http::Method;

use super::{TemplateError, node::Node};

/// What a method takes of all callers together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodLimit {
    /// In capitals, as in requests.
    pub method: Method,
    /// With parameters in braces, as in [`Route`](super::Route).
    pub path: String,
    /// Requests a second that its function's environments answer: the limit unless `RequestsPerSecond` is less.
    pub a_second: u32,
    /// Requests at once.
    pub burst: u32,
}

/// The limits of the methods that have their own: their column in the mapping's last row, that of the largest `RequestsPerSecond`.
pub(super) fn method_limits(root: &Node, api: &Node) -> Result<Vec<MethodLimit>, TemplateError> {
    let mut limits = Vec::new();
    for setting in api.require("MethodSettings")?.items()? {
        let (method, path) = (setting.require("HttpMethod")?, setting.require("ResourcePath")?);
        // All other methods' has no column.
        let Some([map, _, column]) = setting.require("ThrottlingRateLimit")?.lookup() else { continue };
        let rows = root.require("Mappings")?.require(map.text()?)?;
        let (_, row) = rows.entries()?.last().ok_or_else(|| rows.error("has no rows"))?;
        limits.push(MethodLimit {
            method: method.text()?.parse().map_err(|_| method.error("is not an HTTP method"))?,
            path: path.text()?.trim_start_matches('/').replace("~1", "/"),
            a_second: whole(row.require(column.text()?)?)?,
            burst: whole(setting.require("ThrottlingBurstLimit")?)?,
        });
    }
    Ok(limits)
}

fn whole(node: &Node) -> Result<u32, TemplateError> {
    u32::try_from(node.number()?).map_err(|_| node.error("is too large"))
}
