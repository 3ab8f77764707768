//! Items.

use crate::cursor::Page;
use crate::ids::{ItemId, OrgId};
use crate::model::org::OrgRecord;
use crate::model::text::{Description, Name};
use crate::model::time::{Moment, Rfc3339};
use deserr::Deserr;
use platform::request::FieldErrors;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An item as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    pub item_id: ItemId,
    pub org_id: OrgId,
    pub name: String,
    pub description: Option<String>,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub version: u64,
}

/// An item as the organization's members see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item {
    pub id: ItemId,
    pub org_id: OrgId,
    pub name: String,
    pub description: Option<String>,
    pub created_at: Rfc3339,
    pub updated_at: Rfc3339,
    pub version: u64,
}

impl From<ItemRecord> for Item {
    fn from(item: ItemRecord) -> Self {
        let ItemRecord { item_id: id, org_id, name, description, created_at, updated_at, version } = item;
        let (created_at, updated_at) = (created_at.rfc3339(), updated_at.rfc3339());
        Self { id, org_id, name, description, created_at, updated_at, version }
    }
}

/// An item to create.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(examples(json!({"name": "Difference engine", "description": "Computes polynomials"})))]
pub struct NewItem {
    pub name: Name,
    #[deserr(default)]
    pub description: Option<Description>,
}

impl NewItem {
    /// Its record in an organization: a new id, version 1.
    #[must_use]
    pub fn into_record(self, org: &OrgRecord, now: Moment) -> ItemRecord {
        self.into_record_of(org.org_id, org.new_item_id(false, now), now)
    }

    /// Its record under an id that was chosen before.
    #[must_use]
    pub fn into_record_of(self, org_id: OrgId, item_id: ItemId, now: Moment) -> ItemRecord {
        let Self { name, description } = self;
        ItemRecord {
            item_id,
            org_id,
            name: name.into_string(),
            description: description.map(Description::into_string),
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

/// Changes to an item: what is absent stays; a `null` description is removed.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
#[schema(min_properties = 1)]
#[schema(examples(json!({"name": "Difference engine No. 2"})))]
pub struct ItemChanges {
    #[schema(nullable = false)]
    #[deserr(default, from(Name) = Some)]
    pub name: Option<Name>,
    #[deserr(default, from(Option<Description>) = Some)]
    #[schema(value_type = Option<Description>)]
    pub description: Option<Option<Description>>,
}

impl ItemChanges {
    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { name, description } = self;
        name.is_none() && description.is_none()
    }
}

/// A page of an organization's items as cached: the reply's JSON, invalidated by any write of the items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemPage {
    pub json: String,
}

impl ItemPage {
    /// The page, ready to send.
    #[must_use]
    pub fn new(page: &Page<Item>) -> Self {
        Self { json: serde_json::to_string(page).expect("items have string keys and cannot fail to serialize") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_null_are_told_apart() {
        let parse = |body: &str| platform::request::parse::<ItemChanges>(body.as_bytes());
        assert!(parse("{}").expect("valid").description.is_none());
        assert!(parse(r#"{"description":null}"#).expect("valid").description == Some(None));
        assert!(parse(r#"{"name":null}"#).is_err());
    }
}
