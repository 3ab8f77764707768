//! Which models are on offer, and at what price.

use crate::config::AnalysisProvider;
use crate::context::Context;
use crate::error::ApiError;
use crate::model::cached::{CachedCatalogue, CatalogueKey};
use crate::model::price::Priced;
use crate::model::settings::{BUILTIN, ModelName};
use crate::store::Store;
use lambda_http::Request;
use platform::cache::Cache;
use platform::request::{self, Rejection};

/// What is said of a model that is not.
pub const NOT_ON_OFFER: &str = "is not on offer here";

/// Whether a model is on offer.
#[derive(Debug)]
pub enum Offer {
    /// The builtin one.
    Free,
    At(Box<Priced>),
    /// Unknown, without a price, or of a provider that this deployment does not use.
    No,
}

/// The catalogue of prices, which may be stale; `None` before one was seeded.
///
/// # Errors
/// When it cannot be read.
pub async fn catalogue(cache: &Cache, store: &Store) -> Result<Option<CachedCatalogue>, ApiError> {
    let store = store.clone();
    let read = || async move { Ok::<_, ApiError>(store.catalogue().await?.map(CachedCatalogue::new)) };
    cache.get_or_refresh(CatalogueKey, read).await
}

/// Looks a model up in the catalogue of the deployment's provider.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn offer(context: &Context, model: &str) -> Result<Offer, ApiError> {
    let provider = context.config().analysis_provider().map_err(ApiError::internal)?;
    if model == BUILTIN {
        return Ok(Offer::Free);
    }
    if provider == AnalysisProvider::Builtin {
        return Ok(Offer::No);
    }
    let catalogue = catalogue(context.cache(), context.store()).await?;
    let priced = catalogue.and_then(|catalogue| catalogue.priced(provider.name(), model));
    Ok(priced.map_or(Offer::No, |priced| Offer::At(Box::new(priced))))
}

/// What is wrong with a body, and that the model at `pointer` in it is not on offer, if that is so. Where the catalogue cannot be read,
/// that is not told: the request is wrong without it.
pub async fn and_not_on_offer(context: &Context, request: &Request, wrong: Rejection, pointer: &str) -> Rejection {
    let Some(model) = request::field::<ModelName>(request, pointer) else { return wrong };
    match offer(context, model.as_str()).await {
        Ok(Offer::No) => wrong.and(Rejection::field(pointer, NOT_ON_OFFER)),
        _ => wrong,
    }
}
