//! The template's preflights: one mock integration for `OPTIONS` of each path.

use axum::http::{HeaderMap, HeaderName};

use super::{Preflight, Route, TemplateError, node::Node, responses::static_value};

/// All preflights, each checked to belong to a route; every routed path has one.
pub(super) fn preflights(api: &Node, routes: &[Route]) -> Result<Vec<Preflight>, TemplateError> {
    let paths = api.require("DefinitionBody")?.require("paths")?;
    let preflights = paths
        .entries()?
        .iter()
        .map(|(path, item)| preflight(path, item.require("options")?))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(route) = routes.iter().find(|route| !preflights.iter().any(|known| known.path == route.path)) {
        return Err(paths.error(format!("{} has no preflight", route.path)));
    }
    if let Some(stray) = preflights.iter().find(|known| !routes.iter().any(|route| route.path == known.path)) {
        return Err(paths.error(format!("{} has a preflight but no function", stray.path)));
    }
    Ok(preflights)
}

/// Reads a mock integration's static headers. The header that depends on the origin is set by
/// the response's VTL; VTL is not run here, only required to be there and to use the list.
fn preflight(path: &str, options: &Node) -> Result<Preflight, TemplateError> {
    let response = options.require("x-amazon-apigateway-integration")?.require("responses")?.require("default")?;
    let template = response.require("responseTemplates")?.require("application/json")?;
    if !template.substitutes("AllowedOrigins") {
        return Err(template.error("must choose Access-Control-Allow-Origin from AllowedOrigins"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in response.require("responseParameters")?.entries()? {
        let name: HeaderName = name
            .strip_prefix("method.response.header.")
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| value.error("must be method.response.header.<name>"))?;
        let text = static_value(value.text()?)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| value.error("must be a header value in single quotes"))?;
        headers.insert(name, text);
    }
    let status = response.require("statusCode")?;
    Ok(Preflight {
        path: path.to_owned(),
        status: status.text()?.parse().map_err(|_| status.error("must be an HTTP status"))?,
        headers,
    })
}
