//! Whom an organization may write to.

use crate::context::Context;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::email::{Message, Recipients};
use crate::model::org::{OrgRecord, Plan};
use crate::model::settings::{EmailRecipients, Settings};
use crate::model::text::Email;
use crate::model::user::UserRecord;
use platform::request::Rejection;
use platform::response::FieldError;

/// Checks that an organization may write to the recipients of an e-mail: on a free plan, and where its settings say so, it writes to
/// its own members only; on a free plan, at addresses that are proven. `named` gives the list in which the caller named them, if it was
/// one: each that is refused is told its place there.
///
/// # Errors
/// [`ApiError::PlanForbids`]; [`Rejection::Invalid`] where it is its settings that say so.
pub async fn check_recipients(
    context: &Context,
    org: &OrgRecord,
    settings: &Settings,
    to: &Recipients,
    named: impl FnOnce() -> Vec<Email>,
) -> Result<(), ApiError> {
    let by_plan = !org.plan.writes_to_anyone();
    if !by_plan && settings.email_recipients != EmailRecipients::Members {
        return Ok(());
    }
    let strangers = strangers(context, org.org_id, to, by_plan).await?;
    if strangers.is_empty() {
        return Ok(());
    }
    if by_plan {
        return Err(ApiError::PlanForbids(Plan::MEMBERS_ONLY));
    }
    let named = named();
    let errors = strangers.into_iter().map(|address| FieldError {
        pointer: match named.iter().position(|one| one == address) {
            Some(place) => format!("/to/{place}"),
            None => "/to".to_owned(),
        },
        message: format!("{} is no member: your organization writes to its members only", address.as_str()),
    });
    Err(Rejection::Invalid(errors.collect()).into())
}

/// Checks that an account may write: before its address is proven it writes to that alone, and on a free plan to nobody.
///
/// # Errors
/// [`ApiError::EmailUnverified`].
pub fn check_sender(sender: &UserRecord, plan: Plan, message: &Message) -> Result<(), ApiError> {
    let is_to_itself = || message.to.as_slice().iter().all(|email| email.as_str() == sender.email);
    let may = sender.is_verified() || (plan.writes_to_anyone() && is_to_itself());
    may.then_some(()).ok_or(ApiError::EmailUnverified)
}

/// Recipients who are no members, or whose addresses are not proven where the plan wants that.
async fn strangers<'to>(
    context: &Context,
    org: OrgId,
    to: &'to Recipients,
    verified: bool,
) -> Result<Vec<&'to Email>, ApiError> {
    let addresses: Vec<&str> = to.as_slice().iter().map(Email::as_str).collect();
    let members = context.store().members_with(org, &addresses).await?;
    let may = |member: &Option<UserRecord>| member.as_ref().is_some_and(|member| !verified || member.is_verified());
    let strangers = to.as_slice().iter().zip(members).filter(|(_, member)| !may(member));
    Ok(strangers.map(|(address, _)| address).collect())
}
