//! `GET /orgs/{org_id}/invitations`, admin: `200` with a page of them. `POST /orgs/{org_id}/invitations`, admin: `201` with the invitation,
//! which a mail carries to its address. `DELETE /orgs/{org_id}/invitations/{invitation_id}`, admin: `204`, and its link is worth nothing.

use deserr::Deserr;
use lambda_http::http::Method;
use shared::account_mail::PendingMail;
use shared::cache::Uncached;
use shared::caller::Caller;
use shared::cursor::{Page, PageQuery};
use shared::idempotency::{Begin, IdempotencyKey, StoredReply};
use shared::ids::{InvitationId, OrgId};
use shared::model::account_mail::AccountMail;
use shared::model::invitation::{Invitation, InvitationRecord};
use shared::model::org::Role;
use shared::model::text::Email;
use shared::request::FieldErrors;
use shared::response::Reply;
use shared::security_log::{self, SecurityEvent};
use shared::store::Store;
use shared::store::account_mail::MailLimit;
use shared::store::idempotency::is_nothing_new;
use shared::store::invitations::TakenInvitation;
use shared::store::role_check::RoleCheck;
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use utoipa::ToSchema;

const ENDPOINT: &str = "invitations";

/// Whom to invite, and as what.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"email": "grace@example.com", "role": "member"})))]
pub struct NewInvitation {
    email: Email,
    role: Role,
}

/// Invite somebody
///
/// A mail with a link goes to the address: whoever opens it and has, or registers, an account with that address becomes a member. It is
/// good for 7 days. One that the address had from the organization before is void. Members and invitations together have the plan's
/// room. Only owners invite owners, or replace the invitation of one. An address that gets too many invitations from anywhere gets no
/// more mail that day; the reply is the same, and the invitation that it has stays as it is, if the role is the same.
///
/// # Errors
/// `403 email_unverified` before the own address is proven, `403 plan_limit_reached`, `409 already_member` for the address of a member or
/// one's own, `429 rate_limited` beyond the organization's number a day.
#[utoipa::path(post, path = "/orgs/{org_id}/invitations", operation_id = "create_invitation", tag = "members", request_body = NewInvitation,
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", min_length = 1, max_length = 255,
            description = "1 to 255 visible ASCII characters. The same key and body take effect once; JSON bodies are the \
                same if their canonical forms (RFC 8785) are")),
    responses((status = 201, description = "Invited", body = Invitation),
        (status = 409, description = "The address is a member's, the organization kept changing meanwhile, or a request with this \
                Idempotency-Key is under way",
            body = shared::response::ProblemBody)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    match *request.method() {
        Method::POST => {}
        Method::DELETE => return withdraw(context, request).await,
        _ => return list(context, request).await,
    }
    let caller = Caller::verify(context, &request).await?;
    let org_id = caller.in_org(request::path(&request, "org_id"))?;
    let by = caller.at_least(Role::Admin)?;
    let key = IdempotencyKey::of(ENDPOINT, &request);
    let key = key.map_err(|wrong| wrong.beside(request::json::<NewInvitation>(&request)))?;
    let outcome = invite(context, &request, (&caller, by), key.as_ref()).await;
    context.store().replay_or(org_id, key.as_ref(), Uncached, outcome).await.into_result()
}

async fn invite(
    context: &Context,
    request: &Request,
    (caller, by): (&Caller, RoleCheck<'_>),
    key: Option<&IdempotencyKey>,
) -> ApiResult {
    let NewInvitation { email, role } = request::json(request)?;
    let (store, most) = (context.store(), context.config().invitations_per_day().map_err(ApiError::internal)?);
    let by = by.needing(Role::needed_to_change(None, Some(role)))?;
    if let Some(key) = key
        && let Some(first) = store.first_reply(caller.org_id, key).await?
    {
        // It takes none of the day's.
        return first.replayed(Uncached).into_result();
    }
    let inviter = store.user(caller.user_id).await?.ok_or(ApiError::InvalidToken)?;
    if !inviter.is_verified() {
        return Err(ApiError::EmailUnverified);
    }
    if store.members_with(caller.org_id, &[email.as_str()]).await?.iter().any(Option::is_some) {
        return Err(ApiError::AlreadyMember);
    }
    let taken = store.take_invitation(caller.org_id, most).await?;
    let new = InvitationRecord::new(caller.org_id, &email, role, (caller.user_id, caller.joined_at()), context.now());
    match store_and_send(context, request, (by, taken), &new, key).await? {
        Sent::New(reply) => {
            security_log::record(context, request, SecurityEvent::Invited { by: caller, email: &email, role }).await;
            Ok(reply)
        }
        Sent::Kept(reply) => Ok(reply),
        Sent::Before(first) => first.replayed(Uncached).into_result(),
    }
}

enum Sent {
    New(Reply),
    /// No mail is left for the address: it keeps the invitation that it has.
    Kept(Reply),
    /// The first reply under the request's key, which came in between.
    Before(StoredReply),
}

async fn store_and_send(
    context: &Context,
    request: &Request,
    (by, taken): (RoleCheck<'_>, TakenInvitation),
    new: &InvitationRecord,
    key: Option<&IdempotencyKey>,
) -> Result<Sent, ApiError> {
    let store = context.store();
    let mail = AccountMail::Invitation { org_id: new.org_id, invitation_id: new.invitation_id };
    let mail = PendingMail::new(context, &mail, Some(request))?;
    let left = async {
        let is_within = store.take_mail(&new.email, MailLimit::INVITATION, mail.job_id()).await?;
        // Without a mail a new one would only void the link that is there.
        let kept = if is_within { None } else { store.living_invitation(new).await? };
        Ok::<_, ApiError>((is_within, kept))
    };
    let (is_within, kept) = match left.await {
        Ok(left) => left,
        Err(error) => {
            give_back(store, taken, new, Some(&mail)).await;
            return Err(error);
        }
    };
    let mail = is_within.then_some(mail);
    let reply = response::json(StatusCode::CREATED, &kept.as_ref().unwrap_or(new).clone().view(context.now()));
    let claim = key.map(|key| key.complete(StoredReply::of(&reply), context.now().as_millis()));
    let invited = match kept {
        Some(_) => store.keep_reply(new.org_id, claim.as_ref()).await,
        None => store.invite(by, new, mail.as_ref(), claim.as_ref()).await,
    };
    if kept.is_some() || is_nothing_new(&invited) {
        give_back(store, taken, new, mail.as_ref()).await;
    }
    match invited? {
        Begin::First(()) if kept.is_some() => return Ok(Sent::Kept(reply)),
        Begin::First(()) => {}
        Begin::Replay(first) => return Ok(Sent::Before(first)),
        Begin::Resume(_) => return Err(ApiError::internal("an invitation's key was kept without its reply")),
    }
    if let Some(mail) = mail {
        mail.send(context).await?;
    }
    Ok(Sent::New(reply))
}

/// Gives back what an invitation took of its organization's day and, where a mail took one, of its address's.
async fn give_back(store: &Store, taken: TakenInvitation, new: &InvitationRecord, mail: Option<&PendingMail>) {
    store.give_invitation_back(taken).await;
    if let Some(mail) = mail {
        store.give_mail_back(&new.email, MailLimit::INVITATION, mail.job_id()).await;
    }
}

/// Withdraw an invitation
///
/// Its link is worth nothing when this returns. Only owners withdraw the invitation of an owner.
///
/// # Errors
/// `401` without a valid session, `403` below admin, `404` for another organization or no such invitation.
#[utoipa::path(delete, path = "/orgs/{org_id}/invitations/{invitation_id}", operation_id = "withdraw_invitation", tag = "members",
    params(("org_id" = OrgId, Path, description = "The session's organization"),
        ("invitation_id" = InvitationId, Path, description = "One that was not accepted")),
    responses((status = 204, description = "Withdrawn")),
    security(("session" = []), ("cookie" = [])))]
pub async fn withdraw(context: &Context, request: Request) -> ApiResult {
    let caller = Caller::verify(context, &request).await?;
    caller.in_org(request::path(&request, "org_id"))?;
    let by = caller.at_least(Role::Admin)?;
    let invitation: InvitationId = request::id(&request, "invitation_id")?;
    request::untagged(&request)?;

    let withdrawn = context.store().withdraw_invitation(by, invitation).await?;

    let (email, role) = (Email::stored(withdrawn.email).map_err(ApiError::internal)?, withdrawn.role);
    let event = SecurityEvent::InvitationWithdrawn { by: &caller, email: &email, role };
    security_log::record(context, &request, event).await;
    Ok(response::no_content())
}

/// List the organization's invitations
///
/// Those that were not accepted, the oldest first. One whose maker has left or lost the role opens nothing and takes no room, but is listed
/// until it expires.
///
/// # Errors
/// `401` without a valid session, `403` below admin, `404` for another organization, `422` for a cursor of another list.
#[utoipa::path(get, path = "/orgs/{org_id}/invitations", operation_id = "list_invitations", tag = "members",
    params(("org_id" = OrgId, Path, description = "The session's organization"), PageQuery),
    responses((status = 200, description = "A page of invitations", body = Page<Invitation>)),
    security(("session" = []), ("cookie" = [])))]
pub async fn list(context: &Context, request: Request) -> ApiResult {
    let (caller, org) = Caller::verify_with_org(context, &request).await?;
    let org_id = caller.in_org(request::path(&request, "org_id"))?;
    let _may_read = caller.at_least(Role::Admin)?;
    let (limit, after) = org.cursor_key.asked(ENDPOINT, &request)?;

    let (found, next) = context.store().invitations(org_id, limit, after).await?;

    let now = context.now();
    let page = org.cursor_key.page(ENDPOINT, found.into_iter().map(|one| one.view(now)).collect(), next);
    Ok(response::live(response::json(StatusCode::OK, &page)))
}
