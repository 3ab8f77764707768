//! Who calls: the only way to a verified identity. It is read from the database on every request, in one
//! strongly consistent round trip, and is never cached.

use crate::context::Context;
use crate::cookies;
use crate::cursor::CursorKey;
use crate::error::ApiError;
use crate::ids::{OrgId, SessionId, UserId};
use crate::model::mark::MembershipMark;
use crate::model::org::{MembershipRecord, OrgRecord, Role};
use crate::model::session::{FRESH_FOR, SESSION_COOKIE};
use crate::model::settings::SettingsRecord;
use crate::model::time::Moment;
use crate::model::user::UserRecord;
use crate::request_rates::{ask_as_org, ask_as_session};
use crate::security_log::Actor;
use crate::store::authority::Include;
use crate::store::role_check::RoleCheck;
use crate::store::session_ends::{ActingSession, FreshSession};
use crate::store::sessions::SessionRecord;
use crate::token::{Token, TokenHash};
use lambda_http::Request;
use lambda_http::http::header::AUTHORIZATION;
use lambda_http::http::{HeaderMap, Method};
use platform::request;
use platform::telemetry::{self, Part, timed};

/// A verified caller: its session lives and its user is a member of the session's organization, by the membership that the
/// session was made under, now. Built only by [`Caller::verify`] and its siblings; of them only [`Caller::verify_user`] gives one whose
/// `org_id` is [`OrgId::NONE`].
#[derive(Debug)]
pub struct Caller {
    pub user_id: UserId,
    pub org_id: OrgId,
    session_id: SessionId,
    mark: Option<MembershipMark>,
    password_at: Option<Moment>,
    membership: MembershipRecord,
    token_hash: TokenHash,
}

impl Caller {
    /// Verifies the request's session and membership.
    ///
    /// # Errors
    /// `401` without a valid session, `403` for one in no organization and for a write by cookie from a foreign origin, `400` for
    /// several credentials, `412` for a `POST` that names a tag, `422` for a `DELETE` with a body.
    pub async fn verify(context: &Context, request: &Request) -> Result<Self, ApiError> {
        Self::verify_user(context, request).await?.in_an_org()
    }

    /// The same for what a user does with its own account: its session may be in no organization.
    ///
    /// # Errors
    /// As [`Caller::verify`], but for that.
    pub async fn verify_user(context: &Context, request: &Request) -> Result<Self, ApiError> {
        let token = token(context, request)?;
        ask_as_session(context, &token)?;
        let authority = timed(Part::Auth, context.store().authority(&token, Include::Nothing)).await?;
        let caller = Self::from_authority(context, request, token, authority.session)?;
        ask_as_org(context, caller.org_id, None).await?;
        Ok(caller)
    }

    /// The same, with the organization's record from the same round trip.
    ///
    /// # Errors
    /// As [`Caller::verify`].
    pub async fn verify_with_org(context: &Context, request: &Request) -> Result<(Self, OrgRecord), ApiError> {
        let token = token(context, request)?;
        ask_as_session(context, &token)?;
        let authority = timed(Part::Auth, context.store().authority(&token, Include::Org)).await?;
        let caller = Self::from_authority(context, request, token, authority.session)?.in_an_org()?;
        let org = authority.org.ok_or(ApiError::InvalidToken)?;
        ask_as_org(context, caller.org_id, Some(org.plan)).await?;
        Ok((caller, org))
    }

    /// The same, with the organization's record and settings from the same round trip.
    ///
    /// # Errors
    /// As [`Caller::verify`].
    pub async fn verify_with_settings(
        context: &Context,
        request: &Request,
    ) -> Result<(Self, OrgRecord, SettingsRecord), ApiError> {
        let token = token(context, request)?;
        ask_as_session(context, &token)?;
        let authority = timed(Part::Auth, context.store().authority(&token, Include::OrgAndSettings)).await?;
        let caller = Self::from_authority(context, request, token, authority.session)?.in_an_org()?;
        let org = authority.org.ok_or(ApiError::InvalidToken)?;
        ask_as_org(context, caller.org_id, Some(org.plan)).await?;
        Ok((caller, org, authority.settings.unwrap_or_default()))
    }

    /// The same, with the caller's own account too: for what an account may not do whose address is not proven.
    ///
    /// # Errors
    /// As [`Caller::verify`].
    pub async fn verify_with_account(
        context: &Context,
        request: &Request,
    ) -> Result<(Self, OrgRecord, SettingsRecord, UserRecord), ApiError> {
        let token = token(context, request)?;
        ask_as_session(context, &token)?;
        let authority = timed(Part::Auth, context.store().authority(&token, Include::OrgSettingsAndUser)).await?;
        let caller = Self::from_authority(context, request, token, authority.session)?.in_an_org()?;
        let org = authority.org.ok_or(ApiError::InvalidToken)?;
        ask_as_org(context, caller.org_id, Some(org.plan)).await?;
        let user = authority.user.ok_or(ApiError::InvalidToken)?;
        Ok((caller, org, authority.settings.unwrap_or_default(), user))
    }

    fn from_authority(
        context: &Context,
        request: &Request,
        token: Token,
        session: Option<(SessionRecord, MembershipRecord)>,
    ) -> Result<Self, ApiError> {
        let (session, membership) = session.ok_or(ApiError::InvalidToken)?;
        if session.is_to_be_noted(context.now()) {
            context.later(context.store().clone().note_use(token.user_id, token.hash()));
        }
        let SessionRecord { session_id, mark, password_at, .. } = session;
        if token.org_id != OrgId::NONE {
            telemetry::note_org(token.org_id.into());
        }
        // A POST has nothing with a tag; what else has none says so itself.
        if request.method() == Method::POST {
            request::untagged(request)?;
        }
        // Nor does a DELETE take a body; of the POSTs without one each says so itself.
        if request.method() == Method::DELETE {
            request::no_body(request)?;
        }
        let token_hash = token.hash();
        let caller = Self {
            user_id: token.user_id,
            org_id: token.org_id,
            session_id,
            mark,
            password_at,
            membership,
            token_hash,
        };
        telemetry::note_actor(caller.actor().parts());
        Ok(caller)
    }

    fn in_an_org(self) -> Result<Self, ApiError> {
        if self.org_id == OrgId::NONE { Err(ApiError::NoOrganization) } else { Ok(self) }
    }

    /// Ends the session: its token is dead when this returns.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_session(&self, context: &Context) -> Result<(), ApiError> {
        context.store().end_session(self.user_id, &self.token_hash).await
    }

    /// The session, for what its user proves with the password in the same request.
    #[must_use]
    pub fn acting_session(&self) -> ActingSession<'_> {
        ActingSession::new(self.user_id, self.org_id, &self.token_hash, self.mark.as_ref())
    }

    /// The session, for what is dangerous: its user must have given the password within the last 10 minutes.
    ///
    /// # Errors
    /// `403 reauthentication_required`.
    pub fn fresh_session(&self, context: &Context) -> Result<FreshSession<'_>, ApiError> {
        let is_fresh = self.password_at.is_some_and(|at| at.plus(FRESH_FOR) > context.now());
        is_fresh.then(|| FreshSession::new(self.acting_session())).ok_or(ApiError::ReauthenticationRequired)
    }

    /// The key of cursors that only this session uses.
    pub(crate) fn cursor_key(&self) -> CursorKey {
        CursorKey::of_session(&self.token_hash)
    }

    /// Its id, which shows it among its user's sessions.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Who this is in the security log.
    pub(crate) fn actor(&self) -> Actor {
        Actor { user_id: self.user_id, org_id: self.org_id, session_id: self.session_id }
    }

    /// Who this is in the security log, for what concerns another organization than the session's.
    #[must_use]
    pub fn actor_in(&self, org_id: OrgId) -> Actor {
        Actor { org_id, ..self.actor() }
    }

    /// When it joined the session's organization.
    #[must_use]
    pub fn joined_at(&self) -> Moment {
        self.membership.joined_at
    }

    /// Checks that a path names the caller's own organization; any other one does not exist for it.
    ///
    /// # Errors
    /// `404`.
    pub fn in_org(&self, path: &str) -> Result<OrgId, ApiError> {
        match path.parse() {
            Ok(org) if org == self.org_id => Ok(org),
            Ok(_) => Err(ApiError::ForeignOrganization),
            Err(_) => Err(ApiError::NotFound),
        }
    }

    /// Checks that the caller's role is at least `role`, for a write that checks it again in its own transaction.
    ///
    /// # Errors
    /// `403`.
    pub fn at_least(&self, role: Role) -> Result<RoleCheck<'_>, ApiError> {
        RoleCheck::new(&self.membership, &self.token_hash, role)
    }
}

/// Whether a request's session, if it has any, is its cookie's: where a header carries a token, the cookie is not looked at.
#[must_use]
pub fn is_by_cookie(request: &Request) -> bool {
    !request.headers().contains_key(AUTHORIZATION)
}

/// The one token of a request. A token in a cookie writes only from an allowed origin: browsers send
/// cookies along with requests that other sites make.
fn token(context: &Context, request: &Request) -> Result<Token, ApiError> {
    let headers = request.headers();
    if let Some(text) = bearer(headers)? {
        return Token::parse(text).ok_or(ApiError::InvalidToken);
    }
    let text = cookie(headers)?.ok_or(ApiError::NoToken)?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && platform::runtime::allowed_origin(&context.config().allowed_origins, request).is_none() {
        return Err(ApiError::ForbiddenOrigin);
    }
    std::str::from_utf8(text).ok().and_then(Token::parse).ok_or(ApiError::InvalidToken)
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::AmbiguousCredentials);
    }
    let text = value.to_str().map_err(|_| ApiError::InvalidToken)?;
    let (scheme, token) = text.split_once(' ').ok_or(ApiError::InvalidToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(ApiError::InvalidToken) }
}

fn cookie(headers: &HeaderMap) -> Result<Option<&[u8]>, ApiError> {
    let mut found = cookies::named(headers, SESSION_COOKIE);
    let token = found.next();
    if found.next().is_some() { Err(ApiError::AmbiguousCredentials) } else { Ok(token) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::http::HeaderValue;
    use lambda_http::http::header::COOKIE;

    fn headers(name: lambda_http::http::HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn one_bearer_token_is_read() {
        assert_eq!(bearer(&headers(AUTHORIZATION, &["Bearer abc"])).expect("one"), Some("abc"));
        assert_eq!(bearer(&headers(AUTHORIZATION, &["bearer  abc"])).expect("one"), Some("abc"));
        assert_eq!(bearer(&HeaderMap::new()).expect("none"), None);
        for wrong in [&["abc"][..], &["Basic YTpi"], &[""]] {
            assert!(matches!(bearer(&headers(AUTHORIZATION, wrong)), Err(ApiError::InvalidToken)), "{wrong:?}");
        }
        let twice = headers(AUTHORIZATION, &["Bearer a", "Bearer b"]);
        assert!(matches!(bearer(&twice), Err(ApiError::AmbiguousCredentials)));
    }

    #[test]
    fn one_session_cookie_is_read() {
        let with = |values: &[&'static str]| cookie(&headers(COOKIE, values)).map(|token| token.map(<[u8]>::to_vec));
        assert_eq!(with(&["a=b; __Host-session=t"]).expect("one"), Some("t".into()));
        assert_eq!(with(&["session=t; __Host-sessionx=t"]).expect("none"), None);
        let beside = |bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(bytes).expect("a header value"));
            cookie(&headers).map(|token| token.map(<[u8]>::to_vec))
        };
        for other in
            [b"n=\xe9; __Host-session=t".as_slice(), b"\xff;__Host-session=t ;\xc3", "ä=ö; __Host-session=t".as_bytes()]
        {
            assert_eq!(beside(other).expect("one"), Some("t".into()));
        }
        // A session, and no valid one: where it may write from is asked first, as of any other.
        assert_eq!(beside(b"__Host-session=\xe9").expect("one"), Some(b"\xe9".to_vec()));
        assert!(matches!(with(&["__Host-session=a; __Host-session=b"]), Err(ApiError::AmbiguousCredentials)));
        assert!(matches!(with(&["__Host-session=a", "__Host-session=b"]), Err(ApiError::AmbiguousCredentials)));
    }
}
