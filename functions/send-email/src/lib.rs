//! `POST /send-email`, member: `202` with the id of the job that sends it. Free plans, and organizations whose
//! settings say so, write to their own members only. A user whose address is not proven writes to nobody else.

use serde::Serialize;
use shared::cache::Uncached;
use shared::caller::Caller;
use shared::idempotency::{Begin, IdempotencyKey};
use shared::ids::JobId;
use shared::jobs::NewJob;
use shared::model::email::{Message, Recipients, Subject, Text, template};
use shared::model::job::JobKind;
use shared::model::org::OrgRecord;
use shared::model::settings::{Settings, SettingsRecord};
use shared::model::text::Email;
use shared::model::user::UserRecord;
use shared::request::Rejection;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, jobs, request, response};
use utoipa::ToSchema;

const ENDPOINT: &str = "send-email";

/// The body of `POST /send-email`: a text of one's own, or one of the templates with its data.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum SendEmail {
    Text(TextEmail),
    Welcome(WelcomeEmail),
    Invitation(InvitationEmail),
    AnalysisReady(AnalysisReadyEmail),
}

/// An e-mail in one's own words.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"to": "ada@example.com", "subject": "Good morning", "text": "The engine is ready."})))]
pub struct TextEmail {
    pub to: To,
    /// One line of 1 to 255 characters, without `=?`.
    pub subject: Subject,
    /// At most 65,536 bytes in UTF-8.
    pub text: Text,
}

/// An e-mail of the template `welcome`, which greets a new member.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"to": "ada@example.com", "template": "welcome", "data": {"name": "Ada", "org_name": "Analytical Engines"}})))]
pub struct WelcomeEmail {
    pub to: To,
    #[schema(value_type = String, pattern = "^welcome$")]
    pub template: template::Name,
    pub data: template::Welcome,
}

/// An e-mail of the template `invitation`, which asks somebody to join the organization.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"to": "ada@example.com", "template": "invitation", "data": {"inviter_name": "Charles", "org_name": "Analytical Engines",
    "note": "Come and see it."}})))]
pub struct InvitationEmail {
    pub to: To,
    #[schema(value_type = String, pattern = "^invitation$")]
    pub template: template::Name,
    pub data: template::Invitation,
}

/// An e-mail of the template `analysis_ready`, which tells that an analysis is done.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"to": "ada@example.com", "template": "analysis_ready", "data": {"title": "Notes on the engine",
    "summary": "It weaves patterns."}})))]
pub struct AnalysisReadyEmail {
    pub to: To,
    #[schema(value_type = String, pattern = "^analysis_ready$")]
    pub template: template::Name,
    pub data: template::AnalysisReady,
}

/// One address, or a list of at most 10.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = EmailTo)]
pub enum To {
    /// A single recipient.
    One(Email),
    /// Several recipients.
    Many(Recipients),
}

/// An accepted e-mail.
#[derive(Serialize, ToSchema)]
pub struct QueuedEmail {
    #[schema(pattern = "^queued$")]
    status: &'static str,
    job_id: JobId,
}

/// Send an e-mail
///
/// It counts once in the month's limit, however many recipients it has.
///
/// # Errors
/// `403 email_unverified` before the own address is proven, but to that address on a paid plan; `422` for a recipient that the
/// organization's settings exclude, `403 plan_forbids` for one that its plan does, `429
/// quota_exceeded`, `429 operator_cap_reached` until midnight UTC: of recipients, and for all organizations together or yours.
#[utoipa::path(post, path = "/send-email", operation_id = "send_email", tag = "jobs", request_body = SendEmail,
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", min_length = 1, max_length = 255,
            description = "1 to 255 visible ASCII characters. The same key and body take effect once; JSON bodies are the \
                same if their canonical forms (RFC 8785) are")),
    responses((status = 202, description = "Accepted", body = QueuedEmail, headers(("Location"))),
        (status = 409, description = "A request with this Idempotency-Key is under way, or the organization kept changing meanwhile",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (caller, org, SettingsRecord { settings, .. }, user) = Caller::verify_with_account(context, &request).await?;
    let key = match IdempotencyKey::of(ENDPOINT, &request) {
        Ok(key) => key,
        Err(wrong) => {
            let wrong = wrong.beside(request::json::<Message>(&request));
            return Err(and_strangers(context, &request, (&org, &settings), wrong).await.into());
        }
    };
    let outcome = create(context, &request, (&caller, &user), (&org, &settings), key.as_ref()).await;
    context.store().replay_or(org.org_id, key.as_ref(), Uncached, outcome).await.into_result()
}

async fn create(
    context: &Context,
    request: &Request,
    (caller, user): (&Caller, &UserRecord),
    (org, settings): (&OrgRecord, &Settings),
    key: Option<&IdempotencyKey>,
) -> ApiResult {
    let message: Message = match request::json(request) {
        Ok(message) => message,
        Err(wrong) => return Err(and_strangers(context, request, (org, settings), wrong).await.into()),
    };
    jobs::check_sender(user, org.plan, &message)?;
    jobs::check_recipients(context, org, settings, &message.to, || list_of(request)).await?;
    let new = NewJob {
        key,
        kind: JobKind::SendEmail,
        input: serde_json::to_string(&message).map_err(ApiError::internal)?,
        model: None,
        rates: None,
        reserved_nanos: 0,
        budget_nanos: None,
        budget_version: 0,
        recipients: message.to.as_slice().len() as u64,
        replies_within: None,
    };
    let accepted = jobs::accept(context, request, caller, org, new, |job| {
        response::json(StatusCode::ACCEPTED, &QueuedEmail { status: "queued", job_id: job.job_id })
    });
    match accepted.await? {
        Begin::First(accepted) => Ok(accepted.reply),
        Begin::Replay(first) => first.replayed(Uncached).into_result(),
        Begin::Resume(_) => Err(ApiError::internal("an e-mail's key was kept without its reply")),
    }
}

/// What is wrong with a body, and the recipients in it that the organization's settings exclude.
async fn and_strangers(
    context: &Context,
    request: &Request,
    (org, settings): (&OrgRecord, &Settings),
    wrong: Rejection,
) -> Rejection {
    let Some(to) = request::field::<Recipients>(request, "/to") else { return wrong };
    match jobs::check_recipients(context, org, settings, &to, || list_of(request)).await {
        Err(ApiError::Rejected(of_recipients)) => wrong.and(of_recipients),
        _ => wrong,
    }
}

/// The recipients as a body lists them, those that it repeats too; none where it names one alone.
fn list_of(request: &Request) -> Vec<Email> {
    request::field(request, "/to").unwrap_or_default()
}
