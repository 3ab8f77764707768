//! `GET /models/pricing`, anyone: `200` with the catalogue of AI model prices, whole or filtered; `304`.
//! Fresh for an hour, served stale up to a day while one caller refreshes it.

use deserr::Deserr;
use shared::model::price::Catalogue;
use shared::request::{FieldErrors, Rejection};
use shared::{ApiError, ApiResult, Context, Request, models, request, response};
use utoipa::IntoParams;

/// As fresh as the cache's class promises.
const CACHE_CONTROL: &str = "public, max-age=3600, stale-while-revalidate=82800";

/// Which models.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only this provider's, in letters of either case.
    #[deserr(default)]
    provider: Option<String>,
    /// Only this model, of each provider that has it.
    #[deserr(default)]
    model: Option<String>,
}

/// Get the prices of AI models
///
/// A price is a decimal text in US dollars per million tokens, or a base price and tiers, each from a
/// number of tokens on.
///
/// # Errors
/// `422` for an unknown parameter, or a provider that the catalogue does not have.
#[utoipa::path(get, path = "/models/pricing", operation_id = "get_model_pricing", tag = "models",
    params(Filter, ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a copy held")),
    responses((status = 200, description = "The models and their prices", body = Catalogue),
        (status = 304, description = "The copy held is current")))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let filter: Filter = request::query(&request)?;
    let catalogue = models::catalogue(context.cache(), context.store())
        .await?
        .ok_or_else(|| ApiError::Unavailable("no catalogue was seeded".into()))?;

    if let Some(provider) = &filter.provider {
        let known = catalogue.providers();
        if !known.iter().any(|known| known.eq_ignore_ascii_case(provider)) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Rejection::field("query/provider", format!("must be one of {known}")).into());
        }
    }
    let text = catalogue.json(filter.provider.as_deref(), filter.model.as_deref());
    Ok(response::representation_text(&request, CACHE_CONTROL, text))
}
