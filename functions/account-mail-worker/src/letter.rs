//! What account mail says. Nothing that somebody chose (names) stands in it: whoever gets it may be a stranger to who caused it.

use shared::model::email::{Message, Recipients, Subject, Text};
use shared::model::user::UserRecord;
use shared::store::account_mail::MailLimit;
use shared::{ApiError, Context};

/// A mail that is wanted.
pub(crate) enum Letter {
    /// Proves the address of this account.
    Verification(UserRecord),
    /// Lets whoever has the address of this account choose another password.
    PasswordReset(UserRecord),
    /// Tells this address that the password was changed.
    PasswordChanged(String),
}

impl Letter {
    /// Who gets it.
    pub(crate) fn to(&self) -> &str {
        match self {
            Self::Verification(user) | Self::PasswordReset(user) => &user.email,
            Self::PasswordChanged(to) => to,
        }
    }

    /// How much of it the address gets.
    pub(crate) fn limit(&self) -> Option<MailLimit> {
        match self {
            // Whoever asks for another is held to the limit there.
            Self::Verification(_) => None,
            Self::PasswordReset(_) => Some(MailLimit::PASSWORD_RESET),
            Self::PasswordChanged(_) => Some(MailLimit::NOTICE),
        }
    }

    /// Writes it, with new codes and tokens where it has some: those of before are void then. Links lead to `app_url`. None if the account
    /// has changed so that it is no longer wanted.
    pub(crate) async fn write(self, context: &Context, app_url: &str) -> Result<Option<Message>, ApiError> {
        match self {
            Self::Verification(user) => {
                let (code, token) = context.store().new_verification(&user).await?;
                let text = include_str!("letters/verification.txt");
                let filled = [("{code}", code.reveal()), ("{link}", link(app_url, "verify-email", token.reveal()))];
                message(&user.email, text, &filled).map(Some)
            }
            Self::PasswordReset(user) => {
                let Some(token) = context.store().new_password_reset(&user).await? else { return Ok(None) };
                let text = include_str!("letters/password-reset.txt");
                message(&user.email, text, &[("{link}", link(app_url, "reset-password", token.reveal()))]).map(Some)
            }
            Self::PasswordChanged(to) => {
                let text = include_str!("letters/password-changed.txt");
                message(&to, text, &[("{link}", format!("{app_url}/forgot-password"))]).map(Some)
            }
        }
    }
}

/// The token stands behind the `#`, which browsers send to nobody.
fn link(app_url: &str, page: &str, token: &str) -> String {
    format!("{app_url}/{page}#{token}")
}

/// A text whose first line is the subject, filled.
fn message(to: &str, text: &str, filled: &[(&str, String)]) -> Result<Message, ApiError> {
    let fill = |text: &str| filled.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let (subject, text) = text.split_once("\n\n").unwrap_or_default();
    Ok(Message {
        to: Recipients::try_from(vec![to.parse().map_err(ApiError::internal)?]).map_err(ApiError::internal)?,
        subject: Subject::parse(&fill(subject)).map_err(ApiError::internal)?,
        text: Text::parse(&fill(text)).map_err(ApiError::internal)?,
    })
}
