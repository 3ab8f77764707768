//! What account mail says. Nothing that somebody chose (names) stands in it: whoever gets it may be a stranger to whoever caused it.

use shared::ids::{JobId, SessionId, UserId};
use shared::model::email::{Message, Recipients, Subject, Text};
use shared::model::invitation::InvitationRecord;
use shared::model::text::Email;
use shared::model::time::Moment;
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
    /// Invites whoever has an address, in the name of whoever made the invitation: by that one's proven address, and by no name.
    Invitation(InvitationRecord, UserRecord),
    /// Confirms another address of this account, in this session; with the job that it is.
    EmailChange(UserRecord, SessionId, String, JobId),
    /// Tells this address that it was an account's until this moment.
    EmailChanged(UserId, String, Moment),
    /// The same, when somebody has asked for a link for that address.
    EmailUndo(UserId, String, Moment),
    /// Tells this address that it was an account's until now, which has the one of before again.
    EmailUndone(String),
}

impl Letter {
    /// Who gets it.
    pub(crate) fn to(&self) -> &str {
        match self {
            Self::Verification(user) | Self::PasswordReset(user) => &user.email,
            Self::PasswordChanged(to)
            | Self::EmailChange(_, _, to, _)
            | Self::EmailChanged(_, to, _)
            | Self::EmailUndo(_, to, _)
            | Self::EmailUndone(to) => to,
            Self::Invitation(invitation, _) => &invitation.email,
        }
    }

    /// Whether it goes to an address that its account has proven: no stranger has it written there.
    pub(crate) fn is_to_a_proven_address(&self) -> bool {
        match self {
            Self::PasswordReset(user) => user.is_verified(),
            Self::PasswordChanged(_) | Self::EmailChanged(..) | Self::EmailUndo(..) | Self::EmailUndone(_) => true,
            Self::Verification(_) | Self::Invitation(..) | Self::EmailChange(..) => false,
        }
    }

    /// How much of it the address gets.
    pub(crate) fn limit(&self) -> Option<MailLimit> {
        match self {
            Self::Verification(_) => Some(MailLimit::VERIFICATION),
            // It is held to a limit where it is made.
            Self::Invitation(..) => None,
            // As many as there are changes.
            Self::EmailUndone(_) => None,
            // It can be undone: each is told.
            Self::EmailChanged(..) => None,
            Self::EmailChange(..) => Some(MailLimit::EMAIL_CHANGE),
            Self::PasswordReset(_) | Self::EmailUndo(..) => Some(MailLimit::PASSWORD_RESET),
            Self::PasswordChanged(_) => Some(MailLimit::NOTICE),
        }
    }

    /// Writes it, with new codes and tokens where it has some: those of before are void then. Links lead to `app_url`. None if the account
    /// has changed so that it is no longer wanted.
    pub(crate) async fn write(self, context: &Context, app_url: &str) -> Result<Option<Message>, ApiError> {
        match self {
            Self::Verification(user) => {
                let made = context.store().new_verification(&user).await?;
                let Some((code, token)) = made else { return Ok(None) };
                let text = include_str!("letters/verification.txt");
                let filled = [("{code}", code.reveal()), ("{link}", link(app_url, "verify-email", token.reveal()))];
                message(&user.email, text, &filled).map(Some)
            }
            Self::PasswordReset(user) => {
                let Some(token) = context.store().new_password_reset(&user).await? else { return Ok(None) };
                let text = include_str!("letters/password-reset.txt");
                message(&user.email, text, &[("{link}", link(app_url, "reset-password", token.reveal()))]).map(Some)
            }
            Self::EmailChange(user, session, to, job) => {
                let made = context.store().new_email_change(&user, session, &to, job).await?;
                let Some((code, token)) = made else { return Ok(None) };
                let text = include_str!("letters/email-change.txt");
                let filled = [("{code}", code.reveal()), ("{link}", link(app_url, "verify-email", token.reveal()))];
                message(&to, text, &filled).map(Some)
            }
            Self::EmailChanged(user, to, at) | Self::EmailUndo(user, to, at) => {
                let Some(token) = context.store().new_email_undo(user, at).await? else { return Ok(None) };
                let text = include_str!("letters/email-changed.txt");
                message(&to, text, &[("{link}", link(app_url, "undo-email", token.reveal()))]).map(Some)
            }
            Self::EmailUndone(to) => message(&to, include_str!("letters/email-undone.txt"), &[]).map(Some),
            Self::PasswordChanged(to) => {
                let text = include_str!("letters/password-changed.txt");
                message(&to, text, &[("{link}", format!("{app_url}/forgot-password"))]).map(Some)
            }
            Self::Invitation(invitation, inviter) => {
                let Some(token) = context.store().new_invitation_token(&invitation).await? else { return Ok(None) };
                let text = include_str!("letters/invitation.txt");
                let filled = [
                    ("{inviter}", shown(&inviter.email).unwrap_or("Somebody").to_owned()),
                    ("{link}", link(app_url, "invitations/accept", token.reveal())),
                    ("{address}", shown(&invitation.email).map(|email| format!(" ({email})")).unwrap_or_default()),
                ];
                message(&invitation.email, text, &filled).map(Some)
            }
        }
    }
}

/// An address that a text may show; `None` where a mail program could make a link of it, for nearly anything may stand before the `@`. The
/// domain alone would be a link too, and of the inviter's choice.
fn shown(email: &str) -> Option<&str> {
    let (local, _) = email.rsplit_once('@')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
    (local.bytes().all(plain) && !local.starts_with("www.")).then_some(email)
}

/// The token stands behind the `#`, which browsers send to nobody.
fn link(app_url: &str, page: &str, token: &str) -> String {
    format!("{app_url}/{page}#{token}")
}

/// A text whose first line is the subject, filled.
fn message(to: &str, text: &str, filled: &[(&str, String)]) -> Result<Message, ApiError> {
    let fill = |text: &str| filled.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let (subject, text) = text.split_once("\n\n").unwrap_or_default();
    let to = Email::stored(to.to_owned()).map_err(ApiError::internal)?;
    Ok(Message {
        to: Recipients::try_from(vec![to]).map_err(ApiError::internal)?,
        subject: Subject::parse(&fill(subject)).map_err(ApiError::internal)?,
        text: Text::parse(&fill(text)).map_err(ApiError::internal)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_link() {
        for plain in ["ada@example.com", "ada.b+c_d-1@example.com"] {
            assert_eq!(shown(plain), Some(plain));
        }
        for link in
            ["evil.example/login?a=b@example.com", "www.evil.example@example.com", "http://evil.example@example.com"]
        {
            assert_eq!(shown(link), None);
        }
    }
}
