//! `POST /auth/register`, anyone: `201` with user, organization and token; `409` if the address is taken; `429` after
//! too many from one network in a minute or a day.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use shared::account::{self, Joins, Proven, Registrant};
use shared::device::DeviceCookie;
use shared::limits::{Claim, NetworkLimit};
use shared::model::invitation::InvitationToken;
use shared::model::password::NewPassword;
use shared::model::session::{Session, SessionCarrier};
use shared::model::text::{Email, Name};
use shared::network::Network;
use shared::request::FieldErrors;
use shared::security_log::{self, SecurityEvent};
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request};
use utoipa::ToSchema;

/// Who registers, and the organization that it founds or is invited to: one of the two.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum NewAccount {
    Founding(FoundingAccount),
    Invited(InvitedAccount),
}

/// Who registers and founds an organization.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada Lovelace",
    "org_name": "Analytical Engines"})))]
pub struct FoundingAccount {
    pub email: Email,
    pub password: NewPassword,
    pub name: Name,
    /// Founds an organization of this name.
    pub org_name: Name,
    /// `cookie` sets the cookie `__Host-session` and leaves the token out of the body. Otherwise the token is in the body, and no
    /// cookie is set.
    pub session: Option<SessionCarrier>,
}

/// Who registers and joins the organization that invites it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"email": "grace@example.com", "password": "correct horse battery", "name": "Grace Hopper",
    "invitation": "citi_AZPgobLDfU6PkKGyw9Tl9wGT4KGyw31Oj5Chssg"})))]
pub struct InvitedAccount {
    pub email: Email,
    pub password: NewPassword,
    pub name: Name,
    /// What stands behind the `#` of an invitation's link. The address must be the invited one, which it proves.
    #[schema(max_length = 120)]
    pub invitation: String,
    /// As of an account that founds an organization.
    pub session: Option<SessionCarrier>,
}

/// Either, as it is read.
#[derive(Debug)]
struct Registration {
    email: Email,
    password: NewPassword,
    name: Name,
    org_name: Option<Name>,
    invitation: Option<String>,
    session: Option<SessionCarrier>,
}

/// What one network may do of this. That an address is taken is told here and nowhere else: those registrations count too.
pub const LIMITS: [NetworkLimit; 2] = [NetworkLimit::RegistrationsPerMinute, NetworkLimit::RegistrationsPerDay];

/// Register a user
///
/// With `org_name` the user founds an organization and becomes its first owner, on the free plan; a code and a link go to the address, by
/// which it is proven (`POST /auth/verify-email`). With `invitation` it becomes a member of the organization that invites it, and
/// its address is proven.
///
/// # Errors
/// `400 invalid_link` for an invitation that is none for this address, `403 plan_limit_reached` where it has no room, `409 email_taken`,
/// `429 rate_limited` after too many registrations from one network.
#[utoipa::path(post, path = "/auth/register", operation_id = "register", tag = "auth", request_body = NewAccount,
    responses((status = 201, description = "Registered and logged in", body = Session, headers(("Cache-Control"), ("Set-Cookie"))),
        (status = 400, description = "The invitation is none, was used or withdrawn, is too old, or is for another address", body = shared::response::ProblemBody),
        (status = 409, description = "The e-mail address is taken, or the invitation's organization kept changing meanwhile",
            body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let Registration { email, password, name, org_name, invitation, session: carrier } = request::json(&request)?;
    let joins = joins(org_name, invitation);
    let claim = Claim::take(context, Network::of(&request), &LIMITS).await;
    if let Err(ApiError::RateLimited { .. }) = claim {
        let event = SecurityEvent::RegistrationLimitReached { email: &email };
        security_log::record(context, &request, event).await;
    }
    claim?;
    let joins = joins?;
    let is_invited = matches!(joins, Joins::Invited(_));
    let new = Registrant { email: email.clone(), password, name, joins };
    let begun = account::register(context, new, Proven::ByMail(&request), carrier).await;
    if let Err(ApiError::EmailTaken) = begun {
        security_log::record(context, &request, SecurityEvent::AddressTaken { email: &email }).await;
    }
    let begun = begun?;

    let event = SecurityEvent::Registered { by: begun.actor, email: &email };
    security_log::record(context, &request, event).await;
    if is_invited {
        let event = SecurityEvent::MemberAdded { by: begun.actor, role: begun.role };
        security_log::record(context, &request, event).await;
    }
    let devices = begun.device.map(|device| DeviceCookie::of(&request).with(device));
    Ok(begun.session.reply(StatusCode::CREATED, &begun.token, carrier, devices.as_ref()))
}

/// The body has one of the two. A text that cannot be an invitation is wrong as any other is, and counts as a registration all the same.
fn joins(org_name: Option<Name>, invitation: Option<String>) -> Result<Joins, ApiError> {
    if let Some(name) = org_name {
        return Ok(Joins::Founding(name));
    }
    let invitation = invitation.and_then(|token| InvitationToken::parse(&token));
    invitation.map(Joins::Invited).ok_or(ApiError::InvalidLink)
}

// By hand: of what the rules between the fields ask, too, all is told at once.
impl Deserr<FieldErrors> for Registration {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef<'_>) -> Result<Self, FieldErrors> {
        let mut members = request::members(value, at)?;
        let mut errors = FieldErrors::default();
        let email: Option<Email> = errors.note(request::member(&mut members, "email", at));
        let password: Option<NewPassword> = errors.note(request::member(&mut members, "password", at));
        let name: Option<Name> = errors.note(request::member(&mut members, "name", at));
        let org_name: Result<Option<Name>, _> = request::optional(&mut members, "org_name", at);
        let invitation: Result<Option<String>, _> = request::optional(&mut members, "invitation", at);
        let between = match (&org_name, &invitation) {
            (Ok(None), Ok(None)) => Some(("org_name", "is missing, and there is no invitation in its place")),
            (Ok(Some(_)) | Err(_), Ok(Some(_))) => Some(("invitation", "must not stand beside org_name")),
            _ => None,
        };
        if let Some((field, message)) = between {
            errors.note::<()>(Err(FieldErrors::at(at.push_key(field), message)));
        }
        let (org_name, invitation) = (errors.note(org_name).flatten(), errors.note(invitation).flatten());
        let session = errors.note(request::optional(&mut members, "session", at)).flatten();
        errors.note_rest(members, at, &["email", "password", "name", "org_name", "invitation", "session"]);
        if let Some(password) = &password {
            let own = [
                email.as_ref().map(Email::as_str),
                name.as_ref().map(Name::as_str),
                org_name.as_ref().map(Name::as_str),
            ];
            let own: Vec<&str> = own.into_iter().flatten().collect();
            errors.note(password.check(&own).map_err(|message| FieldErrors::at(at.push_key("password"), message)));
        }
        let account = email.zip(password).zip(name);
        let account =
            account.map(|((email, password), name)| Self { email, password, name, org_name, invitation, session });
        errors.unless_noted(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::request::Rejection;

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let (account, joining) = (r#""email":"ada@example.com","name":"Ada Lovelace""#, r#""invitation":"x""#);
        let of = |password: &str, rest: &str| format!(r#"{{{account},"password":"{password}"{rest}}}"#);
        for (body, pointers) in [
            ("{}".to_owned(), "/email /password /name /org_name"),
            (format!("{{{joining}}}"), "/email /password /name"),
            (r#"{"email":"x","org_name":"a","invitation":"b"}"#.to_owned(), "/email /password /name /invitation"),
            (
                r#"{"email":"x","org_name":5,"invitation":"b","y":1}"#.to_owned(),
                "/email /password /name /invitation /org_name /y",
            ),
            (of("nine wooden barrels", ""), "/org_name"),
            (of("nine wooden barrels", r#","org_name":null,"invitation":null"#), "/org_name"),
            (of("nine wooden barrels", r#","org_name":5"#), "/org_name"),
            (of("nine wooden barrels", r#","invitation":5"#), "/invitation"),
            (of("lovelace1815", r#","session":"x""#), "/org_name /session /password"),
            (of("engines1837", r#","org_name":"Analytical Engines""#), "/password"),
            (of("lovelace1815", &format!(",{joining}")), "/password"),
        ] {
            let Err(Rejection::Invalid(errors)) = request::parse::<Registration>(body.as_bytes()) else {
                panic!("{body}")
            };
            let found: Vec<_> = errors.into_iter().map(|error| error.pointer).collect();
            assert_eq!(found.join(" "), pointers, "{body}");
        }
        for rest in [r#","org_name":"Engines","invitation":null"#, r#","invitation":"x","session":"cookie""#] {
            assert!(request::parse::<Registration>(of("nine wooden barrels", rest).as_bytes()).is_ok(), "{rest}");
        }
    }
}
