//! How often a session and an organization may ask in a second. Each environment counts for itself, by the second of the context's clock; what
//! looks something up in the cache for a caller is counted there, too, for all environments together.

use crate::caller::Caller;
use crate::config::{ConfigError, whole};
use crate::context::Context;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::by_plan::ByPlan;
use crate::model::org::Plan;
use crate::model::time::Moment;
use crate::token::Token;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SESSION: &str = "SESSION_REQUESTS_PER_SECOND";
const ORG: &str = "ORG_REQUESTS_PER_SECOND";
/// How long an environment believes an organization's plan that it read for its rate.
const PLAN_KEPT: Duration = Duration::from_secs(10);
/// What the cache counts together.
const WINDOW: Duration = Duration::from_secs(1);

/// Requests a second; 0 closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRates {
    /// Of a session.
    session: u64,
    org: ByPlan,
}

impl RequestRates {
    pub(crate) fn from_lookup(
        required: &impl Fn(&'static str) -> Result<String, ConfigError>,
    ) -> Result<Self, ConfigError> {
        Ok(Self { session: whole(SESSION, &required(SESSION)?)?, org: ByPlan::parse(ORG, &required(ORG)?)? })
    }
}

/// What an environment counts: of the present second only, so as much as it answers in that.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    hasher: RandomState,
    second: Mutex<Second>,
    plans: Mutex<HashMap<OrgId, (Moment, Plan)>>,
}

#[derive(Debug, Default)]
struct Second {
    number: i64,
    sessions: HashMap<u64, u64>,
    orgs: HashMap<OrgId, u64>,
}

impl RequestCounts {
    fn second(&self, now: Moment) -> MutexGuard<'_, Second> {
        let number = now.as_millis().div_euclid(1000);
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.number != number {
            second.number = number;
            second.sessions.clear();
            second.orgs.clear();
        }
        second
    }
}

fn count<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u64>, key: K) -> u64 {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}

fn refused(what: &'static str, limit: u64) -> ApiError {
    ApiError::RateLimited { what, limit, retry_after_seconds: 1 }
}

/// Counts a request of a session, before anything is read for it. Nobody but its holder knows a token.
pub(crate) fn ask_as_session(context: &Context, token: &Token) -> Result<(), ApiError> {
    let (counts, most) = (context.request_counts(), context.config().request_rates.session);
    let session = counts.hasher.hash_one(token.reveal());
    let asked = count(&mut counts.second(context.now()).sessions, session);
    if asked > most { Err(refused("session", most)) } else { Ok(()) }
}

/// Counts a request of an organization that the caller is proven to be of.
pub(crate) async fn ask_as_org(context: &Context, org: OrgId, plan: Option<Plan>) -> Result<(), ApiError> {
    if org == OrgId::NONE {
        return Ok(());
    }
    let asked = count(&mut context.request_counts().second(context.now()).orgs, org);
    may_ask(context, org, plan, asked).await
}

/// Whether an organization may ask so often. Where the plan was not read with the caller, it is read for organizations only that ask more
/// than any plan allows.
async fn may_ask(context: &Context, org: OrgId, plan: Option<Plan>, asked: u64) -> Result<(), ApiError> {
    let rates = context.config().request_rates;
    // What every organization may, whatever its plan is.
    if asked <= rates.org.least() {
        return Ok(());
    }
    let plan = match plan {
        Some(plan) => plan,
        // Boxed, so that most requests do not carry its state around.
        None => Box::pin(plan_of(context, org)).await?,
    };
    let most = rates.org.of(plan);
    if asked > most { Err(refused("organization", most)) } else { Ok(()) }
}

impl Caller {
    /// What a look-up in the cache gives, if the caller and its organization may ask so often in all environments together: they are
    /// counted in the cache beside it, in the same round trip. Where the cache is away, the environment's own count stands.
    ///
    /// # Errors
    /// [`ApiError::RateLimited`].
    pub async fn counted<T>(
        &self,
        context: &Context,
        plan: Option<Plan>,
        look_up: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        let cache = context.cache();
        let (session, org) = (format!("session:{}:rate", self.session_id()), format!("org:{}:rate", self.org_id));
        let (session, org, found) =
            tokio::join!(cache.count(&session, WINDOW), cache.count(&org, WINDOW), Box::pin(look_up));
        let most = context.config().request_rates.session;
        if session.is_some_and(|asked| asked > most) {
            return Err(refused("session", most));
        }
        if let Some(asked) = org {
            may_ask(context, self.org_id, plan, asked).await?;
        }
        Ok(found)
    }
}

async fn plan_of(context: &Context, org: OrgId) -> Result<Plan, ApiError> {
    let (counts, now) = (context.request_counts(), context.now());
    let plans = || counts.plans.lock().unwrap_or_else(PoisonError::into_inner);
    let kept =
        plans().get(&org).filter(|(read, _)| now.minus(PLAN_KEPT) < *read && *read <= now).map(|(_, plan)| *plan);
    if let Some(plan) = kept {
        return Ok(plan);
    }
    let plan = context.store().plan_of(org).await?;
    let mut plans = plans();
    plans.retain(|_, (read, _)| now.minus(PLAN_KEPT) < *read && *read <= now);
    plans.insert(org, (now, plan));
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(session: &str, org: &str) -> Result<RequestRates, ConfigError> {
        RequestRates::from_lookup(&|name| Ok(if name == SESSION { session } else { org }.to_owned()))
    }

    #[test]
    fn a_plan_has_its_rate() {
        let rates = of("50", "50,500,10000").expect("valid");
        assert_eq!([Plan::Free, Plan::Pro, Plan::Enterprise].map(|plan| rates.org.of(plan)), [50, 500, 10_000]);
        assert_eq!((rates.session, rates.org.least()), (50, 50));
        for (session, org) in [("-1", "1,1,1"), ("1", "1,1"), ("1", "1,1,1,1"), ("1", "a,1,1"), ("", "1,1,1")] {
            assert!(of(session, org).is_err(), "{session} {org}");
        }
    }

    #[test]
    fn a_second_forgets_the_one_before() {
        let counts = RequestCounts::default();
        for (ms, asked) in [(1_000, 1), (1_999, 2), (2_000, 1), (1_999, 1)] {
            assert_eq!(count(&mut counts.second(Moment::from_millis(ms)).sessions, 7), asked);
        }
    }
}
