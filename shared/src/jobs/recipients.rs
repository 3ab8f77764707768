//! Whom an organization may write to.

use crate::context::Context;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::email::Message;
use crate::model::org::{OrgRecord, Plan};
use crate::model::settings::{EmailRecipients, Settings};
use platform::request::Rejection;
use platform::response::FieldError;

/// Checks that an organization may write to the recipients of an e-mail: on a free plan, and where its settings say so, it writes to
/// its own members only.
///
/// # Errors
/// [`ApiError::PlanForbids`]; [`Rejection::Invalid`] where it is its settings that say so.
pub async fn check_recipients(
    context: &Context,
    org: &OrgRecord,
    settings: &Settings,
    message: &Message,
) -> Result<(), ApiError> {
    let by_plan = !org.plan.writes_to_anyone();
    if !by_plan && settings.email_recipients != EmailRecipients::Members {
        return Ok(());
    }
    match only_members(context, org.org_id, message).await {
        Err(ApiError::Rejected(Rejection::Invalid(_))) if by_plan => Err(ApiError::PlanForbids(Plan::MEMBERS_ONLY)),
        checked => checked,
    }
}

async fn only_members(context: &Context, org: OrgId, message: &Message) -> Result<(), ApiError> {
    let addresses: Vec<&str> = message.to.as_slice().iter().map(|email| email.as_str()).collect();
    let are_members = context.store().are_members(org, &addresses).await?;
    let strangers = addresses.iter().zip(are_members).filter(|(_, is_member)| !is_member);
    let errors: Vec<FieldError> = strangers
        .map(|(address, _)| FieldError {
            pointer: "/to".to_owned(),
            message: format!("{address} is no member: your organization writes to its members only"),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Rejection::Invalid(errors).into()) }
}
