//! What an operator does by hand: to a deployed system by AWS's own environment variables, or to the one on this machine.

pub mod catalogue;
pub mod dead_letters;
pub mod redrive;

use shared::account::{self, Begun, Joins, Proven, Registrant};
use shared::clock::Clock;
use shared::config::{Config, ConfigError};
use shared::ids::{OrgId, UserId};
use shared::jobs::{JobMessage, settle_email};
use shared::model::job::EmailOutcome;
use shared::model::org::{OrgPlan, OrgRecord, Plan, Role};
use shared::model::text::{Email, Name};
use shared::store::items::SPREAD_BY_OPERATOR_AFTER;
use shared::store::joining::JoinsBy;
use shared::store::suppression::Reason;
use shared::{ApiError, Context};

/// A context for a table, with the credentials, region and endpoints that `variable` gives: the process's environment, or what
/// a system on this machine says of itself ([`crate::running::variables`]).
///
/// # Errors
/// A variable is missing or wrong.
pub fn context(table: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Context, ConfigError> {
    let config = Config::from_lookup(|name| match name {
        "TABLE_NAME" => Some(table.to_owned()),
        // Nothing here is called from a browser.
        "ALLOWED_ORIGINS" => Some("http://localhost".to_owned()),
        // No caller is verified here.
        "SESSION_REQUESTS_PER_SECOND" => Some("0".to_owned()),
        "ORG_REQUESTS_PER_SECOND" => Some("0,0,0".to_owned()),
        // What an operator has run again is counted in the day, and never refused for it.
        "DOLLARS_PER_DAY" => Some("1000000000".to_owned()),
        // An operator is seldom in the cache's network; the table's stream renews what is cached.
        "CACHE_URL" => variable(name).or_else(|| Some("off:".to_owned())),
        _ => variable(name),
    })?;
    Ok(Context::new(config, Clock::system()))
}

/// The organizations with a paid plan that no operator gave ([`shared::store::Store::self_taken_plans`]).
///
/// # Errors
/// When the database is away.
pub async fn self_taken_plans(context: &Context) -> Result<Vec<OrgRecord>, ApiError> {
    context.store().self_taken_plans().await
}

/// Who founds an account and its organization, of texts.
///
/// # Errors
/// What is wrong with one of them.
pub fn registrant(email: String, password: String, name: String, org_name: String) -> Result<Registrant, &'static str> {
    let (name, org_name) = (Name::try_from(name)?, Name::try_from(org_name)?);
    let joins = Joins::Founding(org_name);
    Ok(Registrant { email: email.try_into()?, password: password.try_into()?, name, joins })
}

/// Makes an account and its organization, and begins a session. Its address needs no proof, and no network's limit is in the way.
///
/// # Errors
/// [`ApiError::EmailTaken`]; a password that is no good.
pub async fn account(context: &Context, new: Registrant) -> Result<Begun, ApiError> {
    account::register(context, new, Proven::ByOperator, None).await
}

/// Says that an account's address is proven.
///
/// # Errors
/// [`ApiError::NotFound`] when no account has it.
pub async fn verify_account(context: &Context, email: &Email) -> Result<UserId, ApiError> {
    let user = context.store().user_of(email).await?.ok_or(ApiError::NotFound)?;
    context.store().note_verified(user).await.map(|()| user)
}

/// Ends all sessions of an account ([`shared::store::Store::end_all_sessions`]).
///
/// # Errors
/// [`ApiError::NotFound`] when no account has the address.
pub async fn end_sessions(context: &Context, email: &Email) -> Result<UserId, ApiError> {
    let user = context.store().user_of(email).await?.ok_or(ApiError::NotFound)?;
    context.store().end_all_sessions(user).await.map(|()| user)
}

/// Makes an account a member of an organization, without an invitation: the operator answers for its user's consent.
///
/// # Errors
/// [`ApiError::NotFound`] when there is no such account or organization, [`ApiError::AlreadyMember`], [`ApiError::PlanLimitReached`],
/// [`ApiError::TooManyOrganizations`].
pub async fn add_member(context: &Context, org: OrgId, email: &Email, role: Role) -> Result<UserId, ApiError> {
    let user = context.store().user_of(email).await?.ok_or(ApiError::NotFound)?;
    context.store().join(user, JoinsBy::Operator(org, role)).await.map(|_| user)
}

/// Gives an organization a plan.
///
/// # Errors
/// [`ApiError::NotFound`] when there is no such organization.
pub async fn give_plan(context: &Context, org: OrgId, plan: Plan) -> Result<OrgPlan, ApiError> {
    context.store().give_plan(org, plan).await.publish(context.cache()).await
}

/// Spreads the items of an organization ([`shared::store::Store::spread_items`]).
///
/// # Errors
/// [`ApiError::NotFound`] when there is no such organization.
pub async fn spread(context: &Context, org: OrgId) -> Result<(), ApiError> {
    context.store().spread_items(org, SPREAD_BY_OPERATOR_AFTER).await
}

/// Gives an organization another key for the cursors of its lists ([`shared::store::Store::rotate_cursor_key`]).
///
/// # Errors
/// [`ApiError::NotFound`] when there is no such organization.
pub async fn rotate_cursor_key(context: &Context, org: OrgId) -> Result<(), ApiError> {
    context.store().rotate_cursor_key(org).await
}

/// Settles an e-mail whose outcome is unknown. Returns false if there was nothing to settle.
///
/// # Errors
/// [`ApiError::NotFound`] when there is no such job.
pub async fn settle(context: &Context, message: JobMessage, was_sent: bool) -> Result<bool, ApiError> {
    let outcome = if was_sent {
        EmailOutcome::Sent { message_id: "settled by a person".to_owned() }
    } else {
        EmailOutcome::NotSent { code: "not_sent", detail: "A person found that it was not sent." }
    };
    settle_email(context, message, &outcome).await
}

/// Lists an address that is not to be written to, or takes it off the list.
///
/// # Errors
/// When the database is away.
pub async fn suppress(context: &Context, address: &Email, is_listed: bool) -> Result<(), ApiError> {
    if is_listed {
        context.store().suppress(address, Reason::Person).await
    } else {
        context.store().allow(address).await
    }
}
