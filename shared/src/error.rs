//! What can go wrong in a handler, and what a caller is told of it: one exhaustive match.

use lambda_http::http::header::WWW_AUTHENTICATE;
use lambda_http::http::{HeaderValue, StatusCode};
use platform::cache::Busy;
use platform::request::{NotAnId, Rejection};
use platform::response::{FieldError, Problem, Reply};
pub use platform::telemetry::chain;

/// What every handler returns.
pub type ApiResult = Result<Reply, ApiError>;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("several values of one credential header")]
    AmbiguousCredentials,
    #[error("no session token")]
    NoToken,
    #[error("the session token is not valid")]
    InvalidToken,
    #[error("wrong e-mail address or password")]
    WrongCredentials,
    #[error("the origin may not write with a cookie")]
    ForbiddenOrigin,
    #[error("the role does not allow it")]
    ForbiddenRole,
    #[error("the password was not given recently")]
    ReauthenticationRequired,
    #[error("the code or link proves nothing")]
    InvalidLink,
    #[error("the user's address is not proven")]
    EmailUnverified,
    #[error("the address is a member's")]
    AlreadyMember,
    #[error("the user belongs to {limit} organizations")]
    TooManyOrganizations { limit: usize },
    #[error("the user belongs to no organization")]
    NoOrganization,
    #[error("no such resource for this caller")]
    NotFound,
    /// Answered as what does not exist; another organization, whether there is one or not.
    #[error("another organization than the session's")]
    ForeignOrganization,
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error("the last owner cannot go")]
    LastOwner,
    #[error("the organization's default model is no longer on offer")]
    DefaultModelGone,
    #[error("the resource kept changing")]
    Contended,
    #[error("the version does not match")]
    PreconditionFailed,
    #[error("the idempotency key came with another body before")]
    IdempotencyMismatch,
    #[error("a request with this idempotency key is under way")]
    IdempotencyInFlight { retry_after_seconds: u64 },
    #[error("the job can no longer be cancelled")]
    JobEnded,
    #[error("the job did not fail")]
    NotFailed,
    #[error("nobody knows whether the e-mail was sent")]
    OutcomeUnknown,
    #[error("the job's input is no longer kept")]
    InputExpired,
    #[error("another version wrote the job")]
    JobUnreadable,
    #[error("the month's budget is used up")]
    BudgetExceeded,
    #[error("too many wrong passwords or codes")]
    TooManyAttempts { limit: u64, retry_after_seconds: u64 },
    #[error("the limit of {limit} {what} is reached")]
    RateLimited { what: &'static str, limit: u64, retry_after_seconds: u64 },
    #[error("the operator's cap of {limit} {what} a day is reached")]
    OperatorCapReached { what: &'static str, limit: u64, retry_after_seconds: u64 },
    #[error("the plan's limit of {limit} {what} is reached")]
    PlanLimitReached { what: &'static str, limit: u64 },
    #[error("the plan does not include it")]
    PlanForbids(&'static str),
    #[error("the month's limit of {limit} {what} is reached")]
    QuotaExceeded { what: &'static str, limit: u64, retry_after_seconds: u64 },
    /// A dependency is throttling or away; the caller may try again.
    #[error("a dependency is unavailable")]
    Unavailable(#[source] Cause),
    /// A bug or a state that should not exist.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// What an internal error came from; logged, never shown.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl ApiError {
    /// An error of ours.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// Something stored that cannot be read: why, without the value that stands there, which may be a caller's text.
    pub fn unreadable(error: impl std::fmt::Display) -> Self {
        let said = error.to_string();
        let why = said.split('"').next().unwrap_or_default();
        Self::internal(format!("what is stored cannot be read: {why}"))
    }

    /// Of two refusals by a rate the one that lasts longer; what is ours to mend before either.
    pub(crate) fn longer(one: Option<Self>, other: Self) -> Self {
        let seconds = |error: &Self| match error {
            Self::RateLimited { retry_after_seconds, .. } | Self::TooManyAttempts { retry_after_seconds, .. } => {
                *retry_after_seconds
            }
            _ => u64::MAX,
        };
        match one {
            Some(one) if seconds(&one) >= seconds(&other) => one,
            _ => other,
        }
    }

    /// Status, code and public text of each.
    fn public(&self) -> (StatusCode, &'static str, String) {
        use StatusCode as S;
        let (status, code, text) = match self {
            Self::Rejected(rejection) => return rejected(rejection),
            Self::PlanLimitReached { what, limit } => {
                let text = format!("Your plan's limit of {limit} {what} is reached.");
                return (S::FORBIDDEN, "plan_limit_reached", text);
            }
            Self::QuotaExceeded { what, limit, .. } => {
                let text = format!("Your plan's limit of {limit} {what} a month is reached.");
                return (S::TOO_MANY_REQUESTS, "quota_exceeded", text);
            }
            Self::PlanForbids(what) => (S::FORBIDDEN, "plan_forbids", *what),
            Self::AmbiguousCredentials => (S::BAD_REQUEST, "ambiguous_credentials", "Send exactly one session token."),
            Self::NoToken => (S::UNAUTHORIZED, "authentication_required", "Send a session token."),
            Self::InvalidToken => {
                (S::UNAUTHORIZED, "invalid_token", "The session token is unknown, expired or revoked.")
            }
            Self::WrongCredentials => {
                (S::UNAUTHORIZED, "wrong_credentials", "The e-mail address or the password is wrong.")
            }
            Self::ForbiddenOrigin => (S::FORBIDDEN, "forbidden_origin", "Writes with a cookie need an allowed Origin."),
            Self::ForbiddenRole => {
                (S::FORBIDDEN, "forbidden_role", "Your role in this organization does not allow it.")
            }
            Self::ReauthenticationRequired => (
                S::FORBIDDEN,
                "reauthentication_required",
                "Give your password once more (POST /auth/reauthenticate), then try again within 10 minutes.",
            ),
            Self::InvalidLink => (
                S::BAD_REQUEST,
                "invalid_link",
                "The code or link is wrong, has been used, or is too old. Ask for another.",
            ),
            Self::EmailUnverified => (
                S::FORBIDDEN,
                "email_unverified",
                "Show first that your e-mail address is yours (POST /auth/verify-email).",
            ),
            Self::AlreadyMember => {
                (S::CONFLICT, "already_member", "The address is that of a member of the organization.")
            }
            Self::TooManyOrganizations { limit } => {
                let text = format!("You belong to {limit} organizations, which is the most. Leave one first.");
                return (S::FORBIDDEN, "organization_limit_reached", text);
            }
            Self::NoOrganization => (S::FORBIDDEN, "no_organization", "You belong to no organization."),
            Self::NotFound | Self::ForeignOrganization => (S::NOT_FOUND, "not_found", "There is no such resource."),
            Self::EmailTaken => (S::CONFLICT, "email_taken", "An account with this e-mail address exists."),
            Self::DefaultModelGone => (
                S::CONFLICT,
                "default_model_unavailable",
                "Your organization's default model is no longer on offer, or not in its plan. Name a model, or change the settings.",
            ),
            Self::LastOwner => (S::CONFLICT, "last_owner", "The last owner of an organization cannot go."),
            Self::Contended => (S::CONFLICT, "concurrent_change", "The resource kept changing meanwhile. Try again."),
            Self::PreconditionFailed => (
                S::PRECONDITION_FAILED,
                "precondition_failed",
                "The resource is not as If-Match or If-None-Match demands.",
            ),
            Self::IdempotencyMismatch => (
                S::UNPROCESSABLE_ENTITY,
                "idempotency_key_reuse",
                "This Idempotency-Key came with another body before.",
            ),
            Self::IdempotencyInFlight { .. } => {
                (S::CONFLICT, "idempotency_in_flight", "A request with this Idempotency-Key is under way.")
            }
            Self::JobEnded => (S::CONFLICT, "job_ended", "The job has ended, or its e-mail is on its way."),
            Self::NotFailed => (S::CONFLICT, "job_not_failed", "Only a job that failed can be retried."),
            Self::OutcomeUnknown => {
                (S::CONFLICT, "outcome_unknown", "Nobody knows yet whether the e-mail was sent. It is not sent again.")
            }
            Self::InputExpired => (S::CONFLICT, "input_expired", "The job's input is no longer kept. Make a new job."),
            Self::JobUnreadable => (
                S::CONFLICT,
                "job_unreadable",
                "Another version of this service wrote the job. It is kept; ask again later.",
            ),
            Self::BudgetExceeded => {
                (S::PAYMENT_REQUIRED, "budget_exceeded", "Your organization's budget of this month has no room for it.")
            }
            Self::TooManyAttempts { .. } => {
                (S::TOO_MANY_REQUESTS, "too_many_attempts", "Too many wrong passwords or codes for this account. Wait.")
            }
            Self::RateLimited { .. } => (S::TOO_MANY_REQUESTS, "rate_limited", "This was asked for too often. Wait."),
            Self::OperatorCapReached { .. } => (
                S::TOO_MANY_REQUESTS,
                "operator_cap_reached",
                "The service does no more of this for you today. Try again after midnight UTC.",
            ),
            Self::Unavailable(_) => {
                (S::SERVICE_UNAVAILABLE, "unavailable", "The service is busy for a moment. Try again.")
            }
            Self::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side."),
        };
        (status, code, text.to_owned())
    }
}

fn rejected(rejection: &Rejection) -> (StatusCode, &'static str, String) {
    let (status, code) = match rejection {
        Rejection::MalformedJson(_) => (StatusCode::BAD_REQUEST, "malformed_json"),
        Rejection::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
        Rejection::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
        Rejection::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
        Rejection::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"),
    };
    (status, code, rejection.to_string())
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        Self::Unavailable(busy.into())
    }
}

impl From<NotAnId> for ApiError {
    fn from(_: NotAnId) -> Self {
        Self::NotFound
    }
}

impl From<ApiError> for Problem {
    /// Also logs what is ours to mend, once, with its chain of causes.
    fn from(error: ApiError) -> Self {
        let (status, code, detail) = error.public();
        let mut problem = Self::new(status, code, detail);
        problem.denied = match &error {
            ApiError::ForeignOrganization => Some("foreign_organization"),
            // A full plan forbids nobody anything.
            ApiError::PlanLimitReached { .. } => None,
            _ => (status == StatusCode::FORBIDDEN).then_some(code),
        };
        match error {
            ApiError::Rejected(Rejection::Invalid(errors)) => problem.errors = errors,
            ApiError::IdempotencyMismatch => {
                let (pointer, message) = ("header/Idempotency-Key".into(), "came with another body before".into());
                problem.errors = vec![FieldError { pointer, message }];
            }
            ApiError::NoToken | ApiError::InvalidToken | ApiError::WrongCredentials => {
                problem.headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            ApiError::IdempotencyInFlight { retry_after_seconds } => problem = problem.retry_after(retry_after_seconds),
            ApiError::TooManyAttempts { limit, retry_after_seconds } => {
                problem = problem.limited("guesses", limit, retry_after_seconds);
            }
            ApiError::RateLimited { what, limit, retry_after_seconds }
            | ApiError::OperatorCapReached { what, limit, retry_after_seconds }
            | ApiError::QuotaExceeded { what, limit, retry_after_seconds } => {
                problem = problem.limited(what, limit, retry_after_seconds);
            }
            ApiError::Unavailable(cause) => {
                tracing::warn!(cause = chain(&*cause), "a dependency is unavailable");
                problem = problem.retry_after(1);
            }
            ApiError::Internal(cause) => tracing::error!(cause = chain(&*cause), "internal error"),
            _ => {}
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unreadable_is_not_told_with_its_value() {
        let wrong = serde_json::from_str::<Vec<u8>>(r#"["ada@example.com"]"#).expect_err("no number");
        let ApiError::Internal(cause) = ApiError::unreadable(wrong) else { panic!("another error") };
        assert_eq!(chain(&*cause), "what is stored cannot be read: invalid type: string ");
    }

    #[test]
    fn causes_stay_inside() {
        let problem = Problem::from(ApiError::internal("the table's secret name"));
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!problem.detail.contains("secret"));
    }

    #[test]
    fn a_quota_says_when_to_come_back() {
        let error = ApiError::QuotaExceeded { what: "analyses", limit: 5, retry_after_seconds: 60 };
        let reply = Problem::from(error).into_reply();
        assert_eq!(reply.headers()["ratelimit-policy"], "\"analyses\";q=5");
        assert_eq!(reply.headers()["ratelimit"], "\"analyses\";r=0;t=60");
        assert_eq!(reply.headers()["retry-after"], "60");
    }

    /// A full plan is no rate: to come back later does not help.
    #[test]
    fn a_full_plan_says_no_time() {
        for error in [
            ApiError::PlanLimitReached { what: "items", limit: 5 },
            ApiError::BudgetExceeded,
            ApiError::PlanForbids(""),
        ] {
            let reply = Problem::from(error).into_reply();
            assert!(matches!(reply.status().as_u16(), 402 | 403), "{}", reply.status());
            assert!(!reply.headers().contains_key("retry-after") && !reply.headers().contains_key("ratelimit"));
        }
    }

    #[test]
    fn codes_are_distinct() {
        use ApiError as E;
        let mut codes: Vec<_> = [
            E::AmbiguousCredentials,
            E::NoToken,
            E::InvalidToken,
            E::WrongCredentials,
            E::ForbiddenOrigin,
            E::ForbiddenRole,
            E::ReauthenticationRequired,
            E::InvalidLink,
            E::EmailUnverified,
            E::AlreadyMember,
            E::TooManyOrganizations { limit: 0 },
            E::NoOrganization,
            E::NotFound,
            E::EmailTaken,
            E::LastOwner,
            E::DefaultModelGone,
            E::Contended,
            E::PreconditionFailed,
            E::IdempotencyMismatch,
            E::IdempotencyInFlight { retry_after_seconds: 1 },
            E::JobEnded,
            E::NotFailed,
            E::OutcomeUnknown,
            E::InputExpired,
            E::JobUnreadable,
            E::BudgetExceeded,
            E::PlanLimitReached { what: "", limit: 0 },
            E::OperatorCapReached { what: "", limit: 0, retry_after_seconds: 1 },
            E::PlanForbids(""),
            E::TooManyAttempts { limit: 1, retry_after_seconds: 1 },
            E::RateLimited { what: "", limit: 0, retry_after_seconds: 1 },
            E::QuotaExceeded { what: "", limit: 0, retry_after_seconds: 1 },
            E::Unavailable("".into()),
            E::internal(""),
        ]
        .iter()
        .map(|error| error.public().1)
        .collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }
}
