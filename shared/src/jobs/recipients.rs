//! Whom an organization may write to.

use crate::context::Context;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::email::{Message, Recipients};
use crate::model::org::{OrgRecord, Plan};
use crate::model::settings::{EmailRecipients, Settings};
use crate::model::user::UserRecord;
use platform::request::Rejection;
use platform::response::FieldError;

/// Checks that an organization may write to the recipients of an e-mail: on a free plan, and where its settings say so, it writes to
/// its own members only; on a free plan, at addresses that are proven.
///
/// # Errors
/// [`ApiError::PlanForbids`]; [`Rejection::Invalid`] where it is its settings that say so.
pub async fn check_recipients(
    context: &Context,
    org: &OrgRecord,
    settings: &Settings,
    to: &Recipients,
) -> Result<(), ApiError> {
    let by_plan = !org.plan.writes_to_anyone();
    if !by_plan && settings.email_recipients != EmailRecipients::Members {
        return Ok(());
    }
    match only_members(context, org.org_id, to, by_plan).await {
        Err(ApiError::Rejected(Rejection::Invalid(_))) if by_plan => Err(ApiError::PlanForbids(Plan::MEMBERS_ONLY)),
        checked => checked,
    }
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

/// Refuses recipients who are no members, or whose addresses are not proven where the plan wants that.
async fn only_members(context: &Context, org: OrgId, to: &Recipients, verified: bool) -> Result<(), ApiError> {
    let addresses: Vec<&str> = to.as_slice().iter().map(|email| email.as_str()).collect();
    let members = context.store().members_with(org, &addresses).await?;
    let may = |member: &Option<UserRecord>| member.as_ref().is_some_and(|member| !verified || member.is_verified());
    let strangers = addresses.iter().zip(members).filter(|(_, member)| !may(member));
    let errors: Vec<FieldError> = strangers
        .map(|(address, _)| FieldError {
            pointer: "/to".to_owned(),
            message: format!("{address} is no member: your organization writes to its members only"),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Rejection::Invalid(errors).into()) }
}
