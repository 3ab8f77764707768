//! What is cached, and nothing else: public profiles, plans, settings, pages of items, model prices. A type
//! that is not named here cannot be given to the cache; sessions, memberships and counters never are.

use crate::cache::{Cacheable, Class, Key};
use crate::ids::{ItemId, OrgId, UserId};
use crate::model::item::ItemPage;
use crate::model::org::OrgPlan;
use crate::model::price::Catalogue;
use crate::model::settings::SettingsRecord;
use crate::model::user::Profile;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

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
        let models = catalogue.data.into_iter().map(|price| CachedModel {
            json: serde_json::to_string(&price).expect("prices have string keys and cannot fail to serialize"),
            provider: price.provider,
            model: price.model,
        });
        Self { models: models.collect(), as_of: catalogue.as_of, unit: catalogue.unit }
    }

    /// The JSON of a [`Catalogue`] with the models that match.
    #[must_use]
    pub fn json(&self, provider: Option<&str>, model: Option<&str>) -> String {
        let head = serde_json::json!({"as_of": self.as_of, "unit": self.unit}).to_string();
        let matching = self.models.iter().filter(|entry| {
            provider.is_none_or(|provider| entry.provider == provider) && model.is_none_or(|model| entry.model == model)
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
pub struct ProfileKey(pub UserId);
impl Key for ProfileKey {
    type Value = Profile;
}
pub struct OrgPlanKey(pub OrgId);
impl Key for OrgPlanKey {
    type Value = OrgPlan;
}
pub struct OrgSettingsKey(pub OrgId);
impl Key for OrgSettingsKey {
    type Value = SettingsRecord;
}
pub struct ItemPagesKey(pub OrgId);
pub struct ItemPageKey {
    pub org_id: OrgId,
    pub limit: u8,
    pub after: Option<ItemId>,
}
impl Key for ItemPageKey {
    type Value = ItemPage;
}
pub struct CatalogueKey;
impl Key for CatalogueKey {
    type Value = CachedCatalogue;
}
