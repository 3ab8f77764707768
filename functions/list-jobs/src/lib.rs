//! `GET /jobs`, member: `200` with a page of the organization's jobs, newest first, also of one state or kind. Never cached.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error};
use shared::caller::Caller;
use shared::cursor::{Page, PageLimit};
use shared::ids::JobId;
use shared::model::job::{Job, JobKind, JobRecord, JobState};
use shared::model::org::OrgRecord;
use shared::request::{FieldErrors, Rejection};
use shared::{ApiError, ApiResult, Context, Request, StatusCode, request, response};
use std::fmt::Write as _;
use utoipa::IntoParams;

/// The most jobs that one request looks at for those of a state or kind: a rare one must not read a whole history.
const LOOKED_AT_MAX: usize = 500;
/// As many of them are read at a time, at most.
const LOOK: u8 = 100;

/// Which jobs.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// How many at most.
    #[deserr(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 50)]
    limit: PageLimit,
    /// `next_cursor` of the page before, which was asked for with the same `state` and `kind`; left out for the first page, never
    /// empty.
    #[param(min_length = 1)]
    #[deserr(default)]
    cursor: Option<String>,
    /// Only jobs in this state, as they are now.
    #[param(value_type = Option<JobState>)]
    #[deserr(default)]
    state: Option<Word<JobState>>,
    /// Only jobs of this kind.
    #[param(value_type = Option<JobKind>)]
    #[deserr(default)]
    kind: Option<Word<JobKind>>,
}

/// What the list of a query is, whatever is wrong beside it.
#[derive(Deserr)]
#[deserr(error = FieldErrors)]
struct Filter {
    #[deserr(default)]
    state: Option<Word<JobState>>,
    #[deserr(default)]
    kind: Option<Word<JobKind>>,
}

/// A parameter whose words are those of the stored type.
#[derive(Debug, Clone, Copy)]
struct Word<T: Words>(T);

/// A type whose values are words.
trait Words: DeserializeOwned {
    const RULE: &'static str;

    /// Whether an organization's job can have it.
    fn is_of_an_organization(&self) -> bool {
        true
    }
}

impl Words for JobState {
    const RULE: &'static str = "must be queued, running, succeeded, failed, cancelled or unknown";
}

impl Words for JobKind {
    const RULE: &'static str = "must be analyze or send_email";

    fn is_of_an_organization(&self) -> bool {
        self.is_counted()
    }
}

impl<T: Words> Deserr<FieldErrors> for Word<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef<'_>) -> Result<Self, FieldErrors> {
        let text = String::deserialize_from_value(value, at)?;
        let word = T::deserialize(IntoDeserializer::<Error>::into_deserializer(text.as_str())).ok();
        word.filter(T::is_of_an_organization).map(Self).ok_or_else(|| FieldErrors::at(at, T::RULE))
    }
}

/// List the organization's jobs
///
/// Newest first. With `state` or `kind` a page may have fewer jobs than `limit`, or none, and go on all the same: the end is
/// where `next_cursor` is null.
///
/// # Errors
/// `422` for a cursor of another list, filter or organization, and for a state or kind that there is not.
#[utoipa::path(get, path = "/jobs", operation_id = "list_jobs", tag = "jobs", params(Query),
    responses((status = 200, description = "A page of jobs", body = Page<Job>)),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {
    let (_, org) = Caller::verify_with_org(context, &request).await?;
    let query: Query = request::query(&request).map_err(|wrong| and_cursor(&org, &request, wrong))?;
    let (state, kind) = (query.state.map(|word| word.0), query.kind.map(|word| word.0));
    let list = list_of(state, kind);
    let after = org.cursor_key.start(&list, query.cursor.as_deref())?;

    let limit = query.limit.get();
    let (jobs, next) = if state.is_none() && kind.is_none() {
        context.store().list_jobs(&org, limit, after).await?
    } else {
        let wanted =
            |job: &JobRecord| state.is_none_or(|state| job.state == state) && kind.is_none_or(|kind| job.kind == kind);
        matching(context, &org, limit, after, wanted).await?
    };
    let page = org.cursor_key.page(&list, jobs.iter().map(Job::from).collect(), next);
    Ok(response::live(response::json(StatusCode::OK, &page)))
}

/// What is wrong with a query, and its cursor, where it is known which list that should be of.
fn and_cursor(org: &OrgRecord, request: &Request, wrong: Rejection) -> Rejection {
    let Ok(Filter { state, kind }) = request::query(request) else { return wrong };
    let list = list_of(state.map(|word| word.0), kind.map(|word| word.0));
    org.cursor_key.and_cursor(&list, request, wrong)
}

/// What a cursor is bound to.
fn list_of(state: Option<JobState>, kind: Option<JobKind>) -> String {
    let mut list = "jobs".to_owned();
    if let Some(state) = state {
        let _cannot_fail = write!(list, " state={state:?}");
    }
    if let Some(kind) = kind {
        let _cannot_fail = write!(list, " kind={kind:?}");
    }
    list
}

/// Up to `limit` jobs that are wanted, among the next [`LOOKED_AT_MAX`] at most; and the id to go on after.
async fn matching(
    context: &Context,
    org: &OrgRecord,
    limit: u8,
    mut after: Option<JobId>,
    wanted: impl Fn(&JobRecord) -> bool,
) -> Result<(Vec<JobRecord>, Option<JobId>), ApiError> {
    let (mut found, mut looked_at, mut look) = (Vec::new(), 0, limit);
    loop {
        let (jobs, next) = context.store().list_jobs(org, look, after).await?;
        look = LOOK;
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            looked_at += 1;
            let id = job.job_id;
            if wanted(&job) {
                found.push(job);
            }
            let is_full = found.len() == usize::from(limit) || looked_at == LOOKED_AT_MAX;
            if is_full {
                return Ok((found, Some(id).filter(|_| jobs.len() > 0 || next.is_some())));
            }
        }
        if next.is_none() {
            return Ok((found, None));
        }
        after = next;
    }
}
