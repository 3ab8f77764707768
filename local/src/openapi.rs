//! The OpenAPI document, made from the functions' own types and annotations. What every operation of a kind can answer and every
//! reply of a kind carries is derived here, once.

mod replies;
mod schemas;

use utoipa::OpenApi;
use utoipa::openapi::path::{HttpMethod, Operation, PathItem};
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{RefOr, Schema};

use crate::functions::Operations;

#[derive(OpenApi)]
#[openapi(
    info(title = "CitizenApp API", description = include_str!("openapi/conventions.md"),
        contact(name = "Whoever operates this deployment")),
    // Where the document is, whatever stage or base path that is below (OpenAPI 3.1, 4.8.5).
    servers((url = ".", description = "Where this document was read from")),
    // In the order in which one comes to need them.
    tags(
        (name = "auth", description = "Register, log in and out."),
        (name = "users", description = "The own account, and what everybody sees of a user."),
        (name = "orgs", description = "An organization's plan and settings."),
        (name = "members", description = "Who belongs to an organization, and as what."),
        (name = "items", description = "The organization's items."),
        (name = "jobs", description = "Slow work: texts to analyse, e-mails to send, and what they took of the month's limits."),
        (name = "models", description = "AI models and their prices."),
        (name = "service", description = "The service itself: its health and its documents."),
    ),
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
    for item in document.paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            // No demand is a statement too: without it, a reader cannot tell "anyone" from "not said".
            let anyone = operation.security.get_or_insert_default().is_empty();
            tidy(operation);
            replies::complete(&method, operation, anyone);
        }
        item.head = item.get.as_ref().map(replies::head_of);
    }
    let components = document.components.get_or_insert_default();
    add_security_schemes(components);
    replies::add_components(components);
    schemas::complete(&mut document);
    document.to_pretty_json().expect("the document's maps have string keys") + "\n"
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let operations = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
        (HttpMethod::Patch, &mut item.patch),
    ];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// A handler's documentation is the operation's: its heading would be the page's largest. And its optional parameters are no `null`s.
fn tidy(operation: &mut Operation) {
    if let Some(text) = &mut operation.description {
        *text = text.replace("# Errors\n", "**Errors:** ");
    }
    // What is not sent is left out: a header or a query has no `null`.
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
            && let SchemaType::Array(types) = &mut schema.schema_type
            && let [one] = types.iter().filter(|one| **one != Type::Null).collect::<Vec<_>>()[..]
        {
            schema.schema_type = SchemaType::Type(one.clone());
        }
    }
}

fn add_security_schemes(components: &mut utoipa::openapi::Components) {
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
}
