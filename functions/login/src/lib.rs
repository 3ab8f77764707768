//! `POST /auth/login`, anyone: `200` with token or cookie; `401` alike for an unknown user and a wrong
//! password; `429` after too many of those, for an account or from one network.

use deserr::Deserr;
use shared::device::{Device, DeviceCookie};
use shared::guesses::{self, Account, By, Guess};
use shared::ids::{OrgId, UserId};
use shared::model::org::MembershipRecord;
use shared::model::password::PasswordAttempt;
use shared::model::session::{Session, SessionCarrier};
use shared::model::text::Email;
use shared::network::Origin;
use shared::request::FieldErrors;
use shared::security_log::{self, Actor, SecurityEvent};
use shared::token::Token;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request};
use utoipa::ToSchema;

/// Who logs in, and where: the organization joined first unless named.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com", "password": "correct horse battery"})))]
pub struct Credentials {
    #[deserr(try_from(String) = Email::known -> &'static str)]
    email: Email,
    password: PasswordAttempt,
    #[deserr(default)]
    org_id: Option<OrgId>,
    /// `cookie` sets the cookie `__Host-session` and leaves the token out of the body. Otherwise the token is in the body, and no
    /// cookie is set.
    #[deserr(default)]
    session: Option<SessionCarrier>,
}

/// Log in
///
/// Gives a session token, in the body or as the `__Host-session` cookie. A user who belongs to no organization gets a session for what
/// concerns the own account, and for accepting an invitation; all else answers it `403 no_organization`.
///
/// # Errors
/// `401 wrong_credentials`, `404` for an organization one is no member of,
/// `429 too_many_attempts` for an account, `429 rate_limited` for a network with too many failed log-ins.
#[utoipa::path(post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Credentials,
    responses((status = 200, description = "Logged in", body = Session, headers(("Cache-Control"), ("Set-Cookie"))),
        (status = 401, description = "Unknown user or wrong password", body = shared::response::ProblemBody),
        (status = 404, description = "Not a member of the named organization", body = shared::response::ProblemBody),
        (status = 409, description = "The account kept changing meanwhile", body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let Credentials { email, password, org_id, session: carrier } = request::json(&request)?;
    let email = &email;
    let mut user_id = None;
    let outcome = log_in(context, &request, email, password, (org_id, carrier), &mut user_id).await;

    let event = match &outcome {
        Ok(begun) => Some(SecurityEvent::LoggedIn { by: begun.actor, email }),
        Err(ApiError::WrongCredentials) => Some(SecurityEvent::LoginFailed { user: user_id, email }),
        Err(ApiError::TooManyAttempts { .. } | ApiError::RateLimited { .. }) => {
            Some(SecurityEvent::LoginLimitReached { email })
        }
        Err(_) => None,
    };
    if let Some(event) = event {
        security_log::record(context, &request, event).await;
    }

    let Begun { session, token, device, .. } = outcome?;
    let devices = device.map(|device| DeviceCookie::of(&request).with(device));
    Ok(session.reply(StatusCode::OK, &token, carrier, devices.as_ref()))
}

/// A session that a log-in has begun.
struct Begun {
    actor: Actor,
    session: Session,
    token: Token,
    /// What the browser is to be known by from now on.
    device: Option<Device>,
}

/// Begins a session. Notes whose account it is, as soon as that is known.
async fn log_in(
    context: &Context,
    request: &Request,
    email: &Email,
    password: PasswordAttempt,
    (org_id, carrier): (Option<OrgId>, Option<SessionCarrier>),
    user_id: &mut Option<UserId>,
) -> Result<Begun, ApiError> {
    let store = context.store();
    let guess = guesses::compare(context, request, email, password, By::Anyone).await?;
    let Account { login, user, memberships, device, lookup } = match guess {
        Guess::Right(account) => *account,
        Guess::Wrong(of) => {
            *user_id = of;
            return Err(ApiError::WrongCredentials);
        }
    };
    *user_id = Some(login.user_id);

    let membership = match chosen(&memberships, org_id)? {
        Some(membership) => membership.clone(),
        None => store.outside(login.user_id).await?,
    };
    let org_id = membership.org_id;
    let token = Token::generate(login.user_id, org_id).map_err(ApiError::internal)?;
    let start = Box::pin(store.start_session(email, &login, &membership, &token, Origin::of(request)));
    let known = async {
        match (carrier, device) {
            (Some(SessionCarrier::Cookie), None) => store.remember_device(email, &login, &lookup).await,
            (Some(SessionCarrier::Cookie), Some(known)) => {
                store.note_known_device(email, &login, &lookup, &known).await;
                Some(known)
            }
            (None, known) => known,
        }
    };
    let org = async { if membership.is_outside() { Ok(None) } else { store.org(org_id).await } };
    let (started, org, device) = tokio::join!(start, Box::pin(org), Box::pin(known));
    let (session_id, expires_at) = started?;
    let org = org?;
    if org.is_none() && !membership.is_outside() {
        return Err(ApiError::internal("a membership without its organization"));
    }

    let actor = Actor { user_id: login.user_id, org_id, session_id };
    Ok(Begun { actor, session: Session::new(user, org, &token, expires_at), token, device })
}

/// The named organization, or the one joined first; none for a user who belongs to none.
fn chosen(memberships: &[MembershipRecord], named: Option<OrgId>) -> Result<Option<&MembershipRecord>, ApiError> {
    let mut orgs = memberships.iter().filter(|membership| !membership.is_outside());
    match named {
        Some(org) => orgs.find(|membership| membership.org_id == org).ok_or(ApiError::NotFound).map(Some),
        None => Ok(orgs.min_by_key(|membership| membership.joined_at)),
    }
}
