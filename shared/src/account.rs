//! Accounts: founding one, and what a session's user does with its own: proving the password once more, its sessions.

use crate::account_mail::PendingMail;
use crate::caller::Caller;
use crate::context::Context;
use crate::cursor::CursorKey;
use crate::device::Device;
use crate::error::ApiError;
use crate::guesses::{self, Account, By, Guess};
use crate::ids::{OrgId, UserId};
use crate::model::account_mail::AccountMail;
use crate::model::mark::MembershipMark;
use crate::model::org::{MembershipRecord, OrgRecord, Plan, Role};
use crate::model::password::{NewPassword, PasswordAttempt};
use crate::model::session::{ActiveSession, ActiveSessions, Carrier, Session};
use crate::model::settings::{Settings, SettingsRecord};
use crate::model::text::{Email, Name};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::network::Origin;
use crate::password;
use crate::security_log::{self, Actor, SecurityEvent};
use crate::store::accounts::Registration;
use crate::store::sessions::SessionRecord;
use crate::token::Token;
use lambda_http::Request;

/// Who founds an account and an organization.
pub struct Registrant {
    pub email: Email,
    pub password: NewPassword,
    pub name: Name,
    pub org_name: Name,
}

/// How a new account's address is proven.
#[derive(Clone, Copy)]
pub enum Proven<'a> {
    /// By mail, which the request that registers causes.
    ByMail(&'a Request),
    /// An operator knows it.
    ByOperator,
}

/// A session that has just begun.
pub struct Begun {
    pub actor: Actor,
    pub session: Session,
    pub token: Token,
    pub device: Option<Device>,
}

/// Founds an account and its organization, and begins a session.
///
/// # Errors
/// [`ApiError::EmailTaken`]; a password that is no good.
pub async fn register(
    context: &Context,
    new: Registrant,
    proven: Proven<'_>,
    carrier: Option<Carrier>,
) -> Result<Begun, ApiError> {
    let own_words = [new.email.as_str(), new.name.as_str(), new.org_name.as_str()];
    let password_hash = password::hash(new.password, &own_words).await?;
    let (user_id, org_id, now) = (UserId::new(), OrgId::new(), context.now());
    let (mail, request) = match proven {
        Proven::ByMail(request) => {
            let mail = AccountMail::Verification { user_id };
            (Some(PendingMail::new(context, &mail, Some(request))?), Some(request))
        }
        Proven::ByOperator => (None, None),
    };
    let user = UserRecord {
        user_id,
        name: new.name.into_string(),
        email: new.email.into_string(),
        email_verified_at: mail.is_none().then_some(now),
        created_at: now,
        version: 1,
    };
    let org = new_org(org_id, new.org_name, now)?;
    let membership = MembershipRecord {
        user_id,
        org_id,
        org_name: org.name.clone(),
        role: Role::Owner,
        joined_at: now,
        mark: Some(MembershipMark::generate().map_err(ApiError::internal)?),
    };
    let token = Token::generate(user_id, org_id).map_err(ApiError::internal)?;
    // A browser's is known from the start.
    let device = carrier.map(|Carrier::Cookie| Device::generate()).transpose().map_err(ApiError::internal)?;
    let registration = Registration {
        user: &user,
        password_hash,
        org: &org,
        membership: &membership,
        settings: &SettingsRecord { settings: Settings::default(), version: 1 },
        token: &token,
        origin: request.map(Origin::of).unwrap_or_default(),
        device: device.as_ref(),
        mail: mail.as_ref(),
    };
    let (session_id, expires_at) = context.store().register(registration).await?;
    if let Some(mail) = mail {
        mail.send(context).await?;
    }
    let session = Session::new(user, Some(org), &token, expires_at);
    Ok(Begun { actor: Actor { user_id, org_id, session_id }, session, token, device })
}

/// An organization with one member, its owner.
fn new_org(org_id: OrgId, name: Name, now: Moment) -> Result<OrgRecord, ApiError> {
    Ok(OrgRecord {
        org_id,
        name: name.into_string(),
        plan: Plan::Free,
        plan_version: 1,
        plan_given_at: None,
        spread_from: None,
        copied: false,
        item_count: 0,
        deletions: 0,
        member_count: 1,
        owner_count: 1,
        cursor_key: CursorKey::generate().map_err(ApiError::internal)?,
        created_at: now,
    })
}

/// What a password may not be made of: the account's address and names.
#[must_use]
pub fn own_words<'a>(user: &'a UserRecord, memberships: &'a [MembershipRecord]) -> Vec<&'a str> {
    let orgs = memberships.iter().filter(|membership| !membership.is_outside());
    let names = orgs.map(|membership| membership.org_name.as_str());
    [user.email.as_str(), &user.name].into_iter().chain(names).collect()
}

/// The account of a session's user, who gives its password. A wrong one uses up an attempt, as at a log-in.
///
/// # Errors
/// [`ApiError::WrongCredentials`], [`ApiError::TooManyAttempts`].
pub async fn prove(
    context: &Context,
    request: &Request,
    caller: &Caller,
    password: PasswordAttempt,
) -> Result<Account, ApiError> {
    let user = context.store().user(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;
    let email = Email::stored(user.email).map_err(ApiError::internal)?;
    let guess = guesses::compare(context, request, &email, password, By::Session).await;
    let event = match &guess {
        Ok(Guess::Right(account)) if account.login.user_id != caller.user_id => return Err(ApiError::InvalidToken),
        Ok(Guess::Right(_)) => None,
        Ok(Guess::Wrong(of)) => Some(SecurityEvent::LoginFailed { user: *of, email: &email }),
        Err(ApiError::TooManyAttempts { .. }) => Some(SecurityEvent::LoginLimitReached { email: &email }),
        Err(_) => None,
    };
    if let Some(event) = event {
        security_log::record(context, request, event).await;
    }
    match guess? {
        Guess::Right(account) => Ok(*account),
        Guess::Wrong(_) => Err(ApiError::WrongCredentials),
    }
}

/// The user's sessions that count.
///
/// # Errors
/// When the database is away.
pub async fn sessions(context: &Context, caller: &Caller) -> Result<ActiveSessions, ApiError> {
    let sessions = context.store().active_sessions(caller.user_id).await?;
    let shown = |session: SessionRecord| ActiveSession {
        id: session.session_id,
        org_id: Some(session.org_id).filter(|org| *org != OrgId::NONE),
        is_current: session.session_id == caller.session_id(),
        created_at: session.created_at.rfc3339(),
        last_used_at: session.last_used().rfc3339(),
        expires_at: session.expires_at.rfc3339(),
        network: session.origin.network,
        agent: session.origin.agent,
    };
    Ok(ActiveSessions { data: sessions.into_iter().map(shown).collect(), next_cursor: () })
}
