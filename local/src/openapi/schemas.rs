//! What the types' own annotations cannot say: the codes of problems, what is always in a reply, and good names for pages.

use std::collections::BTreeSet;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ArrayItems, SchemaType, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema};

/// Every `code` of a problem, the gateway's among them.
const CODES: &[&str] = &[
    "access_denied",
    "already_member",
    "ambiguous_credentials",
    "authentication_required",
    "budget_exceeded",
    "concurrent_change",
    "default_model_unavailable",
    "email_taken",
    "email_unverified",
    "forbidden_origin",
    "forbidden_role",
    "headers_too_large",
    "idempotency_in_flight",
    "idempotency_key_reuse",
    "input_expired",
    "internal_error",
    "invalid_link",
    "invalid_token",
    "job_ended",
    "job_not_failed",
    "job_unreadable",
    "last_owner",
    "malformed_json",
    "no_organization",
    "not_found",
    "operator_cap_reached",
    "organization_limit_reached",
    "outcome_unknown",
    "payload_too_large",
    "plan_forbids",
    "plan_limit_reached",
    "precondition_failed",
    "quota_exceeded",
    "rate_limited",
    "reauthentication_required",
    "refused_by_gateway",
    "throttled",
    "timeout",
    "too_many_attempts",
    "unavailable",
    "unsupported_content_encoding",
    "unsupported_media_type",
    "validation_failed",
    "wrong_credentials",
];

/// A text that is one of some words is annotated by a pattern of them, `^(one|other)$`: it becomes an `enum`.
fn name_choices(property: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = property
        && let Some(words) = object.pattern.as_deref().and_then(|all| all.strip_prefix('^')?.strip_suffix('$'))
        && words.bytes().all(|byte| byte.is_ascii_lowercase() || b"_|()".contains(&byte))
    {
        let words = words.trim_start_matches('(').trim_end_matches(')').split('|');
        object.enum_values = Some(words.map(Into::into).collect());
        object.pattern = None;
    }
}

/// How a `Page<T>` is named by its types.
const PAGE: &str = "Page_";
const SCHEMAS: &str = "#/components/schemas/";

/// Completes the document's schemas.
pub(super) fn complete(document: &mut OpenApi) {
    name_pages(document);
    say_what_is_always_there(document);
    let schemas = document.components.get_or_insert_default();
    for schema in schemas.schemas.values_mut() {
        if let RefOr::T(Schema::Object(object)) = schema {
            object.properties.values_mut().for_each(name_choices);
        }
    }
    if let Some(RefOr::T(Schema::Object(problem))) = schemas.schemas.get_mut("Problem")
        && let Some(RefOr::T(Schema::Object(code))) = problem.properties.get_mut("code")
    {
        code.enum_values = Some(CODES.iter().map(|code| (*code).into()).collect());
    }
}

/// `Page_Item`, with the item's schema written out once more, becomes `ItemPage`, which refers to it.
fn name_pages(document: &mut OpenApi) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    let pages: Vec<String> = schemas.keys().filter(|name| name.starts_with(PAGE)).cloned().collect();
    for name in pages {
        let of = &name[PAGE.len()..];
        let Some(mut page) = schemas.remove(&name) else { continue };
        if let RefOr::T(Schema::Object(page)) = &mut page {
            let data = ArrayBuilder::new().items(ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(of).into())));
            page.properties.insert("data".to_owned(), data.build().into());
        }
        schemas.insert(format!("{of}Page"), page);
    }
    for operation in document.paths.paths.values_mut().flat_map(operations_mut) {
        for response in operation.responses.responses.values_mut() {
            let RefOr::T(response) = response else { continue };
            for content in response.content.values_mut() {
                if let RefOr::T(content) = content
                    && let Some(RefOr::Ref(schema)) = &mut content.schema
                    && let Some(of) = schema.ref_location.strip_prefix(SCHEMAS).and_then(|name| name.strip_prefix(PAGE))
                {
                    schema.ref_location = format!("{SCHEMAS}{of}Page");
                }
            }
        }
    }
}

fn operations_mut(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
    all.into_iter().flatten()
}

/// A reply's field that can be `null` is there all the same: what is left out when there is nothing is annotated as never `null`.
/// So is a field with a default.
fn say_what_is_always_there(document: &mut OpenApi) {
    let mut taken = BTreeSet::new();
    let bodies = document.paths.paths.values_mut().flat_map(operations_mut);
    let bodies = bodies.filter_map(|operation| operation.request_body.as_ref());
    let mut ahead: Vec<RefOr<Schema>> = Vec::new();
    for body in bodies {
        if let RefOr::T(body) = body {
            ahead.extend(body.content.values().filter_map(|content| match content {
                RefOr::T(content) => content.schema.clone(),
                RefOr::Ref(_) => None,
            }));
        }
    }
    let schemas = &mut document.components.get_or_insert_default().schemas;
    while let Some(schema) = ahead.pop() {
        match schema {
            RefOr::Ref(to) => {
                let name = to.ref_location.trim_start_matches(SCHEMAS).to_owned();
                if let Some(schema) = schemas.get(&name)
                    && taken.insert(name)
                {
                    ahead.push(schema.clone());
                }
            }
            RefOr::T(schema) => ahead.extend(parts(&schema)),
        }
    }
    for (name, schema) in schemas.iter_mut() {
        if let RefOr::T(schema) = schema
            && !taken.contains(name)
        {
            require_nullable(schema);
        }
    }
}

/// The schemas that a schema is made of.
fn parts(schema: &Schema) -> Vec<RefOr<Schema>> {
    match schema {
        Schema::Array(array) => match &array.items {
            ArrayItems::RefOrSchema(items) => vec![(**items).clone()],
            ArrayItems::False => vec![],
        },
        Schema::Object(object) => {
            let other = match object.additional_properties.as_deref() {
                Some(AdditionalProperties::RefOr(schema)) => Some(schema.clone()),
                _ => None,
            };
            object.properties.values().cloned().chain(other).collect()
        }
        Schema::OneOf(one) => one.items.clone(),
        Schema::AllOf(all) => all.items.clone(),
        Schema::AnyOf(any) => any.items.clone(),
        _ => vec![],
    }
}

fn require_nullable(schema: &mut Schema) {
    match schema {
        Schema::Object(object) => {
            for (name, property) in &object.properties {
                if (is_nullable(property) || has_default(property)) && !object.required.contains(name) {
                    object.required.push(name.clone());
                }
            }
        }
        Schema::AllOf(all) => {
            for part in &mut all.items {
                if let RefOr::T(part) = part {
                    require_nullable(part);
                }
            }
        }
        _ => {}
    }
}

fn has_default(property: &RefOr<Schema>) -> bool {
    match property {
        RefOr::Ref(reference) => reference.default.is_some(),
        RefOr::T(Schema::Object(object)) => object.default.is_some(),
        RefOr::T(Schema::OneOf(one)) => one.default.is_some(),
        RefOr::T(_) => false,
    }
}

fn is_nullable(property: &RefOr<Schema>) -> bool {
    let null = |schema_type: &SchemaType| match schema_type {
        SchemaType::Type(one) => *one == Type::Null,
        SchemaType::Array(several) => several.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match property {
        RefOr::T(Schema::Object(object)) => null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => null(&array.schema_type),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().any(is_nullable),
        _ => false,
    }
}
