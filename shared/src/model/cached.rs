//! What is cached, and nothing else: public profiles, plans, settings, pages of items, model prices. A type
//! that is not named here cannot be given to the cache; sessions, memberships and counters never are.

use crate::ids::{ItemId, OrgId, UserId};
use crate::model::item::ItemPage;
use crate::model::model_id::ModelId;
use crate::model::org::OrgPlan;
use crate::model::price::{Catalogue, Priced, Rates};
use crate::model::settings::SettingsRecord;
use crate::model::user::Profile;
use platform::cache::{ABSENT_MAX, Cacheable, Class, Key, Name};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// The catalogue as cached: each model's JSON beside what it is filtered by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedCatalogue {
    as_of: String,
    unit: String,
    models: Vec<CachedModel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CachedModel {
    provider: String,
    model: String,
    json: String,
}

impl CachedCatalogue {
    /// The catalogue, ready to be filtered and sent.
    #[must_use]
    pub fn new(catalogue: Catalogue) -> Self {
        let Catalogue { as_of, unit, data } = catalogue;
        let models = data.into_iter().map(|price| CachedModel {
            json: serde_json::to_string(&price).expect("prices have string keys and cannot fail to serialize"),
            provider: price.provider,
            model: price.model,
        });
        Self { as_of, unit, models: models.collect() }
    }

    /// A provider's model by its id in the catalogue, or by another of its ids: with a date, or an alias. `None` if it has no price, or
    /// if several models could be meant.
    #[must_use]
    pub fn priced(&self, provider: &str, model: &str) -> Option<Priced> {
        let of_provider = || self.models.iter().filter(|entry| entry.provider == provider);
        if let Some(entry) = of_provider().find(|entry| entry.model == model) {
            return entry.priced(model);
        }
        let asked = ModelId::of(model);
        let mut meant = of_provider().filter(|entry| ModelId::of(&entry.model).family == asked.family);
        let (Some(entry), None) = (meant.next(), meant.next()) else { return None };
        // A date is the provider's own; an alias that the catalogue does not have may not be.
        entry.priced(if asked.is_dated { model } else { &entry.model })
    }

    /// Its providers, by name.
    #[must_use]
    pub fn providers(&self) -> BTreeSet<&str> {
        self.models.iter().map(|entry| entry.provider.as_str()).collect()
    }

    /// The JSON of a [`Catalogue`] with the models that match.
    #[must_use]
    pub fn json(&self, provider: Option<&str>, model: Option<&str>) -> String {
        let Self { as_of, unit, models } = self;
        let head = serde_json::json!({"as_of": as_of, "unit": unit}).to_string();
        let matching = models.iter().filter(|entry| {
            provider.is_none_or(|provider| entry.provider.eq_ignore_ascii_case(provider))
                && model.is_none_or(|model| entry.model == model)
        });
        let mut text = head[..head.len() - 1].to_owned();
        text.push_str(",\"data\":[");
        for (at, entry) in matching.enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(&entry.json);
        }
        text.push_str("]}");
        text
    }
}

impl CachedModel {
    fn priced(&self, model: &str) -> Option<Priced> {
        let price = serde_json::from_str(&self.json).ok()?;
        Some(Priced { model: model.to_owned(), rates: Rates::of(&price)?, context_window: price.context_window })
    }
}

const HOUR: Duration = Duration::from_secs(3600);
/// Enough for a hundred items of 320 bytes. The largest page that there can be is of 1.7 MB, and anybody may fill one. A hit takes a unit a
/// kilobyte, and how many a second there are is what bounds a page: template.yaml's `CacheUnits`.
const ITEM_PAGE_BYTES: usize = 32 << 10;
/// Twice what the catalogue has today. Only the operator writes it, and each process asks for it once an hour.
const CATALOGUE_BYTES: usize = 1 << 20;

impl Cacheable for Profile {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        self.version
    }
}

impl Cacheable for OrgPlan {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        self.version
    }
}

impl Cacheable for SettingsRecord {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        self.version
    }
}

impl Cacheable for ItemPage {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        0 // pages are only ever invalidated
    }
}

impl Cacheable for CachedCatalogue {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        0 // whatever was fetched last
    }
}

/// `user:{id}:profile`: a public profile.
pub struct ProfileKey(pub UserId);

impl Name for ProfileKey {
    const CLASS: Class = Class::renewed_on_update("profile", Duration::from_secs(300)).remembering_absence(ABSENT_MAX);
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "user:{}:profile", self.0);
    }
}

impl Key for ProfileKey {
    type Value = Profile;
}

/// `org:{id}:plan`: an organization's plan.
pub struct OrgPlanKey(pub OrgId);

impl Name for OrgPlanKey {
    const CLASS: Class = Class::renewed_on_update("org-plan", HOUR);
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}:plan", self.0);
    }
}

impl Key for OrgPlanKey {
    type Value = OrgPlan;
}

/// `org:{id}:settings`: an organization's settings.
pub struct OrgSettingsKey(pub OrgId);

impl Name for OrgSettingsKey {
    const CLASS: Class = Class::renewed_on_update("org-settings", HOUR);
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}:settings", self.0);
    }
}

impl Key for OrgSettingsKey {
    type Value = SettingsRecord;
}

/// `org:{id}:items`: all cached pages of an organization's items, invalidated together.
pub struct ItemPagesKey(pub OrgId);

impl Name for ItemPagesKey {
    const CLASS: Class = Class::renewed_on_update("item-pages", Duration::from_secs(30)).of_at_most(ITEM_PAGE_BYTES);
    fn write(&self, out: &mut String) {
        let _cannot_fail = write!(out, "org:{}:items", self.0);
    }
}

/// One page among [`ItemPagesKey`].
pub struct ItemPageKey {
    pub org_id: OrgId,
    pub limit: u8,
    pub after: Option<ItemId>,
    /// Whether it was read from partitions. Pages from before the organization was spread have another key.
    pub spread: bool,
}

impl Name for ItemPageKey {
    const CLASS: Class = ItemPagesKey::CLASS;
    fn write(&self, out: &mut String) {
        ItemPagesKey(self.org_id).write(out);
    }
}

impl Key for ItemPageKey {
    type Value = ItemPage;
    fn write_page(&self, out: &mut String) {
        let _cannot_fail = write!(out, "{}{}", if self.spread { "spread:" } else { "" }, self.limit);
        if let Some(after) = self.after {
            let _cannot_fail = write!(out, ":{after}");
        }
    }
}

/// `models:pricing`: the catalogue.
pub struct CatalogueKey;

impl Name for CatalogueKey {
    const CLASS: Class =
        Class::stale_acceptable("models-pricing", HOUR, Duration::from_secs(24 * 3600)).of_at_most(CATALOGUE_BYTES);
    fn write(&self, out: &mut String) {
        out.push_str("models:pricing");
    }
}

impl Key for CatalogueKey {
    type Value = CachedCatalogue;
}

#[cfg(test)]
mod tests;
