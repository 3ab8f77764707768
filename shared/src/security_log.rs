//! The security log: one line for each event that an investigation asks for, whatever the log level. A line has ids, roles
//! and versions. The source's address and the e-mail address stand in it as keyed hashes and in no other way.
//! `docs/security-log.md` has the fields.

use crate::caller::Caller;
use crate::context::Context;
use crate::ids::{OrgId, SessionId, UserId};
use crate::model::org::{OrgPlan, Role};
use crate::model::text::Email;
use crate::network::Network;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use lambda_http::Request;
use platform::runtime::event::SourceIp;
use platform::telemetry::logs::SECURITY;
use platform::telemetry::{self, ActorParts};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// How long an event waits for the key of the hashes.
const KEY_PATIENCE: Duration = Duration::from_millis(500);

/// 128 bits of an HMAC-SHA-256 are kept (RFC 2104, section 5).
const HASH_BYTES: usize = 16;

/// Who acts, by which session.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    pub user_id: UserId,
    pub org_id: OrgId,
    pub session_id: SessionId,
}

impl Actor {
    /// Its ids, for [`telemetry::note_actor`].
    pub(crate) fn parts(self) -> ActorParts {
        [self.user_id.into(), self.org_id.into(), self.session_id.into()]
    }

    fn of_parts([(_, user), (_, org), (_, session)]: ActorParts) -> Self {
        let [user, org, session] = [user, org, session].map(Uuid::from_u128);
        Self { user_id: user.into(), org_id: org.into(), session_id: session.into() }
    }
}

/// What has happened.
#[derive(Debug, Clone, Copy)]
pub enum SecurityEvent<'a> {
    /// Registered, which is the first log-in.
    Registered {
        by: Actor,
        email: &'a Email,
    },
    LoggedIn {
        by: Actor,
        email: &'a Email,
    },
    /// The password was wrong; without a user, no account has the address.
    LoginFailed {
        user: Option<UserId>,
        email: &'a Email,
    },
    /// A log-in was refused because too many before it have failed.
    LoginLimitReached {
        email: &'a Email,
    },
    /// A registration was refused because too many had come from its network.
    RegistrationLimitReached {
        email: &'a Email,
    },
    /// A registration was refused because an account has the address: it told so.
    AddressTaken {
        email: &'a Email,
    },
    /// A caller was refused what it may not do: the code of its reply, or `foreign_organization`. Without a session that was known by
    /// then, nobody knows who.
    Denied {
        code: &'static str,
        by: Option<Actor>,
    },
    LoggedOut {
        by: &'a Caller,
    },
    /// The session's user gave the password once more.
    Reauthenticated {
        by: &'a Caller,
    },
    /// The account's address was proven.
    EmailVerified {
        by: &'a Caller,
    },
    /// A code was answered as a wrong one.
    CodeFailed {
        by: &'a Caller,
    },
    /// A code was not compared because too many before it were wrong.
    CodeLimitReached {
        by: &'a Caller,
    },
    /// Somebody asked for a link by which an account's password is changed, whether an account has the address or not.
    PasswordResetRequested {
        email: &'a Email,
    },
    /// A link was not sent because too many were asked for from its network.
    ResetLimitReached {
        email: &'a Email,
    },
    /// A new password by such a link; all sessions have ended but this new one.
    PasswordReset {
        by: Actor,
    },
    /// A code was sent to another address, which is to be the account's.
    EmailChangeRequested {
        by: &'a Caller,
    },
    /// The account has another address; all other sessions have ended.
    EmailChanged {
        by: &'a Caller,
    },
    /// It has the one of before again, with a new password; all sessions have ended but this new one.
    EmailChangeUndone {
        by: Actor,
    },
    /// A new password; all other sessions have ended.
    PasswordChanged {
        by: &'a Caller,
    },
    /// Another session of the same user was ended.
    SessionEnded {
        by: &'a Caller,
        session: SessionId,
    },
    /// All other sessions of the user were ended.
    OtherSessionsEnded {
        by: &'a Caller,
    },
    /// Somebody was invited.
    Invited {
        by: &'a Caller,
        email: &'a Email,
        role: Role,
    },
    InvitationWithdrawn {
        by: &'a Caller,
        email: &'a Email,
        role: Role,
    },
    /// An invitation was accepted: in the organization that it was to.
    MemberAdded {
        by: Actor,
        role: Role,
    },
    RoleChanged {
        by: &'a Caller,
        member: UserId,
        from: Role,
        to: Role,
    },
    /// Removed, or gone by itself.
    MemberRemoved {
        by: &'a Caller,
        member: UserId,
        was: Role,
    },
    /// Replaced by this version.
    SettingsChanged {
        by: &'a Caller,
        version: u64,
    },
    /// The operator gave an organization a plan, as the table's stream tells.
    PlanChanged {
        org: OrgId,
        plan: OrgPlan,
    },
}

/// The deployment's random key for the hashes, base64url.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LogKey(String);

impl LogKey {
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn hash(&self, kind: &str, value: impl fmt::Display) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(format!("{kind}:{value}").as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..HASH_BYTES])
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey(…)")
    }
}

/// What a line has beside the name of its event.
#[derive(Default)]
struct Fields<'a> {
    user: Option<UserId>,
    by: Option<Actor>,
    member: Option<UserId>,
    ended: Option<SessionId>,
    role_before: Option<Role>,
    role: Option<Role>,
    version: Option<u64>,
    code: Option<&'static str>,
    plan: Option<&'static str>,
    org: Option<OrgId>,
    email: Option<&'a Email>,
}

impl<'a> SecurityEvent<'a> {
    /// Its name in the log, and its fields.
    fn parts(self) -> (&'static str, Fields<'a>) {
        let of = |by: &Caller| Fields { by: Some(by.actor()), ..Fields::default() };
        let with = |by: Actor, email| Fields { by: Some(by), email: Some(email), ..Fields::default() };
        match self {
            Self::Registered { by, email } => ("registered", with(by, email)),
            Self::LoggedIn { by, email } => ("logged_in", with(by, email)),
            Self::LoginFailed { user, email } => {
                ("login_failed", Fields { user, email: Some(email), ..Fields::default() })
            }
            Self::LoginLimitReached { email } => {
                ("login_limit_reached", Fields { email: Some(email), ..Fields::default() })
            }
            Self::RegistrationLimitReached { email } => {
                ("registration_limit_reached", Fields { email: Some(email), ..Fields::default() })
            }
            Self::AddressTaken { email } => ("address_taken", Fields { email: Some(email), ..Fields::default() }),
            Self::Denied { code, by } => ("denied", Fields { code: Some(code), by, ..Fields::default() }),
            Self::LoggedOut { by } => ("logged_out", of(by)),
            Self::Reauthenticated { by } => ("reauthenticated", of(by)),
            Self::EmailVerified { by } => ("email_verified", of(by)),
            Self::CodeFailed { by } => ("code_failed", of(by)),
            Self::CodeLimitReached { by } => ("code_limit_reached", of(by)),
            Self::PasswordResetRequested { email } => {
                ("password_reset_requested", Fields { email: Some(email), ..Fields::default() })
            }
            Self::ResetLimitReached { email } => {
                ("reset_limit_reached", Fields { email: Some(email), ..Fields::default() })
            }
            Self::PasswordReset { by } => ("password_reset", Fields { by: Some(by), ..Fields::default() }),
            Self::EmailChangeRequested { by } => ("email_change_requested", of(by)),
            Self::EmailChanged { by } => ("email_changed", of(by)),
            Self::EmailChangeUndone { by } => ("email_change_undone", Fields { by: Some(by), ..Fields::default() }),
            Self::PasswordChanged { by } => ("password_changed", of(by)),
            Self::SessionEnded { by, session } => ("session_ended", Fields { ended: Some(session), ..of(by) }),
            Self::OtherSessionsEnded { by } => ("other_sessions_ended", of(by)),
            Self::Invited { by, email, role } => {
                ("member_invited", Fields { role: Some(role), email: Some(email), ..of(by) })
            }
            Self::InvitationWithdrawn { by, email, role } => {
                ("invitation_withdrawn", Fields { role: Some(role), email: Some(email), ..of(by) })
            }
            Self::MemberAdded { by, role } => {
                let member = Some(by.user_id);
                ("member_added", Fields { by: Some(by), member, role: Some(role), ..Fields::default() })
            }
            Self::RoleChanged { by, member, from, to } => {
                ("role_changed", Fields { member: Some(member), role_before: Some(from), role: Some(to), ..of(by) })
            }
            Self::MemberRemoved { by, member, was } => {
                ("member_removed", Fields { member: Some(member), role_before: Some(was), ..of(by) })
            }
            Self::SettingsChanged { by, version } => ("settings_changed", Fields { version: Some(version), ..of(by) }),
            Self::PlanChanged { org, plan: OrgPlan { plan, version } } => {
                let (plan, version, org) = (Some(plan.as_str()), Some(version), Some(org));
                ("plan_changed", Fields { plan, version, org, ..Fields::default() })
            }
        }
    }
}

/// Writes the line of what a request has brought about. Nothing fails because of it: where the key cannot be read, the line
/// has no hashes.
pub async fn record(context: &Context, request: &Request, event: SecurityEvent<'_>) {
    brought_about(context, Network::of(request), event).await;
}

/// The same for what no request has brought about.
pub async fn note(context: &Context, event: SecurityEvent<'_>) {
    brought_about(context, None, event).await;
}

/// The same for what a reply refuses.
pub(crate) async fn denied(context: &Context, code: &'static str, source: Option<SourceIp>) {
    let by = telemetry::actor().map(Actor::of_parts);
    let source = source.map(|source| source.0.into());
    let key = known_key(context, source).await;
    write(source, SecurityEvent::Denied { code, by }.parts(), key);
}

async fn brought_about(context: &Context, source: Option<Network>, event: SecurityEvent<'_>) {
    let (name, fields) = event.parts();
    // Whoever logs in, registers or invites may also write a key; the other functions' roles need not.
    let key = match fields.email {
        // Boxed: with the transaction that makes a key in it, a handler's future is too deep for the compiler.
        Some(_) => tokio::time::timeout(KEY_PATIENCE, Box::pin(context.log_key_or_new())).await.ok().flatten(),
        None => known_key(context, source).await,
    };
    write(source, (name, fields), key);
}

/// The key, where there is something to hash and it can be read.
async fn known_key(context: &Context, source: Option<Network>) -> Option<&LogKey> {
    source?;
    tokio::time::timeout(KEY_PATIENCE, context.log_key()).await.ok().flatten()
}

fn write(source: Option<Network>, (name, fields): (&'static str, Fields<'_>), key: Option<&LogKey>) {
    let org = fields.by.map(|by| by.org_id).filter(|org| *org != OrgId::NONE).or(fields.org);
    let user_id = fields.by.map(|by| by.user_id).or(fields.user);
    tracing::info!(
        target: SECURITY,
        event = name,
        user_id = user_id.map(|id| id.to_string()),
        code = fields.code,
        org_id = org.map(|org| org.to_string()),
        session_id = fields.by.map(|by| by.session_id.to_string()),
        ended_session_id = fields.ended.map(|id| id.to_string()),
        member_id = fields.member.map(|id| id.to_string()),
        role_before = fields.role_before.map(Role::as_str),
        role = fields.role.map(Role::as_str),
        plan = fields.plan,
        version = fields.version,
        email_hash = key.zip(fields.email).map(|(key, email)| key.hash("email", email.as_str())),
        source_hash = key.zip(source).map(|(key, source)| key.hash("network", source)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_key_kind_and_value() {
        let (key, other) = (LogKey::generate().expect("random"), LogKey::generate().expect("random"));
        let hash = key.hash("email", "ada@example.com");
        assert_eq!((hash.len(), &hash), (22, &key.hash("email", "ada@example.com")));
        for different in [
            key.hash("email", "bob@example.com"),
            key.hash("network", "ada@example.com"),
            other.hash("email", "ada@example.com"),
        ] {
            assert_ne!(hash, different);
        }
        assert_eq!(format!("{key:?}"), "LogKey(…)");
    }
}
