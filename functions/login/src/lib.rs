//! `POST /auth/login`, anyone: `200` with token and cookie; `401` alike for an unknown user and a wrong
//! password; `429` after ten failed log-ins for an account within 15 minutes.

use deserr::Deserr;
use lambda_http::http::header::SET_COOKIE;
use shared::ids::OrgId;
use shared::model::org::MembershipRecord;
use shared::model::session::{self, Session};
use shared::model::text::{Email, PasswordAttempt};
use shared::request::FieldErrors;
use shared::store::attempts::Account;
use shared::token::Token;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, password, request, response};
use utoipa::ToSchema;

/// Who logs in, and where: the organization joined first unless named.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
pub struct Credentials {
    email: Email,
    password: PasswordAttempt,
    #[deserr(default)]
    org_id: Option<OrgId>,
}

/// Log in
///
/// Gives a session token, also as the `__Host-session` cookie.
///
/// # Errors
/// `401 wrong_credentials`, `403 no_organization`, `404` for an organization one is no member of,
/// `429 too_many_attempts`.
#[utoipa::path(post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Credentials,
    responses((status = 200, description = "Logged in", body = Session),
        (status = 401, description = "Unknown user or wrong password", body = shared::response::ProblemBody),
        (status = 403, description = "A member of no organization", body = shared::response::ProblemBody),
        (status = 404, description = "Not a member of the named organization", body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let credentials: Credentials = request::json(&request)?;
    let store = context.store();

    let password = credentials.password.reveal();
    let is_right = async |hash| password::verify(password, hash).await.map_err(ApiError::internal);
    let Account { login, user, memberships } = store.authenticate(&credentials.email, is_right).await?;

    let membership = chosen(&memberships, credentials.org_id)?;
    let org_id = membership.org_id;
    let token = Token::generate(login.user_id, org_id).map_err(ApiError::internal)?;
    let start = Box::pin(store.start_session(&credentials.email, &login, membership, &token));
    let (expires_at, org) = tokio::join!(start, Box::pin(store.org(org_id)));
    let org = org?.ok_or_else(|| ApiError::internal("a membership without its organization"))?;

    let mut reply = response::json(StatusCode::OK, &Session::new(user, org, &token, expires_at?));
    reply.headers_mut().insert(SET_COOKIE, session::cookie(&token));
    Ok(response::live(reply))
}

/// The named organization, or the one joined first.
fn chosen(memberships: &[MembershipRecord], named: Option<OrgId>) -> Result<&MembershipRecord, ApiError> {
    match named {
        Some(org) => memberships.iter().find(|membership| membership.org_id == org).ok_or(ApiError::NotFound),
        None => memberships.iter().min_by_key(|membership| membership.joined_at).ok_or(ApiError::NoOrganization),
    }
}
