//! A session's user and its own account: proving the password once more, and its sessions.

use crate::caller::Caller;
use crate::context::Context;
use crate::error::ApiError;
use crate::guesses::{self, Account, By, Guess};
use crate::model::password::PasswordAttempt;
use crate::model::session::{ActiveSession, ActiveSessions};
use crate::model::text::Email;
use crate::security_log::{self, SecurityEvent};
use crate::store::sessions::SessionRecord;
use lambda_http::Request;

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
    let email = Email::try_from(user.email).map_err(ApiError::internal)?;
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
        org_id: session.org_id,
        is_current: session.session_id == caller.session_id(),
        created_at: session.created_at.rfc3339(),
        expires_at: session.expires_at.rfc3339(),
        network: session.origin.network,
        agent: session.origin.agent,
    };
    Ok(ActiveSessions { data: sessions.into_iter().map(shown).collect(), next_cursor: () })
}
