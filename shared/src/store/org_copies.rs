//! Copies of a busy organization's record. Each request reads plan and cursor key of its organization with its authority, and one record
//! gives 3,000 consistent reads a second. An organization whose items are spread has copies, which change in one transaction with its
//! record, so it does not matter which of them is read (`docs/decisions/0087-copies-of-a-busy-organization.md`).

use super::keys::Key;
use super::{Attributes, Store, Transaction, attributes, backoff, number, string};
use crate::cursor::CursorKey;
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::org::OrgRecord;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Copies of one record.
const COPIES: u8 = 8;
/// How many organizations a process remembers to have copies.
const REMEMBERED: usize = 1_000;
/// How often a change is tried while others change the record.
const ATTEMPTS: u32 = 6;

/// Which organizations have copies, as far as this process has met them. It says where to read, never what is so.
#[derive(Debug, Default, Clone)]
pub(super) struct Copied(Arc<Mutex<HashSet<OrgId>>>);

impl Copied {
    /// A key under which an organization's record is found, and whether it is that of a copy.
    pub(super) fn place(&self, org: OrgId) -> (Key, bool) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&org) {
            let copy = u8::try_from(getrandom::u64().unwrap_or(0) % u64::from(COPIES)).unwrap_or(0);
            (Key::org_copy(org, copy), true)
        } else {
            (Key::org(org), false)
        }
    }

    pub(super) fn note(&self, org: &OrgRecord) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if org.copied && !known.contains(&org.org_id) {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(org.org_id);
        }
    }
}

impl Store {
    /// Changes an organization's record, and its copies if it has some, in one transaction, unless its plan has changed since `org` was
    /// read. Returns whether it did.
    pub(super) async fn change_org(
        &self,
        org: &OrgRecord,
        change: impl Fn(UpdateBuilder) -> UpdateBuilder,
    ) -> Result<bool, ApiError> {
        let copies = (0..COPIES).filter(|_| org.copied).map(|copy| Key::org_copy(org.org_id, copy));
        let updates = std::iter::once(Key::org(org.org_id)).chain(copies).map(|key| {
            // The attribute of an organization that has copies is there on both sides, or on neither.
            let copied = if org.copied { "attribute_exists(copied)" } else { "attribute_not_exists(copied)" };
            let update = Update::builder()
                .set_key(Some(key.attributes()))
                .condition_expression(format!("plan_version = :read AND {copied}"))
                .expression_attribute_values(":read", number(org.plan_version));
            self.update(change(update))
        });
        let writes = updates.collect::<Result<Vec<_>, _>>()?;
        Ok(matches!(self.transact(writes).await?, Transaction::Done))
    }

    /// Gives an organization another key for its cursors, for the operator: whichever copy a request reads, the cursors of before are
    /// refused.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such organization.
    pub async fn rotate_cursor_key(&self, org: OrgId) -> Result<(), ApiError> {
        let key = CursorKey::generate().map_err(ApiError::internal)?;
        let rotated = |update: UpdateBuilder| {
            update
                .update_expression("SET cursor_key = :key")
                .expression_attribute_values(":key", string(key.as_stored()))
        };
        for attempt in 0..ATTEMPTS {
            let read: OrgRecord = self.get(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
            if self.change_org(&read, rotated).await? {
                return Ok(());
            }
            tokio::time::sleep(backoff(attempt)).await;
        }
        Err(ApiError::Contended)
    }

    /// Gives an organization copies of its record, if it has none.
    pub(super) async fn copy_org(&self, org: OrgId) -> Result<(), ApiError> {
        for attempt in 0..ATTEMPTS {
            let read: OrgRecord = self.get(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
            if read.copied {
                return Ok(());
            }
            let copy = OrgRecord { copied: true, ..read.clone() };
            let mark = Update::builder()
                .set_key(Some(Key::org(org).attributes()))
                .update_expression("SET copied = :true")
                .condition_expression(
                    "plan_version = :read AND spread_from = :from AND cursor_key = :key AND attribute_not_exists(copied)",
                )
                .expression_attribute_values(":true", AttributeValue::Bool(true))
                .expression_attribute_values(":key", string(read.cursor_key.as_stored()))
                .expression_attribute_values(":read", number(read.plan_version))
                .expression_attribute_values(":from", number(read.spread_from.map_or(0, |from| from.as_millis())));
            let mut writes = vec![self.update(mark)?];
            for number in 0..COPIES {
                writes.push(self.put_copy(attributes(Key::org_copy(org, number), &copy)?)?);
            }
            if self.transact(writes).await?.is_done() {
                return Ok(());
            }
            tokio::time::sleep(backoff(attempt)).await;
        }
        Err(ApiError::Contended)
    }

    fn put_copy(&self, item: Attributes) -> Result<TransactWriteItem, ApiError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        Ok(TransactWriteItem::builder().put(put.build().map_err(ApiError::internal)?).build())
    }
}
