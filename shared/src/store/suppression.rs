//! Addresses that are not written to: they bounced, complained, or a person listed them. They are everybody's:
//! what a provider thinks of this service's mail does not depend on the organization that sent it.

use super::keys::{Key, PK};
use super::{Attributes, Store, attributes};
use crate::error::ApiError;
use crate::model::text::Email;
use crate::model::time::Moment;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};

/// Why an address is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its mail server says that it does not exist.
    Bounce,
    /// Its reader called an e-mail unwanted.
    Complaint,
    /// A person listed it.
    Person,
}

/// The attribute of a listed address that says why.
const REASON: &str = "reason";

impl Reason {
    /// As stored. What this version does not know holds as what a person said.
    fn stored(text: Option<&String>) -> Self {
        match text.map(String::as_str) {
            Some("bounce") => Self::Bounce,
            Some("complaint") => Self::Complaint,
            _ => Self::Person,
        }
    }
}

#[derive(Serialize)]
struct Suppression {
    reason: Reason,
    since: Moment,
}

impl Store {
    /// Lists an address. What it is listed for already is not replaced by a complaint, which holds less mail back.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn suppress(&self, address: &Email, reason: Reason) -> Result<(), ApiError> {
        let item = attributes(Key::suppression(address.as_str()), &Suppression { reason, since: self.now() })?;
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = if reason == Reason::Complaint { put.condition_expression("attribute_not_exists(pk)") } else { put };
        let put = put.build().map_err(ApiError::internal)?;
        timed(Part::Db, self.transact(vec![TransactWriteItem::builder().put(put).build()])).await.map(|_| ())
    }

    /// Takes an address off the list.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn allow(&self, address: &Email) -> Result<(), ApiError> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(Key::suppression(address.as_str()).attributes()))
            .build()
            .map_err(ApiError::internal)?;
        timed(Part::Db, self.transact(vec![TransactWriteItem::builder().delete(delete).build()])).await.map(|_| ())
    }

    /// Those of these addresses that are listed, and why.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn suppressed<'a>(&self, addresses: &'a [Email]) -> Result<Vec<(&'a Email, Reason)>, ApiError> {
        let key = |address: &Email| Key::suppression(address.as_str());
        let keys = addresses.iter().map(|address| key(address).attributes()).collect();
        let found: Vec<Attributes> = timed(Part::Db, self.get_all(keys)).await?;
        let listed = |address: &'a Email| {
            let pk = key(address).pk;
            let item = found.iter().find(|item| text(item, PK) == Some(&pk))?;
            Some((address, Reason::stored(text(item, REASON))))
        };
        Ok(addresses.iter().filter_map(listed).collect())
    }
}

fn text<'i>(item: &'i Attributes, name: &str) -> Option<&'i String> {
    item.get(name)?.as_s().ok()
}
