//! `POST /auth/register`, anyone: `201` with user, organization and token; `409` if the address is taken; `429` after
//! five from one network in a minute, or twenty in a day.

use deserr::Deserr;
use shared::cursor::CursorKey;
use shared::device::Device;
use shared::ids::{OrgId, UserId};
use shared::limits::{Claim, NetworkLimit};
use shared::model::mark::MembershipMark;
use shared::model::org::{MembershipRecord, OrgRecord, Plan, Role};
use shared::model::password::NewPassword;
use shared::model::session::{Carrier, Session};
use shared::model::settings::{Settings, SettingsRecord};
use shared::model::text::{Email, Name};
use shared::model::user::UserRecord;
use shared::network::{Network, Origin};
use shared::request::FieldErrors;
use shared::security_log::{self, Actor, SecurityEvent};
use shared::store::accounts::Registration;
use shared::token::Token;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, password, request};
use utoipa::ToSchema;

/// Who registers, and the organization it founds.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada Lovelace",
    "org_name": "Analytical Engines"})))]
pub struct NewAccount {
    email: Email,
    password: NewPassword,
    name: Name,
    org_name: Name,
    /// `cookie` sets the cookie `__Host-session` and leaves the token out of the body. Otherwise the token is in the body, and no
    /// cookie is set.
    #[deserr(default)]
    session: Option<Carrier>,
}

/// What one network may do of this. That an address is taken is told here and nowhere else: those registrations count too.
pub const LIMITS: [NetworkLimit; 2] = [NetworkLimit::RegistrationsPerMinute, NetworkLimit::RegistrationsPerDay];

/// Register a user and found its organization
///
/// The user becomes the organization's first owner, on the free plan.
///
/// # Errors
/// `409 email_taken`, `429 rate_limited` after too many registrations from one network.
#[utoipa::path(post, path = "/auth/register", operation_id = "register", tag = "auth", request_body = NewAccount,
    responses((status = 201, description = "Registered and logged in", body = Session, headers(("Cache-Control"), ("Set-Cookie"))),
        (status = 409, description = "The e-mail address is taken", body = shared::response::ProblemBody)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let account: NewAccount = request::json(&request)?;
    Claim::take(context, Network::of(&request), &LIMITS).await?;
    let (email, carrier) = (account.email.clone(), account.session);
    let Founded { by, session, token, device } = found(context, account, Origin::of(&request)).await?;

    security_log::record(context, &request, SecurityEvent::Registered { by, email: &email }).await;
    Ok(session.reply(StatusCode::CREATED, &token, carrier, device.as_ref()))
}

/// An account just made, and its first session.
pub struct Founded {
    by: Actor,
    pub session: Session,
    token: Token,
    device: Option<Device>,
}

impl NewAccount {
    /// An account of an operator's.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(email: String, password: String, name: String, org_name: String) -> Result<Self, &'static str> {
        let (name, org_name) = (Name::try_from(name)?, Name::try_from(org_name)?);
        Ok(Self { email: email.try_into()?, password: password.try_into()?, name, org_name, session: None })
    }
}

/// Makes an account and the organization that it founds, whatever network asks for it.
///
/// # Errors
/// `409 email_taken`, `422` for a password of the account's own words.
pub async fn found(context: &Context, account: NewAccount, origin: Origin) -> Result<Founded, ApiError> {
    let email = account.email;
    let own_words = [email.as_str(), account.name.as_str(), account.org_name.as_str()];
    let password_hash = password::hash(account.password, &own_words).await?;

    let (user_id, org_id, now) = (UserId::new(), OrgId::new(), context.now());
    let user = UserRecord {
        user_id,
        name: account.name.into_string(),
        email: email.as_str().to_owned(),
        created_at: now,
        version: 1,
    };
    let org = OrgRecord {
        org_id,
        name: account.org_name.into_string(),
        plan: Plan::Free,
        plan_version: 1,
        plan_given_at: None,
        spread_from: None,
        copied: false,
        item_count: 0,
        member_count: 1,
        owner_count: 1,
        cursor_key: CursorKey::generate().map_err(ApiError::internal)?,
        created_at: now,
    };
    let membership = MembershipRecord {
        user_id,
        org_id,
        org_name: org.name.clone(),
        role: Role::Owner,
        joined_at: now,
        mark: Some(MembershipMark::generate().map_err(ApiError::internal)?),
    };
    let settings = SettingsRecord { settings: Settings::default(), version: 1 };
    let token = Token::generate(user_id, org_id).map_err(ApiError::internal)?;

    // A browser's is known from the start.
    let device = account.session.map(|Carrier::Cookie| Device::generate()).transpose().map_err(ApiError::internal)?;

    let registration = Registration {
        user: &user,
        password_hash,
        org: &org,
        membership: &membership,
        settings: &settings,
        token: &token,
        origin,
        device: device.as_ref(),
    };
    let (session_id, expires_at) = context.store().register(registration).await?;
    let session = Session::new(user, org, &token, expires_at);
    Ok(Founded { by: Actor { user_id, org_id, session_id }, session, token, device })
}
