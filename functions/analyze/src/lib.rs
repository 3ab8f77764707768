//! `POST /analyze`, member: `202` with the job that analyses the text; with `Prefer: wait=N` (at most 20 s)
//! `200` with the analysis if it is done in time.

mod waiting;

use deserr::Deserr;
use serde::Serialize;
use shared::cache::Uncached;
use shared::caller::Caller;
use shared::idempotency::{Begin, IdempotencyKey, KeyClaim};
use shared::ids::OrgId;
use shared::jobs::{AcceptedJob, NewJob};
use shared::model::analysis::{Analysis, OUTPUT_TOKENS_MAX, TokenUsage, input_tokens_max, input_tokens_min};
use shared::model::job::{Job, JobKind, JobRecord, JobUsage};
use shared::model::org::{OrgRecord, Plan};
use shared::model::price::Priced;
use shared::model::settings::{ModelName, SettingsRecord};
use shared::model::user::UserRecord;
use shared::models::{self, Offer};
use shared::request::{FieldErrors, Rejection};
use shared::response::Reply;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, jobs, request, response};
use utoipa::ToSchema;
use waiting::Wait;

const ENDPOINT: &str = "analyze";

/// A text to analyse. Sent as `text/plain`, the whole body is the text, for the default model.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"text": "The engine weaves algebraical patterns just as the loom weaves flowers and leaves."})))]
pub struct NewAnalysis {
    /// Not blank; the plan bounds its bytes.
    #[schema(min_length = 1)]
    text: String,
    /// By its id in the catalogue of prices, or another of its provider's ids: with a date, or an alias. The organization's default model
    /// unless given.
    #[deserr(default)]
    model: Option<ModelName>,
}

/// An analysis that was done in time.
#[derive(Serialize, ToSchema)]
pub struct DoneAnalysis {
    analysis: Analysis,
    usage: JobUsage,
    job: Job,
}

/// Analyse a text
///
/// # Errors
/// `409 default_model_unavailable` if no model is named and the organization's default is no longer on offer or in its plan, `422` for a
/// text beyond the plan's size or the model's context window or a model that is not on offer, `429 quota_exceeded`, `429
/// operator_cap_reached` until midnight UTC, `402 budget_exceeded`, `403 plan_forbids` for a model that the plan does not include, `403
/// email_unverified` for one that costs money before the own address is proven.
#[utoipa::path(post, path = "/analyze", operation_id = "analyze", tag = "jobs", request_body(content((NewAnalysis = "application/json"), (String = "text/plain"))),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", min_length = 1, max_length = 255,
            description = "1 to 255 visible ASCII characters. The same key and body take effect once; JSON bodies are the \
                same if their canonical forms (RFC 8785) are"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds, at most 20, for the analysis. A few calls of an \
                organization wait at a time; others are answered `202` at once")),
    responses((status = 200, description = "Done in time", body = DoneAnalysis, headers(("Cache-Control"), ("Preference-Applied"))),
        (status = 202, description = "Accepted, with the job as it is by then", body = Job, headers(("Location"))),
        (status = 402, description = "The organization's budget has no room", body = shared::response::ProblemBody),
        (status = 409, description = "A request with this Idempotency-Key is under way, the default model is no longer on offer or in the \
                plan, or the organization kept changing meanwhile",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (caller, org, settings, user) = Caller::verify_with_account(context, &request).await?;
    let key = match IdempotencyKey::of(ENDPOINT, &request) {
        Ok(key) => key,
        Err(wrong) => {
            let wrong = wrong.beside(read(&request, &org));
            return Err(models::and_not_on_offer(context, &request, wrong, "/model").await.into());
        }
    };
    let outcome = create(context, &request, (&caller, &user), (&org, &settings), key.as_ref()).await;
    let Err(refusal) = &outcome else { return outcome };
    let begun = context.store().begun_before(org.org_id, key.as_ref(), refusal).await?;
    match begun {
        Begin::First(()) => outcome,
        Begin::Replay(first) => first.replayed(Uncached).into_result(),
        Begin::Resume(abandoned) => go_on(context, &request, org.org_id, &abandoned).await,
    }
}

/// Goes on for a request that died, whose job was accepted: what refuses this one does not concern that.
async fn go_on(context: &Context, request: &Request, org: OrgId, abandoned: &KeyClaim<'_>) -> ApiResult {
    let wait = Wait::of(context, request, org).await;
    let lease = wait.as_ref().map(Wait::replies_within);
    let reply = match jobs::resume(context, org, abandoned, lease, accepted_reply).await {
        Ok(accepted) => reply_to(context, accepted, wait.as_ref()).await,
        Err(error) => Err(error),
    };
    if let Some(wait) = wait {
        wait.end(context).await;
    }
    reply
}

async fn create(
    context: &Context,
    request: &Request,
    (caller, user): (&Caller, &UserRecord),
    (org, settings): (&OrgRecord, &SettingsRecord),
    key: Option<&IdempotencyKey>,
) -> ApiResult {
    let body = match read(request, org) {
        Ok(body) => body,
        Err(wrong) => return Err(models::and_not_on_offer(context, request, wrong, "/model").await.into()),
    };
    let new = new_job(context, (org.plan, settings), user, key, body).await?;
    let Some(wait) = Wait::of(context, request, org.org_id).await else {
        return accept(context, request, caller, org, new, None).await;
    };
    let new = NewJob { replies_within: Some(wait.replies_within()), ..new };
    let reply = accept(context, request, caller, org, new, Some(&wait)).await;
    wait.end(context).await;
    reply
}

async fn accept(
    context: &Context,
    request: &Request,
    caller: &Caller,
    org: &OrgRecord,
    new: NewJob<'_>,
    wait: Option<&Wait>,
) -> ApiResult {
    match jobs::accept(context, request, caller, org, new, accepted_reply).await? {
        Begin::First(accepted) | Begin::Resume(accepted) => reply_to(context, accepted, wait).await,
        Begin::Replay(first) => first.replayed(Uncached).into_result(),
    }
}

/// The reply, once the wait is over, which a key keeps that still waits for it.
async fn reply_to(context: &Context, accepted: AcceptedJob<'_>, wait: Option<&Wait>) -> ApiResult {
    let AcceptedJob { job, reply, held } = accepted;
    let org = job.org_id;
    let reply = match wait {
        None => reply,
        Some(wait) => wait.reply(context, *job, reply).await?,
    };
    match held {
        Some(held) => context.store().complete_key(org, &held, reply).await,
        None => Ok(reply),
    }
}

fn accepted_reply(job: &JobRecord) -> Reply {
    response::json(StatusCode::ACCEPTED, &Job::from(job))
}

/// The body, if what needs no look-up is right with it.
fn read(request: &Request, org: &OrgRecord) -> Result<NewAnalysis, Rejection> {
    if let Some(text) = request::text(request)? {
        check_text(text, org)?;
        return Ok(NewAnalysis { text: text.to_owned(), model: None });
    }
    match request::json::<NewAnalysis>(request) {
        Ok(body) => check_text(&body.text, org).map(|()| body),
        Err(wrong) => {
            let text = request::field::<String>(request, "/text");
            Err(match text.map_or(Ok(()), |text| check_text(&text, org)) {
                Ok(()) => wrong,
                Err(of_text) => wrong.and(of_text),
            })
        }
    }
}

fn check_text(text: &str, org: &OrgRecord) -> Result<(), Rejection> {
    let limit = org.plan.limits().input_bytes;
    if text.trim().is_empty() {
        return Err(Rejection::field("/text", "must not be blank"));
    }
    if text.len() as u64 > limit {
        return Err(Rejection::field("/text", format!("must have at most {limit} bytes on your plan")));
    }
    Ok(())
}

/// The job, with what it may cost at most: no text has more tokens than bytes.
async fn new_job<'k>(
    context: &Context,
    (plan, &SettingsRecord { ref settings, version }): (Plan, &SettingsRecord),
    user: &UserRecord,
    key: Option<&'k IdempotencyKey>,
    body: NewAnalysis,
) -> Result<NewJob<'k>, ApiError> {
    let asked = body.model.as_ref().unwrap_or(&settings.default_model).as_str();
    let is_default = body.model.is_none();
    let priced = priced(context, asked, is_default).await?;
    if priced.is_some() && !plan.has_paid_models() {
        // The default was set under a larger plan: no field of this caller's.
        return Err(if is_default { ApiError::DefaultModelGone } else { ApiError::PlanForbids(Plan::BUILTIN_ONLY) });
    }
    if priced.is_some() && !user.is_verified() {
        return Err(ApiError::EmailUnverified);
    }
    let (model, rates) = match priced {
        None => (asked.to_owned(), None),
        Some(priced) => {
            check_window(&body.text, priced.context_window)?;
            (priced.model, Some(priced.rates))
        }
    };
    let most = TokenUsage { input_tokens: input_tokens_max(body.text.len()), output_tokens: OUTPUT_TOKENS_MAX };
    Ok(NewJob {
        key,
        kind: JobKind::Analyze,
        reserved_nanos: rates.as_ref().map_or(0, |rates| rates.cost_nanos_max(most)),
        budget_nanos: settings.budget_nanos(),
        budget_version: version,
        input: body.text,
        model: Some(model),
        rates,
        recipients: 0,
        replies_within: None,
    })
}

/// What certainly does not fit is refused here, at no cost. Of what may fit, the provider has the last word.
fn check_window(text: &str, window: Option<u64>) -> Result<(), Rejection> {
    let Some(window) = window else { return Ok(()) };
    if input_tokens_min(text).saturating_add(OUTPUT_TOKENS_MAX) <= window {
        return Ok(());
    }
    Err(Rejection::field("/text", format!("is too long for the model, which takes {window} tokens in all")))
}

/// What a run of the model costs; nothing for the builtin one. Only what has a price is on offer, or a budget could not
/// hold. A default that is no longer on offer is the organization's to change, and no field of the caller's.
async fn priced(context: &Context, model: &str, is_default: bool) -> Result<Option<Priced>, ApiError> {
    match models::offer(context, model).await? {
        Offer::Free => Ok(None),
        Offer::At(priced) => Ok(Some(*priced)),
        Offer::No if is_default => Err(ApiError::DefaultModelGone),
        Offer::No => Err(Rejection::field("/model", models::NOT_ON_OFFER).into()),
    }
}
