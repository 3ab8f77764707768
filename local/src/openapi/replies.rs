//! What follows from an operation's parts: a session can be missing, a body malformed, a path unknown; and the headers of each reply.

use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{Components, Content, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder};

const PROBLEM: &str = "application/problem+json";
const REMAPPED_WWW_AUTHENTICATE: &str = "x-amzn-Remapped-WWW-Authenticate";

/// What any reply may carry: name, whether it always does where it stands, what it says, and an example. A function names one in
/// its annotation; this is what the document then says of it.
const HEADERS: &[(&str, bool, &str, &str)] = &[
    ("Cache-Control", false, "Who may keep the reply, and for how long (RFC 9111).", "private, no-cache"),
    (
        "ETag",
        false,
        "The tag of this representation, for `If-None-Match` and `If-Match` (RFC 9110, 8.8.3).",
        "W/\"gYzu0ZqXqjcGpEUYKMMjqA\"",
    ),
    (
        "Idempotent-Replayed",
        false,
        "`true` if the `Idempotency-Key` came before: this is the first request's reply again.",
        "true",
    ),
    (
        "Location",
        false,
        "Where what was made is, relative to the request's address (RFC 9110, 10.2.2).",
        "items/itm_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e",
    ),
    ("Preference-Applied", false, "What of `Prefer` was followed (RFC 7240, 3).", "wait=10"),
    (
        "RateLimit",
        false,
        "What is left of a limit, and the seconds until it is whole again (draft-ietf-httpapi-ratelimit-headers).",
        "\"analyses\";r=0;t=86400",
    ),
    ("RateLimit-Policy", false, "The limit itself.", "\"analyses\";q=100"),
    ("Retry-After", false, "Whole seconds to wait before the request is sent again (RFC 9110, 10.2.3).", "1"),
    (
        "Server-Timing",
        false,
        "Milliseconds spent on each part: `auth`, `cache`, `db`, `queue` (W3C Server Timing).",
        "auth;dur=1.2, db;dur=0.8",
    ),
    (
        "Set-Cookie",
        false,
        "The session's cookie, if `session` was `cookie`; or its end.",
        "__Host-session=cit_…; Path=/; Secure; HttpOnly; SameSite=None",
    ),
    ("Vary", true, "What the reply depends on besides its address.", "Origin, Accept-Encoding"),
    (
        REMAPPED_WWW_AUTHENTICATE,
        true,
        "How to authenticate: `WWW-Authenticate` (RFC 9110, 11.6.1) under the name that API Gateway gives it.",
        "Bearer",
    ),
    ("X-Request-Id", true, "The request's id; name it when you ask for help.", "0199c8a0-f5e2-7b3c-8d4e-5f6a7b8c9d0e"),
];

/// The problems that operations share: status, name, what it means.
const PROBLEMS: &[(&str, &str, &str)] = &[
    ("400", "BadRequest", "The request is malformed"),
    ("401", "Unauthorized", "No valid session"),
    ("403", "Forbidden", "The role, the origin, the plan or the gateway does not allow it"),
    ("404", "NotFound", "No such resource for this caller"),
    ("412", "PreconditionFailed", "The resource is not as `If-Match` or `If-None-Match` demands"),
    ("413", "ContentTooLarge", "The body is too large"),
    ("415", "UnsupportedMediaType", "The body is of a media type or in a coding that is not taken"),
    ("422", "UnprocessableContent", "Invalid values, each with its place"),
    ("429", "TooManyRequests", "Too many requests, or the month's limit is reached"),
    ("431", "RequestHeaderFieldsTooLarge", "Request line and headers are larger than the gateway takes"),
    ("500", "InternalServerError", "Something went wrong on our side; what the request was to do may have been done"),
    ("503", "ServiceUnavailable", "Busy for a moment; what the request was to do may have been done"),
    ("504", "GatewayTimeout", "The request took too long; what it was to do may have been done"),
];

/// Adds the problems that an operation can have, and to each of its replies the headers that it has.
pub(super) fn complete(method: &HttpMethod, operation: &mut Operation, anyone: bool) {
    let parts = Parts::of(method, operation);
    let given = &mut operation.responses.responses;
    for (status, response) in given.iter_mut() {
        if let RefOr::T(response) = response {
            name_problem_type(response);
            let own: Vec<_> = response.headers.keys().cloned().collect();
            let derived = parts.headers(status).into_iter().map(str::to_owned);
            response.headers = own.into_iter().chain(derived).map(header).collect();
        }
    }
    for (status, name, _) in PROBLEMS {
        let possible = match *status {
            "401" => !anyone,
            "404" => parts.path,
            // Where no body is taken, one is refused.
            "422" => parts.query || !parts.get,
            // 413 and 415 too: a body is read, and its coding undone, before anybody asks whether the operation takes one.
            _ => true,
        };
        if possible {
            given.entry((*status).to_owned()).or_insert_with(|| Ref::from_response_name(*name).into());
        }
    }
}

/// `HEAD` of what a `GET` gets: the same without bodies (RFC 9110, 9.3.2).
pub(super) fn head_of(get: &Operation) -> Operation {
    let mut head = get.clone();
    head.operation_id = get.operation_id.as_ref().map(|id| format!("{id}_head"));
    head.summary = get.summary.as_ref().map(|summary| format!("{summary}: headers only"));
    head.description = Some("As `GET` answers, without the body.".to_owned());
    let responses = &mut head.responses.responses;
    responses.retain(|status, _| status.starts_with(['2', '3']));
    for response in responses.values_mut() {
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
    for (statuses, name) in [("4XX", "ProblemWithoutBody"), ("5XX", "ProblemWithoutBody")] {
        responses.insert(statuses.to_owned(), Ref::from_response_name(name).into());
    }
    head
}

/// The headers and problems that operations refer to.
pub(super) fn add_components(components: &mut Components) {
    for (name, always, description, example) in HEADERS {
        // `utoipa` knows no `required` of a header; an extension is written beside the rest.
        let required = always.then(|| Extensions::from_iter([("required", true)]));
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([*example]).build();
        let built =
            HeaderBuilder::new().schema(Some(schema)).description(Some(*description)).extensions(required).build();
        components.headers.insert((*name).to_owned(), built.into());
    }
    let anything = Parts { idempotency_key: false, ..Parts::default() };
    for (status, name, description) in PROBLEMS {
        let mut response = ResponseBuilder::new()
            .description(*description)
            .content(PROBLEM, Content::new(Some(Ref::from_schema_name("Problem"))))
            .build();
        response.headers = anything.headers(status).into_iter().map(str::to_owned).map(header).collect();
        components.responses.insert((*name).to_owned(), response.into());
    }
    let mut without_body = ResponseBuilder::new().description("The status and headers that `GET` would have").build();
    let all = ["401", "429"].into_iter().flat_map(|status| anything.headers(status));
    // None of them is always there: the status is not said.
    without_body.headers =
        all.filter(|name| *name != REMAPPED_WWW_AUTHENTICATE).map(str::to_owned).map(header).collect();
    components.responses.insert("ProblemWithoutBody".to_owned(), without_body.into());
}

/// What an operation has that its replies depend on.
#[derive(Default)]
struct Parts {
    get: bool,
    path: bool,
    query: bool,
    if_match: bool,
    if_none_match: bool,
    idempotency_key: bool,
}

impl Parts {
    fn of(method: &HttpMethod, operation: &Operation) -> Self {
        let given = operation.parameters.as_deref().unwrap_or_default();
        let parameters = || {
            given.iter().filter_map(|parameter| match parameter {
                RefOr::T(parameter) => Some(parameter),
                RefOr::Ref(_) => None,
            })
        };
        let at = |place: ParameterIn| parameters().any(|parameter| parameter.parameter_in == place);
        let named = |name: &str| parameters().any(|parameter| parameter.name == name);
        Self {
            get: matches!(method, HttpMethod::Get),
            path: at(ParameterIn::Path),
            query: at(ParameterIn::Query),
            if_match: named("If-Match"),
            if_none_match: named("If-None-Match"),
            idempotency_key: named("Idempotency-Key"),
        }
    }

    /// What a reply with this status carries.
    fn headers(&self, status: &str) -> Vec<&'static str> {
        let success = status.starts_with('2');
        let read = self.get && (success || status == "304");
        let problem = status.starts_with(['4', '5']);
        let all = [
            (true, "X-Request-Id"),
            (true, "Vary"),
            (true, "Server-Timing"),
            (read || problem, "Cache-Control"),
            (read && self.if_none_match || success && status != "204" && self.if_match, "ETag"),
            (success && self.idempotency_key, "Idempotent-Replayed"),
            (status == "401", REMAPPED_WWW_AUTHENTICATE),
            (matches!(status, "429" | "503") || status == "409" && self.idempotency_key, "Retry-After"),
            (status == "429", "RateLimit"),
            (status == "429", "RateLimit-Policy"),
        ];
        all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }
}

/// A header by its name, which stands among the document's parts.
fn header(name: String) -> (String, RefOr<utoipa::openapi::Header>) {
    assert!(HEADERS.iter().any(|(known, ..)| *known == name), "local/src/openapi/replies.rs says nothing of {name}");
    let reference = Ref::new(format!("#/components/headers/{name}"));
    (name, RefOr::Ref(reference))
}

/// What is annotated as a problem travels as `application/problem+json`.
fn name_problem_type(response: &mut Response) {
    if let Some(RefOr::T(content)) = response.content.get("application/json")
        && matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location.ends_with("/Problem"))
        && let Some(content) = response.content.swap_remove("application/json")
    {
        response.content.insert(PROBLEM.to_owned(), content);
    }
}
