//! Accounts: founding one, and what a session's user does with its own: proving the password once more, its sessions.

use crate::account_mail::PendingMail;
use crate::caller::Caller;
use crate::context::Context;
use crate::cursor::{CursorKey, Page};
use crate::device::Device;
use crate::error::ApiError;
use crate::guesses::{self, Account, By, Guess};
use crate::ids::{OrgId, UserId};
use crate::model::account_mail::AccountMail;
use crate::model::invitation::InvitationToken;
use crate::model::org::{MembershipRecord, OrgRecord, Plan, Role};
use crate::model::password::{NewPassword, PasswordAttempt};
use crate::model::session::{ActiveSession, Session, SessionCarrier};
use crate::model::settings::{Settings, SettingsRecord};
use crate::model::text::{Email, Name};
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::network::Origin;
use crate::password;
use crate::security_log::{self, Actor, SecurityEvent};
use crate::store::accounts::{AccountOrg, Registration, UNPROVEN_LIFETIME};
use crate::store::sessions::SessionRecord;
use crate::store::{backoff, is_contended, joining};
use crate::token::Token;
use lambda_http::Request;

/// Who founds an account.
pub struct Registrant {
    pub email: Email,
    pub password: NewPassword,
    pub name: Name,
    pub joins: Joins,
}

/// The organization that a new account belongs to.
pub enum Joins {
    /// One of its own, by its name.
    Founding(Name),
    /// The one that it is invited to. The invitation, which came by mail, proves the address.
    Invited(InvitationToken),
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
    /// What its user is in its organization.
    pub role: Role,
    pub session: Session,
    pub token: Token,
    pub device: Option<Device>,
}

/// Founds an account, in an organization of its own or one that it is invited to, and begins a session.
///
/// # Errors
/// [`ApiError::EmailTaken`]; a password that is no good; [`ApiError::InvalidLink`] for an invitation that is none for this address.
pub async fn register(
    context: &Context,
    new: Registrant,
    proven: Proven<'_>,
    carrier: Option<SessionCarrier>,
) -> Result<Begun, ApiError> {
    let Registrant { email, password, name, joins } = new;
    let mut place = AccountOrg::of(context, &email, &joins).await?;
    let password_hash = password::hash(password, &[email.as_str(), name.as_str(), &place.org().name]).await?;
    let (user_id, now) = (UserId::new(), context.now());
    let request = proven.request();
    let mail = match (&place, request) {
        (AccountOrg::Founded(..), Some(_)) => {
            Some(PendingMail::new(context, &AccountMail::Verification { user_id }, request)?)
        }
        _ => None,
    };
    let user = UserRecord {
        user_id,
        name: name.into_string(),
        email: email.as_str().to_owned(),
        email_verified_at: mail.is_none().then_some(now),
        created_at: now,
        unproven_until: mail.is_some().then(|| now.plus(UNPROVEN_LIFETIME)),
        version: 1,
        memberships_made: 0,
    };
    let token = Token::generate(user_id, place.org().org_id).map_err(ApiError::internal)?;
    // A browser's is known from the start.
    let device = carrier.map(|SessionCarrier::Cookie| Device::generate()).transpose().map_err(ApiError::internal)?;
    let mut attempt = 0;
    loop {
        let membership = place.membership(user_id, now)?;
        let registration = Registration {
            user: &user,
            password_hash: password_hash.clone(),
            membership: &membership,
            place: &place,
            token: &token,
            origin: request.map(Origin::of).unwrap_or_default(),
            device: device.as_ref(),
            mail: mail.as_ref(),
        };
        let registered = context.store().register(registration).await;
        attempt += 1;
        if attempt < joining::ATTEMPTS && registered.as_ref().is_err_and(|error| place.is_joined_by_others(error)) {
            tokio::time::sleep(backoff(attempt - 1)).await;
            place = AccountOrg::of(context, &email, &joins).await?;
            continue;
        }
        let (session_id, expires_at) = registered?;
        if let Some(mail) = mail {
            mail.send(context).await?;
        }
        let actor = Actor { user_id, org_id: place.org().org_id, session_id };
        let session = Session::new(user, Some(place.into_org()), &token, expires_at);
        return Ok(Begun { actor, role: membership.role, session, token, device });
    }
}

impl<'a> Proven<'a> {
    /// What registers, if that is a request.
    fn request(self) -> Option<&'a Request> {
        match self {
            Self::ByMail(request) => Some(request),
            Self::ByOperator => None,
        }
    }
}

impl AccountOrg {
    /// Where a new account belongs.
    async fn of(context: &Context, email: &Email, joins: &Joins) -> Result<Self, ApiError> {
        Ok(match joins {
            Joins::Invited(token) => Self::Invited(context.store().invited(token, email.as_str()).await?),
            Joins::Founding(name) => {
                let settings = SettingsRecord { settings: Settings::default(), version: 1 };
                Self::Founded(Box::new(new_org(OrgId::new(), name.clone(), context.now())?), settings)
            }
        })
    }

    /// Whether a registration failed because others join the organization in this moment. Who founds one meets nobody there.
    fn is_joined_by_others(&self, error: &ApiError) -> bool {
        matches!(self, Self::Invited(_)) && (matches!(error, ApiError::Contended) || is_contended(error))
    }
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
        member_count: 1,
        owner_count: 1,
        invitations_made: 0,
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

/// Notes a failed log-in where the log-in record has changed since the password was compared; the caller is told what a wrong password is.
///
/// # Errors
/// That of `outcome`.
pub async fn note_if_changed(
    context: &Context,
    request: &Request,
    (user, address): (UserId, &str),
    outcome: Result<(), ApiError>,
) -> Result<(), ApiError> {
    if let Err(ApiError::WrongCredentials) = outcome {
        let email = Email::stored(address.to_owned()).map_err(ApiError::internal)?;
        security_log::record(context, request, SecurityEvent::LoginFailed { user: Some(user), email: &email }).await;
    }
    outcome
}

/// A page of the user's sessions that count, the newest first.
///
/// # Errors
/// [`ApiError::Rejected`] for a cursor that is none of this session's; when the database is away.
pub async fn sessions(context: &Context, caller: &Caller, request: &Request) -> Result<Page<ActiveSession>, ApiError> {
    const LIST: &str = "sessions";
    let key = caller.cursor_key();
    let (limit, after) = key.asked(LIST, request)?;
    let (sessions, next) = context.store().active_sessions(caller.acting_session(), limit, after).await?;
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
    Ok(key.page(LIST, sessions.into_iter().map(shown).collect(), next))
}
