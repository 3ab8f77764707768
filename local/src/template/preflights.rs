//! The template's preflights: one mock integration for `OPTIONS` of each path.

use axum::http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value as Json, json};

use super::{
    Preflight, ResponseType, Route, TemplateError,
    node::Node,
    responses::{REQUEST_ID, static_value},
};

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

/// Reads a mock integration. The header that depends on the origin is set by the response's VTL; VTL is not run here, only
/// required to be there and to use the list.
fn preflight(path: &str, options: &Node) -> Result<Preflight, TemplateError> {
    let integration = options.require("x-amazon-apigateway-integration")?;
    let response = integration.require("responses")?.require("default")?;
    let template = response.require("responseTemplates")?.require("application/json")?;
    if !template.substitutes("AllowedOrigins") {
        return Err(template.error("must choose Access-Control-Allow-Origin from AllowedOrigins"));
    }
    let status = response.require("statusCode")?;
    let declared = options.require("responses")?.require(status.text()?)?.require("headers")?;
    let (headers, request_id_headers) = headers(response.require("responseParameters")?, declared)?;
    let status = status.text()?.parse().map_err(|_| status.error("must be an HTTP status"))?;
    Ok(Preflight {
        path: path.to_owned(),
        media_types: media_types(integration.require("requestTemplates")?, status)?,
        unmapped: unmapped(integration.require("passthroughBehavior")?)?,
        status,
        headers,
        request_id_headers,
    })
}

/// The headers with a value of their own, and those with the request's id. API Gateway takes none that the method's response does
/// not declare.
fn headers(parameters: &Node, declared: &Node) -> Result<(HeaderMap, Vec<HeaderName>), TemplateError> {
    let (mut headers, mut request_id_headers) = (HeaderMap::new(), Vec::new());
    for (name, value) in parameters.entries()? {
        let name = name.strip_prefix("method.response.header.").filter(|name| declared.get(name).is_some());
        let name: HeaderName = name.and_then(|name| name.parse().ok()).ok_or_else(|| {
            value.error("must be method.response.header.<name> of a header that the response declares")
        })?;
        let expression = value.text()?;
        if expression == REQUEST_ID {
            request_id_headers.push(name);
            continue;
        }
        let text = static_value(expression)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| value.error("must be a header value in single quotes, or context.requestId"))?;
        headers.insert(name, text);
    }
    Ok((headers, request_id_headers))
}

/// The media types that have a request template. A mock integration takes the status of its answer from there.
fn media_types(templates: &Node, status: StatusCode) -> Result<Vec<String>, TemplateError> {
    let read = |(media_type, template): &(String, Node)| {
        let wanted = json!({ "statusCode": status.as_u16() });
        match serde_json::from_str::<Json>(template.text()?) {
            Ok(found) if found == wanted => Ok(media_type.to_ascii_lowercase()),
            _ => Err(template.error(format!("must be {wanted}, the status of the default response"))),
        }
    };
    templates.entries()?.iter().map(read).collect()
}

/// What a body gets whose type has no template. Passed through, it says no status, and the mock integration fails.
/// Source: "Method request behavior for payloads without mapping templates", API Gateway Developer Guide;
/// <https://github.com/aws/aws-cdk/issues/18297>.
fn unmapped(behavior: &Node) -> Result<ResponseType, TemplateError> {
    match behavior.text()?.to_ascii_lowercase().as_str() {
        "never" | "when_no_templates" => Ok(ResponseType::UnsupportedMediaType),
        "when_no_match" => Ok(ResponseType::InternalError),
        _ => Err(behavior.error("must be never, when_no_templates or when_no_match")),
    }
}
