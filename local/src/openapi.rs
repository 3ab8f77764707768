//! The OpenAPI document, made from the functions' own types and annotations. What every operation of a
//! kind can answer is derived here, once.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use crate::functions::Operations;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CitizenApp API",
        description = "Organizations, items, plans, AI model prices, analyses and e-mails. Errors are problem+json (RFC 9457)."
    ),
    // Where the document is, whatever stage or base path that is below (OpenAPI 3.1, 4.8.5).
    servers((url = ".", description = "Where this document was read from")),
    components(schemas(shared::response::ProblemBody, shared::response::FieldError))
)]
struct Document;

/// The document as pretty JSON with a line break at its end.
///
/// # Panics
/// Never: the document's maps have string keys.
#[must_use]
pub fn document() -> String {
    let mut document = Document::openapi().merge_from(Operations::openapi());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "session",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("The token of a registration or a log-in"))
                .build(),
        ),
    );
    components.add_security_scheme(
        "cookie",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            shared::model::session::SESSION_COOKIE,
            "The same token; writes need an allowed Origin",
        ))),
    );
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            name_problem_types(operation);
            add_common_responses(operation);
        }
    }
    document.to_pretty_json().expect("the document's maps have string keys") + "\n"
}

/// What is annotated as a problem travels as `application/problem+json`.
fn name_problem_types(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && let Some(RefOr::T(content)) = response.content.get("application/json")
            && matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location.ends_with("/Problem"))
            && let Some(content) = response.content.swap_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), content);
        }
    }
}

/// What follows from an operation's parts: a session can be missing, a body malformed, a path unknown.
fn add_common_responses(operation: &mut Operation) {
    let given = operation.parameters.as_deref().unwrap_or_default();
    let parameters: Vec<_> = given
        .iter()
        .filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
        .collect();
    let has = |place: ParameterIn| parameters.iter().any(|parameter| parameter.parameter_in == place);
    let (path, query) = (has(ParameterIn::Path), has(ParameterIn::Query));
    let conditional =
        parameters.iter().any(|parameter| ["If-Match", "If-None-Match"].contains(&parameter.name.as_str()));
    let body = operation.request_body.is_some();
    let session = operation.security.is_some();
    let possible = [
        (true, "400", "The request is malformed"),
        (session, "401", "No valid session"),
        (session, "403", "The role, the origin or the plan does not allow it"),
        (path, "404", "No such resource for this caller"),
        (conditional, "412", "The resource is not as If-Match or If-None-Match demands"),
        (body, "413", "The body is too large"),
        (body, "415", "The body is not JSON"),
        (body || query, "422", "Invalid values, each with its place"),
        (true, "429", "Too many requests, or the month's limit is reached"),
        (true, "500", "Something went wrong on our side"),
        (true, "503", "Busy for a moment"),
    ];
    for (_, status, description) in possible.into_iter().filter(|(possible, ..)| *possible) {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
            RefOr::T(
                ResponseBuilder::new()
                    .description(description)
                    .content("application/problem+json", Content::new(Some(Ref::from_schema_name("Problem"))))
                    .build(),
            )
        });
    }
}
