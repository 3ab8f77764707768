//! `GET /usage?month=`, member: `200` with what the organization used in a month, against its plan's limits.
//! Never cached.

use deserr::Deserr;
use shared::caller::Caller;
use shared::model::usage::{Month, Usage, month_of};
use shared::request::FieldErrors;
use shared::{ApiResult, Context, Request, StatusCode, request, response};
use utoipa::IntoParams;

/// Which month.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MonthQuery {
    /// `YYYY-MM` (UTC); this month unless given.
    #[param(value_type = Option<String>, pattern = r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
    #[deserr(default)]
    month: Option<Month>,
}

/// Get a month's usage
///
/// The limits are those of the organization's plan now.
///
/// # Errors
/// `422` for what is no month.
#[utoipa::path(get, path = "/usage", operation_id = "get_usage", tag = "jobs", params(MonthQuery),
    responses((status = 200, description = "The month's usage", body = Usage)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (_, org) = Caller::verify_with_org(context, &request).await?;
    let query: MonthQuery = request::query(&request)?;
    let month = query.month.map_or_else(|| month_of(context.now()).0, Month::into_string);
    let usage = context.store().usage(&org, &month).await?;
    Ok(response::live(response::json(StatusCode::OK, &usage.view(month, org.plan.limits()))))
}
