//! Which records something cached is made of.

use super::{MANIFEST, ORG, PRICES, PROFILE, SETTINGS};
use crate::ids::{OrgId, UserId};

/// A record, or one of many, that something cached is made of: `model::cached` has a key for each. All other records
/// concern no cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CachedRecord {
    /// `ProfileKey`.
    User(UserId),
    /// `OrgPlanKey`.
    Org(OrgId),
    /// `OrgSettingsKey`.
    Settings(OrgId),
    /// `ItemPagesKey`: any of an organization's items.
    Items(OrgId),
    /// `CatalogueKey`: the manifest, which is written last.
    Catalogue,
}

impl CachedRecord {
    /// What a record's key says of it. The template's filter of the table's stream lets the same records through.
    #[must_use]
    pub fn of(pk: &str, sk: &str) -> Option<Self> {
        match (pk.split_once('#'), sk) {
            (Some(("USER", user)), PROFILE) => user.parse().ok().map(Self::User),
            (Some(("ORG", org)), ORG) => org.parse().ok().map(Self::Org),
            (Some(("ORG", org)), SETTINGS) => org.parse().ok().map(Self::Settings),
            (Some(("ITEMS", place)), _) => {
                let org = place.split_once('#').map_or(place, |(org, _)| org);
                org.parse().ok().map(Self::Items)
            }
            (None, MANIFEST) if pk == PRICES => Some(Self::Catalogue),
            _ => None,
        }
    }
}
