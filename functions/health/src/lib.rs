//! `GET /health`, anyone: `200` when this function runs; with `?deep=1` names the database, the cache and
//! its control plane with their states, `503` when one that nothing works without is down.

use deserr::Deserr;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::RETRY_AFTER;
use serde::Serialize;
use shared::cache::FindError;
use shared::request::{FieldErrors, Rejection};
use shared::{ApiResult, Context, Request, StatusCode, request, response};
use utoipa::{IntoParams, ToSchema};

/// How deep to look.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Depth {
    /// `1` asks the database, the cache and, where it has a name, the cache's control plane.
    #[param(pattern = "^[01]$")]
    #[deserr(default)]
    deep: Option<String>,
}

/// How the service is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    status: Status,
    /// With `?deep=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dependencies: Option<Vec<Dependency>>,
}

/// The service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = HealthStatus)]
pub enum Status {
    Ok,
    /// Slower: a dependency that can be done without is down.
    Degraded,
    /// A dependency that nothing works without is down.
    Down,
}

/// Something that the service depends on, and that replies wait for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dependency {
    name: &'static str,
    state: State,
    /// What it says of itself, such as `available` or `modifying`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}

/// A dependency's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DependencyState)]
pub enum State {
    Up,
    Down,
    /// Switched off, or not needed, by configuration.
    Off,
}

/// Tell whether the service is well
///
/// Queues, the mail service and model providers are not asked: without them requests are answered, and jobs wait.
///
/// # Errors
/// `503` when a dependency that nothing works without is down.
#[utoipa::path(get, path = "/health", operation_id = "health", tag = "service", params(Depth),
    responses((status = 200, description = "It answers", body = Health),
        (status = 503, description = "A dependency that nothing works without is down", body = Health)))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let depth: Depth = request::query(&request)?;
    let health = match depth.deep.as_deref() {
        None | Some("0") => Health { status: Status::Ok, dependencies: None },
        Some("1") => deep(context).await,
        Some(_) => return Err(Rejection::field("query/deep", "must be 0 or 1").into()),
    };
    if health.status == Status::Down {
        let mut reply = response::live(response::json(StatusCode::SERVICE_UNAVAILABLE, &health));
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return Ok(reply);
    }
    Ok(response::live(response::json(StatusCode::OK, &health)))
}

async fn deep(context: &Context) -> Health {
    let cache = context.cache();
    let (database, answers, control_plane) = tokio::join!(context.store().ping(), cache.ping(), cache.control_plane());
    let database = if database.is_ok() { State::Up } else { State::Down };
    let cache = match answers {
        None => State::Off,
        Some(true) => State::Up,
        Some(false) => State::Down,
    };
    // The control plane is asked where the cache is, and for nothing else: the service is well without it.
    let status = match (database, cache) {
        (State::Down, _) => Status::Down,
        (_, State::Down) => Status::Degraded,
        _ => Status::Ok,
    };
    let (control_plane, detail) = match control_plane {
        None => (State::Off, None),
        Some(Ok(found)) => (State::Up, Some(found.status)),
        Some(Err(FindError::Unknown)) => (State::Up, Some("unknown".to_owned())),
        Some(Err(FindError::Sharded)) => (State::Up, Some("sharded".to_owned())),
        Some(Err(_)) => (State::Down, None),
    };
    let dependencies = vec![
        Dependency { name: "database", state: database, detail: None },
        Dependency { name: "cache", state: cache, detail: None },
        Dependency { name: "cache_control_plane", state: control_plane, detail },
    ];
    Health { status, dependencies: Some(dependencies) }
}
