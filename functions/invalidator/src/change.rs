//! What a change of a record means for what is cached of it.

use crate::event::{Images, StreamRecord};
use serde::de::DeserializeOwned;
use serde_dynamo::Item;
use shared::cache::{Cache, Cacheable, Delivery};
use shared::ids::OrgId;
use shared::model::cached::{CatalogueKey, ItemPagesKey, OrgPlanKey, OrgSettingsKey, ProfileKey};
use shared::model::org::{OrgPlan, OrgRecord};
use shared::model::settings::SettingsRecord;
use shared::model::user::{Profile, UserRecord};
use shared::store::keys::CachedRecord;

/// The attributes of an organization that are its plan.
const PLAN: [&str; 2] = ["plan", "plan_version"];

/// What is to be told to the cache. Doing it again, late or in another order brings nothing old back: a renewal
/// only replaces a lower version, and what is removed is read from the table again.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    Profile(Profile),
    OrgPlan(OrgId, OrgPlan),
    OrgSettings(OrgId, SettingsRecord),
    /// The record is gone, cannot be read, or is one of many that are cached together.
    Removed(CachedRecord),
}

/// The part of a record that is cached, before and after a change.
enum Cached<V> {
    Same,
    Now(V),
    Unknown,
}

impl Change {
    /// What a change of a record means; `None` if nothing is cached of it, or not of what has changed.
    pub(crate) fn of(record: StreamRecord) -> Option<Self> {
        let Images { keys, old_image: old, new_image: new, .. } = record.dynamodb;
        let source = CachedRecord::of(&keys.pk.text, &keys.sk.text)?;
        let change = match source {
            CachedRecord::User(_) => compare::<UserRecord, _>(old, new, Profile::from).map(Self::Profile),
            // Its counters change with each item and member: most of its changes are none here.
            CachedRecord::Org(org_id) => {
                compare::<OrgRecord, _>(old, new, OrgPlan::from).map(|plan| Self::OrgPlan(org_id, plan))
            }
            CachedRecord::Settings(org_id) => compare(old, new, |settings: SettingsRecord| settings)
                .map(|settings| Self::OrgSettings(org_id, settings)),
            CachedRecord::Items(_) | CachedRecord::Catalogue => Cached::Unknown,
        };
        match change {
            Cached::Same => None,
            Cached::Now(change) => Some(change),
            Cached::Unknown => Some(Self::Removed(source)),
        }
    }

    /// The record that was changed.
    pub(crate) fn source(&self) -> CachedRecord {
        match self {
            Self::Profile(profile) => CachedRecord::User(profile.user_id),
            Self::OrgPlan(org_id, _) => CachedRecord::Org(*org_id),
            Self::OrgSettings(org_id, _) => CachedRecord::Settings(*org_id),
            Self::Removed(source) => *source,
        }
    }

    /// Leaves nothing older in the cache.
    pub(crate) async fn apply(&self, cache: &Cache) -> Delivery {
        match self {
            Self::Profile(profile) => cache.renew(&ProfileKey(profile.user_id), profile).await,
            Self::OrgPlan(org_id, plan) => cache.renew(&OrgPlanKey(*org_id), plan).await,
            Self::OrgSettings(org_id, settings) => cache.renew(&OrgSettingsKey(*org_id), settings).await,
            Self::Removed(CachedRecord::User(user_id)) => cache.invalidate(&ProfileKey(*user_id)).await,
            Self::Removed(CachedRecord::Org(org_id)) => cache.invalidate(&OrgPlanKey(*org_id)).await,
            Self::Removed(CachedRecord::Settings(org_id)) => cache.invalidate(&OrgSettingsKey(*org_id)).await,
            Self::Removed(CachedRecord::Items(org_id)) => cache.invalidate(&ItemPagesKey(*org_id)).await,
            Self::Removed(CachedRecord::Catalogue) => cache.invalidate(&CatalogueKey).await,
        }
    }
}

/// The plan that a change gave an organization, also by hand under the version of before. The first one came with the organization: nobody
/// gave it.
pub(crate) fn given_plan(record: &StreamRecord) -> Option<(OrgId, OrgPlan)> {
    let Images { keys, old_image: old, new_image: new, .. } = &record.dynamodb;
    let CachedRecord::Org(org_id) = CachedRecord::of(&keys.pk.text, &keys.sk.text)? else { return None };
    let new = new.as_ref()?;
    // Most changes are of its counters: these are not read as a whole.
    if old.as_ref().is_some_and(|old| PLAN.iter().all(|name| old.get(*name) == new.get(*name))) {
        return None;
    }
    let plan = plan_in(new)?;
    let is_given = match old.as_ref().and_then(plan_in) {
        Some(before) => before != plan,
        None => plan.version > 1,
    };
    is_given.then_some((org_id, plan))
}

fn plan_in(image: &Item) -> Option<OrgPlan> {
    let org: OrgRecord = serde_dynamo::from_item(image.clone()).ok()?;
    Some(OrgPlan::from(org))
}

/// What is cached of a record before and after. Two images tell nothing for certain: one that cannot be read, which is of another
/// version of this system, and one that says something else under the version of before, or a lower one, which is another region's,
/// or an operator's by hand. What is cached is removed then, which is right whatever the record says.
fn compare<R: DeserializeOwned, V: Cacheable + PartialEq>(
    old: Option<Item>,
    new: Option<Item>,
    cached: fn(R) -> V,
) -> Cached<V> {
    let read = |image: Option<Item>| serde_dynamo::from_item(image?).map(cached).ok();
    match (read(old), read(new)) {
        (_, None) => Cached::Unknown,
        (Some(old), Some(new)) if old == new => Cached::Same,
        (Some(old), Some(new)) if new.version() <= old.version() => Cached::Unknown,
        (_, Some(new)) => Cached::Now(new),
    }
}

impl<V> Cached<V> {
    fn map<W>(self, with: impl FnOnce(V) -> W) -> Cached<W> {
        match self {
            Self::Same => Cached::Same,
            Self::Now(value) => Cached::Now(with(value)),
            Self::Unknown => Cached::Unknown,
        }
    }
}
